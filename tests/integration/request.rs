//! `request`: an operator, or an application, asks for a run, and the supervisor notices at once.

use crate::rows::Rows;
use crate::support::cluster::cluster;
use crate::support::configuration::Configuration;
use crate::support::daemon::Supervisor;
use crate::support::wait::{eventually, exit_within, secs, throughout};
use std::process::{Output, Stdio};

/// Neither a slot nor a poll comes while a test runs: what is noticed was told.
fn deaf() -> Configuration {
    Supervisor::builder().set("schedule.every", "24h").set("database.poll", "1h")
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

fn await_runs(supervisor: &Supervisor, tenant: &str, count: usize) {
    eventually(secs(30), &format!("{tenant} has run {count} times"), || {
        let seen = supervisor.journal().read().ended(tenant);
        if seen >= count { Ok(()) } else { Err(format!("{seen} times")) }
    });
}

#[test]
fn in_a_shared_database_it_is_noticed_by_notify_from_anywhere() {
    let database = cluster().database();
    let here = deaf().database(&database).tenants(&["a", "b"]);
    // Another host, as far as files and signals go.
    let elsewhere = here.clone().set("node", "node2").prepare();
    let supervisor = here.start();
    await_runs(&supervisor, "a", 1);
    await_runs(&supervisor, "b", 1);
    let mut rows = Rows::of(&database);
    eventually(secs(20), "both are recorded", || rows.count("done") == 2);
    eventually(secs(20), "it listens", || {
        rows.one::<i64>(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'",
            &[],
        ) > 0
    });
    let asked = elsewhere.command(&["request", "a"]);
    assert!(asked.status.success(), "{asked:?}");
    await_runs(&supervisor, "a", 2);

    // An application asks by itself, naming the key or nothing at all.
    for (payload, count) in [("b", 2), ("", 3)] {
        eventually(secs(20), "b is done", || rows.value("b").as_deref() == Some("done"));
        rows.run(&format!(
            "UPDATE tenantcron_status SET value = 'needed' WHERE key = 'b'; NOTIFY tenantcron, '{payload}'"
        ));
        await_runs(&supervisor, "b", count);
    }
    assert_eq!(supervisor.journal().read().ended("a"), 2, "nobody asked for a");
}

#[test]
fn with_a_database_for_each_tenant_it_is_noticed_by_a_file_and_a_signal() {
    let databases = cluster().databases(3, "req");
    let [a, b, c] = &databases[..] else { unreachable!() };
    let supervisor = deaf().database_each(cluster(), &databases).start();
    for database in &databases {
        await_runs(&supervisor, &database.name, 1);
        eventually(secs(20), "it is recorded", || Rows::of(database).count("done") == 1);
    }
    assert!(supervisor.command(&["request", &a.name]).status.success());
    await_runs(&supervisor, &a.name, 2);
    eventually(secs(10), "the file is taken", || {
        std::fs::read_dir(supervisor.state().join("wake")).unwrap().count() == 0
    });
    eventually(secs(20), "it is recorded", || Rows::of(a).count("done") == 1);
    assert!(supervisor.command(&["request", "--all"]).status.success());
    await_runs(&supervisor, &a.name, 3);
    await_runs(&supervisor, &b.name, 2);
    await_runs(&supervisor, &c.name, 2);
    assert_eq!(supervisor.journal().read().runs.len(), 7);
}

#[test]
fn a_running_tenant_is_refused_and_wait_requests_it_when_it_has_ended() {
    let database = cluster().database();
    let supervisor =
        deaf().database(&database).tenants(&["a", "b"]).plan("a", "while [ ! -e gate ]; do sleep 0.05; done").start();
    eventually(secs(20), "a runs", || supervisor.journal().read().runs_of("a").len() == 1);
    await_runs(&supervisor, "b", 1);
    let refused = supervisor.command(&["request", "a", "b"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("a: it is running"), "{refused:?}");
    await_runs(&supervisor, "b", 2);

    let mut waiting = supervisor.plain_command();
    waiting.arg("request").arg("--config").arg(supervisor.config_path()).args(["--wait", "a"]);
    let mut waiting = waiting.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    throughout(secs(2), "it waits and asks for nothing yet", || {
        waiting.try_wait().unwrap().is_none() && Rows::of(&database).value("a").as_deref() == Some("running")
    });
    std::fs::write(supervisor.folder().join("gate"), "").unwrap();
    assert!(exit_within(&mut waiting, secs(30)).expect("it ends").success());
    await_runs(&supervisor, "a", 2);
    assert_eq!(supervisor.journal().read().overlaps(), [""; 0]);
}

#[test]
fn what_cannot_be_requested_is_named_and_nothing_is_changed() {
    let database = cluster().database();
    let supervisor = deaf().database(&database).tenants(&["a", "odd", "new"]).prepare();
    let mut rows = Rows::of(&database);
    rows.run("CREATE TABLE tenantcron_status (key text PRIMARY KEY, value text, updated_at timestamptz)");
    rows.put("a", "done", "1 minute");
    rows.put("odd", "later", "1 minute");
    rows.put("nobody", "done", "1 minute");
    let before = rows.list("SELECT s::text FROM tenantcron_status s ORDER BY key");
    let cases = [("nobody", "nobody", 2), ("../x", "../x", 2), ("odd", "\"later\"", 1), ("new", "no status row", 1)];
    for (name, words, code) in cases {
        let output = supervisor.command(&["request", name]);
        assert_eq!(output.status.code(), Some(code), "{name}: {output:?}");
        assert!(said(&output).contains(words), "{name}: {output:?}");
    }
    assert_eq!(rows.list("SELECT s::text FROM tenantcron_status s ORDER BY key"), before);
    // One bad among good ones stops none that can be asked for, but an unknown name stops all.
    assert_eq!(supervisor.command(&["request", "a", "nobody"]).status.code(), Some(2));
    assert_eq!(rows.value("a").as_deref(), Some("done"));
    assert_eq!(supervisor.command(&["request", "a", "odd"]).status.code(), Some(1));
    assert_eq!(rows.value("a").as_deref(), Some("needed"));
    assert_eq!(supervisor.command(&["request"]).status.code(), Some(2), "nobody named, and not --all");
}
