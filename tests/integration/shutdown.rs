//! How a supervisor ends with children at work: by TERM, by a second TERM, by QUIT. Nothing starts after it was asked.

use crate::support::cluster::{TestDatabase, cluster};
use crate::support::configuration::Configuration;
use crate::support::daemon::Supervisor;
use crate::support::proc;
use crate::support::rows;
use crate::support::wait::{eventually, millis, secs, throughout};
use crate::support::world::world;
use nix::sys::signal::Signal;
use postgres::Client;
use std::time::Instant;

/// Two at work and two that wait, each of them at its first run.
fn base(database: &TestDatabase) -> Configuration {
    Supervisor::builder()
        .database(database)
        .tenants(&["a", "b", "c", "d"])
        .set("schedule.every", "365d")
        .set("workers", 2)
}

/// Waits until two jobs are in the middle of their work, a sleep, and tells whose. (A shell that is just beginning one may
/// lose a signal between fork and exec, and has not yet set its traps.)
fn two_at_work(supervisor: &Supervisor) -> Vec<String> {
    let sleeps =
        |pid: i32| proc::children(pid).into_iter().any(|child| proc::command_line(child).starts_with("sleep "));
    eventually(secs(30), "two jobs are at work", || {
        let runs = supervisor.journal().read().runs;
        runs.len() == 2 && runs.iter().all(|run| sleeps(run.pid))
    });
    supervisor.journal().read().runs.into_iter().map(|run| run.tenant).collect()
}

/// The rows of those that waited are as they were, and no job began after the first two.
fn nothing_started_later(supervisor: &Supervisor, client: &mut Client, at_work: &[String]) {
    let journal = supervisor.journal().read();
    assert_eq!(journal.runs.len(), 2, "{journal:?}");
    let runs = rows::runs(client);
    assert_eq!(runs.len(), 2, "a claim after the stop was asked: {runs:?}");
    for tenant in ["a", "b", "c", "d"].iter().filter(|tenant| !at_work.contains(&(**tenant).to_owned())) {
        assert_eq!(rows::status(client, tenant), Some(("needed".to_owned(), 0)));
    }
}

#[test]
fn term_ends_the_children_and_records_them_stopped() {
    let database = cluster().database();
    let stubborn = "trap '' TERM; while :; do sleep 0.1; done";
    let mut supervisor = base(&database)
        .plan_for_all("sleep 300")
        .plan("b", stubborn)
        .plan("c", stubborn)
        .set("job.kill_after", "2s")
        .start();
    let mut client = database.connect();
    // By name, since none has run before: a, which ends when asked, and b, which does not.
    let at_work = two_at_work(&supervisor);
    assert_eq!(at_work.iter().filter(|tenant| ["a", "b"].contains(&tenant.as_str())).count(), 2);
    let begun = Instant::now();
    let status = supervisor.stop();
    assert_eq!(status.code(), Some(0), "{}", supervisor.log());
    assert!(begun.elapsed() >= secs(2), "SIGKILL before kill_after");

    for (tenant, signal) in [("a", Signal::SIGTERM), ("b", Signal::SIGKILL)] {
        let run = rows::runs_of(&mut client, tenant).remove(0);
        assert_eq!(run.how(), ("stopped", None, Some(signal as i32)));
        let row = rows::status(&mut client, tenant).unwrap();
        assert_eq!(row, ("needed".to_owned(), run.started_at), "the row keeps the time of its claim");
        let end = supervisor.tenant_log(tenant);
        assert!(end.lines().last().unwrap().contains("outcome=stopped"), "{end}");
    }
    let log = supervisor.log();
    assert_eq!(log.lines().filter(|line| line.contains("SIGKILL")).count(), 1, "{log}");
    assert_eq!(supervisor.notify().count("STOPPING=1"), 1);
    nothing_started_later(&supervisor, &mut client, &at_work);
}

#[test]
fn a_second_term_kills_at_once() {
    let database = cluster().database();
    let mut supervisor = base(&database)
        .plan_for_all("trap '' TERM; while :; do sleep 0.1; done")
        .set("job.kill_after", "10min")
        .start();
    let mut client = database.connect();
    let at_work = two_at_work(&supervisor);
    supervisor.signal(Signal::SIGTERM);
    supervisor.wait_for_log("asked to end (SIGTERM)", secs(10));
    assert_eq!(supervisor.ended(), None);
    supervisor.signal(Signal::SIGINT);
    assert_eq!(supervisor.wait_exit(secs(20)).code(), Some(0));
    for tenant in &at_work {
        let run = rows::runs_of(&mut client, tenant).remove(0);
        assert_eq!(run.how(), ("stopped", None, Some(9)));
        assert_eq!(rows::status(&mut client, tenant), Some(("needed".to_owned(), run.started_at)));
    }
    nothing_started_later(&supervisor, &mut client, &at_work);
}

#[test]
fn quit_waits_for_the_children_and_starts_nothing_more() {
    let database = cluster().database();
    let go = world().folder("go");
    let mut supervisor = base(&database)
        .plan_for_all("while [ ! -e go ]; do sleep 0.05; done")
        .set("job.directory", go.display().to_string())
        .start();
    let mut client = database.connect();
    let at_work = two_at_work(&supervisor);
    supervisor.signal(Signal::SIGQUIT);
    supervisor.wait_for_log("draining", secs(10));
    throughout(millis(500), "it waits", || supervisor.ended().is_none());
    assert_eq!(proc::living_children(supervisor.pid()).len(), 2);
    std::fs::write(go.join("go"), "").unwrap();
    assert_eq!(supervisor.wait_exit(secs(20)).code(), Some(0));
    for tenant in &at_work {
        let run = rows::runs_of(&mut client, tenant).remove(0);
        assert_eq!(run.how(), ("ok", Some(0), None));
        assert_eq!(rows::status(&mut client, tenant), Some(("done".to_owned(), run.finished_at.unwrap())));
    }
    nothing_started_later(&supervisor, &mut client, &at_work);
}

#[test]
fn term_while_draining_ends_the_children() {
    let database = cluster().database();
    let mut supervisor = base(&database).plan_for_all("sleep 300").start();
    let mut client = database.connect();
    let at_work = two_at_work(&supervisor);
    supervisor.signal(Signal::SIGQUIT);
    supervisor.wait_for_log("draining", secs(10));
    assert_eq!(supervisor.stop().code(), Some(0));
    for tenant in &at_work {
        let run = rows::runs_of(&mut client, tenant).remove(0);
        assert_eq!(run.how(), ("stopped", None, Some(15)));
        assert_eq!(rows::status(&mut client, tenant), Some(("needed".to_owned(), run.started_at)));
    }
    nothing_started_later(&supervisor, &mut client, &at_work);
}

#[test]
fn a_stop_in_the_middle_of_many_starts_loses_no_run_and_starts_none_later() {
    let database = cluster().database();
    let names: Vec<String> = (0..60).map(|number| format!("t{number}")).collect();
    let mut supervisor = base(&database).tenants(&names).set("workers", 6).plan_for_all("sleep 0.05").start();
    let mut client = database.connect();
    eventually(secs(20), "some have run", || supervisor.journal().read().runs.len() >= 15);
    assert_eq!(supervisor.stop().code(), Some(0));
    let begun = supervisor.journal().read();
    let runs = rows::runs(&mut client);
    assert!(runs.iter().all(|run| run.finished_at.is_some()), "{runs:?}");
    // What was claimed and never begun is recorded as stopped without a process.
    let started = runs.iter().filter(|run| run.pid.is_some()).count();
    assert!(started >= begun.runs.len(), "{} began, {started} are recorded", begun.runs.len());
    assert!(runs.iter().filter(|run| run.pid.is_none()).all(|run| run.how() == ("stopped", None, None)));
    for run in &runs {
        let want = if run.outcome.as_deref() == Some("stopped") { "needed" } else { "done" };
        assert_eq!(rows::status(&mut client, &run.key).unwrap().0, want, "{run:?}");
    }
    throughout(millis(300), "no job begins after the end", || {
        supervisor.journal().read().runs.len() == begun.runs.len()
    });
}
