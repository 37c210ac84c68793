//! Done rows become needed: each at its own slot (rolling), or together when the round before is over
//! (refill, barrier). And those that wait too long are told.

use super::notice::Notice;
use super::rules::{Mode, Rounds};
use super::slots;
use super::state::Scheduler;
use super::tenant::{TenantId, TenantState};
use crate::model::DbTime;

/// More late tenants than this at once make one summary line.
const TOLD_ONE_BY_ONE: usize = 20;

impl Scheduler {
    /// A done tenant's slot may have come.
    pub(super) fn tick_slot(&mut self, id: TenantId) {
        let Some(tenant) = self.tenants.get(id) else { return };
        if tenant.filed.due || tenant.not_before > self.now || !self.may_reset(tenant) {
            return;
        }
        let database = tenant.listed.database;
        let Some(row) = &tenant.row else { return };
        let slot = slots::next_after(row.updated_at, tenant.listed.every, tenant.listed.offset);
        if self.database_now(database).is_none_or(|now| now < slot) {
            return;
        }
        match self.rules.rounds {
            Rounds::Rolling => self.reset(id),
            Rounds::Refill | Rounds::Barrier => {
                if let Some(tenant) = self.tenants.get_mut(id) {
                    tenant.filed.due = true;
                }
                self.due.insert(id);
            }
        }
    }

    /// Begins the next round of refill and barrier if this is the moment: no row is needed (of those
    /// that could start), and a slot is free, or nothing runs at all.
    pub(super) fn begin_round(&mut self) {
        if self.due.is_empty() || !self.opened_once || !self.queue.is_empty() || self.resets_under_way() {
            return;
        }
        let moment = match self.rules.rounds {
            Rounds::Rolling => true,
            Rounds::Refill => self.free_slots() > 0 && self.counts.slots_offered == 0,
            Rounds::Barrier => self.counts.busy == 0,
        };
        if moment {
            for id in std::mem::take(&mut self.due) {
                self.reset(id);
            }
        }
    }

    /// When a startable tenant will have waited for a whole interval: counted from the slot that it waits
    /// for, its request, its row's making, and when this supervisor first saw that it could start.
    pub(super) fn late_at(&self, tenant: &TenantState) -> Option<DbTime> {
        if self.rules.mode != Mode::Daemon {
            return None;
        }
        let (every, offset) = (tenant.listed.every, tenant.listed.offset);
        let row = tenant.row.as_ref()?;
        let slot = slots::next_after(row.updated_at, every, offset);
        let since = slot.max(row.requested_at).max(row.created_at).max(tenant.startable_since?);
        let late = since + every;
        // Once per slot: after one was told, the next one's turn.
        let told = tenant.told.as_ref().and_then(|told| told.late);
        Some(told.map_or(late, |told| late.max(told + every)))
    }

    pub(super) fn tick_late(&mut self, id: TenantId) {
        let Some(tenant) = self.tenants.get(id) else { return };
        let Some(now) = self.database_now(tenant.listed.database) else { return };
        if !self.is_startable(tenant) || self.late_at(tenant).is_none_or(|at| at > now) {
            return;
        }
        let slot = slots::newest(now, tenant.listed.every, tenant.listed.offset);
        if let Some(tenant) = self.tenants.get_mut(id) {
            tenant.told_mut().late = Some(slot);
            let name = tenant.name().clone();
            self.late_now.push(name);
        }
    }

    pub(super) fn tell_late(&mut self) {
        let late = std::mem::take(&mut self.late_now);
        let (busy, workers) = (self.counts.slots_held, self.rules.workers);
        if late.len() > TOLD_ONE_BY_ONE {
            self.notices.push(Notice::Late { tenants: late, busy, workers });
        } else {
            self.notices.extend(late.into_iter().map(|name| Notice::Late { tenants: vec![name], busy, workers }));
        }
    }
}
