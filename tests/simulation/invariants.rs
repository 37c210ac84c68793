//! What must hold (DESIGN 2), seen from outside the core: by the fake kernel's and the fake databases' truth.

use crate::kernel::{Host, RunKey, Tree};
use crate::supervisor::SupervisorId;
use crate::world::World;
use std::collections::BTreeSet;
use tenantcron::model::{DatabaseId, Exchange, RowValue, TenantName};
use tenantcron::scheduler::{ExitReason, Mode, Notice};

impl World {
    pub fn trees(&self) -> impl Iterator<Item = &Tree> {
        self.hosts.iter().flat_map(Host::living).filter(|tree| !self.ledger.released.contains(&tree.run))
    }

    pub fn check_lock(&self, id: SupervisorId, tenants: &[TenantName], slots: u32) {
        let supervisor = &self.supervisors[id.0];
        assert!(supervisor.stop_at.is_none(), "locks are taken after a stop was asked");
        assert!(!tenants.is_empty(), "locks of nobody are taken");
        let held = supervisor.runs.len() - supervisor.adopting.len() + supervisor.slots.len();
        let fits = !supervisor.rules.mode.uses_slots() || held + slots as usize <= supervisor.rules.workers as usize;
        assert!(fits, "{held} slots are held and {slots} more asked for, of {}", supervisor.rules.workers);
        if self.plan.calm && !supervisor.rules.shared {
            self.check_lock_order(id, tenants);
        }
    }

    pub fn check_exchange(&self, id: SupervisorId, database: DatabaseId, exchange: &Exchange) {
        let supervisor = &self.supervisors[id.0];
        let writes = !exchange.finish.is_empty() || !exchange.reset.is_empty() || exchange.claim.is_some();
        assert!(supervisor.rules.mode != Mode::DryRun || !writes, "a dry run writes");
        assert!(!exchange.is_empty(), "an empty exchange");
        let Some(claim) = &exchange.claim else { return };
        assert!(supervisor.stop_at.is_none(), "a claim after a stop was asked");
        for offer in &claim.offers {
            let tenant = self.plan.tenants.iter().find(|one| one.database == database && one.key == offer.key).unwrap();
            let name = &tenant.tenant.name;
            assert!(supervisor.listed.contains(name), "{name} is offered, and is not listed");
            let lock = self.hosts[supervisor.node].locks.get(name).and_then(|held| held.supervisor);
            assert_eq!(lock, Some(id), "{name} is offered without its lock");
            let unsure = supervisor.unsure.contains(&(database, offer.key.clone()));
            assert!(!unsure, "{name} is offered again, and its last claim was not answered");
            let paused = self.databases[database.0 as usize].rows.get(&offer.key).and_then(|row| row.paused_at);
            let seen = supervisor.seen.get(&(database, offer.key.clone()));
            let known =
                paused.is_some_and(|at| seen.is_some_and(|seen| self.databases[database.0 as usize].time(*seen) > at));
            assert!(
                !known || matches!(supervisor.rules.mode, Mode::Named { force: true }),
                "{name} is offered, and known to be paused"
            );
        }
        if supervisor.rules.mode.uses_slots() {
            assert!(claim.limit as usize <= supervisor.slots.len(), "a claim for more than the slots held");
        }
    }

    pub fn check_start(&mut self, id: SupervisorId, tenant: &TenantName, run: RunKey) {
        let supervisor = &self.supervisors[id.0];
        assert!(supervisor.stop_at.is_none(), "{tenant} is started after a stop was asked");
        let store = &self.databases[run.0.0 as usize];
        let key = self.listed(tenant).key.clone();
        assert_eq!(
            store.open_run(&key).map(|open| open.identity.id),
            Some(run.1),
            "{tenant} is started without an open run"
        );
        assert_eq!(store.rows[&key].value, RowValue::Running, "{tenant} is started and its row is not running");
        assert!(!self.ledger.foreign.contains(&(run.0, key)), "{tenant} is started while another program works on it");
        let other = self.trees().find(|tree| tree.tenant == *tenant);
        assert!(other.is_none(), "{tenant} is started while another copy lives: {other:?}");
        assert!(self.ledger.started.insert(run), "{tenant}: run {} is started twice", run.1);
        if supervisor.rules.mode.uses_slots() {
            assert!(!supervisor.slots.is_empty(), "{tenant} is started without a slot");
            let host = &self.hosts[supervisor.node];
            let running = host.living().filter(|tree| tree.counted).count();
            assert!(
                running < host.workers_before as usize,
                "{running} run on a node with {} workers",
                host.workers_before
            );
            self.check_limits(tenant);
        }
    }

    fn check_limits(&self, tenant: &TenantName) {
        let rules = &self.plan.rules;
        if !rules.shared {
            return;
        }
        let counted = || self.trees().filter(|tree| tree.counted);
        let all = counted().count();
        assert!(
            rules.cluster_limit == 0 || all < rules.cluster_limit as usize,
            "{all} run, limits.cluster is {}",
            rules.cluster_limit
        );
        let group = &self.listed(tenant).tenant.group;
        if rules.group_limit > 0 && group.is_some() {
            let same = counted().filter(|tree| self.listed(&tree.tenant).tenant.group == *group).count();
            assert!(
                same < rules.group_limit as usize,
                "{same} of {group:?} run, limits.group is {}",
                rules.group_limit
            );
        }
    }

    /// Without faults the pid is known after two seconds, and lives are confirmed every thirty.
    pub fn check_lives(&self, database: DatabaseId) {
        let store = &self.databases[database.0 as usize];
        let now = store.time(self.now);
        for run in store.runs.iter().filter(|run| run.closed.is_none()) {
            let Some(tree) = self.hosts[0].tree_of((database, run.identity.id)).filter(|tree| tree.main_lives) else {
                continue;
            };
            let (age, silent) = (now.since(run.identity.started_at).as_secs(), now.since(run.alive_at).as_secs());
            assert!(
                age < 3 || run.pid == Some(tree.pid),
                "{} runs for {age} s and its pid is not recorded",
                tree.tenant
            );
            assert!(silent < 32, "{} runs and has not been confirmed for {silent} s", tree.tenant);
        }
    }

    pub fn check_notice(&mut self, id: SupervisorId, notice: &Notice) {
        self.trace.count("notice", notice);
        let told_down = &mut self.supervisors[id.0].told_down;
        match notice {
            Notice::DatabaseDown { database, .. } => {
                assert!(told_down.insert(*database), "{database:?} is told to be down twice")
            }
            Notice::DatabaseUp { database, .. } => {
                assert!(told_down.remove(database), "{database:?} is told to be up, and was not down")
            }
            _ => {}
        }
    }

    pub fn check_step(&mut self, id: SupervisorId) {
        let second = self.now / 1_000_000;
        let supervisor = &mut self.supervisors[id.0];
        let broken = supervisor.scheduler.broken_invariants();
        assert!(broken.is_empty(), "{broken:?}");
        let pace = &mut supervisor.pace;
        pace.events = if pace.second == second { pace.events + 1 } else { 1 };
        pace.second = second;
        assert!(pace.events < 400, "supervisor {} spins: {} events in a second", id.0, pace.events);
        let past = supervisor.scheduler.next_deadline().is_some_and(|at| at <= supervisor.moment(self.now));
        supervisor.pace.stuck = if past { supervisor.pace.stuck + 1 } else { 0 };
        assert!(supervisor.pace.stuck < 20, "supervisor {}: the deadline stands still in the past", id.0);
    }

    pub fn check_exit(&self, id: SupervisorId, reason: ExitReason) {
        let supervisor = &self.supervisors[id.0];
        assert!(supervisor.rules.mode != Mode::Daemon || supervisor.stop_at.is_some(), "a daemon exits by itself");
        let child = self.hosts[supervisor.node]
            .living()
            .find(|tree| tree.keeper == id && !supervisor.adopting.contains(&tree.run));
        assert!(child.is_none(), "it exits and its child lives: {child:?}");
        let open = supervisor.unrecorded.len();
        match reason {
            ExitReason::Done | ExitReason::NoDatabase | ExitReason::Refused => {
                assert_eq!(open, 0, "it exits as {reason:?} with unrecorded ends: {:?}", supervisor.unrecorded);
            }
            ExitReason::Unrecorded(told) => {
                assert!(told >= open, "{open} ends are unrecorded, {told} are told");
                let well = |database: &DatabaseId| {
                    let store = &self.databases[database.0 as usize];
                    !store.down && store.locked.is_empty() && store.hindered_at + 15_000_000 < self.now
                };
                let quiet = self.plan.odds.late + self.plan.odds.unreachable == 0.0 && !self.healed;
                let needless = quiet && !open_databases(&supervisor.unrecorded).is_empty();
                let needless = needless && open_databases(&supervisor.unrecorded).iter().all(well);
                assert!(!needless, "ends are left unrecorded in databases that answer: {:?}", supervisor.unrecorded);
            }
        }
    }
}

fn open_databases(runs: &BTreeSet<RunKey>) -> BTreeSet<DatabaseId> {
    runs.iter().map(|run| run.0).collect()
}
