//! Ends that the database did not take: kept in `unrecorded/`, recorded by whoever looks next, as they truly were.

use crate::support::cluster::{Cluster, TestDatabase};
use crate::support::configuration::Configuration;
use crate::support::daemon::Supervisor;
use crate::support::proc;
use crate::support::rows::{self, RunRow};
use crate::support::wait::{eventually, millis, secs, throughout};
use crate::support::world::world;
use nix::sys::signal::Signal;
use postgres::Client;
use std::fs;
use std::path::PathBuf;

/// A server of the test's own, its database, and jobs of which each goes on until its file is there.
struct Stage {
    cluster: Cluster,
    database: TestDatabase,
    go: PathBuf,
}

impl Stage {
    fn new() -> Self {
        let cluster = Cluster::start_own(&[]);
        let database = cluster.own_databases(1, "t").remove(0);
        Self { cluster, database, go: world().folder("go") }
    }

    /// `fine` ends well, `bad` with 3, `busy` only when it is asked to.
    fn configuration(&self) -> Configuration {
        let waits = |then: &str| format!("while [ ! -e $TENANTCRON_TENANT ]; do sleep 0.05; done; {then}");
        Supervisor::builder()
            .database(&self.database)
            .tenants(&["fine", "bad", "busy"])
            .set("schedule.every", "365d")
            .set("job.directory", self.go.display().to_string())
            .set("workers", 3)
            .plan_for_all(&waits(":"))
            .plan("bad", &waits("exit 3"))
    }

    fn let_go(&self, tenant: &str) {
        fs::write(self.go.join(tenant), "").unwrap();
    }

    fn at_work(&self, supervisor: &Supervisor, count: usize) {
        let sleeps =
            |pid: i32| proc::children(pid).into_iter().any(|child| proc::command_line(child).starts_with("sleep "));
        eventually(secs(30), "the jobs are at work", || {
            let runs = supervisor.journal().read().runs;
            let open: Vec<_> = runs.iter().filter(|run| run.end.is_none()).collect();
            open.len() == count && open.iter().all(|run| sleeps(run.pid))
        });
    }

    /// The database goes, then these end.
    fn ends_in_an_outage(&self, supervisor: &Supervisor, tenants: &[&str]) {
        self.cluster.stop_fast();
        tenants.iter().for_each(|tenant| self.let_go(tenant));
        eventually(secs(20), "the jobs end", || {
            tenants.iter().all(|tenant| supervisor.journal().read().ended(tenant) == 1)
        });
    }

    fn connect(&self) -> Client {
        self.database.connect()
    }
}

/// The files in `unrecorded/`.
fn kept(supervisor: &Supervisor) -> Vec<PathBuf> {
    let entries = fs::read_dir(supervisor.state().join("unrecorded")).into_iter().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The one file, once it names these tenants and no other.
fn kept_of(supervisor: &Supervisor, tenants: &[&str]) -> PathBuf {
    eventually(secs(30), "their ends are kept", || {
        let [path] = &kept(supervisor)[..] else { return Err(format!("{:?}", kept(supervisor))) };
        let text = fs::read_to_string(path).unwrap();
        let names = |tenant: &str| text.contains(&format!("\n# {tenant}: run "));
        let number = text.lines().filter(|line| line.starts_with('{')).count();
        if tenants.iter().all(|tenant| names(tenant)) && number == tenants.len() { Ok(path.clone()) } else { Err(text) }
    })
}

fn gone(supervisor: &Supervisor) {
    eventually(secs(60), "the file is gone", || {
        if kept(supervisor).is_empty() { Ok(()) } else { Err(format!("{:?}\n{}", kept(supervisor), supervisor.log())) }
    });
}

fn closed(client: &mut Client, tenant: &str, count: usize) -> Vec<RunRow> {
    eventually(secs(60), &format!("{tenant} has {count} closed runs"), || {
        let runs = rows::runs_of(client, tenant);
        let done = runs.len() == count && runs.iter().all(|run| run.finished_at.is_some());
        if done { Ok(runs) } else { Err(format!("{runs:?}")) }
    })
}

/// The record tells when the job ended, not when the database was told.
fn ended_when_the_job_did(supervisor: &Supervisor, tenant: &str, run: &RunRow) {
    let record = supervisor.journal().read();
    let told = record.runs_of(tenant)[0].end.unwrap() / 1000;
    let recorded = run.finished_at.unwrap();
    assert!((recorded - told).abs() < 5_000_000, "{tenant}: ended at {told}, recorded {recorded}");
}

/// TERM with the database down: 20 s of patience, exit 1, and the file. Two jobs have ended before, one ends by it.
fn stopped_in_an_outage(stage: &Stage) -> Supervisor {
    let mut supervisor = stage.configuration().start();
    stage.at_work(&supervisor, 3);
    stage.ends_in_an_outage(&supervisor, &["fine", "bad"]);
    kept_of(&supervisor, &["bad", "fine"]);
    let begun = std::time::Instant::now();
    let status = supervisor.stop();
    assert_eq!(status.code(), Some(1), "{}", supervisor.log());
    assert!((secs(19)..secs(40)).contains(&begun.elapsed()), "after {:?}", begun.elapsed());
    let path = kept_of(&supervisor, &["bad", "busy", "fine"]);
    let told = supervisor.wait_for_log("3 ends could not be recorded", secs(1));
    assert!(told.contains(&path.display().to_string()), "{told}");
    stage.cluster.start();
    assert!(rows::runs(&mut stage.connect()).iter().all(|run| run.finished_at.is_none()));
    supervisor
}

/// As they were, once each, and `busy`, which was stopped, a second time.
fn all_recorded(stage: &Stage, supervisor: &Supervisor) {
    let mut client = stage.connect();
    let stopped = closed(&mut client, "busy", 2);
    assert_eq!((stopped[0].how(), stopped[1].how()), (("stopped", None, Some(15)), ("ok", Some(0), None)));
    for (tenant, how) in [("fine", ("ok", Some(0), None)), ("bad", ("failed", Some(3), None))] {
        let [run] = &closed(&mut client, tenant, 1)[..] else { unreachable!() };
        assert_eq!(run.how(), how, "{tenant}");
        assert!(run.cpu_seconds.is_some(), "{tenant}: what it cost is told too");
        ended_when_the_job_did(supervisor, tenant, run);
        assert_eq!(rows::status(&mut client, tenant).unwrap().0, "done");
    }
    ended_when_the_job_did(supervisor, "busy", &stopped[0]);
    gone(supervisor);
    let record = supervisor.journal().read();
    assert_eq!((record.runs.len(), record.overlaps()), (4, vec![]), "{record:?}");
}

#[test]
fn a_stop_without_the_database_keeps_the_ends_and_a_single_look_records_them() {
    let stage = Stage::new();
    let supervisor = stopped_in_an_outage(&stage);
    stage.let_go("busy");
    let look = supervisor.command(&["run", "--once"]);
    assert!(look.status.success(), "{look:?}");
    let said = String::from_utf8_lossy(&look.stderr);
    assert!(said.contains("bad: run") && said.contains("recorded now") && !said.contains("is lost"), "{said}");
    all_recorded(&stage, &supervisor);
}

#[test]
fn a_stop_without_the_database_keeps_the_ends_and_the_next_supervisor_records_them() {
    let stage = Stage::new();
    let mut supervisor = stopped_in_an_outage(&stage);
    stage.let_go("busy");
    supervisor.start();
    all_recorded(&stage, &supervisor);
    assert!(!supervisor.log().contains("is lost"), "{}", supervisor.log());
    assert!(supervisor.stop().success());
    gone(&supervisor);
}

#[test]
fn a_single_look_keeps_its_ends_too() {
    let stage = Stage::new();
    let mut supervisor = stage.configuration().tenants(&["fine", "bad"]).prepare();
    supervisor.spawn(&["--once"]);
    stage.at_work(&supervisor, 2);
    stage.ends_in_an_outage(&supervisor, &["fine", "bad"]);
    assert_eq!(supervisor.wait_exit(secs(60)).code(), Some(1), "{}", supervisor.log());
    kept_of(&supervisor, &["bad", "fine"]);
    // While the database is away, a further look changes nothing.
    assert_eq!(supervisor.command(&["run", "--once"]).status.code(), Some(69));
    kept_of(&supervisor, &["bad", "fine"]);
    stage.cluster.start();
    assert!(supervisor.command(&["run", "--once"]).status.success());
    gone(&supervisor);
    let mut client = stage.connect();
    assert_eq!(closed(&mut client, "fine", 1)[0].how(), ("ok", Some(0), None));
    assert_eq!(closed(&mut client, "bad", 1)[0].how(), ("failed", Some(3), None));
    assert_eq!(supervisor.journal().read().runs.len(), 2);
}

#[test]
fn run_tenant_keeps_its_end_and_the_next_one_records_it_before_it_runs() {
    let stage = Stage::new();
    let mut supervisor = stage.configuration().prepare();
    supervisor.spawn(&["bad"]);
    stage.at_work(&supervisor, 1);
    stage.ends_in_an_outage(&supervisor, &["bad"]);
    assert_eq!(supervisor.wait_exit(secs(60)).code(), Some(3), "{}", supervisor.log());
    kept_of(&supervisor, &["bad"]);
    stage.cluster.start();
    let again = supervisor.command(&["run", "bad"]);
    assert_eq!(again.status.code(), Some(3), "{again:?}");
    let runs = closed(&mut stage.connect(), "bad", 2);
    assert!(runs.iter().all(|run| run.how() == ("failed", Some(3), None)), "{runs:?}");
    ended_when_the_job_did(&supervisor, "bad", &runs[0]);
    gone(&supervisor);
}

#[test]
fn a_supervisor_that_is_killed_in_the_outage_has_kept_what_ended_before() {
    let stage = Stage::new();
    let mut supervisor = stage.configuration().start();
    stage.at_work(&supervisor, 3);
    stage.ends_in_an_outage(&supervisor, &["fine", "bad"]);
    let path = kept_of(&supervisor, &["bad", "fine"]);
    assert_eq!(fs::metadata(&path).map(|found| std::os::unix::fs::MetadataExt::mode(&found) & 0o777).unwrap(), 0o600);
    supervisor.kill9();
    stage.cluster.start();
    // Its tenant is in no source any more: its end is recorded all the same.
    supervisor.reconfigure(|it| it.tenants(&["fine", "busy"]));
    supervisor.start();
    supervisor.wait_for_log("adopted", secs(30));
    let mut client = stage.connect();
    assert_eq!(closed(&mut client, "fine", 1)[0].how(), ("ok", Some(0), None));
    assert_eq!(closed(&mut client, "bad", 1)[0].how(), ("failed", Some(3), None));
    gone(&supervisor);
    stage.let_go("busy");
    assert_eq!(closed(&mut client, "busy", 1)[0].how(), ("adopted", None, None));
    assert_eq!(supervisor.journal().read().runs.len(), 3);
    assert!(!supervisor.log().contains("is lost"), "{}", supervisor.log());
}

#[test]
fn what_a_living_supervisor_keeps_is_its_own_to_record() {
    let stage = Stage::new();
    let mut supervisor = stage.configuration().start();
    stage.at_work(&supervisor, 3);
    stage.ends_in_an_outage(&supervisor, &["fine", "bad"]);
    let path = kept_of(&supervisor, &["bad", "fine"]);
    supervisor.signal(Signal::SIGSTOP);
    stage.cluster.start();
    assert!(supervisor.command(&["run", "--once"]).status.success());
    assert!(rows::runs(&mut stage.connect()).iter().all(|run| run.finished_at.is_none()));
    assert!(path.exists());
    supervisor.signal(Signal::SIGCONT);
    let mut client = stage.connect();
    assert_eq!(closed(&mut client, "bad", 1)[0].how(), ("failed", Some(3), None));
    assert_eq!(closed(&mut client, "fine", 1)[0].how(), ("ok", Some(0), None));
    gone(&supervisor);
    stage.let_go("busy");
    assert_eq!(closed(&mut client, "busy", 1)[0].how(), ("ok", Some(0), None));
    assert!(supervisor.stop().success());
}

/// As after a reboot: the file and the rows are of another boot.
#[test]
fn what_was_kept_before_a_reboot_is_used_once_the_run_is_known_to_be_dead() {
    let stage = Stage::new();
    let mut supervisor = stage.configuration().tenants(&["bad"]).start();
    stage.at_work(&supervisor, 1);
    stage.ends_in_an_outage(&supervisor, &["bad"]);
    let path = kept_of(&supervisor, &["bad"]);
    supervisor.kill9();
    stage.cluster.start();
    let mut client = stage.connect();
    let host: String = client.query_one("SELECT host FROM tenantcron_run", &[]).unwrap().get(0);
    let text = fs::read_to_string(&path).unwrap().replace(&host, "an-earlier-boot/1");
    fs::write(&path, text).unwrap();
    // Silent, but not for so long that it is dead.
    let set = "UPDATE tenantcron_run SET host = 'an-earlier-boot/1', alive_at = now() - interval '70 seconds'";
    client.execute(set, &[]).unwrap();
    supervisor.start();
    throughout(secs(2), "it waits", || path.exists() && rows::finished(&mut client) == 0);
    let runs = closed(&mut client, "bad", 1);
    assert_eq!(runs[0].how(), ("failed", Some(3), None));
    gone(&supervisor);
    assert!(!supervisor.log().contains("is lost"), "{}", supervisor.log());
    assert_eq!(supervisor.journal().read().runs.len(), 1);
}

#[test]
fn a_file_that_is_not_understood_is_told_once_and_left_alone() {
    let stage = Stage::new();
    let mut supervisor = stage.configuration().tenants(&["fine"]).prepare();
    let folder = supervisor.state().join("unrecorded");
    fs::create_dir(&folder).unwrap();
    let odd = folder.join("4194304.1");
    fs::write(&odd, "version 99\n").unwrap();
    stage.let_go("fine");
    supervisor.start();
    supervisor.wait_for_log("cannot be used: it is of version 99", secs(20));
    let mut client = stage.connect();
    assert_eq!(closed(&mut client, "fine", 1)[0].how(), ("ok", Some(0), None));
    throughout(secs(3), "it is left alone", || odd.exists());
    assert_eq!(supervisor.log().matches("cannot be used").count(), 1, "{}", supervisor.log());
    assert!(supervisor.stop().success());
    assert_eq!(kept(&supervisor), [odd]);
}

#[test]
fn ends_that_cannot_be_kept_are_named() {
    let stage = Stage::new();
    let mut supervisor = stage.configuration().tenants(&["bad"]).start();
    stage.at_work(&supervisor, 1);
    let folder = supervisor.state().join("unrecorded");
    fs::remove_dir(&folder).unwrap();
    fs::write(&folder, "").unwrap();
    stage.ends_in_an_outage(&supervisor, &["bad"]);
    let told = supervisor.wait_for_log("ends that their database does not take cannot be kept", secs(30));
    assert!(told.contains("bad: run ") && told.contains("failed"), "{told}");
    // Once there is room again they are.
    fs::remove_file(&folder).unwrap();
    kept_of(&supervisor, &["bad"]);
    stage.cluster.start();
    assert_eq!(closed(&mut stage.connect(), "bad", 1)[0].how(), ("failed", Some(3), None));
    gone(&supervisor);
    assert!(supervisor.stop().success());
    assert_eq!(supervisor.log().matches("cannot be kept").count(), 1, "{}", supervisor.log());
}

#[test]
fn a_night_without_an_outage_leaves_no_file() {
    let stage = Stage::new();
    let mut supervisor = stage.configuration().set("schedule.every", "1s").start();
    ["fine", "bad", "busy"].iter().for_each(|tenant| stage.let_go(tenant));
    eventually(secs(30), "some have run", || supervisor.journal().read().runs.len() >= 9);
    throughout(millis(500), "nothing is kept", || kept(&supervisor).is_empty());
    assert!(supervisor.stop().success());
    assert!(kept(&supervisor).is_empty());
    assert!(supervisor.state().join("unrecorded").is_dir());
}
