//! Rows and runs that are not as usual: old runs, a row deleted under a running child, a request in the
//! very moment of an end, values and times that nobody of ours wrote.

use super::{drain, number, runs, texts};
use crate::support::cluster::{TestDatabase, cluster};
use crate::support::daemon::Supervisor;
use crate::support::wait::{eventually, millis, secs, throughout};
use nix::sys::signal::Signal;

#[test]
fn old_runs_go_in_small_batches_and_each_keys_last_one_stays() {
    let database = cluster().database();
    let configuration = Supervisor::builder()
        .tenants(&["busy", "rare", "new"])
        .database(&database)
        .set("schedule.every", "1000h")
        .set("database.keep_runs", "10d");
    assert!(configuration.clone().prepare().command(&["migrate"]).status.success());
    let mut client = database.connect();
    client
        .batch_execute(
            "UPDATE tenantcron_status SET value = 'done', updated_at = now();
             INSERT INTO tenantcron_run (key, instance, node, host, started_at, alive_at, finished_at, outcome)
             SELECT key, 'test', 'node1', 'gone', now() - age, now() - age, now() - age + interval '1 s', 'ok'
             FROM (SELECT 'busy' AS key, interval '11 d' + n * interval '1 min' AS age FROM generate_series(1, 1300) AS n
                   UNION ALL SELECT 'busy', n * interval '1 h' FROM generate_series(1, 5) AS n
                   UNION ALL SELECT 'rare', interval '20 d' + n * interval '1 d' FROM generate_series(1, 30) AS n
                   UNION ALL SELECT 'left the sources', interval '400 d' + n * interval '1 d' FROM generate_series(1, 3) AS n) AS old;
             INSERT INTO tenantcron_run (key, instance, node, host, started_at, alive_at)
             VALUES ('claimed', 'test', 'other', 'other', now() - interval '99 d', now() - interval '99 d');
             CREATE TABLE batch (id serial, rows bigint, at timestamptz DEFAULT now());
             CREATE FUNCTION batch() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN INSERT INTO batch (rows) SELECT count(*) FROM gone; RETURN NULL; END';
             CREATE TRIGGER batch AFTER DELETE ON tenantcron_run REFERENCING OLD TABLE AS gone
                 FOR EACH STATEMENT EXECUTE FUNCTION batch()",
        )
        .unwrap();
    let mut supervisor = configuration.start();
    let left = "SELECT concat_ws(' ', key, count(*), count(*) FILTER (WHERE started_at < now() - interval '10 d'))
                FROM tenantcron_run GROUP BY key ORDER BY key";
    let wanted = ["busy 5 0", "claimed 1 1", "left the sources 1 1", "rare 1 1"];
    eventually(secs(60), "what is old is gone", || {
        let found = texts(&mut client, left);
        if found == wanted { Ok(()) } else { Err(format!("{found:?}")) }
    });
    let youngest = "SELECT extract(day FROM now() - started_at)::int8 FROM tenantcron_run WHERE key = 'rare'";
    assert_eq!(number(&mut client, youngest), 21, "the last one stays, not another");
    assert_eq!(number(&mut client, "SELECT sum(rows)::int8 FROM batch"), 1300 + 29 + 2);
    let largest = number(&mut client, "SELECT max(rows) FROM batch");
    assert!(largest <= 500, "{largest} in one batch");
    drain(&mut supervisor);
}

#[test]
fn a_request_that_races_with_an_end_is_never_lost() {
    let database = cluster().database();
    let mut supervisor = Supervisor::builder()
        .tenants(&["a"])
        .database(&database)
        .set("schedule.every", "1000h")
        .plan("a", "sleep 0.0$((TENANTCRON_RUN_ID % 10))")
        .start();
    let begun = |supervisor: &Supervisor| supervisor.journal().read().runs.len();
    eventually(secs(30), "it has run", || begun(&supervisor) == 1);
    let (mut granted, mut busy) = (0, 0);
    // Two at a time, so that one asks while the run of the other ends.
    while granted < 12 || busy < 2 {
        assert!(granted + busy < 80, "{granted} granted, {busy} refused");
        let before = begun(&supervisor);
        let ask = || supervisor.command(&["request", "a"]);
        let outputs = std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                std::thread::sleep(millis(fastrand::u64(0..120)));
                ask()
            });
            [ask(), other.join().unwrap()]
        });
        let won = outputs.iter().filter(|output| output.status.success()).count();
        for output in outputs.iter().filter(|output| !output.status.success()) {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.code() == Some(1) && (said.contains("running") || said.contains("locked")), "{said}");
        }
        (granted, busy) = (granted + won, busy + 2 - won);
        if won > 0 {
            eventually(secs(30), "what was granted runs", || begun(&supervisor) > before);
        }
    }
    eventually(secs(30), "it comes to rest", || {
        let rows = texts(&mut database.connect(), "SELECT value FROM tenantcron_status");
        if rows == ["done"] { Ok(()) } else { Err(format!("{rows:?}\n{}", supervisor.log())) }
    });
    drain(&mut supervisor);
    let record = supervisor.journal().read();
    assert_eq!(record.overlaps(), [""; 0]);
    let rows = runs(&mut database.connect());
    assert!(rows.iter().all(|row| row.outcome.as_deref() == Some("ok")), "{rows:?}");
    assert_eq!(rows.len(), record.runs.len());
    assert_eq!(
        number(
            &mut database.connect(),
            "SELECT count(*) FROM tenantcron_flag f JOIN tenantcron_status s USING (key) WHERE requested_at > updated_at"
        ),
        0,
        "a request is left over"
    );
}

#[test]
fn a_row_deleted_under_a_running_child_keeps_no_run_from_being_recorded() {
    let database = cluster().database();
    let mut supervisor = Supervisor::builder().tenants(&["a", "b"]).database(&database).prepare();
    let wait = format!(
        "[ $TENANTCRON_RUN_ID -gt 2 ] || while [ ! -e {}/go ]; do sleep 0.05; done; exit 3",
        supervisor.folder().display()
    );
    supervisor.journal().plan_for_all(&wait);
    supervisor.start();
    eventually(secs(30), "both run", || supervisor.journal().read().runs.len() == 2);
    let mut client = database.connect();
    client.batch_execute("DELETE FROM tenantcron_status WHERE key = 'a'").unwrap();
    // The next polls make the row anew, as one that has never run; the child is known all the same.
    throughout(secs(3), "no second copy starts", || supervisor.journal().read().runs.len() == 2);
    client.batch_execute("DELETE FROM tenantcron_status WHERE key = 'a'").unwrap();
    std::fs::write(supervisor.folder().join("go"), "").unwrap();
    eventually(secs(30), "its end is recorded", || {
        let rows = runs(&mut client);
        rows.iter()
            .filter(|row| row.id <= 2 && row.outcome.as_deref() == Some("failed") && row.exit_code == Some(3))
            .count()
            == 2
    });
    eventually(secs(30), "its row is there again and it runs on", || {
        let record = supervisor.journal().read();
        record.ended("a") >= 3 && record.ended("b") >= 3
    });
    drain(&mut supervisor);
    assert_eq!(supervisor.journal().read().overlaps(), [""; 0]);
    assert_eq!(number(&mut client, "SELECT count(*) FROM tenantcron_run WHERE finished_at IS NULL"), 0);
}

/// A table without any rule on its columns.
fn lawless(database: &TestDatabase, rows: &str) {
    let table = "CREATE TABLE loose (key text PRIMARY KEY, value text, updated_at timestamptz)";
    database.connect().batch_execute(&format!("{table}; INSERT INTO loose VALUES {rows}")).unwrap();
}

#[test]
fn a_row_with_an_unknown_value_is_told_once_and_left_alone() {
    let database = cluster().database();
    lawless(
        &database,
        "('odd', 'broken', '2020-01-01'), ('none', NULL, NULL), ('case', 'Needed', NULL), ('good', 'needed', NULL)",
    );
    let mut supervisor = Supervisor::builder()
        .tenants(&["odd", "none", "case", "good"])
        .database(&database)
        .set("database.status_table", "loose")
        .start();
    let mut client = database.connect();
    let odd = "SELECT concat_ws(' ', ctid, xmin, xmax, row_to_json(loose)) FROM loose WHERE key <> 'good' ORDER BY key";
    let before = texts(&mut client, odd);
    eventually(secs(60), "the good one runs on", || supervisor.journal().read().ended("good") >= 3);
    assert_eq!(texts(&mut client, odd), before, "touched");
    // Several polls have passed: one line each.
    for (tenant, value) in [("odd", "\"broken\""), ("none", "\"\""), ("case", "\"Needed\"")] {
        let said: Vec<_> = supervisor
            .log()
            .lines()
            .filter(|line| line.contains(&format!("{tenant}: its row's value")))
            .map(str::to_owned)
            .collect();
        assert!(said.len() == 1 && said[0].contains(value), "{tenant}: {said:?}");
        assert_eq!(supervisor.journal().read().runs_of(tenant).len(), 0);
        let asked = supervisor.command(&["request", tenant]);
        assert_eq!(asked.status.code(), Some(1), "{asked:?}");
    }
    let values = texts(&mut client, "SELECT value FROM loose WHERE key <> 'good' ORDER BY key");
    assert_eq!(values, ["Needed", "null", "broken"], "a request changed it");
    let status = supervisor.command(&["status", "odd"]);
    assert!(String::from_utf8_lossy(&status.stdout).contains("broken"), "{status:?}");
    client.batch_execute("UPDATE loose SET value = 'done' WHERE key = 'odd'").unwrap();
    eventually(secs(30), "mended, it runs", || supervisor.journal().read().ended("odd") >= 1);
    drain(&mut supervisor);
}

#[test]
fn a_time_that_is_null_or_before_1970_counts_as_never_run() {
    let database = cluster().database();
    lawless(
        &database,
        "('a_1971', 'needed', '1971-01-01'), ('b_null', 'needed', NULL), ('c_1960', 'needed', '1960-05-05'),
         ('d_before', 'done', '-infinity'), ('e_bc', 'needed', '0044-03-15 BC'), ('f_done', 'done', NULL),
         ('g_later', 'done', now() + interval '1 d')",
    );
    let tenants = ["a_1971", "b_null", "c_1960", "d_before", "e_bc", "f_done", "g_later"];
    let mut supervisor = Supervisor::builder()
        .tenants(&tenants)
        .database(&database)
        .set("database.status_table", "loose")
        .set("schedule.every", "1h")
        .set("workers", 1)
        .prepare();
    // A single look, so that everybody is known before anybody runs.
    let output = supervisor.command(&["run", "--once"]);
    assert!(output.status.success(), "{output:?}");
    let record = supervisor.journal().read();
    let order: Vec<&str> = record.runs.iter().map(|run| run.tenant.as_str()).collect();
    assert_eq!(order, ["b_null", "c_1960", "d_before", "e_bc", "f_done", "a_1971"]);
    let mut client = database.connect();
    let rows = texts(
        &mut client,
        "SELECT key || ' ' || value FROM loose WHERE updated_at BETWEEN now() - interval '5 min' AND now() ORDER BY key",
    );
    assert_eq!(rows, ["a_1971 done", "b_null done", "c_1960 done", "d_before done", "e_bc done", "f_done done"]);
    let infinite = "UPDATE loose SET value = 'needed', updated_at = CASE key WHEN 'a_1971' THEN 'infinity' ELSE '-infinity' END::timestamptz
                    WHERE key IN ('a_1971', 'b_null')";
    client.batch_execute(infinite).unwrap();
    supervisor.start();
    supervisor.signal(Signal::SIGUSR1);
    eventually(secs(30), "endless times do not stop it", || {
        let record = supervisor.journal().read();
        if ["a_1971", "b_null"].iter().all(|tenant| record.ended(tenant) >= 2) { Ok(()) } else { Err(supervisor.log()) }
    });
    drain(&mut supervisor);
}
