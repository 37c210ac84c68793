//! Rows that disagree with a run that lives, as after a failover, a restored backup, or by a hand.

use super::bench::{Bench, claim, end, poll, settings};
use super::cluster::cluster;
use crate::model::*;
use std::time::Duration;

/// A database in which this bench has claimed these.
fn claimed(keys: &[&str]) -> (String, Bench, Vec<Claimed>) {
    let database = cluster().new_database();
    let bench = Bench::on(&database, settings("n1"));
    bench.poll(keys);
    let mut claimed = bench.claim(keys, u32::try_from(keys.len()).unwrap());
    claimed.sort_by(|one, other| one.key.cmp(&other.key));
    (database, bench, claimed)
}

fn said(run: RunIdentity) -> Repair {
    Repair { run, group: Some("g".into()), pid: Some(77), pid_start: Some(88), lease: Some(Duration::from_secs(90)) }
}

fn repair(bench: &Bench, runs: &[RunIdentity]) -> Vec<Repaired> {
    let repair = runs.iter().cloned().map(said).collect();
    bench.exchange(Exchange { repair, ..Exchange::default() }).repaired
}

fn sql(database: &str, sql: &str) {
    cluster().client(database).batch_execute(sql).unwrap();
}

/// Every row and every run, with what tells whether it was touched.
fn everything(database: &str) -> Vec<String> {
    let sql = "SELECT t::text || t.xmin::text FROM tenantcron_run t UNION ALL SELECT t::text || t.xmin::text FROM tenantcron_status t";
    cluster().client(database).query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
}

fn row(bench: &Bench, key: &str) -> (RowValue, DbTime) {
    let row = bench.poll(&[key]).rows.remove(0);
    (row.value, row.updated_at)
}

#[test]
fn a_row_that_a_hand_set_back_is_running_again_under_the_same_run() {
    let (database, bench, claimed) = claimed(&["a"]);
    let same = Repaired::Running { id: claimed[0].id, started_at: claimed[0].started_at };
    for value in ["needed", "done", "running"] {
        sql(&database, &format!("UPDATE tenantcron_status SET value = '{value}', updated_at = 'epoch'"));
        assert_eq!(repair(&bench, &[bench.run(&claimed[0])]), [same], "{value}");
        assert_eq!(row(&bench, "a"), (RowValue::Running, claimed[0].started_at), "{value}");
    }
    let runs = bench.poll(&["a"]).runs;
    assert_eq!(runs.iter().map(|run| run.identity.clone()).collect::<Vec<_>>(), [bench.run(&claimed[0])]);
}

#[test]
fn a_run_that_a_failover_lost_is_opened_anew_with_all_that_it_was() {
    let (database, bench, claimed) = claimed(&["a"]);
    let before = "DELETE FROM tenantcron_run;
                  UPDATE tenantcron_status SET value = 'done', updated_at = now() - interval '1 hour'";
    sql(&database, before);
    let reply = bench.exchange(Exchange { repair: vec![said(bench.run(&claimed[0]))], ..poll(&["a"]) });
    let [Repaired::Running { id, started_at }] = reply.repaired[..] else { panic!("{reply:?}") };
    assert_ne!(id, claimed[0].id);
    assert_eq!(started_at, claimed[0].started_at);
    let polled = reply.polled.unwrap();
    let anew = OpenRun {
        identity: RunIdentity { id, ..bench.run(&claimed[0]) },
        group: Some("g".into()),
        pid: Some(77),
        pid_start: Some(88),
        alive_at: reply.now.unwrap(),
        lease: Some(Duration::from_secs(90)),
    };
    assert_eq!(polled.runs, std::slice::from_ref(&anew));
    assert_eq!((&polled.rows[0].value, polled.rows[0].updated_at), (&RowValue::Running, started_at));
    // From here on it is a run like any other.
    assert_eq!(bench.claim(&["a"], 1), []);
    let finished = bench.finish(end(anew.identity, Outcome::Ok, Becomes::Done));
    assert!(matches!(finished, Finished::Recorded { row: Some(_) }), "{finished:?}");
}

#[test]
fn a_repair_whose_answer_was_lost_finds_its_own_run_and_opens_no_second() {
    let (database, bench, claimed) = claimed(&["a", "b"]);
    // b began by another server's clock, ahead of this one's.
    let ahead = RunIdentity { started_at: claimed[1].started_at + Duration::from_secs(3600), ..bench.run(&claimed[1]) };
    sql(&database, "DELETE FROM tenantcron_run; UPDATE tenantcron_status SET value = 'needed', updated_at = 'epoch'");
    let both = [bench.run(&claimed[0]), ahead.clone()];
    let first = repair(&bench, &both);
    let (Repaired::Running { .. }, Repaired::Running { started_at, .. }) = (first[0], first[1]) else {
        panic!("{first:?}")
    };
    assert!(started_at < ahead.started_at, "no run begins in its database's future");
    assert_eq!(repair(&bench, &both), first);
    assert_eq!(bench.poll(&["a", "b"]).runs.len(), 2);
}

#[test]
fn an_end_told_under_the_number_of_before_such_a_repair_is_recorded_all_the_same() {
    let (database, bench, claimed) = claimed(&["a"]);
    sql(&database, "DELETE FROM tenantcron_run; UPDATE tenantcron_status SET value = 'needed', updated_at = 'epoch'");
    let answers = repair(&bench, &[bench.run(&claimed[0])]);
    assert!(matches!(answers[..], [Repaired::Running { .. }]), "{answers:?}");
    let told = bench.end(&claimed[0], Outcome::Ok, Becomes::Done);
    assert!(matches!(bench.finish(told.clone()), Finished::Recorded { row: Some(_) }));
    let polled = bench.poll(&["a"]);
    assert_eq!((polled.runs.len(), &polled.rows[0].value), (0, &RowValue::Done));
    let before = everything(&database);
    assert_eq!(bench.finish(told), Finished::Recorded { row: None });
    assert_eq!(everything(&database), before);
}

#[test]
fn a_run_that_somebody_closed_and_one_in_whose_place_another_is_open_stay_as_they_are() {
    let (database, bench, claimed) = claimed(&["a", "b", "c"]);
    let theirs = Bench::on(&database, settings("n2"));
    sql(
        &database,
        "UPDATE tenantcron_run SET finished_at = now(), outcome = 'lost' WHERE key IN ('a', 'c');
         DELETE FROM tenantcron_run WHERE key = 'b'; UPDATE tenantcron_status SET value = 'needed'",
    );
    assert_eq!(theirs.claim(&["b", "c"], 2).len(), 2);
    let before = everything(&database);
    let runs: Vec<_> = claimed.iter().map(|one| bench.run(one)).collect();
    assert_eq!(repair(&bench, &runs), [Repaired::Closed, Repaired::Another, Repaired::Closed]);
    assert_eq!(everything(&database), before);
}

#[test]
fn a_stray_of_a_restored_backup_is_closed_and_ours_opened_in_one_transaction() {
    let (database, bench, claimed) = claimed(&["a"]);
    // The backup holds an older run of ours, open, of a process that is gone, under the very same id.
    let stray = RunIdentity { started_at: claimed[0].started_at - Duration::from_secs(7200), ..bench.run(&claimed[0]) };
    sql(
        &database,
        "UPDATE tenantcron_run SET started_at = started_at - interval '2 hours', alive_at = started_at, pid = 5, pid_start = 6;
         UPDATE tenantcron_status SET updated_at = updated_at - interval '2 hours'",
    );
    let ours = bench.run(&claimed[0]);
    let before = everything(&database);
    assert_eq!(repair(&bench, std::slice::from_ref(&ours)), [Repaired::Another], "while it is open");
    assert_eq!(everything(&database), before);

    let lost = Finish { pid: Some(5), pid_start: Some(6), ..end(stray.clone(), Outcome::Lost, Becomes::Needed) };
    let reply = bench.exchange(Exchange {
        finish: vec![lost],
        repair: vec![said(ours.clone())],
        claim: Some(claim(&["a"], 1)),
        ..poll(&["a"])
    });
    assert_eq!(reply.finished, [Finished::Recorded { row: Some(stray.started_at) }]);
    let [Repaired::Running { id, started_at }] = reply.repaired[..] else { panic!("{reply:?}") };
    assert_eq!((reply.claimed, started_at), (vec![], ours.started_at), "nobody gets between the two");
    let polled = reply.polled.unwrap();
    assert_eq!(polled.runs.iter().map(|run| &run.identity).collect::<Vec<_>>(), [&RunIdentity { id, ..ours }]);
    assert_eq!(polled.runs[0].pid, Some(77));
    assert_eq!((&polled.rows[0].value, polled.rows[0].updated_at), (&RowValue::Running, started_at));
    let told: i64 = cluster()
        .client(&database)
        .query_one("SELECT count(*) FROM tenantcron_run WHERE outcome = 'lost' AND pid = 5", &[])
        .unwrap()
        .get(0);
    assert_eq!(told, 1, "the stray is lost");
}

#[test]
fn what_somebody_holds_or_nobody_knows_is_for_later_and_holds_up_no_other() {
    let (database, bench, claimed) = claimed(&["a", "b"]);
    let both: Vec<_> = claimed.iter().map(|one| bench.run(one)).collect();
    let running = |at: usize| Repaired::Running { id: claimed[at].id, started_at: claimed[at].started_at };
    sql(&database, "UPDATE tenantcron_status SET value = 'needed'");
    let mut other = cluster().client(&database);
    for table in ["tenantcron_status", "tenantcron_run"] {
        let mut held = other.transaction().unwrap();
        held.execute(&format!("SELECT FROM {table} WHERE key = 'a' FOR UPDATE"), &[]).unwrap();
        assert_eq!(repair(&bench, &both), [Repaired::NotNow, running(1)], "{table}");
        held.rollback().unwrap();
    }
    assert_eq!(row(&bench, "a").0, RowValue::Needed);
    sql(&database, "DELETE FROM tenantcron_status WHERE key = 'a'");
    assert_eq!(repair(&bench, &both), [Repaired::NotNow, running(1)], "no row");
    sql(&database, "DELETE FROM tenantcron_run WHERE key = 'a'");
    assert_eq!(repair(&bench, &both), [Repaired::NotNow, running(1)], "neither row nor run");
    assert_eq!(bench.poll(&["a"]).runs.iter().filter(|run| run.identity.key == "a").count(), 0);
}

#[test]
fn a_row_with_a_value_that_nobody_knows_is_left_alone() {
    let (database, bench, claimed) = claimed(&["a", "b"]);
    sql(
        &database,
        "ALTER TABLE tenantcron_status DROP CONSTRAINT tenantcron_status_value_check, ALTER value DROP NOT NULL;
         UPDATE tenantcron_status SET value = CASE key WHEN 'a' THEN 'halted' END;
         DELETE FROM tenantcron_run WHERE key = 'b'",
    );
    let before = everything(&database);
    let both: Vec<_> = claimed.iter().map(|one| bench.run(one)).collect();
    assert_eq!(repair(&bench, &both), [Repaired::NotNow, Repaired::NotNow]);
    assert_eq!(everything(&database), before);
}

#[test]
fn a_whole_shared_database_is_repaired_by_one_statement() {
    let keys: Vec<String> = (0..500).map(|n| format!("k{n:03}")).collect();
    let refs: Vec<&str> = keys.iter().map(String::as_str).collect();
    let (database, bench, claimed) = claimed(&refs);
    // Half of the runs are lost, and the history of each key is long.
    sql(
        &database,
        "DELETE FROM tenantcron_run WHERE right(key, 1) < '5';
         UPDATE tenantcron_status SET value = 'done', updated_at = updated_at - interval '10 minutes';
         INSERT INTO tenantcron_run (key, instance, node, host, started_at, alive_at, finished_at, outcome)
         SELECT key, 'wcs', 'n1', 'h', now() - n * interval '20 minutes', now(), now(), 'ok'
         FROM tenantcron_status, generate_series(1, 100) n; ANALYZE",
    );
    let runs: Vec<_> = claimed.iter().map(|one| bench.run(one)).collect();
    let answers = repair(&bench, &runs);
    for (run, answer) in runs.iter().zip(&answers) {
        let Repaired::Running { id, started_at } = *answer else { panic!("{run:?}: {answer:?}") };
        assert_eq!(started_at, run.started_at);
        assert_eq!(id == run.id, run.key.as_bytes()[3] >= b'5', "{run:?}: {answer:?}");
    }
    let polled = bench.poll(&refs);
    assert_eq!(polled.runs.len(), 500);
    assert!(polled.rows.iter().all(|row| row.value == RowValue::Running));
    assert_eq!(repair(&bench, &runs), answers);
}
