//! Rows that disagree with a living child of ours, after a failover, a restored backup, or by a hand: every look
//! compares. The row is set `running` again, under a new run where ours is gone; where somebody else's run is open, or
//! ours was closed, the child is ended.

use super::action::Action;
use super::event::{Unknown, Verdict};
use super::notice::Notice;
use super::run::{Phase, Why};
use super::state::Scheduler;
use super::tenant::{Stage, TenantId};
use crate::model::{DatabaseId, DbTime, Exchange, OpenRun, Repair, Repaired, RowValue, RunId};
use std::collections::HashSet;
use std::time::Duration;

/// What somebody holds locked is looked at again after this.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Scheduler {
    /// Runs of ours in this database that live: those not among the open runs, or whose row is `odd`, are repaired.
    pub(super) fn compare_rows(&mut self, id: DatabaseId, open: &HashSet<TenantId>, odd: &HashSet<TenantId>) {
        let runs = self.database(id).map(|database| database.runs.clone()).unwrap_or_default();
        for tenant in runs {
            let Some(state) = self.tenants.get(tenant) else { continue };
            let Some(run) = state.run() else { continue };
            let wanted = !open.contains(&tenant) || odd.contains(&tenant);
            let settled = matches!(run.phase, Phase::Running | Phase::Leftover)
                && !run.repairing
                && state.other.is_none()
                && !run.ending.is_some_and(|ending| ending.why.leaves_the_row());
            if wanted && settled {
                self.databases_mut(id).repairs.insert(tenant);
            }
        }
    }

    /// Another run of a tenant whose child of ours lives.
    pub(super) fn other_run_seen(&mut self, id: DatabaseId, tenant: TenantId, run: OpenRun) {
        let found = self.is_found(id, &run);
        let Some(state) = self.tenants.get_mut(tenant) else { return };
        state.other = Some(Box::new(run.clone()));
        let name = state.name().clone();
        if found {
            // Its end is known, and on its way.
        } else if !self.is_ours(&run) {
            self.another_is_open(tenant, &run);
        } else if run.identity.host == self.rules.identity.host {
            self.examining += 1;
            let silent = self.is_long_silent(id, &run);
            self.actions.push(Action::Examine(Unknown { tenant: name, run, may_adopt: false, silent }));
        } else if self.is_silent(id, &run) {
            // Of before a reboot, and back with an old copy of the rows. Our own child holds the lock.
            self.lose_stray(tenant, run);
        }
    }

    /// What the kernel says of another run of this node, while ours of the tenant lives.
    pub(super) fn other_run_examined(&mut self, tenant: TenantId, number: RunId, verdict: Verdict) {
        let Some(state) = self.tenants.get(tenant) else { return };
        let database = state.listed.database;
        if state.other.as_ref().is_none_or(|run| run.identity.id != number || self.is_found(database, run)) {
            return;
        }
        let Some(run) = self.tenants.get_mut(tenant).and_then(|state| state.other.take()) else { return };
        match verdict {
            Verdict::Dead => self.lose_stray(tenant, *run),
            Verdict::Supervised | Verdict::Adopted { .. } => self.another_is_open(tenant, &run),
            Verdict::Undecided => {}
        }
    }

    fn another_is_open(&mut self, tenant: TenantId, run: &OpenRun) {
        let Some(state) = self.tenants.get(tenant) else { return };
        let Some(own) = state.run() else { return };
        if own.phase == Phase::Running && own.ending.is_none() {
            self.notices.push(Notice::AnotherRunOpen {
                tenant: state.name().clone(),
                run: own.identity.id,
                other: run.identity.id,
                node: run.identity.node.clone(),
            });
        }
        self.end_run(tenant, Why::AnotherRunOpen);
    }

    pub(super) fn compose_repairs(&mut self, id: DatabaseId, exchange: &mut Exchange) -> Vec<TenantId> {
        let mut asked = Vec::new();
        for tenant in std::mem::take(&mut self.databases_mut(id).repairs) {
            let Some(run) = self.tenants.get_mut(tenant).and_then(|tenant| tenant.run_mut()) else { continue };
            if !run.lives() || run.database != id {
                continue;
            }
            run.repairing = true;
            exchange.repair.push(Repair {
                run: run.identity.clone(),
                group: run.group.clone(),
                pid: run.pid.map(|(pid, _)| pid),
                pid_start: run.pid.map(|(_, start)| start),
                lease: run.lease,
            });
            asked.push(tenant);
        }
        asked
    }

    /// Its row is running again, by this number.
    pub(super) fn renumber(&mut self, tenant: TenantId, number: RunId, started_at: DbTime) {
        let Some(state) = self.tenants.get_mut(tenant) else { return };
        let name = state.name().clone();
        let Stage::Run(run) = &mut state.stage else { return };
        let before = std::mem::replace(&mut run.identity.id, number);
        let other = before != number || run.identity.started_at != started_at;
        let renumbered = other && run.lives();
        run.identity.started_at = started_at;
        if let Some(row) = &mut state.row {
            row.value = RowValue::Running;
            row.updated_at = started_at;
        }
        if renumbered {
            self.actions.push(Action::Renumber { tenant: name.clone(), run: number, started_at });
        }
        self.notices.push(Notice::Repaired { tenant: name, run: number, before });
        self.touch(tenant);
    }

    pub(super) fn repair_answered(&mut self, id: DatabaseId, tenant: TenantId, answer: Repaired) {
        let Some(state) = self.tenants.get_mut(tenant) else { return };
        let key = state.listed.key.clone();
        let Some(run) = state.run_mut() else { return };
        run.repairing = false;
        match answer {
            Repaired::Running { id: number, started_at } => self.renumber(tenant, number, started_at),
            Repaired::Closed => self.end_run(tenant, Why::ClosedByAnother),
            // Whose it is the next look tells.
            Repaired::Another => {
                self.databases_mut(id).look_at.insert(key);
            }
            Repaired::NotNow => {
                let again = self.now + LOOK_AGAIN;
                self.databases_mut(id).look_again(key, again);
            }
        }
        self.touch(tenant);
    }
}
