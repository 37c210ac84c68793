//! What must hold (DESIGN 2), seen from outside the core: by the fake kernel's and the fake databases' truth.

use crate::database::{Closed, Deed, Row};
use crate::kernel::{Host, RunKey, Tree};
use crate::shell::SupervisorId;
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};
use tenantcron::model::{Becomes, DatabaseId, DbTime, Exchange, Outcome, RowValue, RunId, TenantName};
use tenantcron::scheduler::{Closing, Exit, ExitReason, Listed, Mode, NotStarted, Notice, StaleAction};

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
    started: BTreeSet<RunKey>,
    /// Runs that their supervisor signalled before it saw their end, and what they may be recorded as.
    signalled: BTreeMap<(SupervisorId, RunKey), Vec<(Outcome, Becomes)>>,
    /// Spawns refused for want of resources: no run may be left.
    refused: BTreeSet<RunKey>,
    /// Freed by the operator's `stale.action`.
    released: BTreeSet<RunKey>,
    /// Rows that another program works on.
    pub foreign: BTreeSet<(DatabaseId, String)>,
    resets: BTreeMap<(DatabaseId, String), DbTime>,
}

impl World {
    fn trees(&self) -> impl Iterator<Item = &Tree> {
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

    /// One calm node with many databases: who is picked stands before all that are needed and could be talked of.
    fn check_lock_order(&self, id: SupervisorId, picks: &[TenantName]) {
        let place = |tenant: &Listed| {
            let row = self.databases[tenant.database.0 as usize].rows.get(&tenant.key)?;
            (row.value == RowValue::Needed).then(|| (row.updated_at, tenant.tenant.name.clone()))
        };
        let picked: Vec<_> = picks.iter().map(|name| place(self.listed(name))).collect();
        assert!(picked.is_sorted(), "picked out of order: {picked:?}");
        for tenant in &self.plan.tenants {
            let offered = self.hosts[0].locks.contains_key(&tenant.tenant.name);
            let busy = offered || self.supervisors[id.0].flights.contains_key(&tenant.database);
            let Some(waiting) = place(tenant).filter(|_| !busy && !picks.contains(&tenant.tenant.name)) else {
                continue;
            };
            let before = picked.iter().flatten().all(|picked| *picked < waiting);
            assert!(before, "{picked:?} are picked, and {waiting:?} waits");
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

    /// One calm node with one database: what is claimed stands before all that is needed and was not claimed.
    fn check_order(&self, database: DatabaseId, exchange: &Exchange, key: &str) {
        if !self.plan.calm || !self.plan.rules.shared || self.plan.rules.group_limit > 0 {
            return;
        }
        let store = &self.databases[database.0 as usize];
        let offers = &exchange.claim.as_ref().unwrap().offers;
        let place = |key: &str| offers.iter().position(|offer| offer.key == key);
        let just_reset = |key: &str| exchange.reset.iter().any(|reset| reset.key == key);
        for (other, row) in store.rows.iter().filter(|(_, row)| row.value == RowValue::Needed) {
            let first = row.updated_at;
            let behind = place(other).is_none_or(|there| Some(there) > place(key));
            // The claim has set the winner's time; its former one is that of its offer's place, which core and database share.
            assert!(behind || just_reset(other), "{key} is claimed before {other}, who waits since {first}");
        }
        let listed = offers.iter().map(|offer| self.ledger_before(database, &offer.key));
        let waiting: Vec<_> = listed.collect();
        assert!(waiting.is_sorted(), "offers are not in the order of their updated_at: {waiting:?}");
        let last = waiting.last().cloned();
        for other in store
            .rows
            .iter()
            .filter(|(other, row)| row.value == RowValue::Needed && place(other).is_none() && !just_reset(other))
        {
            let fits = last.as_ref().is_none_or(|last| *last <= (other.1.updated_at, other.0.clone()));
            assert!(fits, "{} is not offered, and stands before {last:?}", other.0);
        }
    }

    /// A row's place in the queue before it was claimed.
    fn ledger_before(&self, database: DatabaseId, key: &str) -> (DbTime, String) {
        let store = &self.databases[database.0 as usize];
        let row = &store.rows[key];
        let at = if row.value == RowValue::Running { store.before[key] } else { row.updated_at };
        (at, key.to_owned())
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
}

fn open_databases(runs: &BTreeSet<RunKey>) -> BTreeSet<DatabaseId> {
    runs.iter().map(|run| run.0).collect()
}
