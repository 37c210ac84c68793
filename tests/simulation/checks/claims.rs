//! What is offered to a claim: with lock and slot held, listed, not paused, by nobody who was told to stop.

use crate::supervisor::SupervisorId;
use crate::world::World;
use tenantcron::model::{DatabaseId, Exchange, TenantName};
use tenantcron::scheduler::Mode;

/// What was in flight when the number of workers was lowered starts for so long.
const IN_FLIGHT: u64 = 100_000_000;

impl World {
    pub fn check_lock(&self, id: SupervisorId, tenants: &[TenantName], slots: u32) {
        let supervisor = &self.supervisors[id.0];
        assert!(supervisor.stop_at.is_none(), "after a stop: locks are taken");
        assert!(!tenants.is_empty(), "locks: those of nobody are taken");
        let held = supervisor.runs.len() - supervisor.adopting.len() + supervisor.slots.len();
        let fits = !supervisor.rules.mode.uses_slots() || held + slots as usize <= supervisor.rules.workers as usize;
        assert!(fits, "workers: {held} slots are held and {slots} more asked for, of {}", supervisor.rules.workers);
        if self.plan.is_calm() && !supervisor.rules.shared {
            self.check_lock_order(id, tenants);
        }
    }

    /// Who takes slots never makes them more than there are workers.
    pub fn check_slots(&self, id: SupervisorId, taken: &[u32]) {
        let supervisor = &self.supervisors[id.0];
        let held = self.hosts[supervisor.host].slots_above(supervisor.node, 0);
        let most = self.most_workers(supervisor.node);
        assert!(taken.is_empty() || held <= most, "workers: {held} slots are held on a node with {most} workers");
    }

    /// How many may run on a node now.
    pub fn most_workers(&self, node: usize) -> u32 {
        // A `--once` may still go by the configuration of before.
        let siblings = self.supervisors.iter().filter(|one| one.lives && one.node == node);
        let most = siblings.map(|one| one.rules.workers).max().unwrap_or_default();
        let node = &self.nodes[node];
        let before = node.lowered.filter(|(at, _)| at + IN_FLIGHT > self.now).map_or(0, |(_, before)| before);
        node.workers.max(before).max(most)
    }

    pub fn check_exchange(&self, id: SupervisorId, database: DatabaseId, exchange: &Exchange) {
        let supervisor = &self.supervisors[id.0];
        let writes = !Exchange { poll: None, ..exchange.clone() }.is_empty();
        assert!(supervisor.rules.mode != Mode::DryRun || !writes, "dry run: it writes");
        assert!(!exchange.is_empty(), "line: an empty exchange");
        let Some(claim) = &exchange.claim else { return };
        assert!(supervisor.stop_at.is_none(), "after a stop: a claim");
        assert_eq!(claim.lease, supervisor.rules.lease, "lease: the claim carries another");
        for offer in &claim.offers {
            let tenant = self.plan.tenant_of(database.0, &offer.key).unwrap();
            let key = &offer.key;
            // What vanishes in the breath in which it is offered is given back.
            let listed = supervisor.listed.contains(&tenant) || supervisor.listed_at == self.now;
            assert!(listed, "offers: {key} is offered, and is not listed");
            let lock = self.hosts[supervisor.host].locks.get(&tenant).and_then(|held| held.supervisor);
            assert_eq!(lock, Some(id), "offers: {key} is offered without its lock");
            let unsure = supervisor.unsure.contains(&(database, tenant));
            assert!(!unsure, "offers: {key} is offered again, and its last claim was not answered");
            self.check_not_paused(id, database, tenant);
        }
        if supervisor.rules.mode.uses_slots() {
            assert!(claim.limit as usize <= supervisor.slots.len(), "workers: a claim for more than the slots held");
        }
    }

    fn check_not_paused(&self, id: SupervisorId, database: DatabaseId, tenant: usize) {
        let supervisor = &self.supervisors[id.0];
        let key = &self.plan.tenants[tenant].key;
        let store = self.store(database);
        let paused = store.content.rows.get(&**key).and_then(|row| row.paused_at);
        let seen = supervisor.seen.get(&(database, tenant)).filter(|seen| seen.era == store.era);
        let known = paused.is_some_and(|at| seen.is_some_and(|seen| store.time(seen.at) > at));
        let forced = matches!(supervisor.rules.mode, Mode::Named { force: true });
        assert!(!known || forced, "paused: {key} is offered, and known to be paused");
    }
}
