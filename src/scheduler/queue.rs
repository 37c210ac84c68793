//! The filing of tenants: the queue of those that could start now, the timers, the counts. One function
//! draws all of it anew from a tenant's facts, so that no handler needs to remember what follows from what.

use super::rules::Mode;
use super::slots;
use super::stale::is_stale;
use super::state::{Scheduler, Timer};
use super::tenant::{Counted, Filed, Stage, TenantId, TenantState};
use crate::model::{DbTime, Moment, RowValue, TenantName};

/// A place in the queue: by rank, then by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    rank: Rank,
    name: TenantName,
    pub id: TenantId,
}

/// Requested first, then who finished longest ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    not_requested: bool,
    updated_at: DbTime,
}

impl Scheduler {
    /// Files a tenant anew after any change of its facts.
    pub(super) fn touch(&mut self, id: TenantId) {
        let Some(tenant) = self.tenants.get(id) else { return };
        let startable = self.is_startable(tenant);
        let now_known = self.database_now(tenant.listed.database);
        // One that is offered, or was and whose row is read again, waits on: that it was not won makes nobody less late.
        let waits_on = self.is_up(tenant.listed.database)
            && (matches!(tenant.stage, Stage::Offered) || (tenant.is_idle() && tenant.row.is_none()));
        if let Some(tenant) = self.tenants.get_mut(id) {
            tenant.startable_since = match (startable, tenant.startable_since, now_known) {
                (false, since, _) if waits_on => since,
                (false, ..) => None,
                (true, Some(since), _) => Some(since),
                (true, None, now) => now,
            };
        }
        let Some(tenant) = self.tenants.get(id) else { return };
        let filed = Filed {
            rank: (startable && tenant.not_before <= self.now).then(|| rank(tenant)).flatten(),
            timer: self.tenant_deadline(tenant, startable),
            due: tenant.filed.due && self.may_reset(tenant),
            busy: self.is_busy(tenant),
            not_done: tenant.is_not_done(),
            counted: counted(tenant).map(Box::new),
        };
        self.refile(id, filed);
    }

    fn refile(&mut self, id: TenantId, filed: Filed) {
        let Some(tenant) = self.tenants.get_mut(id) else { return };
        let old = std::mem::replace(&mut tenant.filed, filed.clone());
        if old.rank != filed.rank {
            let place = |rank| Place { rank, name: tenant.name().clone(), id };
            if let Some(rank) = old.rank {
                self.queue.remove(&place(rank));
            }
            if let Some(rank) = filed.rank {
                self.queue.insert(place(rank));
            }
        }
        if old.timer != filed.timer {
            if let Some(at) = old.timer {
                self.timers.remove(&(at, Timer::Tenant(id)));
            }
            if let Some(at) = filed.timer {
                self.timers.insert((at, Timer::Tenant(id)));
            }
        }
        if old.due && !filed.due {
            self.due.remove(&id);
        }
        if old.not_done != filed.not_done {
            let database = tenant.listed.database;
            self.file_not_done(id, database, filed.not_done);
        }
        if old.busy != filed.busy {
            if filed.busy { self.counts.busy += 1 } else { self.counts.busy = self.counts.busy.saturating_sub(1) }
        }
        if old.counted != filed.counted {
            if let Some(Counted(group)) = old.counted.as_deref() {
                self.counts.running(group.as_deref(), false);
            }
            if let Some(Counted(group)) = filed.counted.as_deref() {
                self.counts.running(group.as_deref(), true);
            }
        }
    }

    /// Takes a tenant out of every index, before it leaves.
    pub(super) fn unfile(&mut self, id: TenantId) {
        self.refile(id, Filed::default());
    }

    /// Could be claimed now, but for time, slots and limits.
    pub(super) fn is_startable(&self, tenant: &TenantState) -> bool {
        let Some(row) = &tenant.row else { return false };
        if !tenant.present || !tenant.is_idle() || tenant.other.is_some() || !self.is_up(tenant.listed.database) {
            return false;
        }
        match self.rules.mode {
            Mode::Named { force } => {
                (force || !row.paused)
                    && matches!(row.value, RowValue::Needed | RowValue::Done)
                    && !self.is_tried(tenant)
            }
            Mode::Daemon | Mode::Once | Mode::DryRun => {
                self.rules.enabled && tenant.listed.enabled && !row.paused && row.value == RowValue::Needed
            }
        }
    }

    /// A done row that this supervisor makes needed at its slot.
    pub(super) fn may_reset(&self, tenant: &TenantState) -> bool {
        let Some(row) = &tenant.row else { return false };
        let ours = match self.rules.mode {
            Mode::Daemon => true,
            Mode::Once => self.resets_open,
            Mode::Named { .. } | Mode::DryRun => false,
        };
        ours && tenant.present
            && tenant.is_idle()
            && tenant.other.is_none()
            && row.value == RowValue::Done
            && self.rules.enabled
            && tenant.listed.enabled
            && !row.paused
            && !tenant.resetting
            && self.is_up(tenant.listed.database)
    }

    fn tenant_deadline(&self, tenant: &TenantState, startable: bool) -> Option<Moment> {
        let run = tenant.run().and_then(|run| run.deadline(self.rules.kill_after));
        let wait = (startable && tenant.not_before > self.now).then_some(tenant.not_before);
        let slot = (self.may_reset(tenant) && !tenant.filed.due)
            .then(|| {
                let row = tenant.row.as_ref()?;
                let slot = slots::next_after(row.updated_at, tenant.listed.every, tenant.listed.offset);
                self.moment_of(tenant.listed.database, slot).map(|at| at.max(tenant.not_before))
            })
            .flatten();
        let late =
            startable.then(|| self.late_at(tenant).and_then(|at| self.moment_of(tenant.listed.database, at))).flatten();
        [run, wait, slot, late, self.stale_at(tenant)].into_iter().flatten().min()
    }

    /// Running by anybody's account, or about to: what a barrier waits for. It does not wait for what is stale, nor for
    /// a record that a database which is down cannot take.
    pub(super) fn is_busy(&self, tenant: &TenantState) -> bool {
        match &tenant.stage {
            Stage::Offered => true,
            Stage::Run(run) if run.lives() => !is_stale(tenant),
            Stage::Run(run) => self.is_up(run.database),
            Stage::Idle => tenant.value() == Some(&RowValue::Running) && !is_stale(tenant),
        }
    }

    /// What the passing of time asks of a tenant.
    pub(super) fn tick_tenant(&mut self, id: TenantId) {
        self.tick_run(id);
        self.tick_slot(id);
        self.tick_late(id);
        self.tick_stale(id);
        self.touch(id);
    }
}

/// Whether a tenant counts for the limits, and for which group: a run's is that of its claim.
pub(super) fn counted(tenant: &TenantState) -> Option<Counted> {
    let group = tenant.listed.tenant.group();
    let (counts, group) = match &tenant.stage {
        Stage::Offered => (true, group),
        Stage::Run(run) => (run.lives(), run.group.as_deref()),
        Stage::Idle => (tenant.value() == Some(&RowValue::Running), group),
    };
    counts.then(|| Counted(group.map(str::to_owned)))
}

fn rank(tenant: &TenantState) -> Option<Rank> {
    let row = tenant.row.as_ref()?;
    Some(Rank { not_requested: !row.requested(), updated_at: row.updated_at })
}
