//! Rows that others hold locked, and many supervisors on the same rows: nobody waits for a row, nobody is
//! blocked, no deadlock, no tenant twice.

use super::layouts::wcs_meta;
use super::{drain, number, texts};
use crate::support::cluster::{TestDatabase, cluster};
use crate::support::daemon::Supervisor;
use crate::support::wait::{eventually, millis, secs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Looks until `over` whether a session of ours waits for a lock; what it saw.
fn waits_for_locks(database: &TestDatabase, over: &AtomicBool) -> Vec<String> {
    let mut client = database.connect();
    let mut seen = Vec::new();
    while !over.load(Ordering::SeqCst) {
        seen.extend(texts(
            &mut client,
            "SELECT concat_ws(' ', wait_event, left(query, 60)) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name = 'tenantcron' AND wait_event_type = 'Lock'",
        ));
        std::thread::sleep(millis(10));
    }
    seen.sort();
    seen.dedup();
    seen
}

/// Writes to rows of its own and asks for runs, as an application does; the longest that one statement took.
fn application(database: &TestDatabase, over: &AtomicBool) -> Duration {
    let mut client = database.connect();
    client.batch_execute("SET lock_timeout = '3s'").unwrap();
    let mut longest = Duration::ZERO;
    while !over.load(Ordering::SeqCst) {
        for sql in [
            "UPDATE wcs_meta SET value = value || 'x', updated_at = now() WHERE key = 'sql_level'",
            "SELECT * FROM wcs_meta WHERE key IN ('sql_level', 'cron-status-c', 'cron-status-d')",
            "UPDATE wcs_meta SET value = 'needed' WHERE key = 'cron-status-c' AND value = 'done'",
            "INSERT INTO wcs_meta (key, value) VALUES ('fresh', '1')",
            "DELETE FROM wcs_meta WHERE key = 'fresh'",
        ] {
            let begun = Instant::now();
            client.batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
            longest = longest.max(begun.elapsed());
        }
        std::thread::sleep(millis(10));
    }
    longest
}

#[test]
fn rows_that_an_application_holds_are_passed_over_and_it_is_never_blocked() {
    let database = cluster().database();
    wcs_meta(&database, "");
    let mut supervisor = Supervisor::builder()
        .tenants(&["a", "b", "c", "d"])
        .database(&database)
        .set("schedule.every", "1s")
        .set("database.status_table", "wcs_meta")
        .set("database.key", "cron-status-{tenant}")
        .plan("b", "sleep 1")
        .start();
    let ended = |tenant: &str| supervisor.journal().read().ended(tenant);
    eventually(secs(60), "all have run", || ["a", "b", "c", "d"].iter().all(|tenant| ended(tenant) > 0));

    let over = AtomicBool::new(false);
    let (waits, longest) = std::thread::scope(|scope| {
        let waits = scope.spawn(|| waits_for_locks(&database, &over));
        let writer = scope.spawn(|| application(&database, &over));
        let mut client = database.connect();
        // `b` is held while it runs, so that its end cannot be recorded; `a` while it does not.
        eventually(secs(20), "b runs", || {
            number(&mut client, "SELECT count(*) FROM wcs_meta WHERE key = 'cron-status-b' AND value = 'running'") == 1
        });
        let mut held = client.transaction().unwrap();
        held.batch_execute(
            "SELECT FROM wcs_meta WHERE key IN ('cron-status-a', 'cron-status-b', 'reindex') FOR UPDATE",
        )
        .unwrap();
        let begun = Instant::now();
        let before = ["a", "b", "c", "d"].map(|tenant| supervisor.journal().read().runs_of(tenant).len());
        while begun.elapsed() < secs(6) {
            std::thread::sleep(millis(50));
        }
        let now = ["a", "b", "c", "d"].map(|tenant| supervisor.journal().read().runs_of(tenant).len());
        held.commit().unwrap();
        // One of `a` may have been under way when its row was locked.
        assert!(now[0] <= before[0] + 1 && now[1] <= before[1] + 1, "a held row's tenant ran: {before:?} {now:?}");
        assert!(now[2] >= before[2] + 3 && now[3] >= before[3] + 3, "the others did not go on: {before:?} {now:?}");
        eventually(secs(20), "those that were held run again", || ended("a") > now[0] && ended("b") > now[1]);
        over.store(true, Ordering::SeqCst);
        (waits.join().unwrap(), writer.join().unwrap())
    });
    drain(&mut supervisor);
    assert_eq!(waits, [""; 0], "a session of ours waited");
    assert!(longest < secs(2), "the application waited {longest:?}");
    let outcomes = texts(&mut database.connect(), "SELECT DISTINCT outcome FROM tenantcron_run");
    assert_eq!(outcomes, ["ok"], "every end was recorded once its row was free");
    assert_eq!(supervisor.journal().read().overlaps(), [""; 0]);
}

#[test]
fn many_supervisors_on_the_same_rows_never_wait_never_deadlock_and_run_nobody_twice_in_a_slot() {
    let database = cluster().database();
    let tenants: Vec<String> = (10..40).map(|at| format!("t{at}")).collect();
    let configuration = Supervisor::builder()
        .tenants(&tenants)
        .database(&database)
        .set("schedule.every", "1s")
        .set("workers", 4)
        .set("limits.cluster", 12);
    assert!(configuration.clone().prepare().command(&["migrate"]).status.success());
    let mut nodes: Vec<_> = (1..=4).map(|at| configuration.clone().set("node", format!("n{at}")).start()).collect();
    let over = AtomicBool::new(false);
    let waits = std::thread::scope(|scope| {
        let waits = scope.spawn(|| waits_for_locks(&database, &over));
        let mut client = database.connect();
        let begun = Instant::now();
        while begun.elapsed() < secs(10) {
            let mut held = client.transaction().unwrap();
            let sql = "SELECT FROM tenantcron_status WHERE random() < 0.2 ORDER BY random() FOR UPDATE SKIP LOCKED";
            held.batch_execute(sql).unwrap();
            std::thread::sleep(millis(150));
            held.commit().unwrap();
        }
        over.store(true, Ordering::SeqCst);
        waits.join().unwrap()
    });
    nodes.iter_mut().for_each(drain);
    // The limit's own lock lets one claim at a time through; no row and no transaction is waited for.
    let rows: Vec<_> = waits.iter().filter(|wait| !wait.starts_with("advisory")).collect();
    assert!(rows.is_empty(), "{rows:?}");
    let mut client = database.connect();
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(number(&mut client, deadlocks), 0);
    let twice = "SELECT concat_ws(' ', key, floor(extract(epoch FROM started_at))) FROM tenantcron_run GROUP BY 1 HAVING count(*) > 1";
    assert_eq!(texts(&mut client, twice), [""; 0], "twice in a slot");
    let at_once = "SELECT concat_ws(' ', key, id) FROM (
                       SELECT key, id, started_at, lag(finished_at) OVER (PARTITION BY key ORDER BY id) AS before FROM tenantcron_run
                   ) AS r WHERE before > started_at";
    assert_eq!(texts(&mut client, at_once), [""; 0], "a run began before the one before it had ended");
    assert_eq!(texts(&mut client, "SELECT DISTINCT outcome FROM tenantcron_run"), ["ok"]);
    let record = nodes[0].journal().read();
    assert_eq!(record.overlaps(), [""; 0]);
    assert_eq!((record.nodes().len(), record.tenants().len()), (4, 30), "all nodes ran something, all tenants ran");
    assert_eq!(number(&mut client, "SELECT count(*) FROM tenantcron_run") as usize, record.runs.len());
}
