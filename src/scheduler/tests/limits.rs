//! How many at once.

use super::bench::{Bench, name, open_run, rules, sec, tenant};
use crate::model::{DatabaseId, Tenant};
use crate::scheduler::{Event, Exit, Listed, Reason, Rules};

const FOUR: [(&str, &str, i64); 4] =
    [("a", "needed", -900), ("b", "needed", -800), ("c", "needed", -700), ("d", "needed", -600)];

fn of_group(key: &str, group: &str) -> Listed {
    Listed { tenant: Tenant::new(name(key), None, Some(group.into())).unwrap(), ..tenant(key) }
}

#[test]
fn never_more_than_workers_run() {
    for workers in 1..=5 {
        let bench = Bench::started(Rules { workers, ..rules() }, &FOUR);
        assert_eq!(bench.started.len(), (workers as usize).min(4), "{workers} workers");
    }
}

#[test]
fn a_slot_is_free_as_soon_as_the_run_has_ended_recorded_or_not() {
    let mut bench = Bench::started(rules(), &FOUR);
    bench.locked = vec!["a".into()];
    bench.ends("a", Exit::Code(0));
    assert_eq!(bench.started, ["a", "b"]);
    assert!(bench.finished.is_empty());
}

#[test]
fn workers_lowered_by_a_reload_hold_until_enough_have_ended() {
    let mut bench = Bench::started(Rules { workers: 3, ..rules() }, &FOUR);
    bench.tell(Event::Reloaded(Box::new(rules())));
    bench.ends("a", Exit::Code(0));
    bench.ends("b", Exit::Code(0));
    assert_eq!(bench.started.len(), 3, "one still runs, and one is the limit");
    bench.ends("c", Exit::Code(0));
    assert_eq!(bench.started.len(), 4);
}

#[test]
fn slots_that_other_processes_hold_are_asked_for_again_soon() {
    let mut bench = Bench::with_rows(Rules { workers: 2, ..rules() }, &FOUR);
    bench.slots = 1;
    bench.list(FOUR.map(|(key, ..)| tenant(key)));
    assert_eq!(bench.started, ["a"]);
    bench.pass(sec(10));
    assert_eq!(bench.started, ["a"]);
    assert!(bench.core.reasons().contains(&(name("b"), Reason::WorkersBusy)));
    bench.slots += 1;
    bench.pass(sec(1));
    assert_eq!(bench.started, ["a", "b"]);
}

#[test]
fn a_tenant_whose_lock_is_held_is_passed_over_and_tried_again() {
    let mut bench = Bench::with_rows(rules(), &FOUR);
    bench.held = vec![name("a")];
    bench.list(FOUR.map(|(key, ..)| tenant(key)));
    bench.pass(sec(1) / 2);
    assert_eq!(bench.started, ["b"]);
    assert!(bench.core.reasons().contains(&(name("a"), Reason::LockHeld(Some(77)))));
    bench.held.clear();
    bench.ends("b", Exit::Code(0));
    bench.pass(sec(2));
    assert!(bench.started.contains(&"a".to_owned()) || bench.started.len() == 2);
    bench.ends("c", Exit::Code(0));
    assert!(bench.started.contains(&"a".to_owned()));
}

#[test]
fn limits_by_the_last_view_count_foreign_claims_and_other_nodes() {
    for shared in [false, true] {
        let limited = Rules { workers: 4, cluster_limit: 3, shared, ..rules() };
        let mut bench = Bench::with_rows(limited, &FOUR);
        bench.row("x", "running", -50);
        bench.row("y", "running", -50);
        let mut other = open_run("y", 99, super::bench::at(-50));
        other.identity.node = "elsewhere".into();
        bench.runs.push(other);
        bench.list(["a", "b", "c", "d", "x", "y"].map(tenant));
        assert_eq!(bench.started, ["a"], "shared: {shared}");
        assert!(bench.core.reasons().contains(&(name("b"), Reason::LimitCluster)));
        bench.ends("a", Exit::Code(0));
        assert_eq!(bench.started, ["a", "b"]);
        bench.row("x", "done", -1);
        bench.pass(sec(11));
        assert_eq!(bench.started, ["a", "b", "c"]);
    }
}

#[test]
fn a_full_group_is_passed_over_and_others_go_on() {
    let mut bench = Bench::with_rows(Rules { workers: 4, group_limit: 1, ..rules() }, &FOUR);
    bench.list([of_group("a", "g"), of_group("b", "g"), of_group("c", "h"), tenant("d")]);
    assert_eq!(bench.started, ["a", "c", "d"]);
    assert_eq!(bench.core.reasons(), [(name("b"), Reason::LimitGroup)]);
    bench.ends("a", Exit::Code(0));
    assert_eq!(bench.started, ["a", "c", "d", "b"]);
}

#[test]
fn a_claim_in_a_shared_database_carries_the_limits_and_foreign_claims_by_group() {
    let mut bench = Bench::with_rows(Rules { cluster_limit: 5, group_limit: 2, ..rules() }, &FOUR);
    bench.row("x", "running", -50);
    bench.list([of_group("a", "g"), of_group("x", "g")]);
    let claim = bench.exchanges.iter().find_map(|(_, exchange)| exchange.claim.clone()).unwrap();
    assert_eq!((claim.cluster_limit, claim.group_limit), (5, 2));
    assert_eq!(claim.foreign_in_group, [("g".to_owned(), 1)]);
}

#[test]
fn a_database_that_is_busy_delays_nobody_elsewhere() {
    let mut bench = Bench::with_rows(Rules { workers: 2, shared: false, ..rules() }, &FOUR);
    let elsewhere = |key: &str, database| Listed { database: DatabaseId(database), ..tenant(key) };
    bench.list([elsewhere("a", 0), elsewhere("b", 1)]);
    assert_eq!(bench.started, ["a", "b"]);
    // a's database hangs with the record of its end; c is in another.
    bench.hold = true;
    bench.ends("a", Exit::Code(0));
    let hangs = std::mem::take(&mut bench.waiting);
    bench.release();
    bench.list([elsewhere("a", 0), elsewhere("b", 1), elsewhere("c", 2)]);
    bench.pass(sec(1));
    assert_eq!((bench.started.as_slice(), hangs.len()), (["a", "b", "c"].map(String::from).as_slice(), 1));
}

#[test]
fn a_group_that_is_full_of_what_is_not_seen_here_keeps_no_other_group_waiting() {
    let keys: Vec<String> = (0..8).map(|number| format!("a{number}")).collect();
    let rows_of: Vec<_> = keys.iter().map(|key| (key.as_str(), "needed", -900)).chain([("z", "needed", -10)]).collect();
    let mut bench = Bench::with_rows(Rules { workers: 2, group_limit: 4, ..rules() }, &rows_of);
    bench.locked.clone_from(&keys);
    bench.list(keys.iter().map(|key| of_group(key, "g")).chain([of_group("z", "h")]));
    bench.pass(sec(10));
    assert_eq!(bench.started, ["z"]);
}
