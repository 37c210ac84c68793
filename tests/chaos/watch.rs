//! Looks on while the faults go on: what would be hard to see afterwards fails the test at once.

use super::CLUSTER;
use super::driver::{Driver, is_run};
use super::judge::{Evidence, Promises};
use super::timeline::{nanos, now};
use crate::support::rows;
use crate::support::wait::secs;
use postgres::Client;

/// The clock of the server is this host's; a look at rows and then at processes takes some time under load.
const SURELY: i64 = nanos(secs(3));

/// Of every row in one snapshot: it runs since its open run was claimed, or is done since its last run's end, or is needed
/// again and has kept that time (or the last claim's; or that of one that was given back).
const ROWS_ASTRAY: &str = "
    SELECT s::text || ' ' || coalesce(r::text, '(no run)') FROM tenantcron_status s
    LEFT JOIN LATERAL (SELECT *, CASE WHEN outcome IN ('stopped', 'lost') THEN started_at ELSE finished_at END AS since
                       FROM tenantcron_run WHERE key = s.key ORDER BY id DESC LIMIT 1) r ON true
    WHERE NOT CASE
        WHEN r.id IS NULL THEN s.value = 'needed'
        WHEN r.finished_at IS NULL THEN s.value = 'running' AND s.updated_at = r.started_at
        WHEN s.value = 'needed' THEN s.updated_at >= r.since
        ELSE s.value = 'done' AND s.updated_at = r.since AND r.outcome NOT IN ('stopped', 'lost')
    END";

/// Rows that are not what their last run made of them, in words.
pub fn rows_astray(client: &mut Client) -> Vec<String> {
    let rows = client.query(ROWS_ASTRAY, &[]).expect("reading rows and runs");
    rows.iter().map(|row| format!("a row is not what its last run made of it: {}", row.get::<_, &str>(0))).collect()
}

/// No tenant runs twice at once; no run is closed whose main process lives; rows and runs agree.
pub fn watch(driver: &mut Driver, promises: Promises) {
    let (record, lines) = (driver.journal.read(), driver.lines());
    let Some((rows, astray)) = driver.client().map(|client| (rows::runs(client), rows_astray(client))) else { return };
    assert!(astray.is_empty(), "{}", astray.join("\n"));
    let open: Vec<_> = rows.iter().filter(|row| row.finished_at.is_none()).collect();
    assert!(open.len() <= CLUSTER, "more runs are open than limits.cluster allows: {open:?}");
    let evidence = Evidence {
        record: &record,
        rows: &rows,
        lines: &lines,
        kills: &driver.kills,
        tenants: &driver.tenants,
        promises,
    };
    let overlaps = evidence.overlaps();
    assert!(overlaps.is_empty(), "{}", overlaps.join("\n"));
    for row in &rows {
        let Some(finished) = row.finished_at.map(|at| at * 1000).filter(|at| now() - at > SURELY) else { continue };
        let Some(job) = record.runs.iter().find(|job| job.run == row.id && job.end.is_none()) else { continue };
        let line = lines.iter().find(|line| line.name == job.node);
        let excused = promises.takeover && line.is_some_and(|line| line.was_out(job.begin, finished));
        assert!(excused || !is_run(job.pid, job.run), "a run is closed, its process lives:\n    {row:?}\n    {job:?}");
    }
}
