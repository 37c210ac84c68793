//! Rows that run too long: told again and again, ended by their owner or released where the operator chose so.
//! The row of a living process of ours is never released.

use super::action::Action;
use super::notice::Notice;
use super::rules::{Mode, StaleAction};
use super::run::Why;
use super::state::Scheduler;
use super::tenant::{Stage, StaleTold, TenantId, TenantState};
use crate::model::{DatabaseId, DbTime, Moment, OpenRun, Release, RowValue, TenantName};
use std::time::Duration;

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

/// When the claim that stands now was told to be stale, if it was.
fn told(tenant: &TenantState) -> Option<Moment> {
    let since = running_since(tenant)?;
    let told = tenant.told.as_ref()?.stale?;
    (told.since == since).then_some(told.at)
}

/// It runs, and was told to be stale.
pub(super) fn is_stale(tenant: &TenantState) -> bool {
    told(tenant).is_some()
}

impl Scheduler {
    /// The next moment at which staleness is told. A single look tells it too: where all is done from a crontab nobody
    /// else would.
    pub(super) fn stale_at(&self, tenant: &TenantState) -> Option<Moment> {
        // A daemon and a single look tell of every row; `run TENANT…` only of what it watches.
        if !matches!(self.rules.mode, Mode::Daemon | Mode::Once) && tenant.run().is_none() {
            return None;
        }
        let since = running_since(tenant)?;
        match told(tenant) {
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
        let (Some(since), Some(now)) = (running_since(tenant), self.database_now(database)) else { return };
        let own = tenant.run().is_some();
        let node = match (tenant.run(), &tenant.other) {
            (Some(run), _) => Some(run.identity.node.clone()),
            (None, Some(other)) => Some(other.identity.node.clone()),
            (None, None) => None,
        };
        let pid = match (tenant.run(), &tenant.other) {
            (Some(run), _) => run.pid.map(|(pid, _)| pid),
            (None, other) => other.as_ref().and_then(|run| run.pid),
        };
        self.notices.push(Notice::Stale { tenant: tenant.name().clone(), node, pid, since, age: now.since(since) });
        let at = self.now;
        if let Some(tenant) = self.tenants.get_mut(id) {
            tenant.told_mut().stale = Some(StaleTold { since, at });
        }
        match self.rules.stale_action {
            StaleAction::Kill if own => self.end_run(id, Why::Stale),
            StaleAction::Release => self.release_stale(id),
            StaleAction::Alert | StaleAction::Kill => {}
        }
    }

    /// A stale claim of another program, or of another node that is silent as long, returns to needed. Looked at again
    /// with every poll: what could not be released at the alert may be later.
    pub(super) fn release_stale(&mut self, id: TenantId) {
        let Some(tenant) = self.tenants.get(id) else { return };
        if self.rules.stale_action != StaleAction::Release || !tenant.is_idle() || tenant.releasing || !is_stale(tenant)
        {
            return;
        }
        let Some(now) = self.database_now(tenant.listed.database) else { return };
        match &tenant.other {
            // Of this node: its end is proved by the kernel or not at all.
            Some(run) if self.is_ours(run) => {}
            Some(run) if now.since(run.alive_at) < self.rules.stale_after => {}
            // Another node on this very host, whose process the kernel may know.
            Some(run) if run.identity.host == self.rules.identity.host => {
                let (database, name, run) = (tenant.listed.database, tenant.name().clone(), run.as_ref().clone());
                self.examine(database, name, run);
            }
            Some(run) => self.release(id, Some(run.as_ref().clone())),
            // Nobody's run: a process of this host may hold the tenant's lock all the same (a restored backup).
            None => {
                self.actions.push(Action::ProbeLock { tenant: tenant.name().clone() });
                if let Some(tenant) = self.tenants.get_mut(id) {
                    tenant.releasing = true;
                }
            }
        }
    }

    pub(super) fn lock_probed(&mut self, name: &TenantName, held: bool) {
        let Some(id) = self.tenants.by_name(name) else { return };
        let Some(tenant) = self.tenants.get_mut(id) else { return };
        tenant.releasing = false;
        if !held && tenant.is_idle() && tenant.other.is_none() && is_stale(tenant) {
            self.release(id, None);
        }
    }

    /// Asks for it; the statement looks once more whether all is as it was.
    pub(super) fn release(&mut self, id: TenantId, run: Option<OpenRun>) {
        let silent_for = run.as_ref().and_then(|run| run.lease).unwrap_or(self.rules.stale_after);
        let Some(tenant) = self.tenants.get_mut(id) else { return };
        let Some(row) = &tenant.row else { return };
        let run = run.map(|run| run.identity);
        let release = Release { key: tenant.listed.key.to_string(), updated_at: row.updated_at, run, silent_for };
        tenant.releasing = true;
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
            let leased = state.other.take().filter(|run| run.lease.is_some());
            let taken = leased.map(|run| (run.identity.id, run.identity.node));
            state.told_mut().stale = None;
            let tenant = state.name().clone();
            self.notices.push(match taken {
                Some((run, node)) => Notice::TakenOver { tenant, run, node },
                None => Notice::Released { tenant },
            });
        } else {
            let soon = self.now + Duration::from_secs(1);
            self.databases_mut(id).poll_by(soon);
        }
        self.touch(tenant);
    }
}
