//! In calm nights the order of starts is checked exactly.

use crate::database::Row;
use crate::supervisor::SupervisorId;
use crate::world::World;
use tenantcron::model::{DatabaseId, DbTime, Exchange, RowValue, RunIdentity, TenantName};
use tenantcron::scheduler::Listed;

impl World {
    /// One calm node with many databases: who is picked stands before all that are needed and could be talked of.
    pub(super) fn check_lock_order(&self, id: SupervisorId, picks: &[TenantName]) {
        let place = |tenant: &Listed| {
            let row = self.store(tenant.database).content.rows.get(&*tenant.key)?;
            (row.value == RowValue::Needed).then(|| (row.updated_at, tenant.tenant.name.clone()))
        };
        let picked: Vec<_> = picks.iter().map(|name| place(&self.plan.tenants[self.plan.place(name)])).collect();
        assert!(picked.is_sorted(), "order: picked out of it: {picked:?}");
        for (number, tenant) in self.plan.tenants.iter().enumerate() {
            let offered = self.hosts[0].is_locked(number);
            let busy = offered || self.supervisors[id.0].flights.contains_key(&tenant.database);
            let Some(waiting) = place(tenant).filter(|_| !busy && !picks.contains(&tenant.tenant.name)) else {
                continue;
            };
            let before = picked.iter().flatten().all(|picked| *picked < waiting);
            assert!(before, "order: {picked:?} are picked, and {waiting:?} waits");
        }
    }

    /// One calm node with one database: what is claimed stands before all that is needed and was not claimed.
    pub(super) fn check_order(&self, database: DatabaseId, exchange: &Exchange, run: &RunIdentity) {
        if !self.plan.is_calm() || !self.plan.rules.shared || self.plan.rules.group_limit > 0 {
            return;
        }
        let rows = &self.store(database).content.rows;
        let offers = &exchange.claim.as_ref().unwrap().offers;
        let place = |key: &str| offers.iter().position(|offer| offer.key == key);
        let just_reset = |key: &str| exchange.reset.iter().any(|reset| reset.key == key);
        let waits = |key: &str, row: &Row| row.value == RowValue::Needed && !just_reset(key);
        for (other, row) in rows.iter().filter(|(other, row)| waits(other, row)) {
            let behind = place(other).is_none_or(|there| Some(there) > place(&run.key));
            let since = row.updated_at;
            assert!(behind, "order: {} is claimed before {other}, who waits since {since}", run.key);
        }
        let waiting: Vec<_> = offers.iter().map(|offer| self.place_before(rows, &offer.key)).collect();
        assert!(waiting.is_sorted(), "order: offers are not in that of their updated_at: {waiting:?}");
        let last = waiting.last().cloned();
        for (other, row) in rows.iter().filter(|(other, row)| waits(other, row) && place(other).is_none()) {
            let fits = last.as_ref().is_none_or(|last| *last <= (row.updated_at, other.clone()));
            assert!(fits, "order: {other} is not offered, and stands before {last:?}");
        }
    }

    /// A row's place in the queue before it was claimed.
    fn place_before(&self, rows: &std::collections::BTreeMap<String, Row>, key: &str) -> (DbTime, String) {
        let row = &rows[key];
        let before = self.ledger.before.get(key).copied();
        let at = if row.value == RowValue::Running { before.unwrap_or(row.updated_at) } else { row.updated_at };
        (at, key.to_owned())
    }
}
