//! How the process ends: a stop (children are asked to end), a drain (they are waited for), and the modes
//! that end by themselves. Nothing starts after a stop was asked.

use super::action::{Action, ExitReason};
use super::carried::Hold;
use super::notice::Notice;
use super::rules::{Mode, RECORD_PATIENCE};
use super::run::Why;
use super::state::{Scheduler, Timer};
use super::tenant::{Stage, TenantId, Wait};
use crate::model::{Moment, RowValue};

/// How far a stop has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    No,
    Draining,
    Stopping,
    Killing,
}

impl Stop {
    pub fn is_asked(self) -> bool {
        self != Self::No
    }

    pub fn signals_children(self) -> bool {
        matches!(self, Self::Stopping | Self::Killing)
    }

    pub fn kills_children(self) -> bool {
        self == Self::Killing
    }
}

impl Scheduler {
    pub(super) fn may_start(&self) -> bool {
        let open = match self.rules.mode {
            Mode::Daemon | Mode::Once => self.rules.enabled && self.opened(),
            Mode::Named { .. } => self.opened(),
            Mode::DryRun => false,
        };
        open && !self.stop.is_asked() && !self.exited && self.hold == Hold::No
    }

    pub(super) fn drain(&mut self) {
        if self.stop == Stop::No {
            self.stop = Stop::Draining;
            self.tell_stopping(true);
        }
    }

    pub(super) fn stop(&mut self) {
        let live = self.live_runs();
        match self.stop {
            Stop::No | Stop::Draining => {
                self.stop = Stop::Stopping;
                self.tell_stopping(false);
                for id in live {
                    self.end_run(id, Why::Shutdown);
                }
            }
            Stop::Stopping | Stop::Killing => {
                self.stop = Stop::Killing;
                for id in live {
                    self.kill_run(id);
                }
            }
        }
    }

    /// A child that came to be while a stop was under way ends as the others do.
    pub(super) fn stop_run(&mut self, id: TenantId) {
        if self.stop.signals_children() {
            self.end_run(id, Why::Shutdown);
        }
        if self.stop.kills_children() {
            self.kill_run(id);
        }
    }

    fn tell_stopping(&mut self, draining: bool) {
        let running = self.live_runs().len();
        self.notices.push(Notice::Stopping { running, draining });
        // The stop outweighs an upgrade that has not come about.
        self.upgrade_failed();
        self.withdraw_pending();
    }

    /// Claims that have not been sent are not made.
    pub(super) fn withdraw_pending(&mut self) {
        let offered: Vec<_> = self.databases.iter().flat_map(|database| database.claim.offers.clone()).collect();
        let limits = self.databases.iter_mut().map(|database| std::mem::take(&mut database.claim).limit).sum();
        self.withdraw(&offered, limits);
    }

    fn live_runs(&self) -> Vec<TenantId> {
        let live = |tenant: &super::tenant::TenantState| tenant.run().is_some_and(super::run::Run::lives);
        self.tenants.iter().filter(|(_, tenant)| live(tenant)).map(|(id, _)| id).collect()
    }

    /// Runs that have a process.
    pub fn running(&self) -> usize {
        self.databases.iter().map(|database| database.runs.len()).sum()
    }

    fn unrecorded(&self) -> usize {
        self.tenants.iter().filter(|(_, tenant)| matches!(tenant.stage, Stage::Run(_))).count()
    }

    /// Ends the process when nothing is left to do.
    pub(super) fn leave(&mut self) {
        if self.exited || self.running() > 0 || self.hold != Hold::No {
            self.record_by = None;
            return;
        }
        let reason = if self.stop.is_asked() {
            self.leave_stopped()
        } else {
            match self.rules.mode {
                Mode::Daemon => None,
                Mode::Once => self.leave_once(),
                Mode::Named { .. } => self.leave_named(),
                Mode::DryRun => self.leave_dry_run(),
            }
        };
        if let Some(reason) = reason {
            self.exited = true;
            let reason = if self.rival && reason == ExitReason::Done { ExitReason::Rival } else { reason };
            self.actions.push(Action::Exit { reason });
        }
    }

    /// All ends recorded, or patience is at its end.
    fn leave_stopped(&mut self) -> Option<ExitReason> {
        let unrecorded = self.unrecorded();
        if unrecorded == 0 && !self.awaits_claims() {
            return Some(ExitReason::Done);
        }
        let by = self.record_deadline();
        (by <= self.now).then_some(if unrecorded == 0 { ExitReason::Done } else { ExitReason::Unrecorded(unrecorded) })
    }

    fn record_deadline(&mut self) -> Moment {
        if self.record_by.is_none() {
            self.ask_again_soon();
        }
        let by = *self.record_by.get_or_insert(self.now + RECORD_PATIENCE);
        self.timers.insert((by, Timer::Leave));
        by
    }

    /// A claim is under way: what it wins must be given back. Mere looks are not waited for, their database may hang.
    fn awaits_claims(&self) -> bool {
        let claims = |flight: &super::databases::InFlight| !flight.claim.offers.is_empty();
        self.locking.is_some() || self.databases.iter().any(|database| database.in_flight.as_ref().is_some_and(claims))
    }

    pub(super) fn talking(&self) -> bool {
        self.locking.is_some() || self.databases.iter().any(|database| database.in_flight.is_some())
    }

    fn leave_once(&mut self) -> Option<ExitReason> {
        if !self.opened() || self.resets_pending() || self.examining > 0 {
            return None;
        }
        let unrecorded = self.unrecorded();
        if unrecorded > 0 {
            return (self.record_deadline() <= self.now).then_some(ExitReason::Unrecorded(unrecorded));
        }
        let slots_taken = self.slots_blocked_until > self.now;
        if self.talking() || self.records_found_ends() || (!slots_taken && self.can_start_some()) {
            return None;
        }
        self.none_answered().or(Some(ExitReason::Done))
    }

    fn leave_named(&mut self) -> Option<ExitReason> {
        if !self.opened() {
            return None;
        }
        let unrecorded = self.unrecorded();
        if unrecorded > 0 {
            return (self.record_deadline() <= self.now).then_some(ExitReason::Unrecorded(unrecorded));
        }
        if self.talking() || self.records_found_ends() || self.can_start_some() || self.waits_for_a_lock() {
            return None;
        }
        for id in self.tenants.ids().collect::<Vec<_>>() {
            let why = self.tenants.get(id).map(|tenant| match (tenant.row.as_ref(), &tenant.other) {
                _ if !self.is_up(tenant.listed.database) => "its database does not answer",
                (_, Some(_)) => "it is running",
                (Some(row), None) if row.value == RowValue::Running => "it is running, claimed by another program",
                (Some(row), None) if row.paused => "it is paused (--force runs it all the same)",
                _ => "its row could not be claimed",
            });
            self.refuse(id, why.unwrap_or_default());
        }
        let refused = !self.refused.is_empty();
        self.none_answered().or(Some(if refused { ExitReason::Refused } else { ExitReason::Done }))
    }

    /// `run TENANT…`: somebody who is only claiming holds the lock of one that was not refused.
    fn waits_for_a_lock(&self) -> bool {
        self.tenants.iter().any(|(_, tenant)| {
            tenant.not_before > self.now && matches!(tenant.wait, Some(Wait::LockHeld(_))) && self.is_startable(tenant)
        })
    }

    fn leave_dry_run(&mut self) -> Option<ExitReason> {
        if !self.opened() {
            return None;
        }
        self.say_what_would_be_done();
        self.none_answered().or(Some(ExitReason::Done))
    }

    fn none_answered(&self) -> Option<ExitReason> {
        let mut asked = self.databases.iter().filter(|database| database.tried()).peekable();
        let none = asked.peek().is_some()
            && asked.all(|database| matches!(database.health, super::databases::Health::Down { .. }));
        none.then_some(ExitReason::NoDatabase)
    }

    /// `run TENANT…`: this one is not run; told once.
    pub(super) fn refuse(&mut self, id: TenantId, why: &str) {
        if !matches!(self.rules.mode, Mode::Named { .. }) || self.tried.contains(&id) {
            return;
        }
        let Some(tenant) = self.tenants.get(id) else { return };
        self.refused.insert(id);
        self.tried.insert(id);
        self.notices.push(Notice::Refused { tenant: tenant.name().clone(), why: why.to_owned() });
    }
}
