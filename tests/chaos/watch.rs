//! Looks on while the faults go on: what would be hard to see afterwards fails the test at once.

use super::driver::{Driver, is_run};
use super::judge::{Evidence, Promises};
use super::timeline::{nanos, now};
use crate::support::rows;
use crate::support::wait::secs;

/// The clock of the server is this host's; a look at rows and then at processes takes some time under load.
const SURELY: i64 = nanos(secs(3));

/// No tenant runs twice at once; no run is closed whose main process lives.
pub fn watch(driver: &mut Driver, promises: Promises) {
    let (record, lines) = (driver.journal.read(), driver.lines());
    let Some(rows) = driver.client().map(rows::runs) else { return };
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
