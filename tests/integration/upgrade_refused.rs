//! SIGUSR2 where the program on disk would not take over, or there is none to replace: nothing changes.

use crate::support::cluster::cluster;
use crate::support::daemon::{BINARY, Supervisor};
use crate::support::proc;
use crate::support::rows;
use crate::support::wait::{eventually, secs};
use crate::support::world::{signal, world};
use crate::upgrade::{at_work, closed, let_go, trace, upgrade, upgrades, waiting};
use nix::sys::signal::Signal;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// USR2, until it was given up for this reason. The running program goes on.
fn refused(supervisor: &mut Supervisor, why: &str) {
    let count = |supervisor: &Supervisor| supervisor.log().matches("not upgraded to").count();
    let (before, done) = (count(supervisor), upgrades(supervisor));
    supervisor.signal(Signal::SIGUSR2);
    eventually(secs(40), "it is given up", || {
        assert_eq!(supervisor.ended(), None, "{}", supervisor.log());
        if count(supervisor) > before { Ok(()) } else { Err(supervisor.log()) }
    });
    let log = supervisor.log();
    let told = log.lines().rfind(|line| line.contains("not upgraded to")).unwrap();
    assert!(told.contains("ALERT") && told.contains(why) && told.contains("goes on"), "{why:?}: {told}\n{log}");
    assert_eq!(upgrades(supervisor), done);
}

/// Puts this in the place of a program, as an installer does: whole, by a rename.
fn install(place: &Path, content: &[u8]) {
    let new = place.with_extension("new");
    fs::write(&new, content).unwrap();
    fs::set_permissions(&new, Permissions::from_mode(0o755)).unwrap();
    fs::rename(&new, place).unwrap();
}

#[test]
fn a_program_that_would_not_start_leaves_the_old_one_running() {
    let database = cluster().database();
    let (configuration, go) = waiting(&database, &["a"]);
    let place = world().folder("program").join("tenantcron");
    install(&place, &fs::read(BINARY).unwrap());
    let mut supervisor = configuration.program(place.clone()).start();
    at_work(&supervisor, 1);
    install(&place, b"#!/bin/sh\necho no such library >&2\nexit 3\n");
    refused(&mut supervisor, "it exits with 3");
    assert!(supervisor.log().contains("no such library"), "{}", supervisor.log());
    install(&place, b"\x7fELF of another machine");
    refused(&mut supervisor, "cannot execute");
    install(&place, b"#!/bin/sh\nexit 0\n");
    refused(&mut supervisor, "it does not say that it could take over");
    install(&place, b"#!/bin/sh\nkill -SEGV $$\n");
    refused(&mut supervisor, "it dies of signal 11");
    install(&place, b"#!/bin/sh\nsleep 60\n");
    refused(&mut supervisor, "it did not answer within 10 s");
    fs::remove_file(&place).unwrap();
    refused(&mut supervisor, "No such file");
    eventually(secs(5), "nothing is left of them", || proc::children(supervisor.pid()).len() == 1);

    install(&place, &fs::read(BINARY).unwrap());
    upgrade(&mut supervisor);
    let_go(&go, "a");
    assert_eq!(closed(&mut database.connect(), "a", 1)[0].how(), ("failed", Some(3), None));
    assert!(supervisor.stop().success());
}

#[test]
fn a_configuration_that_the_next_program_would_refuse_changes_nothing() {
    let database = cluster().database();
    let (configuration, go) = waiting(&database, &["a"]);
    let mut supervisor = configuration.start();
    at_work(&supervisor, 1);
    supervisor.reconfigure(|it| it.set("job.comand", "x"));
    refused(&mut supervisor, "it exits with 78");
    assert!(supervisor.log().contains("job.comand"), "{}", supervisor.log());
    let url = database.url().to_owned();
    supervisor.reconfigure(|it| it.unset("job.comand").set("database.url", "postgresql:///elsewhere"));
    refused(&mut supervisor, "it exits with 1");
    assert!(supervisor.log().contains("database.url has changed, which takes a restart"), "{}", supervisor.log());
    supervisor.reconfigure(|it| it.set("database.url", url).set_at(&["job", "env", "A=B"], "x"));
    refused(&mut supervisor, "it exits with");

    // What may change is in force afterwards.
    supervisor.reconfigure(|it| it.unset("job.env").set("workers", 7));
    upgrade(&mut supervisor);
    eventually(secs(5), "it has seven workers", || proc::command_line(supervisor.pid()).ends_with("1/7 running"));
    let_go(&go, "a");
    assert_eq!(closed(&mut database.connect(), "a", 1)[0].how(), ("failed", Some(3), None));
    assert!(supervisor.stop().success());
}

#[test]
fn an_exec_that_fails_after_all_changes_nothing() {
    let database = cluster().database();
    let (configuration, go) = waiting(&database, &["a", "b"]);
    let mut supervisor = configuration.start();
    at_work(&supervisor, 2);
    let mut tracer = trace(&supervisor, &["-e", "trace=execve", "-e", "inject=execve:error=EACCES"]);
    refused(&mut supervisor, "Permission denied");
    signal(tracer.id() as i32, Signal::SIGTERM);
    tracer.wait().unwrap();
    let_go(&go, "a");
    let mut client = database.connect();
    assert_eq!(closed(&mut client, "a", 1)[0].how(), ("failed", Some(3), None));
    // Its child inherits nothing that it should not have.
    rows::ask(&mut client, "a");
    assert_eq!(closed(&mut client, "a", 2)[1].how(), ("failed", Some(3), None));
    upgrade(&mut supervisor);
    let_go(&go, "b");
    assert_eq!(closed(&mut client, "b", 1)[0].how(), ("failed", Some(3), None));
    assert!(supervisor.stop().success());
}

#[test]
fn only_a_supervisor_is_replaced() {
    let database = cluster().database();
    let (configuration, go) = waiting(&database, &["a"]);
    let mut supervisor = configuration.prepare();
    supervisor.spawn(&["--once"]);
    at_work(&supervisor, 1);
    supervisor.signal(Signal::SIGUSR2);
    supervisor.wait_for_log("SIGUSR2 replaces a supervisor, not a single look", secs(10));
    let_go(&go, "a");
    assert_eq!(supervisor.wait_exit(secs(20)).code(), Some(0));
    assert_eq!(closed(&mut database.connect(), "a", 1)[0].how(), ("failed", Some(3), None));
}
