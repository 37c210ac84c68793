//! A daemon that a job left behind, its supervisor killed meanwhile: the run ends, the tenant and its slot are free again.

use crate::support::cluster::{TestDatabase, cluster};
use crate::support::configuration::Configuration;
use crate::support::daemon::Supervisor;
use crate::support::proc;
use crate::support::rows;
use crate::support::wait::{eventually, secs, throughout};
use crate::support::world::{marked, signal, world};
use nix::sys::signal::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One worker; the first run of `a` leaves a daemon in a session of its own, and ends when it may.
fn leaving(database: &TestDatabase, tenants: &[&str]) -> (Configuration, PathBuf) {
    let folder = world().folder("go");
    let configuration = Supervisor::builder()
        .database(database)
        .tenants(tenants)
        .set("schedule.every", "365d")
        .set("job.directory", folder.display().to_string())
        .set("workers", 1)
        // The daemon holds no lock of the journal's.
        .plan("a", "[ -e go ] || { setsid sleep 301 9>&- & while [ ! -e go ]; do sleep 0.05; done; }");
    (configuration, folder)
}

fn daemon(supervisor: &Supervisor) -> i32 {
    eventually(secs(20), "the daemon sleeps", || {
        let mine = marked(supervisor.mark()).into_iter();
        mine.filter(|pid| proc::stat(*pid).is_some_and(|stat| stat.session == *pid))
            .find(|pid| proc::command_line(*pid) == "sleep 301")
    })
}

/// The supervisor dies, then the job ends. The daemon's pid.
fn killed_meanwhile(supervisor: &mut Supervisor, go: &Path) -> i32 {
    let daemon = daemon(supervisor);
    let job = supervisor.journal().read().runs[0].pid;
    supervisor.kill9();
    ends(job, go);
    daemon
}

fn ends(job: i32, go: &Path) {
    fs::write(go.join("go"), "").unwrap();
    eventually(secs(20), "the job ends", || !proc::is_alive(job));
}

fn named_once(supervisor: &Supervisor, daemon: i32) {
    supervisor.wait_for_log(&format!("pid {daemon} left the run's process group"), secs(10));
    assert_eq!(supervisor.log().matches("left the run's process group").count(), 1, "{}", supervisor.log());
    assert!(proc::is_alive(daemon), "it is named and let go, not ended");
}

fn outcomes(database: &TestDatabase, tenant: &str) -> Vec<String> {
    rows::runs_of(&mut database.connect(), tenant).into_iter().filter_map(|run| run.outcome).collect()
}

fn become_these(database: &TestDatabase, tenant: &str, want: &[&str]) {
    eventually(secs(30), &format!("{tenant} becomes {want:?}"), || {
        let found = outcomes(database, tenant);
        if found == want { Ok(()) } else { Err(format!("{found:?}")) }
    });
}

/// As if another had recorded it: nothing leads to the run any more but what is locked.
fn closed_by_hand(database: &TestDatabase) {
    let sql = "UPDATE tenantcron_run SET finished_at = now(), outcome = 'ok'; \
               UPDATE tenantcron_status SET value = 'done', updated_at = now() WHERE key = 'a'";
    database.connect().batch_execute(sql).unwrap();
}

#[test]
fn its_run_is_lost_and_the_tenant_runs_again() {
    let database = cluster().database();
    let (configuration, go) = leaving(&database, &["a"]);
    let mut supervisor = configuration.start();
    let daemon = killed_meanwhile(&mut supervisor, &go);
    supervisor.start();
    // In the only slot there is.
    become_these(&database, "a", &["lost", "ok"]);
    named_once(&supervisor, daemon);
    assert!(supervisor.stop().success());
    let record = supervisor.journal().read();
    assert_eq!((record.runs.len(), record.overlaps()), (2, vec![]));
}

#[test]
fn its_slot_alone_is_found_at_the_start() {
    let database = cluster().database();
    let (configuration, go) = leaving(&database, &["a", "b"]);
    let mut supervisor = configuration.start();
    let daemon = killed_meanwhile(&mut supervisor, &go);
    closed_by_hand(&database);
    supervisor.start();
    become_these(&database, "b", &["ok"]);
    named_once(&supervisor, daemon);
    assert_eq!(outcomes(&database, "a"), ["ok"], "a was not due");
    assert!(supervisor.stop().success());
}

#[test]
fn an_operator_runs_the_tenant_all_the_same() {
    let database = cluster().database();
    let (configuration, go) = leaving(&database, &["a"]);
    let mut supervisor = configuration.start();
    killed_meanwhile(&mut supervisor, &go);
    closed_by_hand(&database);
    let by_hand = supervisor.command(&["run", "a"]);
    assert!(by_hand.status.success(), "{by_hand:?}");
    assert!(String::from_utf8_lossy(&by_hand.stderr).contains("left the run's process group"), "{by_hand:?}");
    assert_eq!(outcomes(&database, "a"), ["ok", "ok"]);
}

#[test]
fn an_adopted_run_leaves_its_lock_and_slot_free_too() {
    let database = cluster().database();
    let (configuration, go) = leaving(&database, &["a", "b"]);
    let mut supervisor = configuration.start();
    let daemon = daemon(&supervisor);
    let job = supervisor.journal().read().runs[0].pid;
    supervisor.kill9();
    supervisor.start();
    supervisor.wait_for_log("adopted", secs(20));
    ends(job, &go);
    become_these(&database, "a", &["adopted"]);
    become_these(&database, "b", &["ok"]);
    rows::ask(&mut database.connect(), "a");
    become_these(&database, "a", &["adopted", "ok"]);
    named_once(&supervisor, daemon);
    assert!(supervisor.stop().success());
}

#[test]
fn where_its_lock_cannot_be_fetched_the_tenant_waits_and_that_is_told() {
    let database = cluster().database();
    let (configuration, go) = leaving(&database, &["a"]);
    let mut supervisor = configuration.set("workers", 2).start();
    let daemon = killed_meanwhile(&mut supervisor, &go);
    // A container's filter of system calls says no.
    let mut tracer = Command::new("strace");
    let binary = crate::support::daemon::BINARY;
    tracer.args(["-f", "-q", "-o", "/dev/null", "-e", "trace=pidfd_getfd", "-e", "inject=pidfd_getfd:error=EPERM"]);
    tracer.arg(binary).arg("run").arg("--config").arg(supervisor.config_path());
    let environment = supervisor.plain_command();
    tracer.envs(environment.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let log = supervisor.folder().join("traced");
    let mut tracer = tracer.stderr(fs::File::create(&log).unwrap()).spawn().unwrap();
    let told = || fs::read_to_string(&log).unwrap();
    eventually(secs(20), "it is told", || {
        if told().contains(&format!("left behind (pid {daemon}): end that process")) { Ok(()) } else { Err(told()) }
    });
    throughout(secs(2), "the tenant waits", || outcomes(&database, "a") == ["lost"]);
    signal(daemon, Signal::SIGKILL);
    become_these(&database, "a", &["lost", "ok"]);
    assert_eq!(told().matches("end that process").count(), 1, "{}", told());
    let traced = proc::children(tracer.id() as i32);
    traced.into_iter().for_each(|pid| signal(pid, Signal::SIGTERM));
    tracer.wait().unwrap();
}
