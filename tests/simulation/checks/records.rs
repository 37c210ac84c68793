//! Every end that a kernel told is recorded once, with its true outcome.

use crate::database::Closed;
use crate::host::RunKey;
use crate::supervisor::SupervisorId;
use crate::world::World;
use tenantcron::model::{Outcome, RunIdentity};

impl World {
    pub(super) fn check_truth(&self, run: RunKey, identity: &RunIdentity, closed: &Closed) {
        let truth = self.ledger.truths.get(&run);
        if closed.outcome == Outcome::Lost {
            let kept = self.files_name(run);
            let known = truth.is_some_and(|truth| !truth.undone);
            assert!(!kept || !known, "kept ends: run {} of {} is lost, and a file names it", identity.id, identity.key);
        }
        let true_words = truth.is_some_and(|truth| {
            let outcome = truth.allowed.contains(&(closed.outcome, closed.becomes));
            outcome && truth.exit_code == closed.exit_code && truth.signal == closed.signal
        });
        let may_be_lost = truth.is_none_or(|truth| truth.forgotten || truth.undone) && !self.is_watched(run);
        let fine = true_words || (closed.outcome == Outcome::Lost && may_be_lost);
        assert!(
            fine,
            "outcome: run {} of {} is recorded as {closed:?}; the truth: {truth:?}",
            identity.id, identity.key
        );
        let times = self.records_of(run).count();
        assert_eq!(times, 1, "recorded once: run {} of {} is recorded {times} times", identity.id, identity.key);
    }

    /// A living supervisor has its process, or is about to start it.
    fn is_watched(&self, run: RunKey) -> bool {
        self.supervisors.iter().any(|one| one.lives && one.runs.values().any(|held| held.run == run && !held.end_told))
    }

    /// A file is removed: nothing in it may be unrecorded.
    pub fn check_forget(&self, id: SupervisorId, number: u64) {
        let host = &self.hosts[self.supervisors[id.0].host];
        for end in host.folder.get(&number).iter().flat_map(|file| &file.ends) {
            let database = self.plan.tenants[self.plan.place(&end.tenant.name)].database;
            let run = self.key_of(database, &end.finish.run);
            let truth = self.ledger.truths.get(&run);
            let recorded = self.is_recorded(run) || truth.is_none_or(|truth| truth.undone);
            assert!(recorded, "kept ends: a file is removed, and {:?} is not recorded", end.finish.run);
        }
    }

    pub fn is_recorded(&self, run: RunKey) -> bool {
        self.records_of(run).next().is_some()
    }

    /// How it is recorded: once, if all is well.
    pub fn records_of(&self, run: RunKey) -> impl Iterator<Item = &Closed> {
        let key = &self.plan.tenants[run.tenant].key;
        let same = move |one: &RunIdentity| *one.key == **key && self.key_of(run.database, one) == run;
        self.store(run.database)
            .content
            .finished
            .iter()
            .filter(move |done| same(&done.identity))
            .map(|done| &done.closed)
    }
}
