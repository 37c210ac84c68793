//! Upgrade in place: what one program hands to the next. The old one comes to rest (nothing offered, nothing in
//! flight) before it is replaced; the new one begins with its runs as if it had started them.
//!
//! Invariant: between [`Event::UpgradeAsked`](super::Event) and the answer nothing is claimed or said, and every run
//! is either carried or, if it has ended, kept as an unrecorded end.

use super::action::Action;
use super::event::{End, Listed};
use super::run::{Ending, FIRST_LOOK, Leftover, Phase, Run};
use super::state::Scheduler;
use super::tenant::{Row, Stage, TenantState};
use crate::model::{DatabaseId, DbTime, Moment, RowValue, RunIdentity, Tenant};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A run that has a process, as it is handed on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CarriedRun {
    /// Which run.
    pub identity: RunIdentity,
    /// Its group at the claim.
    pub group: Option<String>,
    /// Its main process (and process group).
    pub pid: i32,
    /// That process's start time, clock ticks since boot.
    pub pid_start: i64,
    /// It holds a slot.
    pub slot: bool,
    /// When its claim was answered, or it was adopted.
    pub began: Moment,
    /// How old it was then.
    pub age_at_began: Duration,
    /// Its lease.
    pub lease: Option<Duration>,
    /// When what confirmed it last was sent.
    pub confirmed: Moment,
    /// We asked it to end.
    pub ending: Option<Ending>,
    /// Its main process has ended; members of its group have not.
    pub end: Option<End>,
}

/// How far an upgrade has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    No,
    /// What is in flight is waited for.
    ComingToRest,
    /// The shell was told.
    AtRest,
}

impl Scheduler {
    /// What the next program must know: every run that has a process, with its tenant.
    pub fn carried_runs(&self) -> Vec<(Tenant, CarriedRun)> {
        let carry = |tenant: &TenantState| {
            let run = tenant.run().filter(|run| run.lives())?;
            let (pid, pid_start) = run.pid?;
            let carried = CarriedRun {
                identity: run.identity.clone(),
                group: run.group.clone(),
                pid,
                pid_start,
                slot: run.slot,
                began: run.began,
                age_at_began: run.age_at_began,
                lease: run.lease,
                confirmed: run.confirmed,
                ending: run.ending,
                end: run.end,
            };
            Some((tenant.listed.tenant.clone(), carried))
        };
        self.tenants.iter().filter_map(|(_, tenant)| carry(tenant)).collect()
    }

    /// A run of the program that this one replaced.
    pub(super) fn carried(&mut self, listed: Listed, carried: CarriedRun) {
        let now = self.now;
        let name = listed.tenant.name.clone();
        let (database, timeout) = (listed.database, listed.timeout);
        if self.tenants.by_name(&name).is_some() {
            return;
        }
        let mut tenant = TenantState::new(listed);
        // Until a source lists it.
        tenant.present = false;
        tenant.row = Some(Row {
            value: RowValue::Running,
            updated_at: carried.identity.started_at,
            created_at: DbTime::EPOCH,
            paused: false,
            requested_at: DbTime::EPOCH,
        });
        let mut run = Run::new(carried.identity, database, carried.group, now);
        run.phase = if carried.end.is_some() { Phase::Leftover } else { Phase::Running };
        run.leftover = carried.end.map(|_| Leftover {
            since: carried.ending.map_or(now, |ending| ending.since),
            killed: carried.ending.is_some_and(|ending| ending.killed),
            look_at: now,
            wait: FIRST_LOOK,
        });
        run.pid = Some((carried.pid, carried.pid_start));
        run.slot = carried.slot && self.rules.mode.uses_slots();
        run.began = carried.began;
        run.age_at_began = carried.age_at_began;
        run.timeout_at = timeout.map(|timeout| carried.began + timeout.saturating_sub(carried.age_at_began));
        run.lease = carried.lease;
        run.confirmed = carried.confirmed;
        run.ending = carried.ending;
        run.end = carried.end;
        run.refresh_due = now;
        tenant.stage = Stage::Run(Box::new(run));
        let id = self.tenants.insert(tenant);
        self.databases_mut(database).runs.insert(id);
        self.hold_slot(id);
        self.touch(id);
    }

    pub(super) fn upgrade_asked(&mut self) {
        if self.hold == Hold::No && !self.stop.is_asked() {
            self.hold = Hold::ComingToRest;
            self.withdraw_pending();
            // Nothing is said to any: none has a deadline.
            self.all_dirty();
        }
    }

    pub(super) fn upgrade_failed(&mut self) {
        self.hold = Hold::No;
        self.all_dirty();
    }

    fn all_dirty(&mut self) {
        self.dirty.extend((0u32..).map(DatabaseId).take(self.databases.len()));
    }

    /// Everything in flight has been answered: the shell may put the next program in our place.
    pub(super) fn come_to_rest(&mut self) {
        let starting =
            || self.tenants.iter().any(|(_, tenant)| tenant.run().is_some_and(|run| run.phase == Phase::Starting));
        if self.hold == Hold::ComingToRest && !self.talking() && self.examining == 0 && !starting() {
            self.hold = Hold::AtRest;
            self.actions.push(Action::Upgrade);
        }
    }
}
