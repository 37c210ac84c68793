//! A host that has no memory, no room and no folders left: tenants wait or run without a log, it is alerted, nothing runs
//! twice, and once the host is repaired all goes on.

use crate::rows::Rows;
use crate::support::cluster::{TestDatabase, cluster};
use crate::support::configuration::Configuration;
use crate::support::daemon::Supervisor;
use crate::support::mount::Mount;
use crate::support::proc;
use crate::support::rows;
use crate::support::wait::{eventually, exit_within, secs, throughout};
use crate::support::world::{signal, world};
use nix::sys::signal::Signal;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

fn on_demand(database: &TestDatabase, tenants: &[&str]) -> Configuration {
    Supervisor::builder().database(database).tenants(tenants).set("schedule.every", "365d")
}

fn alerts(supervisor: &Supervisor) -> Vec<String> {
    supervisor.log().lines().filter(|line| line.contains(" ALERT ")).map(str::to_owned).collect()
}

/// Each of `tenants` has so many runs, all of them well ended, and its row is done.
#[track_caller]
fn all_ran(rows: &mut Rows, tenants: &[&str], runs: usize) {
    eventually(secs(60), &format!("every tenant has {runs} good runs"), || {
        let all = tenants.iter().map(|tenant| (rows.value(tenant), rows.outcomes(tenant))).collect::<Vec<_>>();
        let good = all.iter().all(|(value, outcomes)| {
            value.as_deref() == Some("done") && outcomes.len() == runs && outcomes.iter().all(|outcome| outcome == "ok")
        });
        if good { Ok(()) } else { Err(format!("{all:?}")) }
    });
}

/// strace at the supervisor: these calls fail from now on.
fn failing(supervisor: &Supervisor, calls: &str, error: &str) -> Child {
    let pid = supervisor.pid();
    let mut tracer = Command::new("strace");
    tracer.args(["-f", "-q", "-o", "/dev/null", "-e", &format!("trace={calls}"), "-p", &pid.to_string()]);
    tracer.args(["-e", &format!("inject={calls}:error={error}")]);
    let tracer = tracer.spawn().unwrap();
    eventually(secs(10), "strace is at it", || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
    });
    tracer
}

#[test]
fn a_host_without_memory_for_a_child_makes_tenants_wait_and_is_told_once() {
    let database = cluster().database();
    let supervisor = on_demand(&database, &["a", "b"]).start();
    let mut rows = Rows::of(&database);
    eventually(secs(20), "both have run", || supervisor.journal().read().runs.len() == 2);
    all_ran(&mut rows, &["a", "b"], 1);
    let mut tracer = failing(&supervisor, "clone,clone3,vfork", "ENOMEM");
    rows.run("UPDATE tenantcron_status SET value = 'needed'; NOTIFY tenantcron");
    eventually(secs(60), "each was tried twice more", || {
        ["a", "b"].iter().all(|tenant| supervisor.log().matches(&format!(" {tenant}: cannot start")).count() >= 2)
    });
    let told = alerts(&supervisor);
    assert!(told.len() == 1 && told[0].contains("Cannot allocate memory"), "{told:?}");
    eventually(secs(10), "no run is left and the rows are needed", || {
        rows.count("needed") == 2 && rows.one::<i64>("SELECT count(*) FROM tenantcron_run", &[]) == 2
    });
    signal(tracer.id() as i32, Signal::SIGTERM);
    tracer.wait().unwrap();
    all_ran(&mut rows, &["a", "b"], 2);
    assert_eq!(supervisor.journal().read().overlaps(), [""; 0]);
}

#[test]
fn a_program_that_is_just_being_replaced_is_tried_again() {
    let (database, folder) = (cluster().database(), world().folder("busy"));
    let program = folder.join("work");
    fs::copy("/bin/true", &program).unwrap();
    let writer = File::options().append(true).open(&program).unwrap();
    let supervisor = on_demand(&database, &["a"]).set("job.command", vec![program.display().to_string()]).start();
    let mut rows = Rows::of(&database);
    eventually(secs(30), "it was tried twice", || supervisor.log().matches(" a: cannot start").count() >= 2);
    let told = alerts(&supervisor);
    assert!(told.len() == 1 && told[0].contains("Text file busy"), "{told:?}");
    eventually(secs(10), "no run is left", || {
        rows.count("needed") == 1 && rows.list("SELECT key FROM tenantcron_run").is_empty()
    });
    drop(writer);
    all_ran(&mut rows, &["a"], 1);
}

/// More than the disk of [`a_full_disk_costs_output_and_no_run`] can take.
const TALK: &str =
    "i=0; while [ $i -lt 2000 ]; do echo 'this line is fifty bytes long, as lines in a log are'; i=$((i + 1))
                    done 2>/dev/null; exit 0";

#[test]
fn a_full_disk_costs_output_and_no_run() {
    let database = cluster().database();
    // One after the other, by name: the first fills the disk, the second finds it full.
    let mut supervisor =
        on_demand(&database, &["a", "b"]).set("workers", 1).plan("a", TALK).plan("b", "echo work || exit 0").prepare();
    let logs = supervisor.folder().join("logs");
    let Some(_mount) = Mount::small(&logs, "64k") else { return };
    let ask = "UPDATE tenantcron_status SET value = 'needed'; NOTIFY tenantcron";
    supervisor.start();
    let mut rows = Rows::of(&database);
    all_ran(&mut rows, &["a", "b"], 1);
    rows.run(ask);
    all_ran(&mut rows, &["a", "b"], 2);
    let told = alerts(&supervisor);
    for tenant in ["a", "b"] {
        let its: Vec<_> = told.iter().filter(|line| line.contains(&format!("tenant {tenant}: "))).collect();
        assert!(its.len() == 1 && its[0].contains("No space left on device"), "{told:#?}");
    }
    assert_eq!(told.len(), 2, "{told:#?}");
    assert_eq!(supervisor.tenant_log("b"), "");
    // Somebody makes room.
    File::options().write(true).truncate(true).open(logs.join("a.log")).unwrap();
    rows.run("UPDATE tenantcron_status SET value = 'needed' WHERE key = 'b'; NOTIFY tenantcron");
    eventually(secs(30), "b has run once more", || rows.outcomes("b").len() == 3);
    let log = supervisor.tenant_log("b");
    let lines: Vec<&str> = log.lines().collect();
    assert!(lines.len() == 3 && lines[0].contains(": start run=") && lines[1] == "work", "{log}");
    assert!(lines[2].contains(" outcome=ok "), "{log}");
    assert!(supervisor.stop().success());
}

#[test]
fn a_start_line_stands_alone_behind_a_line_that_was_cut_off() {
    let database = cluster().database();
    let mut supervisor = on_demand(&database, &["a"]).plan("a", "echo work").prepare();
    fs::write(supervisor.folder().join("logs/a.log"), "written when the disk was fu").unwrap();
    supervisor.start();
    let mut rows = Rows::of(&database);
    all_ran(&mut rows, &["a"], 1);
    let log = supervisor.tenant_log("a");
    assert_eq!(log.lines().count(), 4, "{log}");
}

#[test]
fn a_log_folder_that_vanishes_under_runs_is_made_again() {
    let database = cluster().database();
    let go = world().folder("go");
    let wait = format!("echo one; while [ ! -e {}/go ]; do sleep 0.05; done; echo two", go.display());
    let mut supervisor = on_demand(&database, &["a", "b"]).plan("a", &wait).start();
    let mut rows = Rows::of(&database);
    eventually(secs(20), "b has run, a runs", || {
        rows.outcomes("b") == ["ok"] && supervisor.tenant_log("a").contains("one")
    });
    let logs = supervisor.folder().join("logs");
    fs::remove_dir_all(&logs).unwrap();
    rows.run("UPDATE tenantcron_status SET value = 'needed' WHERE key = 'b'; NOTIFY tenantcron");
    eventually(secs(20), "b has run again", || rows.outcomes("b").len() == 2);
    eventually(secs(5), "and has a log", || supervisor.tenant_log("b").lines().count() == 2);
    assert_eq!(alerts(&supervisor), [""; 0], "the folder could be made again");

    // Where it cannot be made, the tenant runs all the same.
    fs::remove_dir_all(&logs).unwrap();
    fs::write(&logs, "in the way").unwrap();
    rows.run("UPDATE tenantcron_status SET value = 'needed' WHERE key = 'b'; NOTIFY tenantcron");
    eventually(secs(20), "b has run a third time", || rows.outcomes("b").len() == 3);
    fs::write(go.join("go"), "").unwrap();
    eventually(secs(20), "a ends well without its folder", || rows.outcomes("a") == ["ok"]);
    let told = alerts(&supervisor);
    assert!(told.len() == 1 && told[0].contains("tenant b: cannot open log"), "{told:?}");
    fs::remove_file(&logs).unwrap();
    rows.run("UPDATE tenantcron_status SET value = 'needed'; NOTIFY tenantcron");
    eventually(secs(20), "both have run", || rows.outcomes("b").len() == 4 && rows.outcomes("a").len() == 2);
    for tenant in ["a", "b"] {
        let log = supervisor.tenant_log(tenant);
        assert!(log.contains(": start run=") && log.contains(" outcome=ok "), "{tenant}: {log}");
    }
    assert!(supervisor.stop().success());
}

/// A tenant at work until its file is there, and whether it lives.
fn at_work(supervisor: &Supervisor, tenant: &str) -> i32 {
    eventually(secs(20), "it is at work", || {
        let record = supervisor.journal().read();
        record.runs_of(tenant).last().filter(|run| run.end.is_none() && proc::is_alive(run.pid)).map(|run| run.pid)
    })
}

fn gate(go: &Path) -> String {
    format!("while [ ! -e {}/$TENANTCRON_TENANT ]; do sleep 0.05; done", go.display())
}

fn open(go: &Path, tenant: &str) -> PathBuf {
    let file = go.join(tenant);
    fs::write(&file, "").unwrap();
    file
}

#[test]
fn a_state_folder_that_turns_read_only_stops_new_starts_and_nothing_else() {
    let (database, go) = (cluster().database(), world().folder("go"));
    let mut supervisor = on_demand(&database, &["a", "b"]).plan("a", &gate(&go)).start();
    let mut rows = Rows::of(&database);
    let child = at_work(&supervisor, "a");
    eventually(secs(20), "b has run", || rows.outcomes("b") == ["ok"]);
    let Some(mount) = Mount::read_only(&supervisor.state()) else { return };
    rows.run("UPDATE tenantcron_status SET value = 'needed' WHERE key = 'b'; NOTIFY tenantcron");
    let told = supervisor.wait_for_log(" ALERT ", secs(20));
    assert!(told.contains(" b: ") && told.contains("Read-only file system"), "{told}");
    throughout(secs(5), "nothing starts, what runs goes on", || {
        proc::is_alive(child) && supervisor.journal().read().runs.len() == 2
    });
    assert_eq!(rows.value("b").as_deref(), Some("needed"));
    let look = supervisor.command(&["run", "--once"]);
    let words = String::from_utf8_lossy(&look.stderr);
    assert!(look.status.code() == Some(1) && words.contains("cannot be written"), "{look:?}");
    // The end of the other needs no folder.
    open(&go, "a");
    eventually(secs(20), "a is recorded", || rows.outcomes("a") == ["ok"]);
    // One for the tenant that waits, one for what it leaves there for `status`.
    let told = alerts(&supervisor);
    assert!(told.len() <= 2 && told.iter().all(|line| line.contains("Read-only file system")), "{told:?}");
    drop(mount);
    eventually(secs(60), "b runs", || rows.outcomes("b").len() == 2);
    rows.run("UPDATE tenantcron_status SET value = 'needed'; NOTIFY tenantcron");
    eventually(secs(20), "both run again", || rows.outcomes("a").len() == 2 && rows.outcomes("b").len() == 3);
    assert_eq!(supervisor.journal().read().overlaps(), [""; 0]);
    assert!(supervisor.stop().success());
}

#[test]
fn a_state_folder_that_vanishes_under_a_run_and_then_its_supervisor_too_starts_no_second_copy() {
    let (database, go) = (cluster().database(), world().folder("go"));
    let mut supervisor = on_demand(&database, &["a", "b"]).plan("a", &gate(&go)).start();
    let mut rows = Rows::of(&database);
    let child = at_work(&supervisor, "a");
    eventually(secs(20), "the row names its process", || {
        rows.list("SELECT pid::text FROM tenantcron_run WHERE key = 'a' AND pid IS NOT NULL") == [child.to_string()]
    });
    fs::remove_dir_all(supervisor.state()).unwrap();
    rows.run("UPDATE tenantcron_status SET value = 'needed' WHERE key = 'b'; NOTIFY tenantcron");
    supervisor.wait_for_log("was removed: made anew", secs(20));
    eventually(secs(20), "b has run again", || rows.outcomes("b").len() == 2);
    // A single look finds a run that no lock file tells of.
    let look = supervisor.command(&["run", "--once"]);
    assert!(look.status.success(), "{look:?}");
    supervisor.kill9();
    let look = supervisor.command(&["run", "--once"]);
    assert!(look.status.success(), "{look:?}");
    supervisor.start();
    supervisor.wait_for_log(&format!("lives on under pid {child}, its supervisor died"), secs(20));
    throughout(secs(3), "one copy", || proc::is_alive(child) && supervisor.journal().read().runs_of("a").len() == 1);
    open(&go, "a");
    eventually(secs(20), "it is recorded", || rows.outcomes("a") == ["adopted"]);
    assert_eq!(supervisor.journal().read().overlaps(), [""; 0]);
}

#[test]
fn a_state_folder_that_vanishes_under_a_young_run_does_not_make_others_call_it_lost() {
    let (database, go) = (cluster().database(), world().folder("go"));
    let mut supervisor = on_demand(&database, &["a", "b"]).plan("a", &gate(&go)).start();
    let mut client = database.connect();
    let child = at_work(&supervisor, "a");
    fs::remove_dir_all(supervisor.state()).unwrap();
    let mut look = supervisor.plain_command();
    look.arg("run").arg("--config").arg(supervisor.config_path()).arg("--once");
    let mut look = look.stderr(Stdio::null()).spawn().unwrap();
    throughout(secs(4), "one copy", || {
        let runs = rows::runs_of(&mut client, "a");
        let well = runs.len() == 1 && runs[0].finished_at.is_none() && proc::is_alive(child);
        if well { Ok(()) } else { Err(format!("{runs:?}\n{}", supervisor.log())) }
    });
    assert!(exit_within(&mut look, secs(20)).is_some_and(|status| status.success()));
    assert_eq!(supervisor.journal().read().overlaps(), [""; 0]);
    open(&go, "a");
    assert!(supervisor.stop().success());
}
