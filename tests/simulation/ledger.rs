//! The ledger: what the fake kernel told, and whether exactly that is recorded.

use crate::kernel::RunKey;
use crate::rows::{Closed, Deed, Row};
use crate::supervisor::SupervisorId;
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};
use tenantcron::model::{Becomes, DatabaseId, DbTime, Exchange, Outcome, RunId, TenantName};
use tenantcron::scheduler::{Closing, Exit, NotStarted, StaleAction};

/// How a run ended, as the kernel told its supervisor.
#[derive(Debug, Clone)]
pub struct Truth {
    pub by: SupervisorId,
    /// One of these must be recorded.
    pub allowed: Vec<(Outcome, Becomes)>,
    exit_code: Option<i32>,
    signal: Option<i32>,
    /// Its supervisor died before it was recorded: it may be lost.
    forgotten: bool,
}

#[derive(Debug, Default)]
pub struct Ledger {
    pub truths: BTreeMap<RunKey, Truth>,
    pub started: BTreeSet<RunKey>,
    /// Runs that their supervisor signalled before it saw their end, and what they may be recorded as.
    signalled: BTreeMap<(SupervisorId, RunKey), Vec<(Outcome, Becomes)>>,
    /// Spawns refused for want of resources: no run may be left.
    refused: BTreeSet<RunKey>,
    /// Freed by the operator's `stale.action`.
    pub released: BTreeSet<RunKey>,
    /// Rows that another program works on.
    pub foreign: BTreeSet<(DatabaseId, String)>,
    resets: BTreeMap<(DatabaseId, String), DbTime>,
}

impl World {
    pub fn ledger_not_started(&mut self, id: SupervisorId, run: RunKey, why: &NotStarted) {
        match why {
            NotStarted::NoResources { .. } => {
                self.ledger.refused.insert(run);
            }
            NotStarted::CannotExecute { code, .. } => {
                let allowed = vec![(Outcome::Failed, Becomes::Done)];
                let truth = Truth { by: id, allowed, exit_code: Some(*code), signal: None, forgotten: false };
                self.ledger.truths.insert(run, truth);
            }
        }
    }

    /// A run is signalled before its end was seen: there must be a reason, and it decides the outcome.
    pub fn check_signal(&mut self, id: SupervisorId, tenant: &TenantName, run: RunKey) {
        if self.ledger.signalled.contains_key(&(id, run)) {
            return;
        }
        let supervisor = &self.supervisors[id.0];
        let store = &self.databases[run.0.0 as usize];
        let age = store
            .runs
            .iter()
            .find(|one| one.identity.id == run.1)
            .map(|one| store.time(self.now).since(one.identity.started_at));
        let age = age.expect("a run that is signalled was claimed");
        let rules = &supervisor.rules;
        let mut allowed = Vec::new();
        if (supervisor.stop_at.is_some() && !supervisor.drains) || supervisor.closed_by_another.contains(&run) {
            allowed.push((Outcome::Stopped, Becomes::Needed));
        }
        if self.listed(tenant).timeout.is_some_and(|timeout| age >= timeout) {
            allowed.push((Outcome::Timeout, Becomes::Done));
        }
        if rules.stale_action == StaleAction::Kill && age >= rules.stale_after {
            allowed.push((Outcome::Timeout, Becomes::Needed));
        }
        assert!(!allowed.is_empty(), "{tenant} is signalled without a reason");
        self.ledger.signalled.insert((id, run), allowed);
    }

    pub fn ledger_ended(&mut self, id: SupervisorId, run: RunKey, exit: Exit) {
        let by_exit = match exit {
            Exit::Code(0) => (Outcome::Ok, Becomes::Done),
            Exit::Code(_) => (Outcome::Failed, Becomes::Done),
            Exit::Signal(_) => (Outcome::Killed, Becomes::Done),
            Exit::Unknown => (Outcome::Adopted, Becomes::Done),
        };
        let allowed = self.ledger.signalled.get(&(id, run)).cloned().unwrap_or_else(|| vec![by_exit]);
        let exit_code = if let Exit::Code(code) = exit { Some(code) } else { None };
        let signal = if let Exit::Signal(signal) = exit { Some(signal) } else { None };
        self.ledger.truths.insert(run, Truth { by: id, allowed, exit_code, signal, forgotten: false });
    }

    pub fn check_closing(&self, run: RunKey, closing: &Closing) {
        if let Some(truth) = self.truth_of(run) {
            let told = truth.allowed.iter().any(|(outcome, _)| *outcome == closing.outcome);
            assert!(told, "run {} is told as {}, and was {truth:?}", run.1, closing.outcome);
        }
    }

    pub fn ledger_forgets(&mut self, id: SupervisorId) {
        for (run, truth) in &mut self.ledger.truths {
            let open = self.databases[run.0.0 as usize]
                .runs
                .iter()
                .any(|one| one.identity.id == run.1 && one.closed.is_none());
            truth.forgotten |= truth.by == id && open;
        }
    }

    pub fn foreign_claims(&mut self, database: DatabaseId, key: &str) {
        let tenant = self.plan.tenants.iter().find(|one| one.database == database && one.key == key).unwrap();
        let ours = self.trees().find(|tree| tree.tenant == tenant.tenant.name);
        assert!(ours.is_none(), "the row of a living process is needed: {ours:?}");
        self.ledger.foreign.insert((database, key.to_owned()));
    }

    pub fn check_deeds(&mut self, id: SupervisorId, database: DatabaseId, exchange: &Exchange, deeds: &[Deed]) {
        for deed in deeds {
            self.trace.count("deed", deed);
            match deed {
                Deed::Claimed { key, .. } => self.check_order(database, exchange, key),
                Deed::Closed { id: run, key, closed } => self.check_closed((database, *run), key, closed),
                Deed::Inserted { id: run } => panic!("run {run} is recorded, and never was"),
                Deed::Undone { id: run } => {
                    let (run, ledger) = ((database, *run), &self.ledger);
                    let fine = ledger.refused.contains(&run) || !ledger.started.contains(&run);
                    assert!(fine, "run {run:?} is undone, and was started");
                }
                Deed::Released { key, id: run } => {
                    assert!(self.supervisors[id.0].rules.stale_action == StaleAction::Release, "{key} is released");
                    self.ledger.foreign.remove(&(database, key.clone()));
                    self.ledger.released.extend(run.map(|run| (database, run)));
                }
                Deed::Reset { key, slot } => {
                    let before = self.ledger.resets.insert((database, key.clone()), *slot);
                    assert!(before.is_none_or(|before| before < *slot), "{key} is reset twice in one slot");
                }
            }
        }
        let unrelated = self.databases[database.0 as usize].rows.get("site-name");
        assert_eq!(unrelated, Some(&Row::of_another_program()), "another program's row was touched");
    }

    fn check_closed(&mut self, run: RunKey, key: &str, closed: &Closed) {
        self.trace.count("outcome", &closed.outcome);
        let living = self.hosts.iter().find_map(|host| host.tree_of(run));
        assert!(living.is_none(), "run {} of {key} is closed and lives: {living:?}", run.1);
        let truth = self.truth_of(run);
        let kept = truth.is_some_and(|truth| {
            let outcome = truth.allowed.contains(&(closed.outcome, closed.becomes));
            outcome && truth.exit_code == closed.exit_code && truth.signal == closed.signal
        });
        let fine = kept
            || match closed.outcome {
                Outcome::Lost => truth.is_none_or(|truth| truth.forgotten) && !self.is_watched(run),
                _ => false,
            };
        assert!(fine, "run {} of {key} is recorded as {closed:?}; the truth: {truth:?}", run.1);
        if self.healed && closed.outcome == Outcome::Ok {
            self.wanted.remove(&(run.0, key.to_owned()));
            self.close_if_well();
        }
    }

    /// A living supervisor has its process, or is about to start it.
    fn is_watched(&self, run: RunKey) -> bool {
        self.supervisors.iter().any(|one| one.lives && one.runs.values().any(|held| held.run == run && !held.end_told))
    }

    /// Everybody has exited.
    pub fn check_morning(&self) {
        for (run, truth) in
            self.ledger.truths.iter().filter(|(run, truth)| !truth.forgotten && !self.ledger.released.contains(run))
        {
            let store = &self.databases[run.0.0 as usize];
            let mut records = store.runs.iter().filter(|one| one.identity.id == run.1);
            let closed = records.next().and_then(|one| one.closed.as_ref());
            let kept = closed.is_some_and(|closed| truth.allowed.contains(&(closed.outcome, closed.becomes)));
            assert!(kept && records.next().is_none(), "run {}: recorded is {closed:?}, the truth is {truth:?}", run.1);
        }
        for (place, store) in (0..).zip(&self.databases) {
            for run in &store.runs {
                let here: (DatabaseId, RunId) = (DatabaseId(place), run.identity.id);
                let gone = self.hosts.iter().all(|host| host.tree_of(here).is_none());
                assert!(gone, "everybody has exited and {here:?} lives");
            }
        }
    }

    pub fn truth_of(&self, run: RunKey) -> Option<&Truth> {
        self.ledger.truths.get(&run)
    }
}
