//! How a supervisor ends, comes to rest for its replacement, and how it behaves from step to step.

use crate::host::RunKey;
use crate::plan::Kind;
use crate::supervisor::SupervisorId;
use crate::world::World;
use std::collections::BTreeSet;
use tenantcron::model::{DatabaseId, RunIdentity, Tenant, Unrecorded};
use tenantcron::scheduler::{CarriedRun, ExitReason, Mode};

impl World {
    pub fn check_step(&mut self, id: SupervisorId) {
        let second = self.now / 1_000_000;
        let supervisor = &mut self.supervisors[id.0];
        let broken = supervisor.scheduler.broken_invariants();
        assert!(broken.is_empty(), "invariants broken: {broken:?}");
        let pace = &mut supervisor.pace;
        pace.events = if pace.second == second { pace.events + 1 } else { 1 };
        pace.second = second;
        assert!(pace.events < 400, "pace: {} spins, {} events in a second", supervisor.name, pace.events);
        let past = supervisor.scheduler.next_deadline().is_some_and(|at| at <= supervisor.moment(self.now));
        supervisor.pace.stuck = if past { supervisor.pace.stuck + 1 } else { 0 };
        assert!(supervisor.pace.stuck < 20, "pace: the deadline of {} stands still in the past", supervisor.name);
    }

    pub fn check_exit(&self, id: SupervisorId, reason: ExitReason) {
        let supervisor = &self.supervisors[id.0];
        let asked = supervisor.stop_at.is_some();
        let may_leave = asked || supervisor.rules.mode != Mode::Daemon || reason == ExitReason::Rival;
        assert!(may_leave, "exits: a daemon exits by itself");
        let rival = self.plan.kind == Kind::Rival || self.ledger.late_life;
        assert!(reason != ExitReason::Rival || rival, "exits: it leaves a rival that there is not");
        let child = self.hosts[supervisor.host]
            .living()
            .find(|tree| tree.keeper == id && !supervisor.adopting.contains(&tree.run));
        assert!(child.is_none(), "exits: its child lives: {child:?}");
        self.check_all_kept(id);
        let open = supervisor.unrecorded.len();
        match reason {
            ExitReason::Done | ExitReason::NoDatabase | ExitReason::Refused | ExitReason::Rival => {
                assert_eq!(open, 0, "exits: as {reason:?} with unrecorded ends: {:?}", supervisor.unrecorded);
            }
            ExitReason::Unrecorded(told) => {
                assert!(told >= open, "exits: {open} ends are unrecorded, {told} are told");
                let well = |database: &DatabaseId| {
                    let store = self.store(*database);
                    let quiet_since = store.hindered_at.max(store.down_until) + 45_000_000;
                    let cut = self.nodes[supervisor.node].cuts.iter().any(|(_, until)| until + 45_000_000 > self.now);
                    store.locked.is_empty() && store.locked_runs.is_empty() && quiet_since < self.now && !cut
                };
                let quiet = self.plan.odds.late + self.plan.odds.unreachable == 0.0;
                let open = databases_of(&supervisor.unrecorded);
                let needless = quiet && !open.is_empty() && open.iter().all(well) && supervisor.frozen_for == 0;
                assert!(!needless, "exits: databases answer, and leave unrecorded: {:?}", supervisor.unrecorded);
            }
        }
    }

    /// Every end that it saw is recorded, or stands in its file.
    fn check_all_kept(&self, id: SupervisorId) {
        let supervisor = &self.supervisors[id.0];
        for (run, _) in self.ledger.truths.iter().filter(|(_, truth)| truth.by == supervisor.id && !truth.undone) {
            let kept = self.is_recorded(*run) || self.files_name(*run);
            assert!(kept, "kept ends: it exits, and {run:?} is neither recorded nor in its file");
        }
    }

    /// Another program is about to take its place: nothing may be in flight.
    pub fn check_rest(&self, id: SupervisorId) {
        let supervisor = &self.supervisors[id.0];
        assert!(supervisor.flights.is_empty(), "rest: exchanges are in flight: {:?}", supervisor.flights.keys());
        assert!(supervisor.slots.is_empty(), "rest: slots are held for nobody");
        let offered = self.hosts[supervisor.host]
            .locks
            .iter()
            .find(|(_, held)| held.supervisor == Some(id) && held.tree.is_none() && held.daemon.is_none());
        let run =
            offered.filter(|(tenant, _)| !supervisor.runs.contains_key(tenant) && !supervisor.ended.contains(tenant));
        assert!(run.is_none(), "rest: locks are held for nobody: {run:?}");
    }

    /// Whatever it watches is handed on.
    pub fn check_carried(&self, id: SupervisorId, carried: &[(Tenant, CarriedRun)], ends: &[Unrecorded]) {
        let supervisor = &self.supervisors[id.0];
        for (tenant, held) in &supervisor.runs {
            let name = &self.plan.tenants[*tenant].tenant.name;
            let one = carried.iter().find(|(tenant, _)| tenant.name == *name).map(|(_, run)| run);
            let fits =
                one.is_some_and(|run| run.identity.id == held.id && Some((run.pid, run.pid_start)) == held.process);
            assert!(fits, "carried: {name}: {held:?} is handed on as {one:?}");
        }
        let own = self.ledger.truths.iter().filter(|(_, truth)| truth.by == id && !truth.undone);
        for run in own.map(|(run, _)| *run) {
            let is = |other: &RunIdentity| {
                self.plan.tenant_of(run.database.0, &other.key) == Some(run.tenant)
                    && self.key_of(run.database, other) == run
            };
            let told = self.is_recorded(run)
                || ends.iter().any(|end| is(&end.finish.run))
                || carried.iter().any(|(_, one)| is(&one.identity))
                || self.files_name(run);
            assert!(told, "carried: the end of {run:?} is not handed on");
        }
    }

    /// A file names its end.
    pub fn files_name(&self, run: RunKey) -> bool {
        let mut ends = self.hosts.iter().flat_map(|host| host.folder.values()).flat_map(|file| &file.ends);
        ends.any(|end| {
            let tenant = self.plan.place(&end.tenant.name);
            tenant == run.tenant && self.key_of(run.database, &end.finish.run) == run
        })
    }
}

fn databases_of(runs: &BTreeSet<RunKey>) -> BTreeSet<DatabaseId> {
    runs.iter().map(|run| run.database).collect()
}
