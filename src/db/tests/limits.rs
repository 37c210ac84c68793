//! Limits of the cluster and of groups.

use super::bench::{Bench, claim, keys_of, settings};
use super::cluster::cluster;
use crate::db::Settings;
use crate::model::*;
use std::collections::HashMap;

fn offers(list: &[(&str, Option<&str>)]) -> Vec<Offer> {
    list.iter().map(|(key, group)| Offer { key: (*key).into(), group: group.map(str::to_owned) }).collect()
}

fn claimed(bench: &Bench, claim: Claim) -> Vec<Claimed> {
    bench.exchange(Exchange { claim: Some(claim), ..Exchange::default() }).claimed
}

#[test]
fn the_cluster_limit_counts_open_runs_of_all_nodes_and_claims_of_others() {
    let database = cluster().new_database();
    let of = |node| Bench::on(&database, Settings { key_pattern: r"my\_%".into(), ..settings(node) });
    let (one, two) = (of("n1"), of("n2"));
    let keys = ["my_a", "my_b", "my_c", "my_d", "my_e", "myx", "other"];
    one.poll(&keys);
    let mut client = cluster().client(&database);
    client
        .batch_execute("UPDATE tenantcron_status SET value = 'running' WHERE key IN ('my_e', 'myx', 'other')")
        .unwrap();
    let limited = |keys: &[&str]| Claim { cluster_limit: 3, ..claim(keys, 4) };
    // my_e is a claim of another program; myx and other are not this instance's
    assert_eq!(keys_of(&claimed(&one, limited(&["my_a"]))), ["my_a"]);
    assert_eq!(keys_of(&claimed(&two, limited(&["my_b", "my_c", "my_d"]))), ["my_b"]);
    assert!(claimed(&one, limited(&["my_c"])).is_empty());
    client.batch_execute("UPDATE tenantcron_status SET value = 'done' WHERE key = 'my_e'").unwrap();
    assert_eq!(keys_of(&claimed(&one, limited(&["my_d", "my_c"]))), ["my_d"]);
}

#[test]
fn a_group_limit_takes_the_first_of_each_group_in_queue_order() {
    let database = cluster().new_database();
    let bench = Bench::on(&database, settings("n1"));
    bench.poll(&["a1", "a2", "a3", "b1", "b2", "x"]);
    let list =
        [("a1", Some("a")), ("b1", Some("b")), ("a2", Some("a")), ("a3", Some("a")), ("x", None), ("b2", Some("b"))];
    let limited = |foreign: Vec<(String, u32)>| Claim {
        offers: offers(&list),
        group_limit: 2,
        foreign_in_group: foreign,
        ..claim(&[], 6)
    };
    let first = claimed(&bench, limited(vec![("b".into(), 1)]));
    assert_eq!(keys_of(&first), ["a1", "a2", "b1", "x"]);
    assert!(claimed(&bench, limited(vec![("b".into(), 1)])).is_empty());
    assert_eq!(keys_of(&claimed(&bench, limited(Vec::new()))), ["b2"]);
    let run = first.iter().find(|claimed| claimed.key == "a1").unwrap();
    bench.finish(bench.end(run, Outcome::Ok, Becomes::Done));
    assert_eq!(keys_of(&claimed(&bench, limited(Vec::new()))), ["a3"]);
}

#[test]
fn a_locked_row_at_the_head_does_not_use_up_its_groups_room() {
    let database = cluster().new_database();
    let bench = Bench::on(&database, settings("n1"));
    bench.poll(&["a1", "a2"]);
    let mut other = cluster().client(&database);
    let mut held = other.transaction().unwrap();
    held.execute("SELECT FROM tenantcron_status WHERE key = 'a1' FOR UPDATE", &[]).unwrap();
    let claim = Claim { offers: offers(&[("a1", Some("a")), ("a2", Some("a"))]), group_limit: 1, ..claim(&[], 2) };
    assert_eq!(keys_of(&claimed(&bench, claim)), ["a2"]);
}

#[test]
fn limits_hold_exactly_while_four_nodes_claim_at_once() {
    let database = cluster().new_database();
    let keys: Vec<String> = (0..40).map(|n| format!("k{n}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    Bench::on(&database, settings("n0")).poll(&keys);
    std::thread::scope(|scope| {
        for node in ["n1", "n2", "n3", "n4"] {
            let (database, keys) = (&database, &keys);
            scope.spawn(move || {
                let bench = Bench::on(database, settings(node));
                for _ in 0..10 {
                    let list = keys.iter().map(|key| (*key, Some(if key.len() == 2 { "short" } else { "long" })));
                    let offers = offers(&list.collect::<Vec<_>>());
                    claimed(&bench, Claim { offers, cluster_limit: 7, group_limit: 4, ..claim(&[], 3) });
                }
            });
        }
    });
    let sql = "SELECT \"group\", count(*) FROM tenantcron_run WHERE finished_at IS NULL GROUP BY 1";
    let rows = cluster().client(&database).query(sql, &[]).unwrap();
    let runs: HashMap<String, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(runs.values().sum::<i64>(), 7, "{runs:?}");
    assert!(runs.values().all(|count| *count <= 4), "{runs:?}");
}
