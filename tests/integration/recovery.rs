//! What a supervisor finds when it starts: children that outlived the last one, runs without a process, a
//! supervisor that is there already.

use crate::support::cluster::{TestDatabase, cluster};
use crate::support::configuration::Configuration;
use crate::support::daemon::{Supervisor, output_within};
use crate::support::proc;
use crate::support::rows::{self, RunRow};
use crate::support::wait::{eventually, millis, secs, throughout};
use crate::support::world::{signal, world};
use nix::sys::signal::Signal;
use postgres::Client;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Jobs of which each goes on until its file is there.
fn waiting(database: &TestDatabase, tenants: &[&str]) -> (Configuration, PathBuf) {
    let folder = world().folder("go");
    let configuration = Supervisor::builder()
        .database(database)
        .tenants(tenants)
        .set("schedule.every", "365d")
        .set("job.directory", folder.display().to_string())
        .set("workers", 3)
        .plan_for_all("while [ ! -e $TENANTCRON_TENANT ]; do sleep 0.05; done");
    (configuration, folder)
}

fn let_go(folder: &Path, tenant: &str) {
    fs::write(folder.join(tenant), "").unwrap();
}

fn at_work(supervisor: &Supervisor, count: usize) {
    eventually(secs(20), "the jobs have begun", || {
        let open = supervisor.journal().read().runs.iter().filter(|run| run.end.is_none()).count();
        if open == count { Ok(()) } else { Err(format!("{open} at work\n{}", supervisor.log())) }
    });
}

/// The runs of a tenant once the last of them is closed, and there are so many.
fn closed(client: &mut Client, tenant: &str, count: usize) -> Vec<RunRow> {
    eventually(secs(30), &format!("{tenant} has {count} closed runs"), || {
        let runs = rows::runs_of(client, tenant);
        let done = runs.len() == count && runs.iter().all(|run| run.finished_at.is_some());
        if done { Ok(runs) } else { Err(format!("{runs:?}")) }
    })
}

fn is(client: &mut Client, tenant: &str, value: &str) {
    eventually(secs(10), &format!("{tenant} is {value}"), || {
        let row = rows::status(client, tenant);
        if row.as_ref().is_some_and(|(found, _)| found == value) { Ok(()) } else { Err(format!("{row:?}")) }
    });
}

#[test]
fn a_killed_supervisor_leaves_children_that_the_next_one_adopts_or_calls_lost() {
    let database = cluster().database();
    let (configuration, go) = waiting(&database, &["a", "b", "dead", "next"]);
    let mut supervisor = configuration.start();
    let mut client = database.connect();
    at_work(&supervisor, 3);
    let before = supervisor.journal().read();
    let pid_of = |tenant: &str| before.runs_of(tenant)[0].pid;
    supervisor.kill9();
    for tenant in ["a", "b", "dead"] {
        assert!(proc::is_alive(pid_of(tenant)), "a child died with its supervisor");
    }
    // A whole group dies; its journal has no end for it.
    nix::sys::signal::killpg(nix::unistd::Pid::from_raw(pid_of("dead")), Signal::SIGKILL).unwrap();
    eventually(secs(5), "it is dead", || !proc::is_alive(pid_of("dead")));
    assert!(rows::runs(&mut client).iter().all(|run| run.finished_at.is_none()), "nobody was there to record");

    supervisor.start();
    let lost = closed_first(&mut client, "dead");
    assert_eq!((lost.how(), lost.cpu_seconds), (("lost", None, None), None));
    // Its slot is free: it, or `next`, runs in it; not both, since two are held by adopted runs.
    eventually(secs(20), "a third job has begun", || supervisor.journal().read().runs.len() == 4);
    for tenant in ["a", "b"] {
        let told = supervisor.wait_for_log(&format!("{tenant}: run"), secs(10));
        assert!(told.contains("adopted") && told.contains(&pid_of(tenant).to_string()), "{told}");
    }
    throughout(secs(2), "adopted runs hold their slots and are not started again", || {
        let journal = supervisor.journal().read();
        if journal.runs.len() == 4 { Ok(()) } else { Err(format!("{journal:?}")) }
    });
    assert_eq!(rows::runs(&mut client).iter().filter(|run| run.finished_at.is_none()).count(), 3);

    let_go(&go, "a");
    let adopted = closed(&mut client, "a", 1).remove(0);
    assert_eq!(adopted.how(), ("adopted", None, None));
    assert_eq!((adopted.pid, adopted.cpu_seconds), (Some(pid_of("a")), None));
    assert_eq!(rows::status(&mut client, "a"), Some(("done".to_owned(), adopted.finished_at.unwrap())));
    // The slot of the adopted run is free again.
    eventually(secs(20), "the fourth has begun", || supervisor.journal().read().runs.len() == 5);
    for tenant in ["b", "dead", "next"] {
        let_go(&go, tenant);
    }
    assert_eq!(closed(&mut client, "b", 1)[0].how(), ("adopted", None, None));
    assert_eq!(closed(&mut client, "dead", 2)[1].how(), ("ok", Some(0), None));
    assert_eq!(closed(&mut client, "next", 1)[0].how(), ("ok", Some(0), None));
    // An adopted tenant runs again, its lock is free.
    rows::ask(&mut client, "a");
    assert_eq!(closed(&mut client, "a", 2)[1].how(), ("ok", Some(0), None));
    ["a", "b", "dead", "next"].iter().for_each(|tenant| is(&mut client, tenant, "done"));

    let journal = supervisor.journal().read();
    assert_eq!(journal.overlaps(), [""; 0]);
    assert!(journal.most_at_once() <= 3, "{journal:?}");
    let log = supervisor.tenant_log("b");
    assert_eq!(log.lines().filter(|line| line.contains(": start ")).count(), 1, "{log}");
    let end = log.lines().last().unwrap();
    assert!(end.contains(": end run=") && end.contains(&format!("pid={} outcome=adopted", pid_of("b"))), "{end}");
}

/// The first run of a tenant once it is closed.
fn closed_first(client: &mut Client, tenant: &str) -> RunRow {
    eventually(secs(20), "its first run is closed", || {
        rows::runs_of(client, tenant).into_iter().next().filter(|run| run.finished_at.is_some())
    })
}

#[test]
fn what_is_left_of_a_group_is_adopted_and_the_run_ends_with_it() {
    let database = cluster().database();
    let (configuration, go) = waiting(&database, &["a"]);
    let shell = "(trap '' TERM; while [ ! -e a ]; do sleep 0.05; done) & exit 0";
    let mut supervisor = configuration.plan("a", shell).set("job.kill_after", "10min").start();
    let mut client = database.connect();
    supervisor.wait_for_log("left processes of its group behind", secs(20));
    supervisor.kill9();
    supervisor.start();
    supervisor.wait_for_log("adopted", secs(20));
    throughout(secs(1), "the run lasts as long as its group", || rows::finished(&mut client) == 0);
    let_go(&go, "a");
    assert_eq!(closed(&mut client, "a", 1)[0].how(), ("adopted", None, None));
    is(&mut client, "a", "done");
    assert_eq!(supervisor.journal().read().overlaps(), [""; 0]);
}

#[test]
fn an_adopted_run_is_ended_by_its_timeout_and_by_a_stop() {
    let database = cluster().database();
    let (configuration, _) = waiting(&database, &["slow", "stopped"]);
    let mut supervisor = configuration.set_at(&["override", "slow", "timeout"], "4s").start();
    let mut client = database.connect();
    at_work(&supervisor, 2);
    supervisor.kill9();
    supervisor.start();
    let slow = closed(&mut client, "slow", 1).remove(0);
    assert_eq!(slow.how(), ("timeout", None, None));
    let took = slow.finished_at.unwrap() - slow.started_at;
    assert!((3_900_000..20_000_000).contains(&took), "the time before the adoption counts: {took} µs");
    is(&mut client, "slow", "done");
    assert_eq!(supervisor.stop().code(), Some(0), "{}", supervisor.log());
    let stopped = rows::runs_of(&mut client, "stopped").remove(0);
    assert_eq!(stopped.how(), ("stopped", None, None));
    assert_eq!(rows::status(&mut client, "stopped"), Some(("needed".to_owned(), stopped.started_at)));
    assert!(supervisor.journal().read().runs.iter().all(|run| !proc::is_alive(run.pid)));
}

#[test]
fn one_supervisor_of_an_instance_and_node_is_enough() {
    let database = cluster().database();
    let (configuration, go) = waiting(&database, &["a"]);
    let mut supervisor = configuration.start();
    at_work(&supervisor, 1);
    let second = || {
        let mut command = supervisor.plain_command();
        command.arg("run").arg("--config").arg(supervisor.config_path());
        let output = output_within(command, secs(20));
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = second();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("pid {}", supervisor.pid())), "{said}");
    assert!(!said.contains("adopted") && supervisor.journal().read().runs.len() == 1, "{said}");
    // A child that outlives its supervisor holds no place of it.
    supervisor.kill9();
    supervisor.start();
    supervisor.wait_for_log("adopted", secs(20));
    let_go(&go, "a");
    assert_eq!(closed(&mut database.connect(), "a", 1)[0].how(), ("adopted", None, None));
}

#[test]
fn a_claim_whose_answer_was_lost_is_found_at_the_next_look() {
    let database = cluster().database();
    let (configuration, go) = waiting(&database, &["a", "b"]);
    ["a", "b"].iter().for_each(|tenant| let_go(&go, tenant));
    let mut supervisor = configuration.start();
    let mut client = database.connect();
    ["a", "b"].iter().for_each(|tenant| is(&mut client, tenant, "done"));
    // As the database looks when the claim was committed and the connection died: an open run that nobody knows.
    claim_unheard(&mut client, "a");
    assert_eq!(closed(&mut client, "a", 3)[1].how(), ("lost", None, None));
    is(&mut client, "a", "done");
    // The same under a supervisor that died before it could start the child.
    supervisor.kill9();
    claim_unheard(&mut client, "b");
    supervisor.start();
    let runs = closed(&mut client, "b", 3);
    assert_eq!((runs[1].how(), runs[2].how()), (("lost", None, None), ("ok", Some(0), None)));
    assert_eq!(supervisor.journal().read().overlaps(), [""; 0]);
}

/// Claims a done row as the supervisor of its last run would, behind that one's back.
fn claim_unheard(client: &mut Client, key: &str) {
    let sql = "WITH flipped AS (UPDATE tenantcron_status SET value = 'running', updated_at = now() WHERE key = $1) \
               INSERT INTO tenantcron_run (key, instance, node, host, started_at, alive_at) \
               SELECT key, instance, node, host, now(), now() FROM tenantcron_run WHERE key = $1 ORDER BY id DESC LIMIT 1";
    assert_eq!(client.execute(sql, &[&key]).unwrap(), 1);
}

/// Has the supervisor killed at its next system call of this kind, which is not carried out, and asks for a run of `a`.
fn dies_at(supervisor: &mut Supervisor, client: &mut Client, calls: &str, when: &str) {
    let pid = supervisor.pid();
    let mut tracer = Command::new("strace");
    tracer.args(["-f", "-q", "-o", "/dev/null", "-e", &format!("trace={calls}"), "-p", &pid.to_string()]);
    tracer.args(["-e", &format!("inject={calls}:signal=KILL:error=EAGAIN{when}")]);
    let mut tracer = tracer.spawn().unwrap();
    eventually(secs(10), "strace is at it", || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
    });
    rows::ask(client, "a");
    eventually(secs(20), "the supervisor has died", || supervisor.ended().is_some());
    // It detaches from a child that it followed, and ends.
    signal(tracer.id() as i32, Signal::SIGTERM);
    tracer.wait().unwrap();
}

#[test]
fn a_supervisor_that_dies_between_claim_and_start_leaves_a_lost_run() {
    let database = cluster().database();
    let (configuration, go) = waiting(&database, &["a"]);
    let_go(&go, "a");
    let mut supervisor = configuration.start();
    let mut client = database.connect();
    is(&mut client, "a", "done");
    dies_at(&mut supervisor, &mut client, "clone,clone3,vfork", "");
    let open: Vec<_> = rows::runs(&mut client).into_iter().filter(|run| run.finished_at.is_none()).collect();
    assert_eq!((open.len(), supervisor.journal().read().runs.len()), (1, 1), "it did not die where it should");
    is(&mut client, "a", "running");
    supervisor.start();
    let runs = closed(&mut client, "a", 3);
    assert_eq!((runs[1].how(), runs[2].how()), (("lost", None, None), ("ok", Some(0), None)));
    assert_eq!(supervisor.journal().read().overlaps(), [""; 0]);
}

#[test]
fn a_child_whose_pid_was_never_written_is_not_started_twice() {
    let database = cluster().database();
    let (configuration, go) = waiting(&database, &["a"]);
    let_go(&go, "a");
    let mut supervisor = configuration.start();
    let mut client = database.connect();
    is(&mut client, "a", "done");
    fs::remove_file(go.join("a")).unwrap();
    // The lock file is written for the claim, for the run, and for the process.
    dies_at(&mut supervisor, &mut client, "pwrite64", ":when=3");
    eventually(secs(20), "its child lives", || supervisor.journal().read().runs.len() == 2);
    let child = supervisor.journal().read().runs[1].pid;
    let words = fs::read_to_string(supervisor.state().join("tenants/a.lock")).unwrap();
    assert!(!words.contains(&format!("pid {child}")), "it did not die where it should: {words}");
    supervisor.start();
    throughout(secs(2), "the held lock speaks for the run", || {
        proc::is_alive(child) && supervisor.journal().read().runs.len() == 2 && rows::finished(&mut client) == 1
    });
    let_go(&go, "a");
    let runs = closed(&mut client, "a", 3);
    assert_eq!((runs[1].how(), runs[2].how()), (("lost", None, None), ("ok", Some(0), None)));
    assert_eq!(supervisor.journal().read().overlaps(), [""; 0]);
}

#[test]
fn a_child_is_adopted_again_and_again() {
    let database = cluster().database();
    let (configuration, go) = waiting(&database, &["a"]);
    let mut supervisor = configuration.start();
    let mut client = database.connect();
    at_work(&supervisor, 1);
    let child = supervisor.journal().read().runs[0].pid;
    for round in 1..=3 {
        supervisor.kill9();
        supervisor.start();
        eventually(secs(20), "it is adopted once more", || {
            supervisor.log().matches(&format!("pid {child}, its supervisor died")).count() == round
        });
    }
    // Frozen is not dead.
    signal(child, Signal::SIGSTOP);
    throughout(millis(1500), "a frozen child is left alone", || rows::finished(&mut client) == 0);
    signal(child, Signal::SIGCONT);
    let_go(&go, "a");
    assert_eq!(closed(&mut client, "a", 1)[0].how(), ("adopted", None, None));
    assert_eq!(supervisor.journal().read().runs.len(), 1);
}

#[test]
fn a_process_of_a_tenant_that_vanished_is_adopted_in_a_database_that_has_no_other_tenant() {
    let databases = cluster().databases(2, "vanished");
    let (configuration, go) = waiting(&databases[0], &["x"]);
    let names: Vec<&str> = databases.iter().map(|database| database.name.as_str()).collect();
    let mut supervisor = configuration.database_each(cluster(), &databases).start();
    at_work(&supervisor, 2);
    supervisor.kill9();
    supervisor.reconfigure(|configuration| configuration.tenants(&names[..1]));
    supervisor.start();
    supervisor.wait_for_log(&format!("{}: run", names[1]), secs(20));
    let_go(&go, names[1]);
    let mut client = databases[1].connect();
    assert_eq!(closed(&mut client, names[1], 1)[0].how(), ("adopted", None, None));
    assert_eq!(rows::status(&mut client, names[1]).unwrap().0, "done");
}
