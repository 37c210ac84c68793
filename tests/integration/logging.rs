//! Messages: where they go, how severe they are, that they name their tenant, and that no syslog daemon, whatever its
//! state, holds up the supervisor.

use crate::support::cluster::cluster;
use crate::support::configuration::Configuration;
use crate::support::daemon::{BINARY, Supervisor, output_within};
use crate::support::silent::RefusingPort;
use crate::support::syslogd::{Message, Syslogd};
use crate::support::wait::{eventually, secs};
use nix::sys::signal::Signal;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;

fn to_syslog(configuration: Configuration, syslogd: &Syslogd) -> Configuration {
    configuration.set("log.target", "syslog").set("log.socket", syslogd.socket().display().to_string())
}

fn heard(syslogd: &Syslogd, what: &str) -> Message {
    eventually(secs(20), &format!("syslog hears {what:?}"), || {
        let messages = syslogd.messages();
        let found = messages.iter().find(|message| message.text.contains(what)).cloned();
        found.ok_or_else(|| format!("{messages:?}"))
    })
}

/// Waits until the tenant has run so many times more than now.
fn runs_on(supervisor: &Supervisor, tenant: &str, times: usize) {
    let goal = supervisor.journal().read().ended(tenant) + times;
    eventually(secs(60), &format!("{tenant} runs {times} times more"), || {
        if supervisor.journal().read().ended(tenant) >= goal { Ok(()) } else { Err(supervisor.log()) }
    });
}

#[test]
fn syslog_gets_facility_severity_and_the_tenant_of_every_line() {
    let (database, syslogd) = (cluster().database(), Syslogd::start());
    let configuration = Supervisor::builder()
        .database(&database)
        .tenants(&["good", "bad", "slow"])
        .plan("bad", "exit 3")
        .plan("slow", "exec sleep 300")
        .set_at(&["override", "slow", "timeout"], "1s")
        .set("log.facility", "local3");
    let mut supervisor = to_syslog(configuration, &syslogd).start();
    let pid = supervisor.pid();
    let failed = heard(&syslogd, "failed");
    assert_eq!((failed.facility.as_str(), failed.severity.as_str()), ("local3", "err"));
    assert_eq!(failed.tag, format!("tenantcron[{pid}]:"));
    let log = supervisor.folder().join("logs/bad.log").display().to_string();
    for word in ["bad: ", "failed", "exit=3", &log] {
        assert!(failed.text.contains(word), "{word:?} is not in {:?}", failed.text);
    }
    assert_eq!(heard(&syslogd, "slow: run").severity, "warning", "asked to end");
    let timeout = heard(&syslogd, "timeout after");
    assert!(timeout.severity == "err" && timeout.text.starts_with("slow: run "), "{timeout:?}");
    let ok = heard(&syslogd, "ok after");
    assert!(ok.severity == "info" && ok.text.starts_with("good: run "), "{ok:?}");
    assert!(supervisor.stop().success());
    let messages = syslogd.messages();
    for message in &messages {
        let about_a_run = ["run ", "exit=", "signal=", "pid "].iter().any(|word| message.text.contains(word));
        let named = ["good: ", "bad: ", "slow: "].iter().any(|name| message.text.starts_with(name));
        assert!(named || !about_a_run, "it concerns a run and names no tenant: {message:?}");
        assert_eq!(message.facility, "local3");
        assert_ne!(message.severity, "debug", "not at level info: {message:?}");
    }
    assert_eq!(supervisor.log(), "", "nothing on standard error");
}

#[test]
fn a_frozen_syslog_daemon_holds_nothing_up_and_hears_how_much_it_missed() {
    let (database, syslogd) = (cluster().database(), Syslogd::start());
    // Many tenants that never run make each look's events long lines: the queue is soon full.
    let idle: Vec<String> = (0..150).map(|number| format!("idle-{number}.example")).collect();
    let mut all = idle.clone();
    all.push("busy".to_owned());
    let configuration = Supervisor::builder()
        .database(&database)
        .tenants(&all)
        .set("schedule.every", "1s")
        .set("database.poll", "20ms")
        .set("log.level", "debug")
        .set_at(&["override", "idle-*", "enabled"], false);
    let mut supervisor = to_syslog(configuration, &syslogd).start();
    heard(&syslogd, "busy: run");
    syslogd.freeze();
    runs_on(&supervisor, "busy", 14);
    syslogd.thaw();
    let count = heard(&syslogd, "dropped while syslog did not take them");
    assert_eq!(count.severity, "warning");
    let number: u64 = count.text.split(' ').next().unwrap().parse().unwrap();
    assert!(number > 0, "{count:?}");
    // What could wait came before the count; what is said now comes after it.
    runs_on(&supervisor, "busy", 1);
    eventually(secs(20), "a run told after the count", || {
        let messages = syslogd.messages();
        let at = messages.iter().position(|message| message.text.contains("dropped while")).unwrap();
        messages.iter().skip(at).any(|message| message.text.contains("ok after"))
    });
    assert!(supervisor.stop().success());
}

#[test]
fn a_stopped_and_restarted_syslog_daemon_gets_what_was_said_meanwhile() {
    let (database, mut syslogd) = (cluster().database(), Syslogd::start());
    let configuration =
        Supervisor::builder().database(&database).tenants(&["a"]).set("schedule.every", "1s").plan("a", "exit 4");
    let mut supervisor = to_syslog(configuration, &syslogd).start();
    heard(&syslogd, "exit=4");
    syslogd.stop();
    let before = supervisor.journal().read().ended("a");
    runs_on(&supervisor, "a", 3);
    let missed = supervisor.journal().read().runs_of("a")[before].run;
    syslogd.restart();
    heard(&syslogd, &format!("a: run {missed} failed"));
    runs_on(&supervisor, "a", 1);
    syslogd.restart();
    let last = supervisor.journal().read().runs_of("a").last().unwrap().run + 1;
    heard(&syslogd, &format!("a: run {last} failed"));
    assert!(supervisor.stop().success());
}

#[test]
fn a_syslog_daemon_that_is_frozen_for_good_does_not_keep_the_supervisor_from_ending() {
    let (database, syslogd) = (cluster().database(), Syslogd::start());
    let configuration =
        Supervisor::builder().database(&database).tenants(&["a"]).set("log.level", "debug").set("schedule.every", "1s");
    let mut supervisor = to_syslog(configuration, &syslogd).start();
    runs_on(&supervisor, "a", 1);
    syslogd.freeze();
    runs_on(&supervisor, "a", 5);
    assert!(supervisor.stop().success());
}

#[test]
fn a_supervisor_starts_without_any_syslog_daemon_and_says_so_on_stderr() {
    let database = cluster().database();
    let mut supervisor = Supervisor::builder()
        .database(&database)
        .tenants(&["a"])
        .set("log.target", "syslog")
        .set("log.socket", "/nonexistent/log")
        .start();
    runs_on(&supervisor, "a", 1);
    let line = supervisor.wait_for_log("no syslog daemon", secs(5));
    assert!(line.contains("/nonexistent/log"), "{line}");
    assert!(supervisor.stop().success());
}

#[test]
fn a_look_that_fails_without_a_syslog_daemon_says_why_on_stderr() {
    let supervisor = Supervisor::builder()
        .tenants(&["a"])
        .set("database.url", RefusingPort::take().url("x"))
        .set("log.target", "syslog")
        .set("log.socket", "/nonexistent/log")
        .prepare();
    let look = supervisor.command(&["run", "--once"]);
    let words = String::from_utf8_lossy(&look.stderr).into_owned();
    assert_eq!(look.status.code(), Some(69), "{words}");
    assert!(words.contains("is down, its tenants wait: ") && words.contains("Connection refused"), "{words}");
    assert!(words.contains("no database at all could be reached"), "{words}");
    assert!(!words.contains("supervising instance"), "only what matters: {words}");
}

#[test]
fn under_a_journal_lines_begin_with_their_priority() {
    let database = cluster().database();
    let supervisor = Supervisor::builder()
        .database(&database)
        .tenants(&["a"])
        .plan("a", "echo journal=$JOURNAL_STREAM; exit 3")
        .set("log.target", "auto")
        .prepare();
    let path = supervisor.folder().join("journal");
    let file = File::create(&path).unwrap();
    let stream = file.metadata().map(|it| format!("{}:{}", it.dev(), it.ino())).unwrap();
    let mut command = supervisor.plain_command();
    command.args(["run", "--config"]).arg(supervisor.config_path()).env("JOURNAL_STREAM", stream);
    let mut child = command.stdout(Stdio::null()).stderr(file).spawn().unwrap();
    let text = || std::fs::read_to_string(&path).unwrap();
    eventually(secs(20), "the failure is told", || text().contains("<3>a: run ").then_some(()).ok_or_else(text));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(text().starts_with("<6>supervising instance test"), "{}", text());
    assert!(text().lines().all(|line| line.starts_with('<')), "{}", text());
    assert!(supervisor.tenant_log("a").contains("journal=\n"), "the variable is not the child's");
}

#[test]
fn auto_is_syslog_where_stderr_is_neither_terminal_nor_journal() {
    let (database, syslogd) = (cluster().database(), Syslogd::start());
    let mut supervisor = Supervisor::builder()
        .database(&database)
        .tenants(&["a"])
        .set("log.target", "auto")
        .set("log.socket", syslogd.socket().display().to_string())
        .env("JOURNAL_STREAM", "1:1") // another descriptor's
        .start();
    heard(&syslogd, "supervising instance test on node node1");
    assert!(supervisor.stop().success());
    assert_eq!(supervisor.log(), "");
}

#[test]
fn auto_is_stderr_on_a_terminal() {
    let database = cluster().database();
    let supervisor = Supervisor::builder()
        .database(&database)
        .tenants(&["a"])
        .plan("a", "exit 3")
        .set("log.target", "auto")
        .prepare();
    let mut command = crate::support::world::world().command("script", Some(supervisor.mark()));
    // One look on a terminal of script's making.
    let line = format!("{BINARY} run --once --config {}", supervisor.config_path().display());
    command.args(["-q", "-e", "-c", &line, "/dev/null"]).env("TERM", "xterm").env("NO_COLOR", "1");
    let plain = String::from_utf8_lossy(&output_within(command, secs(30)).stdout).into_owned();
    assert!(plain.contains(" error a: run "), "{plain:?}");
    assert!(!plain.contains('\x1b'), "NO_COLOR: {plain:?}");
}

#[test]
fn debug_tells_each_event_with_its_actions_and_trace_the_libraries_too() {
    let database = cluster().database();
    let mut supervisor = Supervisor::builder()
        .database(&database)
        .tenants(&["a"])
        .set("schedule.every", "1s")
        .set("log.level", "debug")
        .start();
    runs_on(&supervisor, "a", 2);
    supervisor.wait_for_log("core begins with Rules {", secs(1));
    for (event, action) in [
        ("TenantsListed", "Exchange"),
        ("Exchanged", "Lock"),
        ("Locked", "Exchange"),
        ("Exchanged", "Start"),
        ("Ended", "Close"),
    ] {
        let told = |line: &&str| {
            let Some((events, actions)) = line.split_once(" -> ") else { return false };
            events.contains(" core at ") && events.contains(event) && actions.contains(action)
        };
        assert!(supervisor.log().lines().any(|line| told(&line)), "{event} -> {action}:\n{}", supervisor.log());
    }
    assert!(!supervisor.log().contains("tokio_postgres"), "{}", supervisor.log());
    supervisor.reconfigure(|configuration| configuration.set("log.level", "trace"));
    supervisor.signal(Signal::SIGHUP);
    supervisor.wait_for_log("tokio_postgres", secs(20));
    supervisor.reconfigure(|configuration| configuration.set("log.level", "error"));
    supervisor.signal(Signal::SIGHUP);
    runs_on(&supervisor, "a", 3);
    let length = supervisor.log().len();
    runs_on(&supervisor, "a", 2);
    assert_eq!(supervisor.log().len(), length, "nothing at level error");
    assert!(supervisor.stop().success());
}
