//! Two trees of one tenant where the contract cannot exclude it, and rows that disagree with a living one: as soon as
//! somebody runs who watches it and hears of it, the row is right again, or the tree whose run is not the open one ended.

use crate::database::OpenRow;
use crate::host::{Excuse, RunKey, Tree};
use crate::plan::Kind;
use crate::supervisor::SupervisorId;
use crate::world::{What, World};
use std::time::Duration;
use tenantcron::model::{DatabaseId, Exchange, Refreshed, Reply, RowValue, RunIdentity};
use tenantcron::scheduler::Mode;

/// Whoever was stopped and goes on needs so long to look and to kill.
pub const SETTLED: u64 = 2_000_000;
/// Who adopts a run whose lease may be over first asks after it.
const ADOPTED: u64 = 6_000_000;

impl World {
    /// The rows disagree with a living tree, or another copy of it lives: soon they must not.
    pub fn disagrees(&mut self, tree: &Tree) {
        self.trace.count("disagrees", &tree.excuse);
        let since = self.now.max(self.store(tree.run.database).down_until);
        // A look, and what a stubborn child takes.
        let bound = self.plan.rules.poll + self.plan.rules.kill_after + Duration::from_secs(10);
        let bound = u64::try_from(bound.as_micros()).unwrap();
        self.after(since - self.now + bound, What::MustAgree(tree.run, since));
    }

    pub fn check_agreement(&mut self, run: RunKey, since: u64) {
        let Some(tree) = self.trees().find(|tree| tree.run == run && tree.main_lives).cloned() else { return };
        if !self.could_be_settled(&tree, since) {
            return;
        }
        self.trace.count("disagrees", &"Judged");
        let store = self.store(run.database);
        let tenant = &self.plan.tenants[run.tenant];
        let open = store.open_run(&tenant.key);
        let other = |open: &OpenRow| open.identity.id != tree.id && open.identity.started_at <= store.time(since);
        let name = &tenant.tenant.name;
        assert!(!open.is_some_and(other), "overlap: {name} was not ended, another run is open since {since}: {tree:?}");
        let row = store.content.rows.get(&*tenant.key).map(|row| &row.value);
        let known = row.is_some_and(|value| !matches!(value, RowValue::Unknown(_)));
        let right = open.is_some() && row == Some(&RowValue::Running);
        let ending = self.ledger.signalled.contains_key(&(tree.keeper, run));
        assert!(
            right || !known || ending,
            "repair: {name} runs, its row is {row:?} and its run {open:?} since {since}"
        );
    }

    /// Somebody watched it all the time, and nothing kept him from a word with its database.
    fn could_be_settled(&self, tree: &Tree, since: u64) -> bool {
        let (run, keeper) = (tree.run, &self.supervisors[tree.keeper.0]);
        let store = self.store(run.database);
        let hindered = store.hindered_at > since
            || store.locked.contains(&*self.plan.tenants[run.tenant].key)
            || store.locked_runs.contains(&*self.plan.tenants[run.tenant].key)
            || self.nodes[keeper.node].cuts.iter().any(|(_, until)| *until > since)
            || self.ledger.by_hand.get(&(run.database, run.tenant)).is_some_and(|at| *at > since)
            || self.plan.odds.late > 0.0;
        // Of a tenant that vanished nothing is looked at but whether its run is still open.
        let looks =
            keeper.rules.mode == Mode::Daemon && keeper.listed.contains(&run.tenant) && keeper.listed_at < since;
        let watched = looks && self.runs_for(tree.keeper, self.now - since);
        !hindered && watched && tree.kept_since <= since && keeper.generation == 0
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
            self.disagrees(&tree);
        }
    }

    /// A machine of the same name was silent for so long that it cannot be told from one that was switched off.
    pub fn ends_namesake(&self, id: SupervisorId, run: &RunIdentity) -> bool {
        let mine = self.supervisors[id.0].identity();
        let machine = |host: &str| host.split('-').next().map(str::to_owned);
        self.plan.kind == Kind::Rival && mine.node == run.node && machine(&mine.host) != machine(&run.host)
    }
}
