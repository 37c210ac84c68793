//! Ends that are not those of a run in memory: found in a dead supervisor's file, or of a run whose row came back with
//! a backup while another of its tenant lives. They are recorded like any other, and what they name is never lost.

use super::action::Action;
use super::event::FoundEnd;
use super::notice::Notice;
use super::state::{Scheduler, Timer};
use super::tenant::{TenantId, TenantState};
use crate::model::{
    Becomes, DatabaseId, DbTime, Finish, Finished, Moment, OpenRun, Outcome, Poll, TenantName, Unrecorded,
};
use std::time::Duration;

/// An end to record.
#[derive(Debug)]
pub(super) struct Found {
    /// The file that it stands in.
    file: Option<u64>,
    tenant: TenantName,
    finish: Finish,
    /// When the run ended; none: when it is told.
    ended_at: Option<DbTime>,
    not_before: Moment,
    wait: Duration,
}

/// An end that a database has not taken after this stands in the file too.
pub(super) const KEEP_AFTER: Duration = Duration::from_secs(1);

const SAY_AGAIN: Duration = Duration::from_millis(200);

impl Scheduler {
    pub(super) fn ends_found(&mut self, file: u64, ends: Vec<FoundEnd>) {
        if self.files.contains_key(&file) {
            return;
        }
        if ends.is_empty() {
            return self.actions.push(Action::Forget { file });
        }
        self.files.insert(file, ends.len());
        let now = self.now;
        self.found_until.get_or_insert(now + super::rules::RECORD_PATIENCE);
        for FoundEnd { database, tenant, finish, ended_at } in ends {
            self.databases_mut(database).found.push(Found {
                file: Some(file),
                tenant,
                finish,
                ended_at: Some(ended_at),
                not_before: now,
                wait: Duration::ZERO,
            });
        }
    }

    /// A run of this node and tenant that has no process, while another run of the tenant lives here.
    pub(super) fn lose_stray(&mut self, id: TenantId, run: OpenRun) {
        let now = self.now;
        let Some(tenant) = self.tenants.get(id) else { return };
        let (name, database) = (tenant.name().clone(), tenant.listed.database);
        let finish = Finish {
            run: run.identity,
            group: run.group,
            outcome: Outcome::Lost,
            becomes: Becomes::Needed,
            exit_code: None,
            signal: None,
            cpu_seconds: None,
            max_rss_kb: None,
            pid: run.pid,
            pid_start: run.pid_start,
            ended_ago: Duration::ZERO,
        };
        let found = Found { file: None, tenant: name, finish, ended_at: None, not_before: now, wait: Duration::ZERO };
        let database = self.databases_mut(database);
        database.found.push(found);
        // In one transaction: between the two the row would be anybody's.
        database.repairs.insert(id);
    }

    /// The end of this run is known, from a file.
    pub(super) fn is_found(&self, id: DatabaseId, run: &OpenRun) -> bool {
        let Some(database) = self.database(id) else { return false };
        let in_flight = database.in_flight.iter().flat_map(|flight| &flight.found);
        let mut ends = database.found.iter().chain(in_flight).map(|found| &found.finish);
        ends.any(|end| run.is_of(&end.run, end.pid.zip(end.pid_start)))
    }

    /// Those due go with the exchange, after the ends of runs in memory. Where the database has not told its time yet it
    /// is asked for that first.
    pub(super) fn compose_found(
        &mut self,
        id: DatabaseId,
        finish: &mut Vec<Finish>,
        poll: &mut Option<Poll>,
    ) -> Vec<Found> {
        let now = self.now;
        let clock = self.database_now(id);
        let waiting = std::mem::take(&mut self.databases_mut(id).found);
        let (due, later): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .partition(|found| found.not_before <= now && (clock.is_some() || found.ended_at.is_none()));
        if clock.is_none() && later.iter().any(|found| found.not_before <= now) && poll.is_none() {
            *poll = Some(Poll::Keys([].into()));
        }
        self.databases_mut(id).found = later;
        for found in &due {
            let Some(tenant) = self.tenants.by_key(id, &found.finish.run.key) else { continue };
            if self.tenants.get(tenant).and_then(|state| state.run()).is_some_and(|run| run.lives()) {
                // Beside a child of ours that lives: between record and repair the row would be anybody's.
                self.databases_mut(id).repairs.insert(tenant);
            }
        }
        for found in &due {
            let ended_ago = clock.zip(found.ended_at).map_or(Duration::ZERO, |(clock, ended)| clock.since(ended));
            finish.push(Finish { ended_ago, ..found.finish.clone() });
        }
        due
    }

    pub(super) fn found_answered(&mut self, id: DatabaseId, mut found: Found, answer: Finished) {
        let now = self.now;
        if answer == Finished::NotNow {
            found.wait = (found.wait * 2).clamp(SAY_AGAIN, SAY_AGAIN * 32);
            found.not_before = now + found.wait;
            self.databases_mut(id).found.push(found);
            return;
        }
        let run = found.finish.run.id;
        let tenant = found.tenant;
        self.notices.push(match (answer, found.finish.outcome) {
            (Finished::ClosedByAnother, _) => Notice::ClosedByAnother { tenant, run },
            (_, Outcome::Lost) => Notice::Lost { tenant, run },
            (_, outcome) => Notice::EndRecovered { tenant, run, outcome },
        });
        let key = found.finish.run.key;
        if let Some(tenant) = self.tenants.by_key(id, &key)
            && let Some(state) = self.tenants.get_mut(tenant)
        {
            state.other.take_if(|other| other.identity.id == run);
            if state.is_idle() {
                state.row = None;
                self.databases_mut(id).look_at.insert(key.into());
            }
            self.touch(tenant);
        }
        if let Some(file) = found.file
            && let Some(left) = self.files.get_mut(&file)
        {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.files.remove(&file);
                self.actions.push(Action::Forget { file });
            }
        }
    }

    /// When the next of them is due.
    pub(super) fn found_due(&self, id: DatabaseId) -> Option<Moment> {
        self.database(id)?.found.iter().map(|found| found.not_before).min()
    }

    /// `--once`, `run TENANT…`: ends of the dead are on their way to a database that answers; waited for, but not for ever.
    pub(super) fn records_found_ends(&self) -> bool {
        let on_their_way = |database: &super::databases::Database| {
            database.health == super::databases::Health::Up && !database.found.is_empty()
        };
        self.found_until.is_some_and(|until| until > self.now) && self.databases.iter().any(on_their_way)
    }

    /// The ends that a database should have taken and has not, to be kept in a file; `all`: those too that are just
    /// being recorded. What is only lost, or never began, the next look finds out by itself.
    pub fn unrecorded_ends(&self, all: AllEnds) -> Vec<Unrecorded> {
        let end = |tenant: &TenantState| {
            let run = tenant.run().filter(|run| run.kept || all == AllEnds::Yes)?;
            let Some(super::run::RecordAs::Finish(outcome, becomes)) = run.verdict else { return None };
            if outcome == Outcome::Lost {
                return None;
            }
            let ago = self.now.since(run.ended_at);
            let by_clock = self.database_now(run.database).map(|now| now - ago);
            let ended_at = by_clock.unwrap_or(run.identity.started_at + run.elapsed());
            let finish = run.finish(outcome, becomes, self.now);
            Some(Unrecorded { tenant: tenant.listed.tenant.clone(), finish, ended_at })
        };
        self.tenants.iter().filter_map(|(_, tenant)| end(tenant)).collect()
    }

    /// Grows whenever [`Scheduler::unrecorded_ends`] says something else.
    pub fn unrecorded_version(&self) -> u64 {
        self.unrecorded_version
    }

    /// An end is to be recorded: if that takes long it is kept, whatever its exchange, or the one before it, waits for.
    pub(super) fn watch_ends(&mut self) {
        if !std::mem::replace(&mut self.watching_ends, true) {
            self.timers.insert((self.now + KEEP_AFTER, Timer::Keep));
        }
    }

    /// Ends that their database has not taken for long are kept.
    pub(super) fn keep_slow_ends(&mut self) {
        self.watching_ends = false;
        let (mut slow, mut young) = (Vec::new(), false);
        for database in &self.databases {
            let said = database.in_flight.iter().flat_map(|flight| &flight.finish);
            for tenant in database.to_record.iter().chain(said) {
                let Some(run) = self.tenants.get(*tenant).and_then(|tenant| tenant.run()) else { continue };
                if run.ended_at + KEEP_AFTER <= self.now { slow.push(*tenant) } else { young = true }
            }
        }
        slow.into_iter().for_each(|tenant| self.keep_end(tenant));
        if young {
            self.watch_ends();
        }
    }

    /// The database did not take this end: it is kept.
    pub(super) fn keep_end(&mut self, id: TenantId) {
        if let Some(run) = self.tenants.get_mut(id).and_then(|tenant| tenant.run_mut())
            && !std::mem::replace(&mut run.kept, true)
        {
            self.unrecorded_version += 1;
        }
    }
}

/// Whether ends count that the database may yet take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllEnds {
    /// Only those that it did not take.
    No,
    /// All: the process ends.
    Yes,
}
