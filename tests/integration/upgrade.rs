//! SIGUSR2: the program that is on disk takes the running one's place. Same pid, same children, no status lost; one that
//! would not start changes nothing.

use crate::support::cluster::{Cluster, TestDatabase, cluster};
use crate::support::configuration::Configuration;
use crate::support::daemon::{BINARY, Supervisor};
use crate::support::proc;
use crate::support::rows::{self, RunRow};
use crate::support::wait::{eventually, millis, secs, throughout};
use crate::support::world::world;
use nix::sys::signal::Signal;
use postgres::Client;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// Jobs of which each goes on until its file is there, and then ends with 3.
pub fn waiting(database: &TestDatabase, tenants: &[&str]) -> (Configuration, PathBuf) {
    let folder = world().folder("go");
    let configuration = Supervisor::builder()
        .database(database)
        .tenants(tenants)
        .set("schedule.every", "365d")
        .set("job.directory", folder.display().to_string())
        .set("workers", 3)
        .plan_for_all("while [ ! -e $TENANTCRON_TENANT ]; do sleep 0.05; done; exit 3");
    (configuration, folder)
}

pub fn let_go(folder: &Path, tenant: &str) {
    fs::write(folder.join(tenant), "").unwrap();
}

/// Waits until so many jobs are in the middle of their work, a sleep.
pub fn at_work(supervisor: &Supervisor, count: usize) {
    let sleeps =
        |pid: i32| proc::children(pid).into_iter().any(|child| proc::command_line(child).starts_with("sleep "));
    eventually(secs(30), "the jobs are at work", || {
        let runs = supervisor.journal().read().runs;
        let open: Vec<_> = runs.iter().filter(|run| run.end.is_none()).collect();
        if open.len() == count && open.iter().all(|run| sleeps(run.pid)) { Ok(()) } else { Err(supervisor.log()) }
    });
}

pub fn upgrades(supervisor: &Supervisor) -> usize {
    supervisor.log().matches("upgraded from ").count()
}

/// USR2, until the next program is in place.
pub fn upgrade(supervisor: &mut Supervisor) {
    let before = upgrades(supervisor);
    supervisor.signal(Signal::SIGUSR2);
    eventually(secs(40), "it is upgraded", || {
        assert_eq!(supervisor.ended(), None, "{}", supervisor.log());
        if upgrades(supervisor) > before { Ok(()) } else { Err(supervisor.log()) }
    });
}

pub fn closed(client: &mut Client, tenant: &str, count: usize) -> Vec<RunRow> {
    eventually(secs(60), &format!("{tenant} has {count} closed runs"), || {
        let runs = rows::runs_of(client, tenant);
        let done = runs.len() == count && runs.iter().all(|run| run.finished_at.is_some());
        if done { Ok(runs) } else { Err(format!("{runs:?}")) }
    })
}

/// Its descriptors once nothing runs, but connections, whose number varies.
fn at_rest(supervisor: &mut Supervisor) -> Vec<String> {
    supervisor.reconfigure(|it| it.set("enabled", false));
    supervisor.signal(Signal::SIGHUP);
    eventually(secs(20), "nothing runs", || proc::command_line(supervisor.pid()).contains(" 0/8 running"));
    let held = |target: &String| !target.starts_with("socket:");
    let settled = |files: &[String]| !files.iter().any(|file| file.contains("/slot.") || file.contains("/tenants/"));
    let files = eventually(secs(20), "all locks are given up", || {
        let files: Vec<_> = proc::open_files(supervisor.pid()).into_iter().map(|(_, target)| target).collect();
        settled(&files).then_some(files)
    });
    assert!(files.len() < 40, "{files:?}");
    let mut files: Vec<_> = files.into_iter().filter(held).collect();
    files.sort();
    files
}

#[test]
fn fifty_upgrades_under_load_lose_no_status_and_interrupt_no_run() {
    let database = cluster().database();
    let names: Vec<String> = (0..24).map(|number| format!("t{number}")).collect();
    let mut configuration = Supervisor::builder()
        .database(&database)
        .tenants(&names)
        .set("workers", 8)
        .set("schedule.every", "1s")
        .plan_for_all(":");
    for (number, name) in names.iter().enumerate() {
        configuration = configuration.plan(name, &format!("sleep 0.{:02}; exit {}", number * 4, number % 5));
    }
    let mut supervisor = configuration.start();
    let pid = supervisor.pid();
    eventually(secs(30), "all have run", || supervisor.journal().read().tenants().len() == names.len());
    // What the first program inherited by accident from this process ends with it.
    upgrade(&mut supervisor);
    let files = at_rest(&mut supervisor);
    supervisor.reconfigure(|it| it.set("enabled", true));
    supervisor.signal(Signal::SIGHUP);
    let begun = supervisor.journal().read().runs.len();
    for number in 2..=51 {
        let before = supervisor.journal().read().runs.len();
        supervisor.signal(Signal::SIGUSR2);
        // The place is never free.
        if number % 5 == 0 {
            let second = supervisor.command(&["run"]);
            let said = String::from_utf8_lossy(&second.stderr).into_owned();
            assert!(second.status.code() == Some(1) && said.contains(&format!("pid {pid}")), "{said}");
        }
        eventually(secs(40), "it is upgraded", || {
            assert_eq!(supervisor.ended(), None, "{}", supervisor.log());
            if upgrades(&supervisor) == number { Ok(()) } else { Err(supervisor.log()) }
        });
        if number % 10 == 0 {
            eventually(secs(20), "jobs go on", || supervisor.journal().read().runs.len() > before + 3);
        }
    }
    assert_eq!(at_rest(&mut supervisor), files, "descriptors were left open");
    assert_eq!(proc::zombies(pid), [0; 0]);
    assert!(supervisor.stop().success());

    let record = supervisor.journal().read();
    assert!(record.runs.len() > begun + 20, "too little happened: {}", record.runs.len() - begun);
    assert_eq!((record.overlaps(), record.most_at_once() <= 8), (vec![], true));
    let mut rows: BTreeMap<i64, RunRow> =
        rows::runs(&mut database.connect()).into_iter().map(|run| (run.id, run)).collect();
    for run in &record.runs {
        let row = rows.remove(&run.run).unwrap_or_else(|| panic!("{run:?} is not recorded"));
        let code = run.exit.unwrap_or_else(|| panic!("{run:?} was interrupted"));
        let outcome = if code == 0 { "ok" } else { "failed" };
        assert_eq!(row.how(), (outcome, Some(code), None), "{run:?}");
        assert_eq!((row.pid, row.cpu_seconds.is_some()), (Some(run.pid), true), "{run:?}");
    }
    assert!(rows.is_empty(), "runs without a job: {rows:?}");
    assert_eq!(supervisor.notify().count("READY=1"), 1 + 3 + 51);
    for words in ["adopted", "is lost", "not upgraded", "cannot be taken over"] {
        assert!(!supervisor.log().contains(words), "{words}: {}", supervisor.log());
    }
}

#[test]
fn its_children_its_title_and_its_locks_stay() {
    let database = cluster().database();
    let (configuration, go) = waiting(&database, &["a", "b", "c", "d"]);
    let mut supervisor = configuration.start();
    at_work(&supervisor, 3);
    let children = |supervisor: &Supervisor| {
        let mut all = proc::living_children(supervisor.pid());
        all.sort_unstable();
        all
    };
    let before = children(&supervisor);
    upgrade(&mut supervisor);
    let told = supervisor.wait_for_log("upgraded from ", secs(1));
    assert!(told.contains(env!("CARGO_PKG_VERSION")) && told.contains("3 runs carried over"), "{told}");
    assert_eq!(children(&supervisor), before);
    eventually(secs(5), "its title stays", || proc::command_line(supervisor.pid()) == "tenantcron: test 3/3 running");
    assert_eq!(supervisor.notify().count("RELOADING=1"), 1);
    throughout(secs(1), "no slot was lost", || supervisor.journal().read().runs.len() == 3);
    let by_hand = supervisor.command(&["run", "a"]);
    assert_eq!(by_hand.status.code(), Some(1), "its lock is held: {by_hand:?}");
    let mut client = database.connect();
    let_go(&go, "a");
    assert_eq!(closed(&mut client, "a", 1)[0].how(), ("failed", Some(3), None));
    eventually(secs(20), "its slot is free again", || supervisor.journal().read().runs.len() == 4);
    let end = supervisor.tenant_log("a");
    assert!(end.lines().last().unwrap().contains("outcome=failed exit=3"), "{end}");
    rows::ask(&mut client, "a");
    ["b", "c", "d"].iter().for_each(|tenant| let_go(&go, tenant));
    assert_eq!(closed(&mut client, "a", 2)[1].how(), ("failed", Some(3), None), "its lock is free again");
    assert!(supervisor.stop().success());
    assert_eq!(supervisor.journal().read().overlaps(), [""; 0]);
}

#[test]
fn ends_that_no_database_took_are_carried_over() {
    let own = Cluster::start_own(&[]);
    let database = own.own_databases(1, "t").remove(0);
    let (configuration, go) = waiting(&database, &["a", "b", "c"]);
    let mut supervisor = configuration.start();
    at_work(&supervisor, 3);
    own.stop_fast();
    let kept = |supervisor: &Supervisor| fs::read_dir(supervisor.state().join("unrecorded")).unwrap().count();
    for (number, tenant) in ["a", "b"].iter().enumerate() {
        let_go(&go, tenant);
        eventually(secs(20), "its end is kept", || kept(&supervisor) == number + 1);
        upgrade(&mut supervisor);
    }
    own.start();
    let mut client = database.connect();
    for tenant in ["a", "b"] {
        let run = closed(&mut client, tenant, 1).remove(0);
        assert_eq!((run.how(), run.cpu_seconds.is_some()), (("failed", Some(3), None), true));
    }
    eventually(secs(20), "the files are gone", || kept(&supervisor) == 0);
    let_go(&go, "c");
    assert_eq!(closed(&mut client, "c", 1)[0].how(), ("failed", Some(3), None));
    assert!(supervisor.stop().success());
    assert!(!supervisor.log().contains("is lost"), "{}", supervisor.log());
    assert_eq!(supervisor.journal().read().runs.len(), 3);
}

#[test]
fn adopted_runs_and_what_is_left_of_groups_are_carried_over() {
    let database = cluster().database();
    let (configuration, go) = waiting(&database, &["adopted", "left"]);
    let left = "(trap '' TERM; while [ ! -e left ]; do sleep 0.05; done) & exit 7";
    let mut supervisor = configuration.plan("left", left).set("job.kill_after", "10min").start();
    supervisor.wait_for_log("left processes of its group behind", secs(20));
    // `left` has ended under this supervisor, and its group goes on; `adopted` begins under one that dies.
    upgrade(&mut supervisor);
    let mut client = database.connect();
    throughout(secs(1), "the run lasts as long as its group", || rows::finished(&mut client) == 0);
    let_go(&go, "left");
    assert_eq!(closed(&mut client, "left", 1)[0].how(), ("failed", Some(7), None));
    supervisor.kill9();
    supervisor.start();
    supervisor.wait_for_log("adopted", secs(20));
    for _ in 0..2 {
        upgrade(&mut supervisor);
    }
    assert_eq!(supervisor.log().matches("its supervisor died").count(), 1, "it is adopted once");
    let_go(&go, "adopted");
    assert_eq!(closed(&mut client, "adopted", 1)[0].how(), ("adopted", None, None));
    rows::ask(&mut client, "adopted");
    assert_eq!(closed(&mut client, "adopted", 2)[1].how(), ("failed", Some(3), None), "its lock is free");
    assert!(supervisor.stop().success());
}

#[test]
fn a_timeout_counts_from_the_start_of_the_run() {
    let database = cluster().database();
    let (configuration, _) = waiting(&database, &["a"]);
    let mut supervisor = configuration.set("job.timeout", "6s").start();
    at_work(&supervisor, 1);
    upgrade(&mut supervisor);
    let run = closed(&mut database.connect(), "a", 1).remove(0);
    assert_eq!(run.how(), ("timeout", None, Some(15)));
    let took = run.finished_at.unwrap() - run.started_at;
    assert!((5_900_000..9_000_000).contains(&took), "{took} µs");
}

#[test]
fn a_stop_outweighs_an_upgrade_whenever_it_comes() {
    let database = cluster().database();
    let (configuration, _) = waiting(&database, &["a", "b"]);
    let mut supervisor = configuration.prepare();
    let mut client = database.connect();
    for (round, pause) in [0, 3, 10, 20, 30, 45, 60, 80, 120].into_iter().enumerate() {
        supervisor.start();
        eventually(secs(30), "two are at work", || {
            let open = supervisor.journal().read().runs.into_iter().filter(|run| run.end.is_none());
            let sleeps = |pid| proc::children(pid).iter().any(|it| proc::command_line(*it).starts_with("sleep "));
            open.filter(|run| sleeps(run.pid)).count() == 2
        });
        supervisor.signal(Signal::SIGUSR2);
        std::thread::sleep(millis(pause));
        assert_eq!(supervisor.stop().code(), Some(0), "after {pause} ms: {}", supervisor.log());
        for tenant in ["a", "b"] {
            let runs = rows::runs_of(&mut client, tenant);
            assert_eq!(runs.len(), round + 1, "after {pause} ms: {runs:?}");
            assert_eq!(runs[round].how(), ("stopped", None, Some(15)), "after {pause} ms");
            assert_eq!(rows::status(&mut client, tenant).unwrap().0, "needed");
        }
    }
    // The other way round.
    supervisor.start();
    at_work(&supervisor, 2);
    supervisor.signal(Signal::SIGTERM);
    supervisor.signal(Signal::SIGUSR2);
    assert_eq!(supervisor.wait_exit(secs(30)).code(), Some(0));
    println!("{} of 9 stops came to the next program", upgrades(&supervisor));
}

/// strace on the supervisor's loop alone; neither on its other thread nor on its children.
pub fn trace(supervisor: &Supervisor, args: &[&str]) -> Child {
    let pid = supervisor.pid();
    let mut tracer = Command::new("strace");
    tracer.args(["-q", "-o", "/dev/null"]).args(args).args(["-p", &pid.to_string()]);
    let tracer = tracer.spawn().unwrap();
    eventually(secs(10), "strace is at it", || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
    });
    tracer
}

#[test]
fn a_signal_between_the_last_look_and_the_exec_reaches_the_next_program() {
    let database = cluster().database();
    let (configuration, _) = waiting(&database, &["a", "b"]);
    let mut supervisor = configuration.start();
    at_work(&supervisor, 2);
    // It looks at the program for the trial, and once more when all is at rest: each look takes a second and a half.
    let slow = ["-e", "trace=statx", "-P", BINARY, "-e", "inject=statx:delay_exit=1500000"];
    let mut tracer = trace(&supervisor, &slow);
    supervisor.signal(Signal::SIGUSR2);
    supervisor.wait_for_log("waiting for what is under way", secs(30));
    std::thread::sleep(millis(500));
    supervisor.signal(Signal::SIGTERM);
    assert_eq!(supervisor.wait_exit(secs(40)).code(), Some(0), "{}", supervisor.log());
    tracer.wait().unwrap();
    assert_eq!(upgrades(&supervisor), 1, "the signal came too early or too late: {}", supervisor.log());
    let mut client = database.connect();
    for tenant in ["a", "b"] {
        assert_eq!(closed(&mut client, tenant, 1)[0].how(), ("stopped", None, Some(15)));
    }
}
