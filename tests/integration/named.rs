//! `run TENANT…`: these now, by an operator, whatever the schedule says.

use crate::rows::Rows;
use crate::support::cluster::cluster;
use crate::support::configuration::Configuration;
use crate::support::daemon::Supervisor;
use crate::support::proc;
use crate::support::wait::{eventually, exit_within, secs};
use crate::support::world::{marked, signal};
use nix::sys::signal::Signal;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Output, Stdio};
use tenantcron::model::TenantName;
use tenantcron::process::{Places, StateFolder, TenantLock};

fn hourly() -> Configuration {
    Supervisor::builder().set("schedule.every", "1h")
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

fn spawn(supervisor: &Supervisor, args: &[&str]) -> Child {
    let mut command = supervisor.plain_command();
    command.arg("run").arg("--config").arg(supervisor.config_path()).args(args);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn it_runs_done_and_disabled_tenants_and_follows_their_output() {
    let database = cluster().database();
    let supervisor = hourly()
        .set("enabled", false)
        .set_at(&["override", "off", "enabled"], false)
        .database(&database)
        .tenants(&["done", "off", "other"])
        .plan("done", "echo first words; sleep 0.5; echo last words >&2")
        .plan("off", "echo of the disabled")
        .prepare();
    assert!(supervisor.command(&["migrate"]).status.success());
    let mut rows = Rows::of(&database);
    rows.put("done", "done", "1 second");
    let before = rows.updated_at("done");
    let output = supervisor.command(&["run", "done", "off"]);
    assert!(output.status.success(), "{output:?}");
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    for words in ["first words", "last words", "of the disabled", "outcome=ok"] {
        assert!(out.contains(words), "{words:?} is not in {out}");
        assert_eq!(out.matches("first words").count(), 1);
    }
    assert!(supervisor.tenant_log("done").contains("last words"), "the log has it too");
    assert_eq!((rows.outcomes("done"), rows.outcomes("off")), (vec!["ok".to_owned()], vec!["ok".to_owned()]));
    assert_eq!((rows.value("done").as_deref(), rows.value("other").as_deref()), (Some("done"), Some("needed")));
    assert!(rows.updated_at("done") > before);
    assert_eq!(supervisor.journal().read().ended("other"), 0);
}

#[test]
fn a_paused_one_runs_only_by_force() {
    let database = cluster().database();
    let supervisor = hourly().database(&database).tenants(&["a"]).prepare();
    assert!(supervisor.command(&["migrate"]).status.success());
    let mut rows = Rows::of(&database);
    rows.run("INSERT INTO tenantcron_flag (key, paused_at) VALUES ('a', now())");
    let refused = supervisor.command(&["run", "a"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("paused") && said(&refused).contains("--force"), "{refused:?}");
    assert_eq!(supervisor.journal().read().runs.len(), 0);
    assert_eq!(rows.value("a").as_deref(), Some("needed"));
    let forced = supervisor.command(&["run", "--force", "a"]);
    assert!(forced.status.success(), "{forced:?}");
    assert_eq!(supervisor.journal().read().ended("a"), 1);
}

#[test]
fn it_exits_as_the_worst_child_did() {
    let database = cluster().database();
    let supervisor = hourly()
        .database(&database)
        .tenants(&["good", "bad", "worse", "killed"])
        .plan("bad", "exit 3")
        .plan("worse", "exit 7")
        .plan("killed", "trap - TERM EXIT; kill -KILL $$")
        .prepare();
    for (tenants, code) in
        [(&["good"][..], 0), (&["good", "bad"], 3), (&["worse", "bad", "good"], 7), (&["killed", "worse"], 128 + 9)]
    {
        let output = supervisor.command(&[&["run"], tenants].concat());
        assert_eq!(output.status.code(), Some(code), "{tenants:?}: {output:?}");
    }
    let mut rows = Rows::of(&database);
    assert_eq!(rows.outcomes("bad"), ["failed", "failed"]);
    assert_eq!(rows.outcomes("killed"), ["killed"]);
}

#[test]
fn it_takes_no_slot_and_refuses_what_runs_already() {
    let database = cluster().database();
    let mut supervisor = hourly()
        .set("workers", 1)
        .set("limits.cluster", 1)
        .database(&database)
        .tenants(&["busy", "waiting", "foreign"])
        .plan("busy", "sleep 60")
        .prepare();
    assert!(supervisor.command(&["migrate"]).status.success());
    let mut rows = Rows::of(&database);
    rows.put("waiting", "needed", "1 minute");
    rows.put("foreign", "running", "1 minute");
    rows.run("UPDATE tenantcron_status SET value = 'done', updated_at = now() WHERE key = 'foreign'");
    supervisor.start();
    eventually(secs(20), "the only slot is taken", || supervisor.journal().read().runs.len() == 1);
    rows.put("foreign", "running", "1 minute");

    let running = supervisor.command(&["run", "busy"]);
    assert_eq!(running.status.code(), Some(1));
    assert!(said(&running).contains("busy") && said(&running).contains("running"), "{running:?}");
    let foreign = supervisor.command(&["run", "foreign"]);
    assert_eq!(foreign.status.code(), Some(1));
    assert!(said(&foreign).contains("another program"), "{foreign:?}");
    let beside = supervisor.command(&["run", "waiting"]);
    assert!(beside.status.success(), "{beside:?}");
    let record = supervisor.journal().read();
    assert_eq!((record.ended("waiting"), record.ended("busy"), record.overlaps()), (1, 0, vec![]));

    let both = supervisor.command(&["run", "busy", "waiting"]);
    assert_eq!(both.status.code(), Some(1), "{both:?}");
    assert_eq!(supervisor.journal().read().ended("waiting"), 2, "the other one is run all the same");
}

#[test]
fn it_passes_term_and_int_on_and_the_row_is_needed_again() {
    let database = cluster().database();
    let supervisor = hourly().database(&database).tenants(&["a"]).plan("a", "sleep 60").prepare();
    let mut rows = Rows::of(&database);
    for (number, (which, code)) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 143)].into_iter().enumerate() {
        let mut run = spawn(&supervisor, &["a"]);
        // Not before it is at its work: a shell acts on a signal only between two commands.
        eventually(secs(20), "a runs", || {
            let begun = supervisor.journal().read().runs.len() == number + 1;
            begun && marked(supervisor.mark()).into_iter().any(|pid| proc::command_line(pid) == "sleep 60")
        });
        signal(run.id() as i32, which);
        let status = exit_within(&mut run, secs(20)).expect("it ends");
        assert_eq!((status.code(), status.signal()), (Some(code), None), "{which}");
        assert_eq!(supervisor.journal().read().runs_of("a")[number].exit, Some(143), "the job had its SIGTERM");
        assert_eq!(rows.value("a").as_deref(), Some("needed"));
    }
    assert_eq!(rows.outcomes("a"), ["stopped", "stopped"]);
}

#[test]
fn an_unknown_tenant_is_an_error_and_nothing_runs() {
    let database = cluster().database();
    let supervisor = hourly().database(&database).tenants(&["a"]).prepare();
    for (name, words) in
        [("b", "no tenant of this configuration is named b"), ("../etc", "bad name"), ("x;y", "bad name")]
    {
        let output = supervisor.command(&["run", "a", name]);
        assert_eq!(output.status.code(), Some(2), "{name}: {output:?}");
        assert!(said(&output).contains(words), "{name}: {output:?}");
    }
    assert_eq!(supervisor.journal().read().runs.len(), 0);
}

#[test]
fn a_lock_held_only_for_a_claim_is_waited_for() {
    let database = cluster().database();
    let supervisor = hourly().database(&database).tenants(&["a"]).prepare();
    assert!(supervisor.command(&["run", "--once"]).status.success());
    let folder = StateFolder::find(Some(&supervisor.state()), "test", &Places::here()).unwrap().unwrap();
    let mut lock = TenantLock::try_take(&folder, &TenantName::parse("a").unwrap()).unwrap().expect("a free lock");
    lock.write_claiming(tenantcron::process::Process::me().unwrap(), &tenantcron::process::host().unwrap()).unwrap();
    let mut run = spawn(&supervisor, &["a"]);
    assert_eq!(exit_within(&mut run, secs(3)), None, "it did not wait for the claim to end");
    assert_eq!(supervisor.journal().read().runs.len(), 1);
    lock.unlock().unwrap();
    assert!(exit_within(&mut run, secs(20)).expect("it ends").success());
    assert_eq!(supervisor.journal().read().ended("a"), 2);
}
