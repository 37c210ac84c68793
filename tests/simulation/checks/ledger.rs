//! The ledger: what the fake kernels told and the world did, so that it can be seen whether exactly that is recorded.

use crate::host::{Excuse, RunKey};
use crate::supervisor::SupervisorId;
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};
use tenantcron::model::{Becomes, DatabaseId, Outcome};
use tenantcron::scheduler::{Closing, Exit, NotStarted};

/// How a run ended, as the kernel told its supervisor.
#[derive(Debug, Clone)]
pub struct Truth {
    pub by: SupervisorId,
    /// When it was told.
    pub at: u64,
    /// One of these must be recorded.
    pub allowed: Vec<(Outcome, Becomes)>,
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
    /// Its supervisor died before it was recorded or written down: it may be lost.
    pub forgotten: bool,
    /// It was recorded, and a failover lost that: it may be lost too.
    pub undone: bool,
}

#[derive(Debug, Default)]
pub struct Ledger {
    pub truths: BTreeMap<RunKey, Truth>,
    pub started: BTreeSet<RunKey>,
    /// Runs that their supervisor signalled before it saw their end, and what they may be recorded as.
    pub signalled: BTreeMap<(SupervisorId, RunKey), Vec<(Outcome, Becomes)>>,
    /// Spawns refused for want of resources: no run may be left.
    pub refused: BTreeSet<RunKey>,
    /// Closed by others than their supervisors: the outcome is theirs.
    pub closed_by_others: BTreeMap<RunKey, Excuse>,
    /// Runs whose row a failover lost, and that are not repaired.
    pub lost_by_failover: BTreeSet<RunKey>,
    /// When each run was claimed or confirmed last, whatever became of the database since.
    pub confirmed: BTreeMap<RunKey, u64>,
    /// Rows that another program works on.
    pub foreign: BTreeSet<(DatabaseId, usize)>,
    /// Rows that somebody meddled with, and when last.
    pub by_hand: BTreeMap<(DatabaseId, usize), u64>,
    /// The `updated_at` that each key of a calm night had before its newest claim.
    pub before: BTreeMap<String, tenantcron::model::DbTime>,
    /// A machine that was rebooted had sent something that arrived after it was back.
    pub late_life: bool,
    /// The slot for which a row was reset last.
    pub resets: BTreeMap<(DatabaseId, usize), tenantcron::model::DbTime>,
}

impl World {
    pub fn ledger_not_started(&mut self, id: SupervisorId, run: RunKey, why: &NotStarted) {
        match why {
            NotStarted::NoResources { .. } => {
                self.ledger.refused.insert(run);
            }
            NotStarted::CannotExecute { code, .. } => {
                let allowed = vec![(Outcome::Failed, Becomes::Done)];
                self.ledger.truths.insert(run, Truth::new(id, self.now, allowed, Exit::Code(*code)));
            }
        }
    }

    pub fn ledger_ended(&mut self, id: SupervisorId, run: RunKey, exit: Exit) {
        let by_exit = match exit {
            Exit::Code(0) => (Outcome::Ok, Becomes::Done),
            Exit::Code(_) => (Outcome::Failed, Becomes::Done),
            Exit::Signal(_) => (Outcome::Killed, Becomes::Done),
            Exit::Unknown => (Outcome::Adopted, Becomes::Done),
        };
        let allowed = self.ledger.signalled.get(&(id, run)).cloned().unwrap_or_else(|| vec![by_exit]);
        self.ledger.truths.insert(run, Truth::new(id, self.now, allowed, exit));
    }

    pub fn check_closing(&self, run: RunKey, closing: &Closing) {
        if let Some(truth) = self.ledger.truths.get(&run) {
            let told = truth.allowed.iter().any(|(outcome, _)| *outcome == closing.outcome);
            assert!(told, "outcome: run {} is told as {}, and was {truth:?}", closing.run, closing.outcome);
        }
    }

    /// What is neither in a database nor in a file dies with its supervisor.
    pub fn ledger_forgets(&mut self, id: SupervisorId) {
        let host = &self.hosts[self.supervisors[id.0].host];
        let kept: Vec<_> = host
            .folder
            .values()
            .flat_map(|file| &file.ends)
            .map(|end| {
                let tenant = self.plan.place(&end.tenant.name);
                self.key_of(self.plan.tenants[tenant].database, &end.finish.run)
            })
            .collect();
        let own = self.ledger.truths.iter().filter(|(_, truth)| truth.by == id).map(|(run, _)| *run);
        let forgotten: Vec<_> = own.filter(|run| !kept.contains(run) && !self.is_recorded(*run)).collect();
        for run in forgotten {
            self.check_kept_in_time(id, run);
            self.ledger.truths.get_mut(&run).unwrap().forgotten = true;
        }
    }

    /// An end that its database has not taken after a second stands in the file.
    fn check_kept_in_time(&self, id: SupervisorId, run: RunKey) {
        let truth = &self.ledger.truths[&run];
        let supervisor = &self.supervisors[id.0];
        let tree = self.hosts[supervisor.host].trees.values().find(|tree| tree.run == run && !tree.lives());
        let over_at = tree.map_or(self.now, |tree| tree.buried_at.max(truth.at));
        let frozen = !self.runs_for(id, self.now - over_at) || supervisor.generation > 0;
        let taken = truth.undone || self.ledger.closed_by_others.contains_key(&run);
        let in_time = self.now < over_at + 3_000_000;
        assert!(
            in_time || frozen || taken,
            "kept ends: {run:?} is over since {over_at}, and neither recorded nor kept"
        );
    }

    /// A reboot took the state folder along.
    pub fn ledger_loses_files(&mut self, host: usize) {
        for truth in self.ledger.truths.values_mut() {
            truth.forgotten |= self.supervisors[truth.by.0].host == host;
        }
    }
}

impl Truth {
    fn new(by: SupervisorId, at: u64, allowed: Vec<(Outcome, Becomes)>, exit: Exit) -> Self {
        let exit_code = if let Exit::Code(code) = exit { Some(code) } else { None };
        let signal = if let Exit::Signal(signal) = exit { Some(signal) } else { None };
        Self { by, at, allowed, exit_code, signal, forgotten: false, undone: false }
    }
}
