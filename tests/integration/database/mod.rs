//! What the supervisor does with databases: both layouts, a foreign table, many databases and few
//! connections, TLS and passwords, outages, notifications, and rows that are odd.

mod contention;
mod crowd;
mod layouts;
mod logins;
mod looks;
mod migrate;
mod notifications;
mod odd_rows;
mod outages;
mod repairs;
mod servers;

use crate::support::daemon::Supervisor;
use crate::support::wait::secs;
use nix::sys::signal::Signal;
use postgres::Client;

/// QUIT, so that what runs ends by itself and every run that began has its end.
#[track_caller]
fn drain(supervisor: &mut Supervisor) {
    supervisor.signal(Signal::SIGQUIT);
    let status = supervisor.wait_exit(secs(45));
    assert!(status.success(), "{status}");
}

/// The single number that a statement answers.
#[track_caller]
fn number(client: &mut Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

/// The single column of a statement's rows, as text.
#[track_caller]
fn texts(client: &mut Client, sql: &str) -> Vec<String> {
    let rows = client.query(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    rows.iter().map(|row| row.get::<_, Option<String>>(0).unwrap_or_else(|| "null".to_owned())).collect()
}

/// A run as its row tells it.
#[derive(Debug, Clone, PartialEq)]
struct RunRow {
    id: i64,
    key: String,
    outcome: Option<String>,
    exit_code: Option<i32>,
    signal: Option<i32>,
    seconds: Option<f64>,
}

/// Every run, by id.
fn runs(client: &mut Client) -> Vec<RunRow> {
    let sql = "SELECT id, key, outcome, exit_code, signal, extract(epoch FROM finished_at - started_at)::float8
               FROM tenantcron_run ORDER BY id";
    let rows = client.query(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    rows.iter()
        .map(|row| RunRow {
            id: row.get(0),
            key: row.get(1),
            outcome: row.get(2),
            exit_code: row.get(3),
            signal: row.get(4),
            seconds: row.get(5),
        })
        .collect()
}
