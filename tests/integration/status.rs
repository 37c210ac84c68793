//! `status`: where every tenant stands and, for a needed one, why it does not run.

use crate::rows::Rows;
use crate::support::cluster::cluster;
use crate::support::configuration::Configuration;
use crate::support::daemon::{BINARY, Supervisor, output_within};
use crate::support::proc;
use crate::support::silent::RefusingPort;
use crate::support::wait::{eventually, exit_within, secs};
use crate::support::world::{signal, world};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs::File;
use std::process::{Command, Output, Stdio};

fn hourly() -> Configuration {
    Supervisor::builder().set("schedule.every", "1h")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What `status --json` tells, whatever its exit code.
fn told(supervisor: &Supervisor) -> (Output, Value) {
    let output = supervisor.command(&["status", "--json"]);
    let value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output, value)
}

/// One tenant in it.
fn line(report: &Value, tenant: &str) -> Value {
    let lines = report["tenants"].as_array().expect("a list of tenants");
    lines.iter().find(|line| line["tenant"] == tenant).unwrap_or_else(|| panic!("no {tenant} in {report:#}")).clone()
}

/// Waits until `status` tells these reasons (why.json is written once a second).
#[track_caller]
fn await_reasons(supervisor: &Supervisor, wanted: &[(&str, Option<&str>)]) {
    eventually(secs(30), &format!("status tells {wanted:?}"), || {
        let (_, report) = told(supervisor);
        let seen: Vec<_> = wanted.iter().map(|(name, _)| line(&report, name)["why"].clone()).collect();
        let fine = wanted.iter().zip(&seen).all(|((_, why), seen)| seen.as_str() == *why);
        if fine { Ok(()) } else { Err(format!("{seen:?}")) }
    });
}

#[test]
fn it_tells_workers_busy_paused_and_disabled_in_this_order_of_weight() {
    let database = cluster().database();
    let mut supervisor = hourly()
        .set("workers", 1)
        .set_at(&["override", "off*", "enabled"], false)
        .database(&database)
        .tenants(&["busy", "waits", "paused", "off", "off-paused"])
        .plan("busy", "sleep 60")
        .prepare();
    assert!(supervisor.command(&["migrate"]).status.success());
    let mut rows = Rows::of(&database);
    rows.put("waits", "needed", "1 minute");
    rows.run("INSERT INTO tenantcron_flag (key, paused_at) VALUES ('paused', now()), ('off-paused', now())");
    supervisor.start();
    await_reasons(
        &supervisor,
        &[
            ("busy", None),
            ("waits", Some("workers busy")),
            ("paused", Some("paused")),
            ("off", Some("disabled")),
            ("off-paused", Some("paused")),
        ],
    );
}

#[test]
fn it_tells_which_limit_holds_a_tenant_back() {
    let database = cluster().database();
    let mut supervisor = hourly()
        .set("workers", 5)
        .set("limits.group", 1)
        .set("limits.cluster", 2)
        .set("tenants.command", vec!["printf", "red1 group=red\nred2 group=red\nplain1\nplain2\n"])
        .database(&database)
        .plan_for_all("sleep 60")
        .prepare();
    assert!(supervisor.command(&["migrate"]).status.success());
    let mut rows = Rows::of(&database);
    rows.put("plain2", "needed", "1 minute");
    rows.put("red2", "needed", "1 hour");
    supervisor.start();
    await_reasons(
        &supervisor,
        &[("red1", None), ("plain1", None), ("red2", Some("limit group")), ("plain2", Some("limit cluster"))],
    );
    assert_eq!(supervisor.journal().read().runs.len(), 2);
}

#[test]
fn it_tells_that_a_start_is_backing_off() {
    let database = cluster().database();
    let program = world().folder("program").join("program");
    std::fs::copy("/bin/true", &program).unwrap();
    // A program that somebody has open for writing cannot be executed now: ETXTBSY.
    let writer = File::options().append(true).open(&program).unwrap();
    let mut supervisor =
        hourly().set("job.command", vec![program.display().to_string()]).database(&database).tenants(&["a"]).start();
    let mut rows = Rows::of(&database);
    await_reasons(&supervisor, &[("a", Some("backing off"))]);
    eventually(secs(20), "between two tries the row is needed, and there is no run", || {
        let runs: i64 = rows.one("SELECT count(*) FROM tenantcron_run", &[]);
        (rows.value("a").as_deref(), runs) == (Some("needed"), 0)
    });
    drop(writer);
    eventually(secs(70), "it runs", || rows.outcomes("a") == ["ok"]);
    assert!(supervisor.stop().success());
}

#[test]
fn it_tells_who_holds_the_lock_of_a_needed_tenant() {
    let database = cluster().database();
    let mut supervisor = hourly().database(&database).tenants(&["a"]).plan("a", "sleep 60").prepare();
    let mut by_hand = supervisor.plain_command();
    by_hand.arg("run").arg("--config").arg(supervisor.config_path()).arg("a");
    let mut by_hand = by_hand.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut rows = Rows::of(&database);
    let pid = eventually(secs(20), "its pid is in the row", || {
        rows.list("SELECT pid::text FROM tenantcron_run WHERE pid IS NOT NULL").pop()
    });
    // Somebody releases the row although the process lives, and its watcher, who would end it, is stopped.
    signal(by_hand.id() as i32, Signal::SIGSTOP);
    rows.run("UPDATE tenantcron_run SET finished_at = now(), outcome = 'lost'; UPDATE tenantcron_status SET value = 'needed'");
    supervisor.start();
    await_reasons(&supervisor, &[("a", Some(&format!("lock held (pid {pid})")))]);
    assert_eq!(supervisor.journal().read().runs.len(), 1, "a second copy was started");
    by_hand.kill().unwrap();
    exit_within(&mut by_hand, secs(5));
}

#[test]
fn it_tells_that_a_database_is_down_and_its_exit_code_tells_too() {
    let there = cluster().database();
    let names = [there.name.as_str(), "no-such-database"];
    let mut supervisor = hourly().set("database.url", cluster().url_of("{tenant}")).tenants(&names).prepare();
    let (output, report) = told(&supervisor);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(line(&report, names[1])["why"], "database down");
    assert_eq!(line(&report, names[1])["state"], "unknown");
    assert_eq!(report["complete"], false);
    assert!(text(&output.stderr).contains("no-such-database"), "{output:?}");
    supervisor.start();
    await_reasons(&supervisor, &[(names[0], None), (names[1], Some("database down"))]);
    eventually(secs(20), "the other one has run", || line(&told(&supervisor).1, names[0])["last_outcome"] == "ok");

    let refusing = RefusingPort::take();
    let supervisor = hourly().set("database.url", refusing.url("none")).tenants(&["a"]).prepare();
    assert_eq!(told(&supervisor).0.status.code(), Some(69));
}

#[test]
fn it_works_while_the_supervisor_is_down_and_says_that_it_is() {
    let database = cluster().database();
    let mut supervisor = hourly().database(&database).tenants(&["a", "b"]).plan("b", "exit 3").prepare();
    let (output, report) = told(&supervisor);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(line(&report, "a")["state"], "no row");
    let tables = "SELECT count(*) FROM pg_class WHERE relname LIKE 'tenantcron%'";
    assert_eq!(Rows::of(&database).one::<i64>(tables, &[]), 0, "status created something");

    assert!(supervisor.command(&["migrate"]).status.success());
    await_reasons(&supervisor, &[("a", Some("supervisor not running")), ("b", Some("supervisor not running"))]);
    supervisor.start();
    eventually(secs(20), "both have run", || {
        let (_, report) = told(&supervisor);
        line(&report, "a")["state"] == "done" && line(&report, "b")["state"] == "done"
    });
    assert_eq!(told(&supervisor).1["supervisor"], supervisor.pid());
    supervisor.kill9();
    let mut rows = Rows::of(&database);
    rows.put("a", "needed", "1 hour");
    let (output, report) = told(&supervisor);
    assert!(output.status.success(), "{output:?}");
    assert_eq!((&report["supervisor"], &line(&report, "a")["why"]), (&Value::Null, &"supervisor not running".into()));
    assert_eq!(line(&report, "b")["last_exit"], 3);
}

#[test]
fn it_shows_state_since_node_pid_last_run_and_next_slot() {
    let database = cluster().database();
    let supervisor = hourly()
        .set("node", "host-7")
        .database(&database)
        .tenants(&["runs", "was"])
        .plan("was", "sleep 1.2; exit 4")
        .start();
    let mut rows = Rows::of(&database);
    eventually(secs(20), "was has run", || rows.outcomes("was") == ["failed"]);
    supervisor.journal().plan("runs", "sleep 60");
    assert!(supervisor.command(&["request", "--wait", "runs"]).status.success());
    eventually(secs(20), "runs runs", || rows.value("runs").as_deref() == Some("running"));
    eventually(secs(20), "its job has begun", || supervisor.journal().read().runs_of("runs").len() == 2);

    let pid = supervisor.journal().read().runs_of("runs")[1].pid;
    let (_, report) = told(&supervisor);
    let runs = line(&report, "runs");
    assert_eq!((&runs["state"], &runs["node"], &runs["pid"]), (&"running".into(), &"host-7".into(), &pid.into()));
    assert!(proc::is_alive(pid));
    assert_eq!(runs["last_outcome"], "ok");
    let was = line(&report, "was");
    assert_eq!((&was["state"], &was["last_outcome"], &was["last_exit"]), (&"done".into(), &"failed".into(), &4.into()));
    assert!(was["last_seconds"].as_f64().is_some_and(|took| (1.1..20.0).contains(&took)), "{was}");
    let next: String = rows.one(
        "SELECT to_char(to_timestamp((floor(extract(epoch FROM updated_at) / 3600) + 1) * 3600) AT TIME ZONE 'UTC',
                        'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM tenantcron_status WHERE key = 'was'",
        &[],
    );
    assert_eq!(was["next_due"], next.as_str());

    let output = supervisor.command(&["status"]);
    let table = text(&output.stdout);
    let lines: Vec<&str> = table.lines().collect();
    let header: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(header.join(" "), "TENANT STATE SINCE NODE PID LAST TOOK NEXT DUE WHY");
    assert!(lines[1].starts_with("runs ") && lines[1].contains(&format!(" {pid} ")), "{table}");
    assert!(lines[2].starts_with("was ") && lines[2].contains(" failed 4 ") && lines[2].contains(&next), "{table}");
    assert!(lines[3].starts_with("2 tenants: 0 needed, 1 running, 1 done; supervisor pid "), "{table}");
    assert!(!table.contains('\x1b'), "colours where there is no terminal");

    let one = text(&supervisor.command(&["status", "was"]).stdout);
    assert!(one.contains("was ") && !one.contains("runs "), "{one}");
    let unknown = supervisor.command(&["status", "nobody"]);
    assert!(unknown.status.code() == Some(2) && text(&unknown.stderr).contains("nobody"), "{unknown:?}");
}

#[test]
fn it_takes_no_lock_and_makes_no_file() {
    let database = cluster().database();
    let supervisor = hourly().database(&database).tenants(&["a"]).plan("a", "sleep 60").start();
    eventually(secs(20), "a runs", || supervisor.journal().read().runs.len() == 1);
    let trace = supervisor.folder().join("trace");
    let plain = supervisor.plain_command();
    let mut command = Command::new("strace");
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.args(["-f", "-e", "trace=flock,fcntl,openat", "-o"]).arg(&trace);
    command.arg(BINARY).args(["status", "--config"]).arg(supervisor.config_path());
    let output = output_within(command, secs(60));
    assert!(output.status.success(), "{output:?}");
    let trace = std::fs::read_to_string(trace).unwrap();
    assert!(trace.contains("a.lock"), "it did not look at the lock file at all");
    let locks: Vec<&str> = trace
        .lines()
        .filter(|line| {
            let state = line.contains(&supervisor.state().display().to_string());
            ["flock(", "F_SETLK", "F_OFD_SETLK", "F_SETLEASE"].iter().any(|word| line.contains(word))
                || (state && (line.contains("O_CREAT") || line.contains("O_WRONLY") || line.contains("O_RDWR")))
        })
        .collect();
    assert_eq!(locks, [""; 0]);
}
