//! A thousand runs leave nothing behind in the supervisor: no zombie, no descriptor, no memory, no open run.

use crate::support::cluster::cluster;
use crate::support::daemon::Supervisor;
use crate::support::proc;
use crate::support::rows;
use crate::support::wait::{eventually, secs, throughout};
use postgres::Client;
use std::collections::BTreeSet;

const TENANTS: usize = 50;
const RUNS: usize = 1000;

#[test]
fn a_thousand_runs_leave_no_zombie_no_descriptor_and_no_open_run() {
    let database = cluster().database();
    let names: Vec<String> = (1..=TENANTS).map(|number| format!("t{number}")).collect();
    let supervisor = Supervisor::builder()
        .database(&database)
        .tenants(&names)
        .set("schedule.every", "365d")
        .set("job.command", vec!["true".to_owned()])
        .set("workers", 8)
        .start();
    let pid = supervisor.pid();
    let mut client = database.connect();
    let mut asked = TENANTS;
    all_done(&mut client, asked);
    // The first rounds fill caches and connections; what is counted begins after them.
    while asked < 4 * TENANTS {
        asked += ask_all(&mut client);
        all_done(&mut client, asked);
    }
    let at_rest = files(pid);
    let memory = proc::resident_kb(pid);
    assert!(!at_rest.is_empty() && memory > 0);

    while asked < 4 * TENANTS + RUNS {
        // Those that are done already run again while others still run: claims and ends mix.
        asked += ask_all(&mut client);
    }
    all_done(&mut client, asked);

    let runs = rows::runs(&mut client);
    assert_eq!(runs.len(), asked, "a run for every time that a row was made needed");
    assert!(runs.iter().all(|run| run.how() == ("ok", Some(0), None) && run.pid.is_some()), "{runs:?}");
    assert!(runs.iter().all(|run| run.finished_at >= Some(run.started_at)));
    assert_eq!(runs.iter().map(|run| run.key.as_str()).collect::<BTreeSet<_>>().len(), TENANTS);
    assert_eq!(proc::children(pid), [0; 0], "a child is left, or a zombie");
    eventually(secs(20), "the descriptors are those of before", || {
        let now = files(pid);
        if now == at_rest { Ok(()) } else { Err(format!("{now:?}\nbefore: {at_rest:?}")) }
    });
    let grown = proc::resident_kb(pid).saturating_sub(memory);
    assert!(grown < 2048, "the supervisor grew by {grown} KiB, from {memory}");
    throughout(secs(1), "nothing runs that nobody asked for", || rows::runs(&mut client).len() == asked);
}

/// What its descriptors point to, sorted; numbers and inodes may differ.
fn files(pid: i32) -> Vec<String> {
    let kind = |(_, target): (i32, String)| target.split(':').next().unwrap_or_default().to_owned();
    let mut all: Vec<String> = proc::open_files(pid).into_iter().map(kind).collect();
    all.sort();
    all
}

/// Every row that is done is made needed, as an application does it; how many were.
fn ask_all(client: &mut Client) -> usize {
    let asked = client.execute("UPDATE tenantcron_status SET value = 'needed' WHERE value = 'done'", &[]).unwrap();
    client.batch_execute("NOTIFY tenantcron").unwrap();
    usize::try_from(asked).unwrap()
}

fn all_done(client: &mut Client, runs: usize) {
    eventually(secs(120), "every row is done and every run closed", || {
        let finished = rows::finished(client);
        let open = rows::runs(client).len() - finished;
        if finished == runs && open == 0 { Ok(()) } else { Err(format!("{finished} of {runs} finished, {open} open")) }
    });
    let row = client.query_one("SELECT count(*) FROM tenantcron_status WHERE value = 'done'", &[]).unwrap();
    assert_eq!(row.get::<_, i64>(0), TENANTS as i64);
}
