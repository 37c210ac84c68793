//! Making done rows needed: what waits for it, in which exchange and how many at a time it is said, and the answer.
//! Not here: whose slot has come (`rounds`).

use super::databases::InFlight;
use super::looks::LOOK_AGAIN;
use super::slots;
use super::state::Scheduler;
use super::tenant::TenantId;
use crate::model::{DatabaseId, DbTime, Exchange, Reset, RowValue};
use std::collections::BTreeSet;

/// Rows made needed by one exchange, at first and at most.
const FIRST: usize = 32;
const MOST: usize = 64;
const MOST_IF_SLOW: usize = 512;

/// When resets are said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Go {
    /// With the rest.
    Along,
    /// With the next exchange.
    Later,
    /// Now, and the rest with the next one.
    Alone,
}

/// Who is to be made needed in one database.
#[derive(Debug, Default)]
pub(super) struct Resets {
    /// In the order in which they will queue.
    waiting: BTreeSet<(DbTime, TenantId)>,
    /// How many went with the last exchange, while there are more.
    sent: usize,
    /// The last exchange left them out for ends and a claim.
    left_out: bool,
}

impl Resets {
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The next exchange is theirs: nothing is offered to it.
    pub fn go_next(&self) -> bool {
        self.left_out && !self.waiting.is_empty()
    }

    pub fn tenants(self) -> impl Iterator<Item = TenantId> {
        self.waiting.into_iter().map(|(_, tenant)| tenant)
    }

    pub fn forget(&mut self, tenant: TenantId) {
        self.waiting.retain(|(_, other)| *other != tenant);
    }

    fn add(&mut self, updated_at: DbTime, tenant: TenantId) {
        self.waiting.insert((updated_at, tenant));
    }

    /// The next piece.
    fn take(&mut self, slow: bool) -> Vec<TenantId> {
        let size = (self.sent * 2).clamp(FIRST, if slow { MOST_IF_SLOW } else { MOST });
        let piece = std::iter::from_fn(|| self.waiting.pop_first()).take(size).map(|(_, tenant)| tenant).collect();
        self.sent = if self.waiting.is_empty() { 0 } else { size };
        piece
    }
}

impl Scheduler {
    /// Its slot has come: it is made needed with one of the next exchanges.
    pub(super) fn reset(&mut self, id: TenantId) {
        let Some(tenant) = self.tenants.get_mut(id) else { return };
        tenant.resetting = true;
        let updated_at = tenant.row.as_ref().map_or(DbTime::EPOCH, |row| row.updated_at);
        let database = tenant.listed.database;
        self.databases_mut(database).resets.add(updated_at, id);
        self.touch(id);
    }

    pub(super) fn resets_under_way(&self) -> bool {
        self.databases.iter().any(|database| {
            !database.resets.is_empty() || database.in_flight.as_ref().is_some_and(|flight| !flight.resets.is_empty())
        })
    }

    /// Beside ends and a claim a reset would make a quick exchange a long one, which every slot waits for: there they go
    /// in turn, but never before what is offered already. Where each exchange takes long anyway they go along.
    pub(super) fn resets_go(&mut self, id: DatabaseId) -> Go {
        let ends = self.record_due(id).is_some_and(|at| at <= self.now);
        let Some(database) = self.databases.get_mut(id.0 as usize) else { return Go::Along };
        let offers = !database.claim.offers.is_empty();
        if database.resets.is_empty() || !(ends || offers) || database.together.is_slow() {
            database.resets.left_out = false;
            return Go::Along;
        }
        database.resets.left_out = offers || !database.resets.left_out;
        if database.resets.left_out { Go::Later } else { Go::Alone }
    }

    /// Of many who are due at once enough for the slots first, then more: no slot waits for rows whose turn is far.
    pub(super) fn compose_resets(&mut self, id: DatabaseId, exchange: &mut Exchange, flight: &mut InFlight) {
        let Some(now) = self.database_now(id) else { return };
        let Some(database) = self.databases.get_mut(id.0 as usize) else { return };
        for tenant in database.resets.take(database.together.is_slow()) {
            let Some(state) = self.tenants.get(tenant) else { continue };
            let slot = slots::newest(now, state.listed.every, state.listed.offset);
            exchange.reset.push(Reset { key: state.listed.key.to_string(), slot });
            flight.resets.push(tenant);
        }
    }

    pub(super) fn resets_answered(&mut self, id: DatabaseId, asked: Vec<TenantId>, reset: &[String]) {
        for key in reset {
            let Some(tenant) = self.tenants.by_key(id, key) else { continue };
            if let Some(state) = self.tenants.get_mut(tenant)
                && let Some(row) = &mut state.row
            {
                row.value = RowValue::Needed;
            }
        }
        let now = self.now;
        for tenant in asked {
            if let Some(state) = self.tenants.get_mut(tenant) {
                state.resetting = false;
                if state.value() == Some(&RowValue::Done) {
                    // Locked by somebody, or no longer what memory believes, as where another node was faster: nothing is
                    // asked of it before a look tells, and if it is done still, not for a while.
                    state.row = None;
                    state.not_before = now + LOOK_AGAIN;
                    let key = state.listed.key.clone();
                    self.databases_mut(id).look_again(key, now);
                }
            }
            self.touch(tenant);
        }
    }
}
