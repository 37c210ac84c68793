//! Recording ends.

use super::bench::{Bench, Way, both_ways, end, poll, settings};
use super::cluster::cluster;
use crate::model::*;
use std::time::Duration;

both_ways!(
    an_end_closes_the_run_and_the_row_is_done_at_that_time,
    an_end_is_never_before_its_claim,
    a_row_that_is_needed_again_keeps_the_time_of_its_claim,
    an_end_said_twice_counts_as_recorded_and_changes_nothing_more,
    a_run_that_somebody_else_closed_keeps_their_outcome,
    an_end_whose_row_or_run_is_locked_is_for_later_and_waits_for_nothing,
    a_missing_row_does_not_keep_a_run_from_being_recorded,
    a_row_that_is_no_longer_running_is_not_flipped,
    a_run_that_a_failover_lost_is_inserted_once_and_its_older_needed_row_is_done,
    ids_that_come_again_after_a_restored_backup_do_not_mix_runs_up,
    many_ends_are_answered_in_their_order_and_two_of_one_key_one_by_one,
    a_run_that_was_deleted_leaves_no_row_running,
);

/// A database in which this bench has claimed `a`.
fn claimed(way: Way) -> (String, Bench, Claimed) {
    let database = cluster().new_database();
    let bench = Bench::by(way, &database, settings("n1"));
    bench.poll(&["a"]);
    let claimed = bench.claim(&["a"], 1).remove(0);
    (database, bench, claimed)
}

fn row(bench: &Bench, key: &str) -> StatusRow {
    bench.poll(&[key]).rows.remove(0)
}

fn count(database: &str, condition: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM tenantcron_run WHERE {condition}");
    cluster().client(database).query_one(&sql, &[]).unwrap().get(0)
}

fn an_end_closes_the_run_and_the_row_is_done_at_that_time(way: Way) {
    let (database, bench, claimed) = claimed(way);
    std::thread::park_timeout(Duration::from_millis(60));
    let said = Finish { ended_ago: Duration::from_millis(50), ..bench.end(&claimed, Outcome::Ok, Becomes::Done) };
    let reply = bench.exchange(Exchange { finish: vec![said], ..Exchange::default() });
    let row = row(&bench, "a");
    assert_eq!(row.value, RowValue::Done);
    assert_eq!(reply.finished, [Finished::Recorded { row: Some(row.updated_at) }]);
    assert_eq!(row.updated_at, reply.now.unwrap() - Duration::from_millis(50));
    let told =
        "outcome = 'ok' AND exit_code = 0 AND signal IS NULL AND cpu_seconds = 0.5 AND max_rss_kb = 1024 AND pid = 77";
    assert_eq!(count(&database, told), 1);
    assert!(bench.poll(&["a"]).runs.is_empty());
}

fn an_end_is_never_before_its_claim(way: Way) {
    let (_, bench, claimed) = claimed(way);
    let said = Finish { ended_ago: Duration::from_secs(3600), ..bench.end(&claimed, Outcome::Ok, Becomes::Done) };
    assert_eq!(bench.finish(said), Finished::Recorded { row: Some(claimed.started_at) });
}

fn a_row_that_is_needed_again_keeps_the_time_of_its_claim(way: Way) {
    let (_, bench, claimed) = claimed(way);
    let said = bench.end(&claimed, Outcome::Stopped, Becomes::Needed);
    assert_eq!(bench.finish(said), Finished::Recorded { row: Some(claimed.started_at) });
    let row = row(&bench, "a");
    assert_eq!((row.value, row.updated_at), (RowValue::Needed, claimed.started_at));
}

fn an_end_said_twice_counts_as_recorded_and_changes_nothing_more(way: Way) {
    let (database, bench, claimed) = claimed(way);
    let said = bench.end(&claimed, Outcome::Ok, Becomes::Done);
    bench.finish(said.clone());
    let before = row(&bench, "a");
    assert_eq!(bench.finish(said), Finished::Recorded { row: None });
    assert_eq!(row(&bench, "a"), before);
    assert_eq!(count(&database, "true"), 1);
}

fn a_run_that_somebody_else_closed_keeps_their_outcome(way: Way) {
    let (database, bench, claimed) = claimed(way);
    let taken_over = bench.end(&claimed, Outcome::Lost, Becomes::Needed);
    bench.finish(taken_over);
    assert_eq!(bench.finish(bench.end(&claimed, Outcome::Ok, Becomes::Done)), Finished::ClosedByAnother);
    assert_eq!(row(&bench, "a").value, RowValue::Needed);
    assert_eq!(count(&database, "outcome = 'lost'"), 1);
}

fn an_end_whose_row_or_run_is_locked_is_for_later_and_waits_for_nothing(way: Way) {
    let (database, bench, claimed) = claimed(way);
    let mut other = cluster().client(&database);
    for lock in ["tenantcron_status", "tenantcron_run"] {
        let mut held = other.transaction().unwrap();
        held.execute(&format!("SELECT FROM {lock} FOR UPDATE"), &[]).unwrap();
        assert_eq!(bench.finish(bench.end(&claimed, Outcome::Ok, Becomes::Done)), Finished::NotNow, "{lock}");
        held.rollback().unwrap();
    }
    assert_eq!(row(&bench, "a").value, RowValue::Running);
    assert!(matches!(
        bench.finish(bench.end(&claimed, Outcome::Ok, Becomes::Done)),
        Finished::Recorded { row: Some(_) }
    ));
}

fn a_missing_row_does_not_keep_a_run_from_being_recorded(way: Way) {
    let (database, bench, claimed) = claimed(way);
    cluster().client(&database).execute("DELETE FROM tenantcron_status", &[]).unwrap();
    assert_eq!(bench.finish(bench.end(&claimed, Outcome::Failed, Becomes::Done)), Finished::Recorded { row: None });
    assert_eq!(count(&database, "outcome = 'failed' AND finished_at IS NOT NULL"), 1);
}

fn a_row_that_is_no_longer_running_is_not_flipped(way: Way) {
    let (database, bench, claimed) = claimed(way);
    cluster().client(&database).execute("UPDATE tenantcron_status SET value = 'needed'", &[]).unwrap();
    assert_eq!(bench.finish(bench.end(&claimed, Outcome::Ok, Becomes::Done)), Finished::Recorded { row: None });
    assert_eq!(row(&bench, "a").value, RowValue::Needed);
}

fn a_run_that_a_failover_lost_is_inserted_once_and_its_older_needed_row_is_done(way: Way) {
    let (database, bench, claimed) = claimed(way);
    let forget = "DELETE FROM tenantcron_run; UPDATE tenantcron_status SET value = 'needed', updated_at = 'epoch'";
    cluster().client(&database).batch_execute(forget).unwrap();
    let said = bench.end(&claimed, Outcome::Ok, Becomes::Done);
    assert!(matches!(bench.finish(said.clone()), Finished::Recorded { row: Some(_) }));
    let row = row(&bench, "a");
    assert_eq!(row.value, RowValue::Done);
    assert_eq!(bench.finish(said), Finished::Recorded { row: None }, "once more, as after a lost answer");
    assert_eq!(count(&database, "outcome = 'ok'"), 1);

    // a claim that was taken since, and one that is lost anyway, stay away
    cluster().client(&database).batch_execute("DELETE FROM tenantcron_run").unwrap();
    cluster().client(&database).batch_execute("UPDATE tenantcron_status SET value = 'needed'").unwrap();
    let said = bench.end(&claimed, Outcome::Ok, Becomes::Done);
    assert_eq!(bench.finish(said), Finished::Recorded { row: None }, "the row is newer than the run");
    cluster().client(&database).batch_execute("DELETE FROM tenantcron_run").unwrap();
    let said = bench.end(&claimed, Outcome::Lost, Becomes::Needed);
    assert_eq!(bench.finish(said), Finished::Recorded { row: None });
    assert_eq!(count(&database, "true"), 0);
}

fn ids_that_come_again_after_a_restored_backup_do_not_mix_runs_up(way: Way) {
    let (database, bench, claimed) = claimed(way);
    for (field, value) in [
        ("key", "'b'"),
        ("instance", "'x'"),
        ("node", "'x'"),
        ("host", "'x'"),
        ("started_at", "started_at + interval '1 microsecond'"),
    ] {
        let mut client = cluster().client(&database);
        let mut held = client.transaction().unwrap();
        held.batch_execute(&format!("UPDATE tenantcron_run SET {field} = {value}")).unwrap();
        held.commit().unwrap();
        let said = bench.end(&claimed, Outcome::Lost, Becomes::Needed);
        assert_eq!(bench.finish(said), Finished::Recorded { row: None }, "{field}");
        assert_eq!(count(&database, "finished_at IS NULL"), 1, "{field}");
        let undo = format!(
            "UPDATE tenantcron_run SET key = 'a', instance = 'wcs', node = 'n1', host = '{}', started_at = alive_at",
            bench.settings.identity.host
        );
        client.batch_execute(&undo).unwrap();
    }
    assert!(matches!(
        bench.finish(bench.end(&claimed, Outcome::Ok, Becomes::Done)),
        Finished::Recorded { row: Some(_) }
    ));
}

fn many_ends_are_answered_in_their_order_and_two_of_one_key_one_by_one(way: Way) {
    let bench = Bench::by(way, &cluster().new_database(), settings("n1"));
    bench.poll(&["a", "b", "c"]);
    let runs = bench.claim(&["c", "b", "a"], 3);
    let gone = RunIdentity { id: RunId(4711), started_at: DbTime(1), ..bench.run(runs.first().unwrap()) };
    let mut finish: Vec<Finish> = runs.iter().map(|run| bench.end(run, Outcome::Ok, Becomes::Done)).collect();
    finish.insert(1, end(gone, Outcome::Ok, Becomes::Done));
    let (all, again) = (finish.clone(), finish.remove(1));
    let reply = bench.exchange(Exchange { finish: all, ..poll(&["a", "b", "c"]) });
    let recorded = |answer: &Finished| matches!(answer, Finished::Recorded { row: Some(_) });
    assert_eq!(reply.finished.iter().map(recorded).collect::<Vec<_>>(), [true, false, true, true]);
    assert_eq!(reply.finished.get(1), Some(&Finished::NotNow), "the second of its key");
    assert!(
        reply.polled.unwrap().rows.iter().all(|row| row.value == RowValue::Done),
        "read after the ends were recorded"
    );
    assert_eq!(bench.finish(again), Finished::Recorded { row: None });
}

fn a_run_that_was_deleted_leaves_no_row_running(way: Way) {
    let database = cluster().new_database();
    let bench = Bench::by(way, &database, settings("n1"));
    bench.poll(&["a", "b"]);
    let mut client = cluster().client(&database);
    for (key, becomes) in [("a", Becomes::Done), ("b", Becomes::Needed)] {
        let claimed = bench.claim(&[key], 1);
        client.batch_execute("TRUNCATE tenantcron_run").unwrap();
        let outcome = if becomes == Becomes::Done { Outcome::Ok } else { Outcome::Stopped };
        let answer = bench.finish(bench.end(&claimed[0], outcome, becomes));
        assert!(matches!(answer, Finished::Recorded { row: Some(_) }), "{key}: {answer:?}");
        let rows = bench.poll(&[key]).rows;
        assert_eq!(rows[0].value.as_str(), becomes.as_str(), "{key}");
    }
}
