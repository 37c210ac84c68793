//! A host that has no process left to give, and a supervisor that is not root.

use crate::support::cluster::cluster;
use crate::support::daemon::Supervisor;
use crate::support::proc;
use crate::support::rows;
use crate::support::wait::{eventually, secs, throughout};
use postgres::Client;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

#[test]
fn a_spawn_that_fails_for_want_of_processes_leaves_no_run_and_is_tried_again() {
    let database = cluster().database();
    let supervisor = Supervisor::builder()
        .database(&database)
        .tenants(&["a", "b", "c"])
        .set("schedule.every", "365d")
        .unprivileged()
        .start();
    let mut client = database.connect();
    eventually(secs(20), "all have run", || rows::finished(&mut client) == 3);
    let before = rows::runs(&mut client);

    // Its threads alone are more than that: no child can be made. (Root would not feel it.)
    let usual = limit(supervisor.pid(), "Max processes", "nproc", "1");
    for tenant in ["a", "b", "c"] {
        rows::ask(&mut client, tenant);
    }
    eventually(secs(60), "each was tried three times", || {
        let log = supervisor.log();
        if ["a", "b", "c"].iter().all(|tenant| delays(&log, tenant).len() >= 3) { Ok(()) } else { Err(log) }
    });
    eventually(secs(10), "no run is left and every row is needed", || {
        let needed = ["a", "b", "c"].iter().all(|tenant| value(&mut client, tenant) == "needed");
        let runs = rows::runs(&mut client);
        if needed && runs == before { Ok(()) } else { Err(format!("{runs:?}")) }
    });
    for run in &before {
        let (_, updated_at) = rows::status(&mut client, &run.key).unwrap();
        assert!(updated_at > run.finished_at.unwrap(), "the row does not keep the time of its claim: {}", run.key);
    }
    let log = supervisor.log();
    for tenant in ["a", "b", "c"] {
        let delays = delays(&log, tenant)[..3].to_vec();
        // Each between half and the whole of 1, 2, 4 s.
        assert!(delays.is_sorted() && delays[0] < delays[2], "{tenant}: {delays:?}");
    }
    let alerts: Vec<&str> = log.lines().filter(|line| line.contains("ALERT")).collect();
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert!(alerts[0].contains("cannot start ") && alerts[0].contains("unavailable"), "{}", alerts[0]);
    assert_eq!(supervisor.journal().read().runs.len(), 3);
    let status = supervisor.command(&["status"]);
    assert!(String::from_utf8_lossy(&status.stdout).contains("backing off"), "{status:?}");
    assert_eq!(proc::children(supervisor.pid()), [0; 0]);

    limit(supervisor.pid(), "Max processes", "nproc", &usual);
    eventually(secs(60), "all have run again", || {
        let done = ["a", "b", "c"].iter().all(|tenant| value(&mut client, tenant) == "done");
        done && rows::finished(&mut client) == 6
    });
    assert!(rows::runs(&mut client).iter().all(|run| run.how() == ("ok", Some(0), None)));
    let journal = supervisor.journal().read();
    assert_eq!((journal.runs.len(), journal.overlaps()), (6, vec![]));
}

#[test]
fn descriptors_that_run_out_delay_the_starts_and_cost_nothing_else() {
    let database = cluster().database();
    let supervisor =
        Supervisor::builder().database(&database).tenants(&["a", "b"]).set("schedule.every", "365d").start();
    let mut client = database.connect();
    eventually(secs(20), "both have run", || rows::finished(&mut client) == 2);
    // Locks and slots are numbered from 64 up: there is room for one of them.
    let usual = limit(supervisor.pid(), "Max open files", "nofile", "65");
    rows::ask(&mut client, "a");
    rows::ask(&mut client, "b");
    let alert = supervisor.wait_for_log("ALERT", secs(20));
    assert!(alert.contains("lock") && alert.contains("Too many open files"), "{alert}");
    throughout(secs(3), "nothing runs", || rows::runs(&mut client).len() == 2);
    assert_eq!([value(&mut client, "a"), value(&mut client, "b")], ["needed", "needed"]);
    limit(supervisor.pid(), "Max open files", "nofile", &usual);
    eventually(secs(30), "both have run again", || rows::finished(&mut client) == 4);
    assert!(rows::runs(&mut client).iter().all(|run| run.how() == ("ok", Some(0), None)));
    assert_eq!(supervisor.journal().read().overlaps(), [""; 0]);
}

/// Sets the soft limit, as the process's own user: root may lack the capability to do it for another. Answers what it was.
fn limit(pid: i32, shown: &str, name: &str, soft: &str) -> String {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let before = limits.lines().find_map(|line| line.strip_prefix(shown)).unwrap();
    let owner = fs::metadata(format!("/proc/{pid}")).unwrap();
    let mut command = Command::new("prlimit");
    command.args(["--pid", &pid.to_string(), &format!("--{name}={soft}:")]);
    if nix::unistd::geteuid().is_root() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    assert!(command.status().unwrap().success());
    before.split_whitespace().next().unwrap().to_owned()
}

/// How long the supervisor said that it would wait, each time.
fn delays(log: &str, tenant: &str) -> Vec<Duration> {
    let about = format!(" {tenant}: cannot start");
    let said = log.lines().filter(|line| line.contains(&about));
    said.map(|line| humantime::parse_duration(line.split_once("tried again in ").unwrap().1).unwrap()).collect()
}

fn value(client: &mut Client, tenant: &str) -> String {
    rows::status(client, tenant).unwrap().0
}

#[test]
fn without_permission_for_its_log_a_tenant_runs_and_its_output_is_lost() {
    let database = cluster().database();
    let mut supervisor = Supervisor::builder()
        .database(&database)
        .tenants(&["a", "b"])
        .set("schedule.every", "365d")
        .plan_for_all("echo work")
        .unprivileged()
        .prepare();
    let logs = supervisor.folder().join("logs");
    // One file that others may not write, in a folder where nothing can be made.
    fs::write(logs.join("a.log"), "").unwrap();
    fs::set_permissions(logs.join("a.log"), fs::Permissions::from_mode(0o444)).unwrap();
    if nix::unistd::geteuid().is_root() {
        chown(&logs, Some(0), Some(0)).unwrap();
    }
    fs::set_permissions(&logs, fs::Permissions::from_mode(0o555)).unwrap();
    supervisor.start();
    let mut client = database.connect();
    eventually(secs(20), "both have run", || rows::finished(&mut client) == 2);
    assert!(rows::runs(&mut client).iter().all(|run| run.how() == ("ok", Some(0), None)));
    assert_eq!((supervisor.tenant_log("a"), logs.join("b.log").exists()), (String::new(), false));
    let log = supervisor.log();
    for tenant in ["a", "b"] {
        let about = format!("tenant {tenant}: cannot open log");
        let told: Vec<&str> = log.lines().filter(|line| line.contains(&about)).collect();
        assert_eq!(told.len(), 1, "{log}");
        assert!(told[0].contains("ALERT") && told[0].contains("Permission denied"), "{}", told[0]);
    }
    fs::set_permissions(&logs, fs::Permissions::from_mode(0o755)).unwrap();
}
