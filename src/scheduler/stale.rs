//! Rows that run too long: told again and again, ended by their owner or released where the operator chose so.
//! The row of a living process of ours is never released.

use super::notice::Notice;
use super::rules::{Mode, StaleAction};
use super::run::Why;
use super::state::Scheduler;
use super::tenant::{Stage, TenantId, TenantState};
use crate::model::{DatabaseId, DbTime, Moment, Release, RowValue};
use std::time::Duration;

impl Scheduler {
    /// Since when the tenant runs by anybody's account.
    fn running_since(tenant: &TenantState) -> Option<DbTime> {
        match &tenant.stage {
            Stage::Run(run) => run.lives().then_some(run.identity.started_at),
            Stage::Offered => None,
            Stage::Idle => {
                let row = tenant.row.as_ref().filter(|row| row.value == RowValue::Running)?;
                Some(row.updated_at)
            }
        }
    }

    /// The next moment at which staleness is told.
    pub(super) fn stale_at(&self, tenant: &TenantState) -> Option<Moment> {
        // A daemon looks after every row; the modes that end by themselves only after what they watch.
        if self.rules.mode != Mode::Daemon && tenant.run().is_none() {
            return None;
        }
        let since = Self::running_since(tenant)?;
        match tenant.stale_told {
            Some(told) => Some(told + self.rules.stale_repeat.max(Duration::from_secs(1))),
            None => self.moment_of(tenant.listed.database, since + self.rules.stale_after),
        }
    }

    pub(super) fn tick_stale(&mut self, id: TenantId) {
        let Some(tenant) = self.tenants.get(id) else { return };
        if self.stale_at(tenant).is_none_or(|at| at > self.now) {
            return;
        }
        let database = tenant.listed.database;
        let (Some(since), Some(now)) = (Self::running_since(tenant), self.database_now(database)) else { return };
        let own = tenant.run().is_some();
        let node = match (tenant.run(), &tenant.other) {
            (Some(run), _) => Some(run.identity.node.clone()),
            (None, Some(other)) => Some(other.identity.node.clone()),
            (None, None) => None,
        };
        let pid =
            tenant.run().and_then(|run| run.pid.map(|(pid, _)| pid)).or(tenant.other.as_ref().and_then(|run| run.pid));
        self.notices.push(Notice::Stale { tenant: tenant.name().clone(), node, pid, since, age: now.since(since) });
        if let Some(tenant) = self.tenants.get_mut(id) {
            tenant.stale_told = Some(self.now);
        }
        match self.rules.stale_action {
            StaleAction::Alert => {}
            StaleAction::Kill if own => self.end_run(id, Why::Stale),
            StaleAction::Kill => {}
            StaleAction::Release if own => {}
            StaleAction::Release => self.release(id, now),
        }
    }

    /// Another program's claim, or another node's run that is silent as long, returns to needed.
    fn release(&mut self, id: TenantId, now: DbTime) {
        let silent_for = self.rules.stale_after;
        let node = self.rules.identity.node.clone();
        let Some(tenant) = self.tenants.get_mut(id) else { return };
        let Some(row) = &tenant.row else { return };
        let run = match &tenant.other {
            // Of this node: its end is proved by the kernel or not at all.
            Some(run) if run.identity.node == node => return,
            Some(run) if now.since(run.alive_at) < silent_for => return,
            Some(run) => Some(run.identity.clone()),
            None => None,
        };
        if tenant.releasing {
            return;
        }
        tenant.releasing = true;
        let release = Release { key: tenant.listed.key.clone(), updated_at: row.updated_at, run, silent_for };
        let database = tenant.listed.database;
        self.databases_mut(database).releases.push(release);
    }

    pub(super) fn releases_answered(&mut self, id: DatabaseId, asked: &[String], released: &[String]) {
        for key in asked {
            self.release_answered(id, key, released.contains(key));
        }
    }

    pub(super) fn release_answered(&mut self, id: DatabaseId, key: &str, done: bool) {
        let Some(tenant) = self.tenants.by_key(id, key) else { return };
        let Some(state) = self.tenants.get_mut(tenant) else { return };
        state.releasing = false;
        if done {
            if let Some(row) = &mut state.row {
                row.value = RowValue::Needed;
            }
            state.other = None;
            state.stale_told = None;
            let name = state.name().clone();
            self.notices.push(Notice::Released { tenant: name });
        } else {
            let soon = self.now + Duration::from_secs(1);
            self.databases_mut(id).poll_by(soon);
        }
        self.touch(tenant);
    }
}
