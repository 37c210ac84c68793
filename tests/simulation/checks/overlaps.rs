//! Two trees of one tenant where the contract cannot exclude it: the one whose run is not the open one is ended, as soon as
//! somebody runs who watches it and hears of it.

use crate::database::OpenRow;
use crate::host::{Excuse, RunKey, Tree};
use crate::plan::Kind;
use crate::supervisor::SupervisorId;
use crate::world::{What, World};
use std::time::Duration;
use tenantcron::model::{DatabaseId, Exchange, Refreshed, Reply, RunIdentity};
use tenantcron::scheduler::Mode;

/// Whoever was stopped and goes on needs so long to look and to kill.
pub const SETTLED: u64 = 2_000_000;
/// Who adopts a run whose lease may be over first asks after it.
const ADOPTED: u64 = 6_000_000;

impl World {
    pub fn overlaps(&mut self, tree: &Tree) {
        self.trace.count("overlap", &tree.excuse);
        // A look, and what a stubborn child takes.
        let bound = self.plan.rules.poll + self.plan.rules.kill_after + Duration::from_secs(10);
        let (run, since) = (tree.run, self.now);
        self.after_duration(bound, What::MustHaveEnded(run, since));
    }

    pub fn check_overlap_ended(&mut self, run: RunKey, since: u64) {
        let tenant = &self.plan.tenants[run.tenant];
        let store = self.store(run.database);
        let Some(tree) = self.trees().find(|tree| tree.run == run && tree.excuse.is_some()) else { return };
        let keeper = &self.supervisors[tree.keeper.0];
        let hindered = store.hindered_at >= since
            || self.nodes[keeper.node].cuts.iter().any(|(_, until)| *until > since)
            || self.ledger.by_hand.contains(&(run.database, run.tenant))
            || self.plan.odds.late > 0.0;
        let watched = self.runs_for(tree.keeper, self.now - since)
            && keeper.rules.mode == Mode::Daemon
            && tree.kept_since <= since;
        let opened = |open: &OpenRow| open.identity.id != tree.id && open.identity.started_at <= store.time(since);
        let another = store.open_run(&tenant.key).is_some_and(opened);
        let name = &tenant.tenant.name;
        assert!(
            hindered || !watched || !another,
            "overlap: {name} was not ended, another run is open since {since}: {tree:?}"
        );
    }

    /// Whatever becomes of the database, its supervisor will know when a run was confirmed last.
    pub fn note_lives(&mut self, database: DatabaseId, exchange: &Exchange, reply: &Reply) {
        for (refresh, answer) in exchange.refresh.iter().zip(&reply.refreshed) {
            if *answer == Refreshed::Confirmed {
                let key = self.key_of(database, &refresh.run);
                self.ledger.confirmed.insert(key, self.now);
            }
        }
        for claimed in &reply.claimed {
            let tenant = self.plan.tenant_of(database.0, &claimed.key).expect("claims are of tenants");
            self.ledger.confirmed.insert(RunKey { database, tenant, started_at: claimed.started_at }, self.now);
        }
    }

    /// The copy that took over does not know that the run was confirmed since.
    fn lost_its_life(&self, run: RunKey) -> bool {
        let Some(lease) = self.plan.rules.lease else { return false };
        let lease = u64::try_from(lease.as_micros()).unwrap();
        self.ledger.confirmed.get(&run).is_some_and(|at| at + lease >= self.now)
    }

    /// Somebody closes a run that is not his: a living tree of it must be one that nobody could have ended in time.
    pub fn taken_over(&mut self, id: SupervisorId, run: RunKey) {
        let lost = self.store(run.database).era > 0 && self.lost_its_life(run);
        let excuse = if lost { Excuse::Failover } else { Excuse::Unwatched };
        let Some(tree) = self.trees().find(|tree| tree.run == run).cloned() else {
            self.ledger.closed_by_others.insert(run, excuse);
            return;
        };
        let kept = !lost
            && self.runs_for(tree.keeper, SETTLED)
            && tree.kept_since + ADOPTED < self.now
            && self.ledger.started.contains(&run);
        let by = &self.supervisors[id.0].name;
        assert!(!kept, "fence: {by} takes over a run that its supervisor watches: {tree:?}");
        self.closed_by_others(run, excuse);
    }

    pub fn closed_by_others(&mut self, run: RunKey, excuse: Excuse) {
        self.ledger.closed_by_others.insert(run, excuse);
        self.excuse(run, excuse);
    }

    pub fn excuse(&mut self, run: RunKey, excuse: Excuse) {
        self.trace.count("excuse", &excuse);
        for tree in self.hosts.iter_mut().flat_map(|host| host.trees.values_mut()).filter(|tree| tree.run == run) {
            tree.excuse.get_or_insert(excuse);
        }
        let living = self.trees().find(|tree| tree.run == run && tree.lives()).cloned();
        if let Some(tree) = living {
            self.overlaps(&tree);
        }
    }

    /// A machine of the same name was silent for so long that it cannot be told from one that was switched off.
    pub fn ends_namesake(&self, id: SupervisorId, run: &RunIdentity) -> bool {
        let mine = self.supervisors[id.0].identity();
        let machine = |host: &str| host.split('-').next().map(str::to_owned);
        self.plan.kind == Kind::Rival && mine.node == run.node && machine(&mine.host) != machine(&run.host)
    }
}
