//! `status`: where every tenant stands, and for a needed one why it does not run. Works while the supervisor
//! is down, takes no lock.

use super::ask::{AskError, Desk, May, by_database, select};
use super::{Process, print_line};
use crate::cli::Status;
use crate::config::Loaded;
use crate::db::{Answer, Viewed};
use crate::exit;
use crate::model::{DatabaseId, DbTime, RowValue, Trouble};
use crate::process::{self, LockFile, StateFolder};
use crate::scheduler::{Listed, next_after};
use crate::supervisor::{WhyFile, short};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::io::IsTerminal;
use std::time::Duration;

/// One tenant as shown. In JSON times are RFC 3339 and durations seconds; what is not known is null.
#[derive(Debug, Default, Serialize)]
struct Line {
    tenant: String,
    /// needed, running, done, another word of the row, `no row`, or `unknown` where the database does not answer.
    state: String,
    since: Option<String>,
    node: Option<String>,
    pid: Option<i32>,
    run: Option<i64>,
    last_outcome: Option<String>,
    last_exit: Option<i32>,
    last_signal: Option<i32>,
    last_seconds: Option<f64>,
    next_due: Option<String>,
    requested: bool,
    paused: bool,
    why: Option<String>,
}

/// Everything that `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    instance: String,
    node: String,
    supervisor: Option<i32>,
    workers: Option<u32>,
    complete: bool,
    tenants: Vec<Line>,
}

/// Shows; answers with the exit code.
pub fn status(loaded: &Loaded, process: &Process, asked: &Status) -> i32 {
    match show(loaded, process, asked) {
        Ok(code) => code,
        Err(why) => {
            eprintln!("tenantcron: {why}");
            why.code()
        }
    }
}

fn show(loaded: &Loaded, process: &Process, asked: &Status) -> Result<i32, AskError> {
    let mut desk = Desk::open(loaded, process, May::Look)?;
    let listed = select(desk.tenants()?, &asked.tenants)?;
    let databases = by_database(&listed);
    for (id, tenants) in &databases {
        desk.engine.view(*id, tenants.iter().map(|tenant| tenant.key.to_string()).collect());
    }
    let state = desk.state();
    let supervisor = state.as_ref().and_then(|state| living_supervisor(state, &desk.identity.node));
    let mut views: HashMap<DatabaseId, (Option<DbTime>, HashMap<String, Viewed>)> = HashMap::new();
    let mut troubles: BTreeMap<DatabaseId, Trouble> = BTreeMap::new();
    for answer in desk.answers(databases.len())? {
        let Answer::Viewed { database, result } = answer else { continue };
        match result {
            Ok((now, rows)) => {
                _ = views.insert(database, (now, rows.into_iter().map(|row| (row.key.clone(), row)).collect()))
            }
            Err(trouble) => _ = troubles.insert(database, trouble),
        }
    }
    let view = View { desk: &desk, state: state.as_ref(), supervisor: supervisor.as_ref() };
    let lines: Vec<_> = listed
        .iter()
        .map(|tenant| match views.get(&tenant.database) {
            Some((now, rows)) => view.line(tenant, *now, rows.get(&*tenant.key)),
            None => Line {
                tenant: tenant.tenant.name.to_string(),
                state: "unknown".to_owned(),
                why: Some("database down".to_owned()),
                ..Line::default()
            },
        })
        .collect();
    let report = Report {
        instance: desk.identity.instance.clone(),
        node: desk.identity.node.clone(),
        supervisor: supervisor.as_ref().map(|why| why.pid),
        workers: supervisor.as_ref().map(|why| why.workers),
        complete: !desk.incomplete && troubles.is_empty(),
        tenants: lines,
    };
    if asked.json {
        print_line(&serde_json::to_string_pretty(&report).map_err(|error| AskError::Failed(error.to_string()))?);
    } else {
        print_table(&report);
    }
    for trouble in troubles.values() {
        eprintln!("tenantcron: {}", trouble.text);
    }
    Ok(match troubles.len() {
        0 if report.complete => exit::DONE,
        number if number > 0 && number == databases.len() => exit::UNAVAILABLE,
        _ => exit::FAILED,
    })
}

/// The daemon of this node by its own file, if that very process lives.
fn living_supervisor(state: &StateFolder, node: &str) -> Option<WhyFile> {
    let why = WhyFile::read(state)?;
    let process = process::Process { pid: why.pid, start: why.pid_start };
    (why.node == node && process.is_alive().unwrap_or(false)).then_some(why)
}

struct View<'a> {
    desk: &'a Desk<'a>,
    state: Option<&'a StateFolder>,
    supervisor: Option<&'a WhyFile>,
}

impl View<'_> {
    fn line(&self, tenant: &Listed, now: Option<DbTime>, viewed: Option<&Viewed>) -> Line {
        let name = tenant.tenant.name.to_string();
        let mut line = Line { tenant: name, state: "no row".to_owned(), ..Line::default() };
        let Some(viewed) = viewed else { return line };
        if let Some(last) = &viewed.last {
            line.last_outcome = last.outcome.map(|outcome| outcome.to_string());
            line.last_exit = last.exit_code;
            line.last_signal = last.signal;
            line.last_seconds = Some(last.finished_at.since(last.started_at).as_secs_f64());
            line.node = Some(last.node.clone());
        }
        if let Some(open) = &viewed.open {
            line.node = Some(open.identity.node.clone());
            line.run = Some(open.identity.id.0);
            line.pid = open.pid.or_else(|| self.pid_by_lock(tenant, open.identity.id.0));
        }
        let Some(row) = &viewed.row else {
            line.why = Some("no status row yet: a supervisor or tenantcron migrate makes it".to_owned());
            return line;
        };
        line.state = row.value.as_str().to_owned();
        line.since = (row.updated_at > DbTime::EPOCH).then(|| row.updated_at.to_string());
        line.paused = row.paused;
        line.requested = row.requested_at.is_some_and(|at| at > row.updated_at);
        match &row.value {
            RowValue::Done => {
                line.next_due = Some(next_after(row.updated_at, tenant.every, tenant.offset).to_string());
                line.why = row.paused.then(|| "paused".to_owned());
            }
            RowValue::Needed => line.why = self.why(tenant, viewed),
            RowValue::Running => {
                let age = now.map(|now| now.since(row.updated_at)).unwrap_or_default();
                if age > self.desk.config.stale.after {
                    line.why = Some(format!("stale: running for {}", short(Duration::from_secs(age.as_secs()))));
                } else if viewed.open.is_none() {
                    line.why = Some("claimed by another program".to_owned());
                }
            }
            RowValue::Unknown(_) => line.why = Some("none of needed, running, done: left alone".to_owned()),
        }
        line
    }

    /// Until the database is told, the tenant's lock file knows.
    fn pid_by_lock(&self, tenant: &Listed, run: i64) -> Option<i32> {
        let file = LockFile::read(&self.state?.tenant_lock(&tenant.tenant.name)).ok()?;
        let same =
            file.host.as_deref() == Some(&self.desk.identity.host) && file.run.is_some_and(|(id, _)| id.0 == run);
        file.process.filter(|_| same).map(|process| process.pid)
    }

    /// The first reason that keeps it from running.
    fn why(&self, tenant: &Listed, viewed: &Viewed) -> Option<String> {
        let row = viewed.row.as_ref()?;
        if row.paused {
            return Some("paused".to_owned());
        }
        if !self.desk.config.enabled || !tenant.enabled {
            return Some("disabled".to_owned());
        }
        if let Some(open) = &viewed.open {
            let (run, node) = (open.identity.id, &open.identity.node);
            let here = open.identity.host == self.desk.identity.host;
            let pid = open.pid.or_else(|| self.pid_by_lock(tenant, run.0));
            if let Some(pid) = pid.filter(|_| here)
                && process::Process::of(pid).is_ok_and(|found| found.is_some())
            {
                return Some(format!("its run {run} lives here as pid {pid}, its row was changed by somebody"));
            }
            return Some(format!(
                "open run {run} of node {node}: tenantcron release --force (not in this version: tenantcron(8), IN CASE OF TROUBLE)"
            ));
        }
        let Some(supervisor) = self.supervisor else { return Some("supervisor not running".to_owned()) };
        supervisor.reasons.get(tenant.tenant.name.as_str()).cloned()
    }
}

fn print_table(report: &Report) {
    let header = ["TENANT", "STATE", "SINCE", "NODE", "PID", "LAST", "TOOK", "NEXT DUE", "WHY"].map(str::to_owned);
    let mut rows = vec![header];
    rows.extend(report.tenants.iter().map(cells));
    let widths: Vec<usize> = (0..9)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    for (number, row) in rows.iter().enumerate() {
        let padded: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let text = padded.join("  ");
        let text = text.trim_end();
        print_line(&if colour { coloured(text, number, row) } else { text.to_owned() });
    }
    let count = |state: &str| report.tenants.iter().filter(|line| line.state == state).count();
    let known = ["needed", "running", "done"].map(count);
    let other = report.tenants.len() - known.iter().sum::<usize>();
    let supervisor = match (report.supervisor, report.workers) {
        (Some(pid), Some(workers)) => format!("supervisor pid {pid} on {}, {workers} workers", report.node),
        _ => format!("no supervisor on {}", report.node),
    };
    let other = if other > 0 { format!(", {other} other") } else { String::new() };
    let [needed, running, done] = known;
    print_line(&format!(
        "{} tenants: {needed} needed, {running} running, {done} done{other}; {supervisor}",
        report.tenants.len()
    ));
}

fn cells(line: &Line) -> [String; 9] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let last = line.last_outcome.as_ref().map(|outcome| match (line.last_exit, line.last_signal) {
        (Some(code), _) if code != 0 => format!("{outcome} {code}"),
        (_, Some(signal)) => format!("{outcome} signal {signal}"),
        _ => outcome.clone(),
    });
    let took = line.last_seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).map(short);
    [
        line.tenant.clone(),
        line.state.clone(),
        or_dash(line.since.clone()),
        or_dash(line.node.clone()),
        or_dash(line.pid.map(|pid| pid.to_string())),
        or_dash(last),
        or_dash(took),
        or_dash(line.next_due.clone()),
        line.why.clone().unwrap_or_default(),
    ]
}

fn coloured(text: &str, number: usize, row: &[String; 9]) -> String {
    let code = match (number, row[1].as_str(), row[8].as_str()) {
        (0, ..) => "1",
        (_, _, why) if why.starts_with("stale") => "31",
        (_, "running", _) => "32",
        (_, "needed", _) => "33",
        (_, "done", _) if !row[5].starts_with("ok") && row[5] != "-" => "31",
        (_, "unknown", _) => "31",
        _ => return text.to_owned(),
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}
