//! What commands and housekeeping ask.

use super::bench::{Bench, D, claim, poll, settings, url};
use super::cluster::cluster;
use crate::db::{Access, Answer, Requested, Settings, TenantRow, Viewed};
use crate::model::*;
use std::time::Duration;

fn request(bench: &Bench, keys: &[&str]) -> Vec<Requested> {
    bench.engine().request(D, keys.iter().map(|key| (*key).to_owned()).collect());
    match bench.next() {
        Answer::Requested { result, .. } => result.unwrap(),
        other => panic!("{other:?}"),
    }
}

fn view(bench: &Bench, keys: &[&str]) -> Vec<Viewed> {
    bench.engine().view(D, keys.iter().map(|key| (*key).to_owned()).collect());
    match bench.next() {
        Answer::Viewed { result, .. } => result.unwrap().1,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_request_makes_a_done_row_needed_and_keeps_its_time() {
    let database = cluster().new_database();
    let bench = Bench::on(&database, settings("n1"));
    bench.poll(&["done", "needed", "running", "odd"]);
    let mut client = cluster().client(&database);
    client
        .batch_execute(
            "ALTER TABLE tenantcron_status DROP CONSTRAINT tenantcron_status_value_check;
             UPDATE tenantcron_status SET value = key, updated_at = now()",
        )
        .unwrap();
    let before = bench.poll(&["done"]).rows.remove(0);
    let answers = request(&bench, &["running", "done", "odd", "needed", "nobody"]);
    let odd = Requested::Unknown("odd".into());
    assert_eq!(answers, [Requested::Running, Requested::Needed, odd, Requested::First, Requested::Missing]);
    let row = bench.poll(&["done"]).rows.remove(0);
    assert_eq!((&row.value, row.updated_at), (&RowValue::Needed, before.updated_at));
    assert!(row.requested_at.unwrap() > before.updated_at);
    let mut held = client.transaction().unwrap();
    held.execute("SELECT FROM tenantcron_status FOR UPDATE", &[]).unwrap();
    assert_eq!(request(&bench, &["done"]), [Requested::NotNow]);
}

#[test]
fn status_sees_rows_open_runs_and_the_last_end() {
    let database = cluster().new_database();
    let bench = Bench::on(&database, settings("n1"));
    bench.poll(&["a", "b", "c"]);
    for outcome in [Outcome::Ok, Outcome::Failed] {
        let run = bench
            .exchange(Exchange { claim: Some(Claim { done_too: true, ..claim(&["a"], 1) }), ..Exchange::default() });
        bench.finish(bench.end(&run.claimed[0], outcome, Becomes::Done));
    }
    let open = bench.claim(&["b"], 1).remove(0);
    let status = Bench::on(&database, Settings { access: Access::ReadOnly, ..settings("n9") });
    let list = view(&status, &["b", "a", "nobody", "c"]);
    assert_eq!(list.iter().map(|seen| seen.key.as_str()).collect::<Vec<_>>(), ["b", "a", "nobody", "c"]);
    assert_eq!(list[0].open.as_ref().unwrap().identity, bench.run(&open));
    assert_eq!((list[1].last.as_ref().unwrap().outcome, &list[1].open), (Some(Outcome::Failed), &None));
    assert_eq!((&list[2].row, &list[3].last), (&None, &None));
}

#[test]
fn status_reads_rows_where_our_own_tables_do_not_stand() {
    let database = cluster().new_database();
    let status = Bench::on(&database, Settings { access: Access::ReadOnly, ..settings("n1") });
    assert!(view(&status, &["a"]).is_empty());
    let create = "CREATE TABLE tenantcron_status (key text UNIQUE, value text, updated_at timestamptz); INSERT INTO tenantcron_status VALUES ('a', 'done', NULL)";
    cluster().client(&database).batch_execute(create).unwrap();
    let list = view(&status, &["a", "b"]);
    assert_eq!((list[0].row.as_ref().unwrap().updated_at, &list[1].row), (DbTime::EPOCH, &None));
}

#[test]
fn pruning_removes_old_runs_but_never_a_keys_last_or_an_open_one() {
    let database = cluster().new_database();
    let bench = Bench::on(&database, Settings { keep_runs: Duration::from_secs(86400), ..settings("n1") });
    bench.poll(&["a"]);
    cluster()
        .client(&database)
        .batch_execute(
            "INSERT INTO tenantcron_run (key, instance, node, host, started_at, alive_at, finished_at, outcome)
             SELECT key, 'wcs', 'n1', 'h', t, t, t + interval '1 minute', 'ok'
             FROM unnest(ARRAY['a', 'b', 'c']) AS key, generate_series(now() - interval '40 days', now() - interval '2 days', '1 hour') AS t;
             INSERT INTO tenantcron_run (key, instance, node, host, started_at, alive_at) VALUES ('c', 'wcs', 'n1', 'h', now() - interval '3 days', now())",
        )
        .unwrap();
    bench.engine().prune(D);
    let removed = match bench.next() {
        Answer::Pruned { result, .. } => result.unwrap(),
        other => panic!("{other:?}"),
    };
    let sql = "SELECT key, count(*), count(*) FILTER (WHERE finished_at IS NULL) FROM tenantcron_run GROUP BY key ORDER BY key";
    let left: Vec<(String, i64, i64)> = cluster()
        .client(&database)
        .query(sql, &[])
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect();
    assert_eq!(left, [("a".into(), 1, 0), ("b".into(), 1, 0), ("c".into(), 2, 1)]);
    assert_eq!(removed, 3 * (38 * 24 + 1) - 3);
}

fn tenants(bench: &Bench, sql: &str) -> Result<Vec<TenantRow>, String> {
    bench.engine().tenants(url(&cluster().url("postgres")), sql.to_owned());
    match bench.next() {
        Answer::Tenants { result } => result,
        other => panic!("{other:?}"),
    }
}

#[test]
fn tenants_are_read_by_column_name_as_text_whatever_the_type() {
    let bench = Bench::start(settings("n1"));
    let sql = "SELECT true AS active, 7 AS \"group\", 'x'::name AS name UNION ALL SELECT false, NULL, '12'";
    let row = |name: &str, group: Option<&str>| TenantRow {
        name: name.into(),
        database: None,
        group: group.map(str::to_owned),
    };
    assert_eq!(tenants(&bench, sql), Ok(vec![row("x", Some("7")), row("12", None)]));
    assert!(tenants(&bench, "SELECT 1 AS nam").unwrap_err().contains("AS name"));
    let error = tenants(&bench, "SELECT nmae FROM x").unwrap_err();
    assert!(error.contains("relation \"x\" does not exist") && error.contains("/postgres?host="), "{error}");
    assert_eq!(tenants(&bench, "SELECT 'x' AS name WHERE false"), Ok(Vec::new()));
}

#[test]
fn a_notification_is_heard_and_the_listener_comes_back() {
    let database = cluster().new_database();
    let bench = Bench::on(&database, settings("n1"));
    bench.engine().listen(D);
    bench.poll(&["a"]);
    let mut client = cluster().client(&database);
    let heard = |wanted: Option<&str>| loop {
        match bench.next() {
            Answer::Notified { key, .. } if key.as_deref() == wanted => return,
            Answer::Notified { .. } => {}
            other => panic!("{other:?}"),
        }
    };
    let listeners = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    let mut pids = Vec::new();
    for _ in 0..200 {
        pids = client.query(listeners, &[]).unwrap();
        if !pids.is_empty() {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    client.batch_execute("NOTIFY tenantcron, 'a'; NOTIFY tenantcron; NOTIFY another, 'b'").unwrap();
    heard(Some("a"));
    heard(None);
    let pid: i32 = pids.first().unwrap().get(0);
    // the word that the echo brings at the first time says nothing; at the second that words may be missed
    client.execute("SELECT pg_terminate_backend($1)", &[&pid]).unwrap();
    heard(None);
    let other = Bench::on(&database, settings("n2"));
    request(&other, &["a"]);
    heard(Some("a"));
}

#[test]
fn an_unknown_database_is_answered_at_once() {
    let bench = Bench::start(settings("n1"));
    assert_eq!(bench.try_exchange(poll(&["a"])).unwrap_err().kind, TroubleKind::Unreachable);
}
