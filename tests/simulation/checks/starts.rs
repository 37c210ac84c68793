//! What must hold when a child is started.

use crate::host::{Excuse, RunKey, Tree};
use crate::supervisor::SupervisorId;
use crate::world::World;
use tenantcron::model::{RowValue, RunId};

impl World {
    pub fn trees(&self) -> impl Iterator<Item = &Tree> {
        self.hosts.iter().flat_map(crate::host::Host::living)
    }

    /// What already excuses a run that only starts: while the answer was on its way a failover lost its claim, or an
    /// operator released it.
    pub fn excuse_of(&self, run: RunKey) -> Option<Excuse> {
        let lost = self.ledger.lost_by_failover.contains(&run).then_some(Excuse::Failover);
        lost.or_else(|| self.ledger.closed_by_others.get(&run).copied())
    }

    pub fn check_start(&mut self, id: SupervisorId, run: RunKey, number: RunId) {
        let tenant = self.plan.tenants[run.tenant].tenant.name.clone();
        assert!(self.supervisors[id.0].stop_at.is_none(), "after a stop: {tenant} is started");
        self.check_no_other(id, run);
        let excuse = self.excuse_of(run);
        assert!(excuse != Some(Excuse::Unwatched), "fence: {tenant} is started, and its run was taken over");
        if excuse.is_none() {
            let store = self.store(run.database);
            let key = &self.plan.tenants[run.tenant].key;
            let open = store.open_run(key).map(|open| open.identity.id);
            assert_eq!(open, Some(number), "open run: {tenant} is started without one");
            let running = store.content.rows.get(&**key).is_some_and(|row| row.value == RowValue::Running);
            let by_hand = self.ledger.by_hand.contains_key(&(run.database, run.tenant));
            assert!(running || by_hand, "open run: {tenant} is started and its row is not running");
            let foreign = self.ledger.foreign.contains(&(run.database, run.tenant));
            assert!(!foreign, "foreign claims: {tenant} is started while another program works on it");
        }
        let first = self.ledger.started.insert(run);
        assert!(first, "one start: {tenant} run {number} is started twice");
        let supervisor = &self.supervisors[id.0];
        if supervisor.rules.mode.uses_slots() {
            assert!(!supervisor.slots.is_empty(), "workers: run {number} is started without a slot");
            let host = &self.hosts[supervisor.host];
            let running = host.living().filter(|tree| tree.counted && tree.node == supervisor.node).count();
            let most = self.most_workers(supervisor.node);
            assert!(running < most as usize, "workers: {running} run on a node with {most} workers");
            self.check_limits(run);
        }
    }

    /// On one host never, whatever the rows say. Elsewhere only beside one whose row was lost or taken from it as the
    /// contract has it (SPEC 9: a failover that loses a claim; a lease that nobody was left to keep; the operator's will).
    fn check_no_other(&mut self, id: SupervisorId, run: RunKey) {
        let host = self.supervisors[id.0].host;
        let tenant = self.plan.tenants[run.tenant].tenant.name.clone();
        let here = self.hosts[host].living().find(|tree| tree.tenant == run.tenant);
        assert!(here.is_none(), "one host: {tenant} is started while another copy lives here: {here:?}");
        let others: Vec<_> = self.trees().filter(|tree| tree.tenant == run.tenant).cloned().collect();
        let starter_excused = self.excuse_of(run).is_some();
        for other in others {
            let fine = other.excuse.is_some() || starter_excused;
            assert!(fine, "one tree: {tenant} is started while another copy lives: {other:?}");
            self.disagrees(&other);
        }
    }

    fn check_limits(&self, run: RunKey) {
        let rules = &self.plan.rules;
        if !rules.shared || self.excuse_of(run).is_some() {
            return;
        }
        // One that came back with a repair came after the claim.
        let claimed_at = self.ledger.confirmed.get(&run).copied().unwrap_or_default();
        let counts = |tree: &&Tree| tree.counted && tree.excuse.is_none() && tree.repaired_at <= claimed_at;
        let counted = || self.trees().filter(counts);
        let (all, limit) = (counted().count(), rules.cluster_limit as usize);
        assert!(limit == 0 || all < limit, "cluster limit: {all} run, limits.cluster is {limit}");
        let group_of = |tenant: usize| self.plan.tenants[tenant].tenant.group();
        let (group, limit) = (group_of(run.tenant), rules.group_limit as usize);
        if limit > 0 && group.is_some() {
            let same = counted().filter(|tree| group_of(tree.tenant) == group).count();
            assert!(same < limit, "group limit: {same} of {group:?} run, limits.group is {limit}");
        }
    }
}
