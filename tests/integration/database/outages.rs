//! The server goes and comes back: stopped, sessions ended, read-only, frozen, the database dropped.
//! Children never notice, every end is recorded with its true outcome, one alert tells of each turn.

use super::{RunRow, drain, number, runs, texts};
use crate::support::cluster::{Cluster, cluster};
use crate::support::daemon::Supervisor;
use crate::support::proc;
use crate::support::wait::{eventually, millis, secs, throughout};
use nix::sys::signal::Signal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// How often the log says so.
fn told(supervisor: &Supervisor, text: &str) -> usize {
    supervisor.log().lines().filter(|line| line.contains(text)).count()
}

/// One alert for the outage, one for its end, and the reason in the first.
#[track_caller]
fn one_outage(supervisor: &Supervisor, database: &str, reason: &str) {
    let log = supervisor.log();
    let find =
        |text: &str| log.lines().filter(|line| line.contains(text) && line.contains(database)).collect::<Vec<_>>();
    let (down, up) = (find(" is down"), find(" is back after"));
    assert_eq!((down.len(), up.len()), (1, 1), "{down:?} {up:?}");
    assert!(down[0].contains(reason) && down[0].contains("ALERT") && up[0].contains("ALERT"), "{down:?} {up:?}");
}

/// Three that end each in its own way once the file `go` is there.
fn three(supervisor: &Supervisor) {
    let wait = format!("while [ ! -e {}/go ]; do sleep 0.05; done", supervisor.folder().display());
    for (tenant, end) in [("good", "exit 0"), ("bad", "exit 3"), ("worst", "ulimit -c 0; kill -SEGV $$")] {
        supervisor.journal().plan(tenant, &format!("{wait}; {end}"));
    }
}

fn go(supervisor: &Supervisor) {
    std::fs::write(supervisor.folder().join("go"), "").unwrap();
}

#[track_caller]
fn three_are_recorded_truly(found: &[RunRow]) {
    let tell = |key: &str| {
        let its: Vec<_> = found.iter().filter(|run| run.key == key).collect();
        assert_eq!(its.len(), 1, "{its:?}");
        (its[0].outcome.as_deref().unwrap_or("open").to_owned(), its[0].exit_code, its[0].signal)
    };
    assert_eq!(tell("good"), ("ok".to_owned(), Some(0), None));
    assert_eq!(tell("bad"), ("failed".to_owned(), Some(3), None));
    assert_eq!(tell("worst"), ("killed".to_owned(), None, Some(11)));
}

fn recorded(supervisor: &Supervisor, connect: impl Fn() -> Option<postgres::Client>) -> Vec<RunRow> {
    eventually(secs(60), "every end is recorded", || {
        let mut client = connect().ok_or("no connection")?;
        let found = runs(&mut client);
        let open = found.iter().filter(|run| run.outcome.is_none()).count();
        if open == 0 && found.len() >= 3 { Ok(found) } else { Err(supervisor.log()) }
    })
}

#[test]
fn children_outlive_a_stopped_server_and_their_ends_are_recorded_when_it_is_back() {
    let own = Cluster::start_own(&[]);
    let database = own.own_databases(1, "stopped").remove(0);
    let mut supervisor = Supervisor::builder()
        .tenants(&["good", "bad", "worst"])
        .database(&database)
        .set("workers", 3)
        .set("schedule.every", "1h")
        .prepare();
    three(&supervisor);
    supervisor.start();
    eventually(secs(30), "three run", || supervisor.journal().read().runs.len() == 3);
    let pids: Vec<i32> = supervisor.journal().read().runs.iter().map(|run| run.pid).collect();
    own.stop_immediate();
    supervisor.wait_for_log(" is down", secs(30));
    assert!(pids.iter().all(|pid| proc::is_alive(*pid)), "an outage ended a child");
    go(&supervisor);
    eventually(secs(20), "three have ended", || pids.iter().all(|pid| !proc::is_alive(*pid)));
    let ended = Instant::now();
    eventually(secs(20), "no zombie is left", || proc::zombies(supervisor.pid()).is_empty());
    while ended.elapsed() < secs(3) {
        std::thread::sleep(millis(50));
    }
    own.start();
    let found = recorded(&supervisor, || Some(database.connect()));
    three_are_recorded_truly(&found);
    // The ends are told as of when they were seen: an outage does not lengthen a run.
    let mut client = database.connect();
    let since = "SELECT extract(epoch FROM now() - max(finished_at))::int8 FROM tenantcron_run";
    let elapsed = ended.elapsed().as_secs() as i64;
    let since = number(&mut client, since);
    assert!(since >= elapsed - 2, "an end seen {elapsed} s ago is told as {since} s ago");
    supervisor.wait_for_log(" is back after", secs(30));
    one_outage(&supervisor, &database.name, "cannot connect");
    assert_eq!(texts(&mut client, "SELECT DISTINCT value FROM tenantcron_status"), ["done"]);
    assert_eq!(supervisor.journal().read().runs.len(), 3);
    drain(&mut supervisor);
}

#[test]
fn sessions_that_are_ended_again_and_again_lose_nothing_and_run_nothing_twice() {
    let database = cluster().database();
    let tenants: Vec<String> = (1..=10).map(|at| format!("t{at}")).collect();
    let mut supervisor = Supervisor::builder()
        .tenants(&tenants)
        .database(&database)
        .set("workers", 5)
        .set("schedule.every", "1s")
        .plan_for_all("sleep 0.1")
        .start();
    eventually(secs(30), "all have run", || supervisor.journal().read().tenants().len() == 10);
    let mut client = database.connect();
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = 'tenantcron'";
    let (begun, mut ended) = (Instant::now(), 0);
    while begun.elapsed() < secs(6) {
        ended += number(&mut client, end);
        std::thread::sleep(millis(if ended % 2 == 0 { 30 } else { 250 }));
    }
    assert!(ended >= 5, "only {ended} sessions were ended");
    let before: Vec<usize> = tenants.iter().map(|tenant| supervisor.journal().read().ended(tenant)).collect();
    eventually(secs(60), "all run on", || {
        let record = supervisor.journal().read();
        tenants.iter().zip(&before).all(|(tenant, before)| record.ended(tenant) >= before + 2)
    });
    drain(&mut supervisor);
    let (record, rows) = (supervisor.journal().read(), runs(&mut client));
    assert_eq!(record.overlaps(), [""; 0]);
    for run in &record.runs {
        let its: Vec<_> = rows.iter().filter(|row| row.id == run.run).collect();
        assert!(
            its.len() == 1 && its[0].key == run.tenant && its[0].outcome.as_deref() == Some("ok"),
            "{run:?}: {its:?}"
        );
    }
    // A claim whose answer was lost never started anything, and is closed as what it is.
    let unknown: Vec<_> = rows.iter().filter(|row| !record.runs.iter().any(|run| run.run == row.id)).collect();
    assert!(unknown.iter().all(|row| row.outcome.as_deref() == Some("lost")), "{unknown:?}");
}

#[test]
fn a_server_that_turns_read_only_counts_as_down_until_it_can_be_written_again() {
    let own = Cluster::start_own(&[]);
    let database = own.own_databases(1, "standby").remove(0);
    let mut supervisor = Supervisor::builder()
        .tenants(&["good", "bad", "worst"])
        .database(&database)
        .set("workers", 3)
        .set("schedule.every", "1h")
        .prepare();
    three(&supervisor);
    supervisor.start();
    eventually(secs(30), "three run", || supervisor.journal().read().runs.len() == 3);
    own.admin("ALTER SYSTEM SET default_transaction_read_only = on");
    own.admin("SELECT pg_reload_conf()");
    eventually(secs(10), "the server is read-only", || {
        texts(&mut database.connect(), "SHOW transaction_read_only") == ["on"]
    });
    go(&supervisor);
    let down = supervisor.wait_for_log(" is down", secs(30));
    assert!(down.contains("read-only") && down.contains("target_session_attrs"), "{down}");
    eventually(secs(20), "three have ended", || {
        supervisor.journal().read().runs.iter().all(|run| !proc::is_alive(run.pid))
    });
    assert_eq!(number(&mut database.connect(), "SELECT count(*) FROM tenantcron_run WHERE finished_at IS NULL"), 3);
    for sql in [
        "SET default_transaction_read_only = off",
        "ALTER SYSTEM RESET default_transaction_read_only",
        "SELECT pg_reload_conf()",
    ] {
        own.admin(sql);
    }
    let found = recorded(&supervisor, || Some(database.connect()));
    three_are_recorded_truly(&found);
    supervisor.wait_for_log(" is back after", secs(30));
    one_outage(&supervisor, &database.name, "read-only");
    drain(&mut supervisor);
}

#[test]
fn a_server_that_is_read_only_for_a_while_is_told_once_though_it_can_be_read() {
    let own = Cluster::start_own(&[]);
    let database = own.own_databases(1, "reader").remove(0);
    let mut supervisor = Supervisor::builder().tenants(&["a", "b"]).database(&database).start();
    eventually(secs(30), "both have run", || {
        supervisor.journal().read().ended("a") + supervisor.journal().read().ended("b") >= 2
    });
    own.admin("ALTER SYSTEM SET default_transaction_read_only = on");
    own.admin("SELECT pg_reload_conf()");
    supervisor.wait_for_log(" is down", secs(30));
    // Long enough for several tries, each of which could read what it only cannot write.
    throughout(secs(8), "it counts as down", || {
        let backs = told(&supervisor, " is back");
        if backs == 0 { Ok(()) } else { Err(supervisor.log()) }
    });
    for sql in [
        "SET default_transaction_read_only = off",
        "ALTER SYSTEM RESET default_transaction_read_only",
        "SELECT pg_reload_conf()",
    ] {
        own.admin(sql);
    }
    let before = supervisor.journal().read().ended("a");
    eventually(secs(60), "it runs on", || supervisor.journal().read().ended("a") >= before + 2);
    one_outage(&supervisor, &database.name, "read-only");
    drain(&mut supervisor);
}

#[test]
fn a_database_that_may_be_read_but_not_written_is_told_once_and_runs_once_the_rights_are_granted() {
    let database = cluster().database();
    let role = format!("only_{}", database.name);
    let configuration = Supervisor::builder().tenants(&["a"]).set("database.migrate", "manual");
    let owner = configuration.clone().set("database.url", database.url()).prepare();
    assert!(owner.command(&["migrate"]).status.success());
    let mut client = database.connect();
    client
        .batch_execute(&format!("CREATE ROLE {role} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"))
        .unwrap();
    let url = database.url().replace("postgres@", &format!("{role}@"));
    let mut supervisor = configuration.set("database.url", url).start();
    let down = supervisor.wait_for_log(" is down", secs(30));
    assert!(down.contains("permission denied") && down.contains("grant the rights"), "{down}");
    throughout(secs(6), "it counts as down", || told(&supervisor, " is back") == 0);
    client.batch_execute(&format!("GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")).unwrap();
    supervisor.signal(Signal::SIGUSR1);
    eventually(secs(90), "it runs", || supervisor.journal().read().ended("a") >= 1);
    one_outage(&supervisor, &database.name, "permission denied");
    drain(&mut supervisor);
    client.batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).unwrap();
}

#[test]
fn a_frozen_server_meets_the_deadlines_and_the_other_databases_go_on() {
    let own = Cluster::start_own(&[]);
    let frozen = own.own_databases(1, "frozen").remove(0);
    let others = cluster().databases(2, "beside");
    let names: Vec<&str> = others.iter().map(|database| database.name.as_str()).collect();
    let lines = [(&frozen.name, own.port()), (&others[0].name, cluster().port()), (&others[1].name, cluster().port())];
    let lines: Vec<String> = lines.iter().map(|(name, port)| format!("{name} group={port}\\n")).collect();
    let mut supervisor = Supervisor::builder()
        .set("tenants.command", vec!["printf".to_owned(), lines.concat()])
        .set("database.url", "postgresql://postgres@127.0.0.1:{group}/{tenant}")
        .set("workers", 3)
        .start();
    eventually(secs(30), "all have run", || supervisor.journal().read().tenants().len() == 3);
    supervisor.journal().plan(&frozen.name, "sleep 2; exit 3");
    let long = |supervisor: &Supervisor| {
        let record = supervisor.journal().read();
        record.runs_of(&frozen.name).last().filter(|run| run.end.is_none()).map(|run| run.run)
    };
    let run = eventually(secs(30), "the long one runs", || long(&supervisor));
    let calm = AtomicBool::new(true);
    own.sigstop_all();
    let begun = Instant::now();
    // An exchange under way has 30 s; nothing before that may be called an answer.
    let mut last = names.iter().map(|name| supervisor.journal().read().runs_of(name).len()).collect::<Vec<_>>();
    let mut looked = Instant::now();
    let down = loop {
        if let Some(line) = supervisor.log().lines().find(|line| line.contains(" is down")) {
            break line.to_owned();
        }
        assert!(begun.elapsed() < secs(60), "no deadline: {}", supervisor.log());
        if looked.elapsed() > secs(10) {
            let now: Vec<_> = names.iter().map(|name| supervisor.journal().read().runs_of(name).len()).collect();
            calm.fetch_and(now.iter().zip(&last).all(|(now, last)| now >= &(last + 2)), Ordering::SeqCst);
            (last, looked) = (now, Instant::now());
        }
        std::thread::sleep(millis(100));
    };
    assert!(down.contains(&frozen.name) && down.contains("no answer within"), "{down}");
    assert!(calm.load(Ordering::SeqCst), "the other databases' tenants did not run on");
    // It is asked again by new connections, which hang as well, each for its own deadline.
    own.sigcont();
    eventually(secs(60), "the end is recorded as it was", || {
        let rows = runs(&mut frozen.connect());
        let row = rows.into_iter().find(|row| row.id == run);
        row.filter(|row| row.outcome.as_deref() == Some("failed") && row.exit_code == Some(3))
    });
    eventually(secs(60), "it runs on", || supervisor.journal().read().ended(&frozen.name) >= 4);
    one_outage(&supervisor, &frozen.name, "no answer within");
    for name in names {
        assert_eq!(told(&supervisor, &format!("/{name} is down")), 0);
    }
    assert_eq!(supervisor.journal().read().overlaps(), [""; 0]);
    supervisor.stop();
}

#[test]
fn a_database_that_is_dropped_and_made_again_gets_its_tables_and_its_runs() {
    let database = cluster().database();
    let mut supervisor = Supervisor::builder().tenants(&["a", "long"]).database(&database).prepare();
    supervisor
        .journal()
        .plan("long", &format!("while [ ! -e {}/go ]; do sleep 0.05; done", supervisor.folder().display()));
    supervisor.start();
    eventually(secs(30), "both run", || supervisor.journal().read().tenants().len() == 2);
    let pid = supervisor.journal().read().runs_of("long")[0].pid;
    cluster().admin(&format!("DROP DATABASE \"{}\" WITH (FORCE)", database.name));
    let down = supervisor.wait_for_log(" is down", secs(30));
    assert!(down.contains(&database.name), "{down}");
    let before = supervisor.journal().read().ended("a");
    cluster().admin(&format!("CREATE DATABASE \"{}\"", database.name));
    eventually(secs(60), "the other runs again", || supervisor.journal().read().ended("a") >= before + 2);
    // Its run is gone and its row is new, but the child of before is there: no second one.
    assert!(proc::is_alive(pid));
    assert_eq!(supervisor.journal().read().runs_of("long").len(), 1);
    go(&supervisor);
    eventually(secs(60), "the long one ends and runs again", || supervisor.journal().read().ended("long") >= 2);
    let told = "SELECT count(*) FROM tenantcron_run WHERE key = 'long' AND outcome = 'ok'";
    eventually(secs(20), "its first run is recorded all the same", || number(&mut database.connect(), told) >= 2);
    assert_eq!(supervisor.journal().read().overlaps(), [""; 0]);
    drain(&mut supervisor);
}
