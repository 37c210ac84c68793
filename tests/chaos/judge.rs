//! Whether all that happened may have happened: each run's row against what its job told and what was done to its node.
//! It accuses only where no fault explains what is seen, and names the run and both stories.

use super::tenants::{Kind, TIMEOUT, Tenant};
use super::timeline::{How, Kills, Life, Nanos, NodeLine, nanos};
use crate::support::journal::{JobRun, Record};
use crate::support::rows::RunRow;
use crate::support::wait::{millis, secs};
use std::collections::{BTreeMap, HashMap};

/// A supervisor that is awake for so long after an end has seen it.
const SEES: Nanos = nanos(secs(5));
/// Until what is left of a group has been ended too.
const LEFT: Nanos = nanos(secs(3));
/// The end's time is told to the database by its age, in microseconds.
const EXACT: Nanos = nanos(millis(20));
/// A look and what it adopts, where nothing stands in its way.
const ADOPTS: Nanos = nanos(secs(10));
/// The longest that an exchange lasts: behind another's lock, say.
const EXCHANGE: Nanos = nanos(secs(31));
/// The status of a job that its supervisor ended, as the job's trap tells it.
const ENDED_BY_TERM: Option<i32> = Some(143);

/// What the product promises in this night.
#[derive(Debug, Clone, Copy)]
pub struct Promises {
    /// Ends that the database has not taken survive their supervisor.
    pub unrecorded: bool,
    /// Runs are taken over when their lease has run out.
    pub takeover: bool,
}

/// All that is known.
pub struct Evidence<'a> {
    pub record: &'a Record,
    pub rows: &'a [RunRow],
    pub lines: &'a [NodeLine],
    pub kills: &'a Kills,
    pub tenants: &'a [Tenant],
    pub promises: Promises,
}

/// One run, by all accounts.
struct Case<'a> {
    row: &'a RunRow,
    job: Option<&'a JobRun>,
    line: &'a NodeLine,
    all: &'a [NodeLine],
    tenant: &'a Tenant,
    killed: Option<Nanos>,
    started: Nanos,
    finished: Nanos,
    promises: Promises,
}

impl Evidence<'_> {
    /// Every accusation, in words.
    pub fn judge(&self) -> Vec<String> {
        let mut found = self.overlaps();
        let mut by_run: BTreeMap<i64, Vec<&JobRun>> = BTreeMap::new();
        for job in &self.record.runs {
            by_run.entry(job.run).or_default().push(job);
        }
        let twice = by_run.values().filter(|jobs| jobs.len() > 1);
        found.extend(twice.map(|jobs| format!("one run was started twice: {jobs:?}")));
        let rows: HashMap<i64, &RunRow> = self.rows.iter().map(|row| (row.id, row)).collect();
        let without = self.record.runs.iter().filter(|job| rows.get(&job.run).is_none_or(|row| row.key != job.tenant));
        found.extend(without.map(|job| format!("a job ran that no row knows of: {job:?}")));
        for row in self.rows {
            let job = by_run.get(&row.id).and_then(|jobs| jobs.first()).copied();
            if let Err(why) = self.case(row, job).and_then(|case| case.judge()) {
                found.push(format!("{why}\n    row {row:?}\n    job {job:?}"));
            }
        }
        for line in self.lines {
            found.extend(line.lives.iter().filter_map(|life| left_well(line, life).err()));
        }
        found
    }

    fn case<'a>(&'a self, row: &'a RunRow, job: Option<&'a JobRun>) -> Result<Case<'a>, String> {
        let line = self.lines.iter().find(|line| line.name == row.node).ok_or("a run of no node of ours")?;
        let tenant = self.tenants.iter().find(|tenant| tenant.name == row.key).ok_or("a run of no tenant of ours")?;
        let finished = row.finished_at.ok_or("a run is open although nothing runs")? * 1000;
        let killed = self.kills.0.iter().find(|(run, _)| *run == row.id).map(|(_, at)| *at);
        let started = row.started_at * 1000;
        Ok(Case { row, job, line, all: self.lines, tenant, killed, started, finished, promises: self.promises })
    }

    /// Tenants that ran twice at once without an excuse. Without takeover there is none.
    pub fn overlaps(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut earlier: BTreeMap<&str, Vec<&JobRun>> = BTreeMap::new();
        for job in &self.record.runs {
            let before = earlier.entry(&job.tenant).or_default();
            let mut offenders: Vec<_> = before.iter().filter(|it| it.end.is_some_and(|end| end > job.begin)).collect();
            // A killed one, or what is left of a group, is known by the lock that it holds.
            if offenders.is_empty() && self.record.locked_out.contains(&(job.tenant.clone(), job.run)) {
                offenders.extend(before.last());
            }
            for offender in offenders {
                if !self.excused(offender, job.begin) {
                    found.push(format!("two at once:\n    {offender:?}\n    {job:?}"));
                }
            }
            before.push(job);
        }
        found
    }

    /// A lease promises nothing where the supervisor alone was frozen or dead.
    fn excused(&self, offender: &JobRun, until: Nanos) -> bool {
        let line = self.lines.iter().find(|line| line.name == offender.node);
        self.promises.takeover && line.is_some_and(|line| line.was_out(offender.begin, until))
    }
}

/// A supervisor that was asked to stop recorded all ends, or its database was in trouble.
fn left_well(line: &NodeLine, life: &Life) -> Result<(), String> {
    match life.ended {
        Some((_, How::Killed | How::Left(0))) | None => Ok(()),
        Some((at, How::Left(1))) if line.troubled(life.asked_to_stop.unwrap_or(at), at) => Ok(()),
        Some((_, How::Left(code))) => Err(format!("{} exited with {code}: {life:?}", line.name)),
    }
}

fn must(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

impl Case<'_> {
    fn judge(&self) -> Result<(), String> {
        if let Some(job) = self.job {
            must(job.node == self.row.node, "another node ran it than the row says")?;
            must(self.row.pid.is_none_or(|pid| pid == job.pid), "another process ran it than the row says")?;
            must(job.begin >= self.started - EXACT, "it began before its claim")?;
            must(self.claimer().is_some(), "it was claimed while its node had no supervisor")?;
        }
        self.timely()?;
        match self.row.outcome.as_deref().unwrap_or_default() {
            "ok" | "failed" => self.came_to_its_end(),
            "killed" => self.was_killed(),
            "timeout" => self.timed_out(),
            "stopped" => self.was_stopped(),
            "adopted" => self.was_adopted(),
            "lost" => self.was_lost(),
            other => Err(format!("an unknown outcome {other:?}")),
        }
    }

    /// The supervisor that claimed it; a killed one lives for a moment longer than we know.
    fn claimer(&self) -> Option<&Life> {
        self.line.life_at(self.started).or_else(|| self.line.life_at(self.started - EXACT))
    }

    /// The end by the job's own account.
    fn end(&self) -> Option<Nanos> {
        self.job.and_then(|job| job.end)
    }

    /// Closed when its process was gone, and not later than it was seen.
    fn timely(&self) -> Result<(), String> {
        let Some(end) = self.end() else { return Ok(()) };
        let excused = self.promises.takeover && self.line.was_out(self.started, self.finished);
        must(excused || end <= self.finished + EXACT, "it was closed while its process lived")?;
        let left = if self.tenant.leaves_some() { LEFT } else { 0 };
        let late = self.line.was_late(end - SEES, self.finished);
        must(late || self.finished - end <= SEES + left, "its end was recorded as later than it was")
    }

    fn came_to_its_end(&self) -> Result<(), String> {
        let exit = self.job.and_then(|job| job.exit);
        must(exit.is_some(), "an exit status although the job came to no end")?;
        must(exit != ENDED_BY_TERM, "it was ended by SIGTERM")?;
        must(exit == self.row.exit_code, "another exit status than the job's")?;
        must((exit == Some(0)) == (self.row.outcome.as_deref() == Some("ok")), "the outcome belies the exit status")
    }

    fn was_killed(&self) -> Result<(), String> {
        must(self.row.signal == Some(9), "killed by a signal that nobody sent")?;
        let dies = self.tenant.kind == Kind::Dies && self.job.is_some() && self.end().is_none();
        must(dies || self.killed.is_some_and(|at| at <= self.finished), "nobody killed it")
    }

    fn timed_out(&self) -> Result<(), String> {
        must(self.tenant.kind == Kind::Overruns, "it has no timeout")?;
        must(self.finished - self.started >= nanos(TIMEOUT) - EXACT, "it was ended before its time was over")
    }

    fn was_stopped(&self) -> Result<(), String> {
        let asked = self.line.was_asked_to_stop(self.started, self.finished + EXACT);
        let fenced = self.promises.takeover && (self.troubled() || self.line.was_late(self.started, self.finished));
        must(asked || fenced, "nobody asked its supervisor to stop")
    }

    fn was_adopted(&self) -> Result<(), String> {
        must(self.claimer().is_none_or(|life| life.end() <= self.finished), "its own supervisor lived")?;
        self.not_forgotten()
    }

    fn was_lost(&self) -> Result<(), String> {
        let line = self.line;
        if self.job.is_none() {
            // Claimed and never begun: an answer lost, or its supervisor.
            let (from, to) = (self.started - nanos(secs(3)), self.started + EXCHANGE);
            let held_up = self.all.iter().any(|line| line.held_up_others(from, to));
            return must(line.was_disturbed(from, to) || held_up, "a claim was lost although all was well");
        }
        if self.promises.takeover && (line.was_out(self.started, self.finished) || self.troubled()) {
            return Ok(());
        }
        must(line.died(self.started, self.finished), "its supervisor lived")?;
        self.not_forgotten()?;
        let Some(end) = self.end() else { return Ok(()) };
        // The next one had time to look, while the process lived and after.
        let successor = line.lives.iter().find(|life| {
            life.from > self.started
                && line.awake(life, life.from, end) > ADOPTS
                && line.awake(life, end, Nanos::MAX) > SEES
        });
        let watched = successor.is_some_and(|life| !line.troubled(life.from, end + SEES));
        must(!watched, "the next supervisor must have adopted it")
    }

    fn troubled(&self) -> bool {
        self.line.troubled(self.started, self.finished)
    }

    /// Its own supervisor did not see the end; or could not tell the database, where that is all it has.
    fn not_forgotten(&self) -> Result<(), String> {
        let (Some(end), Some(life)) = (self.end(), self.claimer()) else { return Ok(()) };
        let left = if self.tenant.leaves_some() { LEFT } else { 0 };
        let saw = self.line.awake(life, end, Nanos::MAX) > SEES + left;
        let excused = !self.promises.unrecorded && self.line.troubled(end, life.end());
        must(!saw || excused, "its supervisor saw the end and its status is forgotten")
    }
}
