//! Rows: resets, releases, lives, foreign tables, and the order within one exchange.

use super::bench::{Bench, claim, end, keys_of, poll, settings};
use super::cluster::cluster;
use crate::db::{Access, Migrate, Settings};
use crate::model::*;
use std::time::Duration;

fn done_bench() -> (String, Bench, StatusRow) {
    let database = cluster().new_database();
    let bench = Bench::on(&database, settings("n1"));
    bench.poll(&["a"]);
    let claimed = bench.claim(&["a"], 1).remove(0);
    bench.finish(bench.end(&claimed, Outcome::Ok, Becomes::Done));
    let row = bench.poll(&["a"]).rows.remove(0);
    (database, bench, row)
}

fn reset(bench: &Bench, slot: DbTime) -> Vec<String> {
    let reset = vec![Reset { key: "a".into(), slot }];
    bench.exchange(Exchange { reset, ..Exchange::default() }).reset
}

#[test]
fn a_reset_takes_rows_whose_slot_has_come_and_keeps_their_time() {
    let (database, bench, before) = done_bench();
    assert!(reset(&bench, before.updated_at).is_empty(), "it finished at the slot");
    assert!(reset(&bench, before.updated_at + Duration::from_secs(60)).is_empty(), "the slot lies ahead");
    let slot = before.updated_at + Duration::from_micros(1);
    let mut other = cluster().client(&database);
    let mut held = other.transaction().unwrap();
    held.execute("SELECT FROM tenantcron_status FOR UPDATE", &[]).unwrap();
    assert!(reset(&bench, slot).is_empty(), "somebody holds the row");
    held.rollback().unwrap();
    assert_eq!(reset(&bench, slot), ["a"]);
    assert!(reset(&bench, slot).is_empty(), "it is needed already");
    let after = bench.poll(&["a"]).rows.remove(0);
    assert_eq!(after, StatusRow { value: RowValue::Needed, ..before });
}

#[test]
fn one_exchange_finishes_resets_claims_and_polls_in_this_order() {
    let database = cluster().new_database();
    let bench = Bench::on(&database, settings("n1"));
    bench.poll(&["a", "b"]);
    let first = bench.claim(&["a"], 1).remove(0);
    let reply = bench.exchange(Exchange {
        finish: vec![bench.end(&first, Outcome::Ok, Becomes::Done)],
        refresh: vec![Refresh { run: bench.run(&first), pid: None, pid_start: None }],
        reset: vec![Reset { key: "a".into(), slot: first.started_at + Duration::from_micros(1) }],
        claim: Some(claim(&["a", "b"], 2)),
        ..poll(&["a", "b", "new"])
    });
    let Some(Finished::Recorded { row: Some(ended_at) }) = reply.finished.first().copied() else { panic!("{reply:?}") };
    assert_eq!(reply.refreshed, [Refreshed::Closed]);
    // within one transaction now() stands still, so a row that ends now is not before a slot that is now
    assert_eq!(reply.reset.is_empty(), ended_at > first.started_at);
    assert!(keys_of(&reply.claimed).contains(&"b"), "{reply:?}");
    let polled = reply.polled.unwrap();
    assert_eq!(polled.rows.len(), 3, "the missing row was created and read");
    assert!(polled.runs.iter().any(|run| run.identity.key == "b"), "the claim is seen by the look after it");
    assert!(reply.claimed.iter().all(|claimed| Some(claimed.started_at) == reply.now));
}

#[test]
fn a_life_is_confirmed_only_of_an_open_run() {
    let database = cluster().new_database();
    let bench = Bench::on(&database, settings("n1"));
    bench.poll(&["a", "b"]);
    let runs = bench.claim(&["a", "b"], 2);
    let (a, b) = (bench.run(&runs[0]), bench.run(&runs[1]));
    bench.finish(end(b.clone(), Outcome::Ok, Becomes::Done));
    let life = |run: &RunIdentity| Refresh { run: run.clone(), pid: Some(12), pid_start: Some(34) };
    let gone = RunIdentity { started_at: a.started_at + Duration::from_micros(1), ..a.clone() };
    let refresh = vec![life(&gone), life(&a), life(&b)];
    let reply = bench.exchange(Exchange { refresh: refresh.clone(), ..Exchange::default() });
    assert_eq!(reply.refreshed, [Refreshed::Gone, Refreshed::Confirmed, Refreshed::Closed]);
    let run = bench.poll(&["a"]).runs.remove(0);
    assert_eq!((run.pid, run.pid_start, Some(run.alive_at)), (Some(12), Some(34), reply.now));
    let mut other = cluster().client(&database);
    let mut held = other.transaction().unwrap();
    held.execute("SELECT FROM tenantcron_run FOR UPDATE", &[]).unwrap();
    let reply = bench.exchange(Exchange { refresh, ..Exchange::default() });
    assert_eq!(reply.refreshed, [Refreshed::Gone, Refreshed::NotNow, Refreshed::Closed]);
}

#[test]
fn a_stale_claim_is_released_only_if_nothing_moved_since_it_was_read() {
    let database = cluster().new_database();
    let (ours, theirs) = (Bench::on(&database, settings("n1")), Bench::on(&database, settings("n2")));
    ours.poll(&["a", "b"]);
    let mut client = cluster().client(&database);
    client
        .batch_execute(
            "UPDATE tenantcron_status SET value = 'running', updated_at = now() - interval '2 days' WHERE key = 'a'",
        )
        .unwrap();
    let run = theirs.claim(&["b"], 1).remove(0);
    let rows = ours.poll(&["a", "b"]).rows;
    let time = |key: &str| rows.iter().find(|row| row.key == key).unwrap().updated_at;
    let silent_for = Duration::from_secs(60);
    let foreign = Release { key: "a".into(), updated_at: time("a"), run: None, silent_for };
    let node = Release { key: "b".into(), updated_at: time("b"), run: Some(theirs.run(&run)), silent_for };
    let release = |list: Vec<Release>| ours.exchange(Exchange { release: list, ..Exchange::default() }).released;

    assert!(release(vec![Release { updated_at: time("a") + Duration::from_micros(1), ..foreign.clone() }]).is_empty());
    assert!(
        release(vec![Release { updated_at: time("b"), key: "b".into(), ..foreign.clone() }]).is_empty(),
        "it has a run"
    );
    assert!(release(vec![node.clone()]).is_empty(), "the run was confirmed a moment ago");
    client.batch_execute("UPDATE tenantcron_run SET alive_at = now() - interval '2 minutes'").unwrap();
    let mut freed = release(vec![node, foreign]);
    freed.sort();
    assert_eq!(freed, ["a", "b"]);
    let polled = ours.poll(&["a", "b"]);
    assert!(polled.runs.is_empty());
    assert!(polled.rows.iter().all(|row| row.value == RowValue::Needed && row.updated_at == time(&row.key)));
    assert_eq!(theirs.finish(theirs.end(&run, Outcome::Ok, Becomes::Done)), Finished::ClosedByAnother);
}

#[test]
fn a_foreign_table_is_served_among_keys_that_are_never_touched() {
    let database = cluster().new_database();
    let mut client = cluster().client(&database);
    client
        .batch_execute(
            "CREATE TABLE wcs_meta (id serial PRIMARY KEY, key varchar(128) UNIQUE, value varchar,
                                    created_at timestamptz, updated_at timestamptz);
             INSERT INTO wcs_meta (key, value) SELECT 'sql_level', '107' UNION ALL SELECT 'x' || i, 'needed' FROM generate_series(1, 50) i;
             INSERT INTO wcs_meta (key, value) VALUES ('cron-status-old', 'needed'), (NULL, 'done')",
        )
        .unwrap();
    let before = |client: &mut postgres::Client| -> Vec<String> {
        let sql = "SELECT t::text || xmin::text || ctid::text FROM wcs_meta t WHERE key NOT LIKE 'cron-status-%' OR key IS NULL ORDER BY id";
        client.query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
    };
    let untouched = before(&mut client);
    assert_eq!(untouched.len(), 52);
    let bench = Bench::on(
        &database,
        Settings { status_table: "wcs_meta".into(), key_pattern: "cron-status-%".into(), ..settings("n1") },
    );
    let (old, new) = ("cron-status-old", "cron-status-new");
    let rows = bench.poll(&[old, new]).rows;
    let row = |key: &str| rows.iter().find(|row| row.key == key).unwrap();
    assert_eq!((row(old).created_at, row(old).updated_at), (None, DbTime::EPOCH));
    assert!(row(new).created_at.is_some(), "a created row has its time");
    let runs = bench.claim(&[old, new], 2);
    assert_eq!(runs.len(), 2);
    for run in &runs {
        assert!(matches!(
            bench.finish(bench.end(run, Outcome::Ok, Becomes::Done)),
            Finished::Recorded { row: Some(_) }
        ));
    }
    let slot = runs[0].started_at + Duration::from_secs(1);
    std::thread::park_timeout(Duration::from_millis(1100));
    let list = vec![Reset { key: old.into(), slot }, Reset { key: new.into(), slot }];
    assert_eq!(bench.exchange(Exchange { reset: list, ..Exchange::default() }).reset.len(), 2);
    assert_eq!(before(&mut client), untouched);
}

#[test]
fn an_unknown_value_is_told_and_left_alone() {
    let database = cluster().new_database();
    let mut client = cluster().client(&database);
    client.batch_execute("CREATE TABLE s (key text UNIQUE, value text, updated_at timestamptz); INSERT INTO s VALUES ('a', 'paused'), ('b', NULL)").unwrap();
    let bench = Bench::on(&database, Settings { status_table: "public.s".into(), ..settings("n1") });
    let rows = bench.poll(&["a", "b"]).rows;
    let values: Vec<_> = rows.iter().map(|row| row.value.as_str()).collect();
    assert_eq!(values, ["paused", ""]);
    let claim = Some(Claim { done_too: true, ..claim(&["a", "b"], 2) });
    assert!(bench.exchange(Exchange { claim, ..Exchange::default() }).claimed.is_empty());
}

#[test]
fn who_only_looks_writes_nothing_with_or_without_tables() {
    let database = cluster().new_database();
    let look = || Settings { access: Access::ReadOnly, ..settings("n1") };
    let tables = || -> i64 {
        let sql = "SELECT count(*) FROM pg_class WHERE relname LIKE 'tenantcron%'";
        cluster().client(&database).query_one(sql, &[]).unwrap().get(0)
    };
    let reply = Bench::on(&database, look()).exchange(poll(&["a"]));
    assert!(reply.now.is_some());
    assert_eq!((reply.polled, tables()), (Some(Box::default()), 0));

    // beside an existing cron: its rows stand, our tables do not
    cluster().client(&database).batch_execute("CREATE TABLE s (key text UNIQUE, value text, updated_at timestamptz); INSERT INTO s VALUES ('a', 'done', now())").unwrap();
    let beside = Bench::on(&database, Settings { status_table: "s".into(), ..look() });
    assert_eq!(beside.poll(&["a", "b"]).rows.len(), 1);
    assert_eq!(tables(), 0);
    let trouble = beside.try_exchange(Exchange { claim: Some(claim(&["a"], 1)), ..Exchange::default() }).unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Unfit);

    let manual = Bench::on(&database, Settings { migrate: Migrate::Manual, ..settings("n1") });
    let trouble = manual.try_exchange(poll(&["a"])).unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Unfit);
    assert!(trouble.text.contains("run `tenantcron migrate`"), "{}", trouble.text);
}

#[test]
fn a_row_held_uncommitted_by_somebody_else_is_created_another_time() {
    let database = cluster().new_database();
    let bench = Bench::on(&database, settings("n1"));
    bench.poll(&["a"]);
    let mut other = cluster().client(&database);
    let mut held = other.transaction().unwrap();
    held.execute("INSERT INTO tenantcron_status (key) VALUES ('b')", &[]).unwrap();
    assert_eq!(bench.poll(&["a", "b", "c"]).rows.len(), 1);
    held.commit().unwrap();
    assert_eq!(bench.poll(&["a", "b", "c"]).rows.len(), 3);
}

#[test]
fn tables_that_are_dropped_meanwhile_are_looked_at_again() {
    let database = cluster().new_database();
    let bench = Bench::on(&database, settings("n1"));
    bench.poll(&["a"]);
    cluster().client(&database).batch_execute("DROP TABLE tenantcron_run, tenantcron_flag, tenantcron_status").unwrap();
    assert_eq!(bench.poll(&["a", "b"]).rows.len(), 2);
    let drop =
        "DROP TABLE tenantcron_status; CREATE TABLE tenantcron_status (key text, value text, updated_at timestamptz)";
    cluster().client(&database).batch_execute(drop).unwrap();
    let trouble = bench.try_exchange(poll(&["a"])).unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Unfit, "{}", trouble.text);
}
