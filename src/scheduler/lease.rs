//! Leases (`cluster.takeover_after`): a run carries one, its supervisor ends it while nobody may take it yet, and
//! others take it once it is over. Their side goes by the database's clock alone, ours by the monotonic one, counted
//! from when what was answered last had been *sent*: the database cannot have confirmed it earlier than that.

use super::databases::Database;
use super::rules::{FENCE_MARGIN, Mode, REFRESH_EVERY};
use super::run::{Run, Why};
use super::state::Scheduler;
use super::tenant::TenantId;
use crate::model::{Moment, RowValue};
use std::time::Duration;

/// When a run whose life cannot be confirmed must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fence {
    /// By SIGTERM.
    pub ask: Moment,
    /// By SIGKILL: others may take it [`FENCE_MARGIN`] later.
    pub kill: Moment,
}

/// An adopted run whose lease may be over for long is asked after before it is ended: where nobody took it, it goes on.
pub(super) const FIRST_ANSWER: Duration = Duration::from_secs(5);
/// A look comes so long after a lease is over, that it is over for certain.
const AFTERWARDS: Duration = Duration::from_millis(100);

impl Run {
    pub fn fence(&self, kill_after: Duration) -> Option<Fence> {
        self.lease.map(|lease| {
            let kill = lease.saturating_sub(FENCE_MARGIN);
            // A reload may have made `kill_after` longer than this lease allows, which was granted under another.
            let ask = kill.saturating_sub(kill_after).max(kill / 2);
            Fence { ask: (self.confirmed + ask).max(self.grace), kill: (self.confirmed + kill).max(self.grace) }
        })
    }
}

impl Scheduler {
    /// How often a run's life is confirmed.
    pub(super) fn refresh_every(&self, lease: Option<Duration>) -> Duration {
        let third = |lease: Duration| lease.saturating_sub(self.rules.kill_after + FENCE_MARGIN) / 3;
        lease.map_or(REFRESH_EVERY, |lease| third(lease).clamp(Duration::from_secs(1), REFRESH_EVERY))
    }

    /// A database in which leases run is asked again before the next refresh would have been due.
    pub(super) fn longest_delay(&self, database: &Database) -> Duration {
        let runs = database.runs.iter().filter_map(|tenant| self.tenants.get(*tenant)?.run());
        let leased = runs.filter(|run| run.lease.is_some());
        leased.map(|run| self.refresh_every(run.lease)).min().unwrap_or(REFRESH_EVERY)
    }

    /// True if the run must end now because its life could not be confirmed.
    pub(super) fn fence(&mut self, id: TenantId) {
        let (now, kill_after) = (self.now, self.rules.kill_after);
        let fence = |scheduler: &Self| scheduler.tenants.get(id)?.run().filter(|run| run.lives())?.fence(kill_after);
        let Some(Fence { ask, kill }) = fence(self) else { return };
        if ask <= now {
            self.end_run(id, Why::Unconfirmed);
        }
        let killed =
            |run: &Run| run.leftover.map_or(run.ending.is_some_and(|ending| ending.killed), |left| left.killed);
        let lives_on = self.tenants.get(id).and_then(|tenant| tenant.run()).is_some_and(|run| !killed(run));
        if kill <= now && lives_on {
            self.kill_run(id);
        }
    }

    /// A run of another node whose lease is over is closed as lost, its row needed: asked of the database, which looks
    /// once more by its own clock.
    pub(super) fn take_over(&mut self, id: TenantId) {
        if !matches!(self.rules.mode, Mode::Daemon | Mode::Once) || !self.rules.enabled || self.stop.is_asked() {
            return;
        }
        let Some(tenant) = self.tenants.get(id) else { return };
        let Some(run) = &tenant.other else { return };
        let Some(lease) = run.lease else { return };
        let fits = tenant.is_idle() && !tenant.releasing && tenant.value() == Some(&RowValue::Running);
        if !fits || self.is_ours(run) {
            return;
        }
        let database = tenant.listed.database;
        let over = run.alive_at + lease;
        if self.database_now(database).is_some_and(|now| now > over) {
            let (name, run) = (tenant.name().clone(), run.as_ref().clone());
            if run.identity.host == self.rules.identity.host {
                // On this very host the kernel knows more than a lease.
                self.examine(database, name, run);
            } else {
                self.release(id, Some(run));
            }
        } else if let Some(at) = self.moment_of(database, over) {
            let key = tenant.listed.key.clone();
            self.databases_mut(database).look_again(key, at + AFTERWARDS);
        }
    }
}
