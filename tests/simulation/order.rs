//! In calm nights the order of starts is checked exactly.

use crate::supervisor::SupervisorId;
use crate::world::World;
use tenantcron::model::{DatabaseId, DbTime, Exchange, RowValue, TenantName};
use tenantcron::scheduler::Listed;

impl World {
    /// One calm node with many databases: who is picked stands before all that are needed and could be talked of.
    pub fn check_lock_order(&self, id: SupervisorId, picks: &[TenantName]) {
        let place = |tenant: &Listed| {
            let row = self.databases[tenant.database.0 as usize].rows.get(&tenant.key)?;
            (row.value == RowValue::Needed).then(|| (row.updated_at, tenant.tenant.name.clone()))
        };
        let picked: Vec<_> = picks.iter().map(|name| place(self.listed(name))).collect();
        assert!(picked.is_sorted(), "picked out of order: {picked:?}");
        for tenant in &self.plan.tenants {
            let offered = self.hosts[0].locks.contains_key(&tenant.tenant.name);
            let busy = offered || self.supervisors[id.0].flights.contains_key(&tenant.database);
            let Some(waiting) = place(tenant).filter(|_| !busy && !picks.contains(&tenant.tenant.name)) else {
                continue;
            };
            let before = picked.iter().flatten().all(|picked| *picked < waiting);
            assert!(before, "{picked:?} are picked, and {waiting:?} waits");
        }
    }

    /// One calm node with one database: what is claimed stands before all that is needed and was not claimed.
    pub fn check_order(&self, database: DatabaseId, exchange: &Exchange, key: &str) {
        if !self.plan.calm || !self.plan.rules.shared || self.plan.rules.group_limit > 0 {
            return;
        }
        let store = &self.databases[database.0 as usize];
        let offers = &exchange.claim.as_ref().unwrap().offers;
        let place = |key: &str| offers.iter().position(|offer| offer.key == key);
        let just_reset = |key: &str| exchange.reset.iter().any(|reset| reset.key == key);
        for (other, row) in store.rows.iter().filter(|(_, row)| row.value == RowValue::Needed) {
            let first = row.updated_at;
            let behind = place(other).is_none_or(|there| Some(there) > place(key));
            // The claim has set the winner's time; its former one is that of its offer's place, which core and database share.
            assert!(behind || just_reset(other), "{key} is claimed before {other}, who waits since {first}");
        }
        let listed = offers.iter().map(|offer| self.ledger_before(database, &offer.key));
        let waiting: Vec<_> = listed.collect();
        assert!(waiting.is_sorted(), "offers are not in the order of their updated_at: {waiting:?}");
        let last = waiting.last().cloned();
        for other in store
            .rows
            .iter()
            .filter(|(other, row)| row.value == RowValue::Needed && place(other).is_none() && !just_reset(other))
        {
            let fits = last.as_ref().is_none_or(|last| *last <= (other.1.updated_at, other.0.clone()));
            assert!(fits, "{} is not offered, and stands before {last:?}", other.0);
        }
    }

    /// A row's place in the queue before it was claimed.
    fn ledger_before(&self, database: DatabaseId, key: &str) -> (DbTime, String) {
        let store = &self.databases[database.0 as usize];
        let row = &store.rows[key];
        let at = if row.value == RowValue::Running { store.before[key] } else { row.updated_at };
        (at, key.to_owned())
    }
}
