//! Notices become log lines: one each, naming the tenant; a server that goes with all its databases is one more. The
//! only place where the supervisor's words are chosen.

use super::outages::{Outages, Returned, Telling};
use crate::logging::ALERT;
use crate::model::{DatabaseId, Moment, Outcome, TenantName};
use crate::scheduler::Notice;
use humantime::format_duration;
use log::{Level, log};
use std::time::Duration;

/// What a notice needs to be told in full, and the core does not know.
pub trait Names {
    /// A database's URL without its password.
    fn database(&self, id: DatabaseId) -> String;
    /// The server of a database, and how many of our databases are there, where it is not the only one.
    fn server(&self, id: DatabaseId) -> Option<(String, usize)>;
    /// A tenant's log file.
    fn log_of(&self, tenant: &TenantName) -> String;
}

/// Writes it.
pub fn announce(notice: &Notice, names: &impl Names, outages: &mut Outages, now: Moment) {
    let (severity, text) = tell(notice, names);
    let telling = match notice {
        Notice::DatabaseDown { database, text: why, whole_server } => {
            let server = names.server(*database).filter(|_| *whole_server);
            let telling = outages.down(*database, server.as_ref().map(|(server, _)| server.clone()), now);
            if let (Telling::ServerDown, Some((server, databases))) = (&telling, server) {
                let name = names.database(*database);
                let why = reason(why, &name);
                let text = format!(
                    "database server {server} is down, its {databases} databases wait: {why} (first seen at {name})"
                );
                say(&Severity::Alert, &text);
            }
            telling
        }
        Notice::DatabaseUp { database, down_for } => outages.up(*database, *down_for, now),
        _ => Telling::Alone,
    };
    match telling {
        Telling::Alone => say(&severity, &text),
        Telling::Beside | Telling::ServerDown => say(&Severity::Plain(Level::Info), &text),
        Telling::ServerUp(returned) => {
            say(&Severity::Plain(Level::Info), &text);
            tell_returned(&returned, names);
        }
    }
}

/// Tells which servers are back though some of their databases are not.
pub fn announce_returned(outages: &mut Outages, names: &impl Names, now: Moment) {
    for returned in outages.returned(now) {
        tell_returned(&returned, names);
    }
}

fn tell_returned(Returned { server, after, missing }: &Returned, names: &impl Names) {
    let but = match missing.as_slice() {
        [] => String::new(),
        some => format!("; {} of its databases do not answer yet: {}", some.len(), few(some, |id| names.database(*id))),
    };
    say(&Severity::Alert, &format!("database server {server} is back after {}{but}", short(*after)));
}

fn say(severity: &Severity, text: &str) {
    match severity {
        Severity::Alert => log::error!(target: ALERT, "{text}"),
        Severity::Plain(level) => log!(*level, "{text}"),
    }
}

/// The first of many.
fn few<T>(many: &[T], name: impl Fn(&T) -> String) -> String {
    let first: Vec<_> = many.iter().take(5).map(name).collect();
    let more = if many.len() > first.len() { " …" } else { "" };
    format!("{}{more}", first.join(", "))
}

/// What failed, without the database that a line names anyway.
fn reason<'a>(text: &'a str, database: &str) -> &'a str {
    text.strip_prefix("database ").and_then(|rest| rest.strip_prefix(database)?.strip_prefix(": ")).unwrap_or(text)
}

enum Severity {
    Alert,
    Plain(Level),
}

fn tell(notice: &Notice, names: &impl Names) -> (Severity, String) {
    let [error, warn, info] = [Level::Error, Level::Warn, Level::Info].map(Severity::Plain);
    match notice {
        Notice::Started { tenant, run, pid } => {
            (Severity::Plain(Level::Debug), format!("{tenant}: run {run} started, pid {pid}"))
        }
        Notice::Ended { tenant, run, outcome, detail, elapsed } => {
            let elapsed = short(*elapsed);
            match outcome {
                Outcome::Ok | Outcome::Adopted => {
                    (info, join(&format!("{tenant}: run {run} {outcome} after {elapsed}"), detail, ""))
                }
                Outcome::Failed | Outcome::Killed | Outcome::Timeout | Outcome::Lost => {
                    let log = format!("log {}", names.log_of(tenant));
                    (error, join(&format!("{tenant}: run {run} {outcome} after {elapsed}"), detail, &log))
                }
                Outcome::Stopped => (warn, join(&format!("{tenant}: run {run} {outcome} after {elapsed}"), detail, "")),
            }
        }
        Notice::SpawnFailed { tenant, text, retry_in } => {
            (Severity::Alert, format!("{tenant}: {text}; tried again in {}", short(*retry_in)))
        }
        Notice::SpawnFailedAgain { tenant, text, retry_in } => {
            (info, format!("{tenant}: {text}; tried again in {}", short(*retry_in)))
        }
        Notice::Ending { tenant, run, why, killed: false } => {
            (warn, format!("{tenant}: run {run} is asked to end (SIGTERM): {why}"))
        }
        Notice::Ending { tenant, run, why, killed: true } => {
            (warn, format!("{tenant}: run {run} is killed (SIGKILL): {why}"))
        }
        Notice::GroupLeft { tenant, run } => {
            (warn, format!("{tenant}: run {run} left processes of its group behind, they are ended (SIGTERM)"))
        }
        Notice::Adopted { tenant, run, pid } => {
            (warn, format!("{tenant}: run {run} lives on under pid {pid}, its supervisor died: adopted"))
        }
        Notice::Lost { tenant, run } => {
            (error, format!("{tenant}: run {run} is lost, no process of it is left on this host: needed again"))
        }
        Notice::ClosedByAnother { tenant, run } => {
            (error, format!("{tenant}: run {run} was closed by somebody else, their outcome stays"))
        }
        Notice::Repaired { tenant, run, before } => {
            let what = if run == before {
                format!("run {run} lives here and its row did not say so")
            } else {
                format!("run {before} lives here and was gone from the database, it is run {run} now")
            };
            let text = format!(
                "{tenant}: {what} (a failover, a restored backup, a hand): the row is running again, nothing is started twice"
            );
            (Severity::Alert, text)
        }
        Notice::AnotherRunOpen { tenant, run, other, node } => (
            Severity::Alert,
            format!(
                "{tenant}: run {run} lives here, and run {other} of node {node} is open: ours is ended, theirs stays"
            ),
        ),
        Notice::TakenOver { tenant, run, node } => (
            Severity::Alert,
            format!(
                "{tenant}: run {run} of node {node} is silent for longer than its lease: taken over, lost, needed again"
            ),
        ),
        Notice::EndRecovered { tenant, run, outcome } => {
            (warn, format!("{tenant}: run {run} had ended {outcome} under a supervisor that is gone: recorded now"))
        }
        Notice::Rival { node, host, run, leaves } => {
            let then = if *leaves {
                "this supervisor came later: it starts nothing more, waits for its children and leaves"
            } else {
                "this supervisor was here before and goes on; give one of them another node name"
            };
            (
                Severity::Alert,
                format!("another machine bears the node name {node}: host {host} confirms run {run}; {then}"),
            )
        }
        Notice::Stale { tenant, node, pid, since, age } => {
            let owner = node.as_ref().map_or("claimed by another program".to_owned(), |node| format!("node {node}"));
            let pid = pid.map_or("pid not known".to_owned(), |pid| format!("pid {pid}"));
            (Severity::Alert, format!("{tenant}: stale: running for {} since {since}, {owner}, {pid}", short(*age)))
        }
        Notice::Released { tenant } => {
            (Severity::Alert, format!("{tenant}: stale row released, needed again (stale.action = release)"))
        }
        Notice::Late { tenants, busy, workers } => match tenants.as_slice() {
            [tenant] => (
                warn,
                format!(
                    "{tenant}: late: needed for a whole interval and not started; {busy} of {workers} workers busy"
                ),
            ),
            many => {
                let first = few(many, ToString::to_string);
                let text = format!("{} tenants are late ({first}); {busy} of {workers} workers busy", many.len());
                (warn, text)
            }
        },
        Notice::DatabaseDown { database, text, whole_server: _ } => {
            let name = names.database(*database);
            let why = reason(text, &name);
            (Severity::Alert, format!("database {name} is down, its tenants wait: {why}"))
        }
        Notice::DatabaseUp { database, down_for } => {
            (Severity::Alert, format!("database {} is back after {}", names.database(*database), short(*down_for)))
        }
        Notice::UnknownValue { tenant, value } => (
            error,
            format!(
                "{tenant}: its row's value is {value:?}, none of needed, running, done: left alone; set it to one of them"
            ),
        ),
        Notice::NoRow { tenant } => {
            (error, format!("{tenant}: no status row, and none may be made here: run tenantcron migrate"))
        }
        Notice::OpenRunInTheWay { tenant, run, node } => (
            error,
            format!(
                "{tenant}: needed, but there is an open run {run} of node {node}: tenantcron release --force (not in this version: tenantcron(8), IN CASE OF TROUBLE)"
            ),
        ),
        Notice::Refused { tenant, why } => (error, format!("{tenant}: not run: {why}")),
        Notice::Would { tenant, what } => (info, format!("{tenant}: would {what}")),
        Notice::Stopping { running, draining: true } => {
            (info, format!("draining: nothing more is started, {running} running are waited for"))
        }
        Notice::Stopping { running, draining: false } => {
            (info, format!("stopping: nothing more is started, {running} running are asked to end"))
        }
    }
}

fn join(head: &str, detail: &str, tail: &str) -> String {
    [head, detail, tail].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

/// A duration for people: `53ms`, `3.1s`, `28s`, `3m 2s`.
pub fn short(time: Duration) -> String {
    match time.as_millis() {
        millis @ 0..1_000 => format!("{millis}ms"),
        1_000..10_000 => format!("{:.1}s", time.as_secs_f64()),
        _ => format_duration(Duration::from_secs(time.as_secs())).to_string(),
    }
}
