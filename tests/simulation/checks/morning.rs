//! Once faults have ceased: all have run, everything is recorded, rows and processes agree, nothing is left over.

use crate::host::RunKey;
use crate::supervisor::Supervisor;
use crate::world::{What, World};
use tenantcron::model::{DatabaseId, RowValue};
use tenantcron::scheduler::{Event, Mode, StaleAction};

impl World {
    /// All wanted have run and nothing is odd any more: everybody is told to stop.
    pub fn close_if_well(&mut self) {
        if self.closing_time {
            return;
        }
        if self.what_is_odd().is_some() {
            return self.after(5_000_000, What::LookIfWell);
        }
        self.say(|_| "all is well; everybody is told to stop".into());
        self.closing_time = true;
        for id in self.living_supervisors() {
            self.tell(id, 0, Event::StopAsked);
        }
    }

    pub fn check_patience(&self) {
        if !self.closing_time {
            let odd = self.what_is_odd();
            panic!("liveness: faults ceased long ago: {}", odd.unwrap_or_default());
        }
    }

    fn what_is_odd(&self) -> Option<String> {
        if !self.wanted.is_empty() {
            return Some(format!("these have not run: {:?}", self.wanted));
        }
        let daemons = (0..self.nodes.len()).filter(|node| !self.nodes[*node].rival && self.has(*node));
        for node in daemons {
            if self.daemon_of(node).is_none() {
                return Some(format!("no daemon runs on node {node}"));
            }
        }
        let other = self.supervisors.iter().find(|one| one.lives && one.rules.mode != Mode::Daemon);
        if let Some(other) = other {
            return Some(format!("{} should end by itself: {:?}", other.name, other.rules.mode));
        }
        let late = |what: &What| matches!(what, What::Arrived(arrival) if arrival.back.is_none());
        if self.agenda.values().any(late) {
            return Some("something that was sent long ago is still on its way".into());
        }
        let hangs =
            |one: &&Supervisor| one.lives && one.flights.values().any(|flight| flight.sent + 5_000_000 < self.now);
        if let Some(one) = self.supervisors.iter().find(hangs) {
            return Some(format!("an exchange of {} hangs", one.name));
        }
        for host in self.hosts.iter().filter(|host| !host.off) {
            if let Some((number, file)) = host.folder.iter().next() {
                return Some(format!("a file of unrecorded ends is left: {number}: {file:?}"));
            }
        }
        self.what_disagrees()
    }

    /// Rows, runs and processes.
    fn what_disagrees(&self) -> Option<String> {
        for tree in self.trees() {
            let open = self.store(tree.run.database).open_run(&self.plan.tenants[tree.tenant].key);
            if open.is_none_or(|open| open.identity.id != tree.id) {
                return Some(format!("a process lives that no open run names: {tree:?}"));
            }
        }
        for (number, store) in (0..).zip(&self.databases) {
            for (key, run) in &store.content.open {
                let run_key = self.key_of(DatabaseId(number), &run.identity);
                let known = self.trees().any(|tree| tree.run == run_key) || self.remembers(run_key, &run.identity.host);
                if !known {
                    return Some(format!("a run is open that nobody knows: {:?}", run.identity));
                }
                if store.content.rows.get(key).map(|row| &row.value) != Some(&RowValue::Running) {
                    return Some(format!("a run is open and its row is not running: {:?}", run.identity));
                }
            }
            for (key, row) in &store.content.rows {
                let tenant = self.plan.tenant_of(number, key);
                let foreign = tenant.is_some_and(|tenant| self.ledger.foreign.contains(&(DatabaseId(number), tenant)));
                if row.value == RowValue::Running && !store.content.open.contains_key(key) && !foreign {
                    return Some(format!("a row is running and no run is open: {key}"));
                }
            }
        }
        None
    }

    /// A supervisor has just been answered, or is about to be.
    fn remembers(&self, run: RunKey, host: &str) -> bool {
        let claims = |one: &Supervisor| one.identity().host == host && !one.flights.is_empty();
        self.supervisors.iter().any(|one| one.lives && (one.unrecorded.contains(&run) || claims(one)))
    }

    /// Everybody has exited.
    pub fn check_morning(&self) {
        for (run, truth) in &self.ledger.truths {
            let records: Vec<_> = self.records_of(*run).collect();
            assert!(records.len() <= 1, "recorded once: {run:?} is recorded as {records:?}");
            if truth.forgotten || truth.undone || self.ledger.closed_by_others.contains_key(run) {
                continue;
            }
            let kept = records.first().is_some_and(|one| truth.allowed.contains(&(one.outcome, one.becomes)));
            assert!(kept, "records: {run:?}: recorded is {records:?}, the truth is {truth:?}");
        }
        let living = self.trees().next();
        assert!(living.is_none(), "morning: everybody has exited and a process lives: {living:?}");
        for (number, store) in (0..).zip(&self.databases) {
            let open = store.content.open.values().next();
            assert!(open.is_none(), "morning: everybody has exited and a run is open: {open:?}");
            for (key, row) in store.content.rows.iter().filter(|(_, row)| row.value == RowValue::Running) {
                let tenant = self.plan.tenant_of(number, key).unwrap();
                let foreign = self.ledger.foreign.contains(&(DatabaseId(number), tenant));
                let may = foreign && self.plan.rules.stale_action == StaleAction::Release;
                assert!(may, "morning: everybody has exited and a row is running: {key} {row:?}");
            }
        }
        for host in &self.hosts {
            assert!(host.folder.is_empty() || host.off, "morning: unrecorded ends are left: {:?}", host.folder);
            let held = host.locks.values().chain(host.slots.values()).find(|held| held.daemon.is_none());
            assert!(held.is_none(), "morning: everybody has exited and a lock or slot is held: {held:?}");
        }
    }
}
