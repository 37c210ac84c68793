//! Real processes, locks and signals. `wait4(-1)` collects whatever child ends, so a test that reaps runs in a
//! process of its own: it starts this very binary again for itself ([`alone`]). What the tests share is here.

mod adoption;
mod children;
mod locking;
mod process_signals;
mod state;
mod unrecorded;
mod upgrade;

use super::*;
use crate::model::{DbTime, OpenRun, RunId, RunIdentity, TenantName};
use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

/// True in a process where no other test runs. In the common one it starts that process, checks that the
/// test passed there, and answers false: `if !alone(this_test) { return }`.
pub(super) fn alone<T: Fn()>(test: T) -> bool {
    if std::env::var_os("ALONE").is_some() {
        return true;
    }
    let done = again(test).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && out.contains("1 passed"), "{out}\n{err}");
    false
}

/// This binary again, for this one test.
fn again<T: Fn()>(_: T) -> std::process::Command {
    let path = std::any::type_name::<T>();
    let name = path.split_once("::").unwrap().1;
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture"]).env("ALONE", "1");
    command
}

/// Waits for a condition, at most 20 s.
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..4000 {
        if condition() {
            return;
        }
        wait::<()>(&[], Some(Duration::from_millis(5))).unwrap();
    }
    panic!("never: {what}\n{}", ps());
}

fn ps() -> String {
    let listed = std::process::Command::new("ps").args(["-eo", "pid,ppid,pgid,stat,args"]).output();
    listed.map(|done| String::from_utf8_lossy(&done.stdout).into_owned()).unwrap_or_default()
}

fn argv(words: &[&str]) -> Vec<CString> {
    words.iter().map(|word| CString::new(*word).unwrap()).collect()
}

fn environment() -> ChildEnvironment {
    ChildEnvironment::new(std::env::vars_os(), [], "web1", "wcs").unwrap()
}

fn tenant(name: &str) -> TenantName {
    TenantName::parse(name).unwrap()
}

/// A child to be, printing into `log`.
fn spawn<'a>(argv: &'a [CString], environment: &'a ChildEnvironment, log: &'a File) -> Spawn<'a> {
    Spawn {
        argv,
        environment,
        run: None,
        directory: None,
        stdout: log.as_fd(),
        stderr: log.as_fd(),
        keep: &[],
        nice: 0,
        oom_score_adj: None,
    }
}

/// Starts a command and waits for its end; what it printed, and how it ended.
fn run(words: &[&str], change: impl for<'a> FnOnce(&mut Spawn<'a>)) -> (String, Reaped) {
    let log = tempfile::NamedTempFile::new().unwrap();
    let (argv, environment) = (argv(words), environment());
    let mut child = spawn(&argv, &environment, log.as_file());
    change(&mut child);
    let spawned = Spawner::new().unwrap().spawn(&child).unwrap();
    let ended = collect(spawned.process.pid);
    (std::fs::read_to_string(log.path()).unwrap(), ended)
}

/// Collects one child. Only in a process of one's own.
fn collect(pid: i32) -> Reaped {
    let mut found = None;
    eventually("the child ends", || {
        found = found.or(reap().unwrap().into_iter().find(|ended| ended.pid == pid));
        found.is_some()
    });
    found.unwrap()
}

fn state(path: &Path) -> StateFolder {
    StateFolder::make(Some(path), "wcs", &Places::here()).unwrap()
}
