//! Two trees of one tenant where the contract cannot exclude it: the one whose run is not the open one is ended, as soon as
//! somebody runs who watches it and hears of it.

use crate::host::{Excuse, RunKey, Tree};
use crate::plan::Kind;
use crate::supervisor::SupervisorId;
use crate::world::{What, World};
use std::time::Duration;
use tenantcron::scheduler::Mode;

/// Whoever was stopped and goes on needs so long to look and to kill.
pub const SETTLED: u64 = 2_000_000;

impl World {
    pub fn overlaps(&mut self, tree: &Tree) {
        self.trace.count("overlap", &tree.excuse);
        // Two looks, a deadline and a pause of the line, and what a stubborn child takes.
        let bound = 2 * self.plan.rules.poll + Duration::from_secs(60 + 30) + self.plan.rules.kill_after;
        let (run, since) = (tree.run, self.now);
        self.after_duration(bound, What::MustHaveEnded(run, since));
    }

    pub fn check_overlap_ended(&mut self, run: RunKey, since: u64) {
        let Some(tree) = self.trees().find(|tree| tree.run == run) else { return };
        if tree.excuse.is_none() {
            return;
        }
        let keeper = &self.supervisors[tree.keeper.0];
        let store = self.store(run.database);
        let hindered = store.hindered_at >= since
            || store.down_until > since
            || self.nodes[keeper.node].cuts.iter().any(|(_, until)| *until > since)
            || self.plan.odds.late > 0.0;
        let watched = self.runs_for(tree.keeper, self.now - since) && keeper.rules.mode == Mode::Daemon;
        let another =
            store.open_run(&self.plan.tenants[run.tenant].key).is_some_and(|open| open.identity.id != tree.id);
        assert!(
            hindered || !watched || !another,
            "overlap: {tree:?} was not ended although another run of its tenant is open since {since}"
        );
    }

    /// Somebody closes a run that is not his: a living tree of it must be one that nobody could have ended in time.
    pub fn taken_over(&mut self, id: SupervisorId, run: RunKey) {
        self.ledger.closed_by_others.insert(run);
        let Some(tree) = self.trees().find(|tree| tree.run == run).cloned() else { return };
        let kept = self.runs_for(tree.keeper, SETTLED)
            && tree.kept_since + SETTLED < self.now
            && self.ledger.started.contains(&run);
        let by = &self.supervisors[id.0].name;
        assert!(!kept, "fence: {by} takes over a run that its supervisor watches: {tree:?}");
        self.excuse(run, Excuse::Unwatched);
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
    pub fn is_namesake(&self, id: SupervisorId, tree: &Tree) -> bool {
        let (mine, other) = (&self.supervisors[id.0], &self.nodes[tree.node]);
        self.plan.kind == Kind::Rival && mine.identity().node == other.name && mine.host != other.host
    }
}
