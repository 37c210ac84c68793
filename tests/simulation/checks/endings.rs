//! What an exchange changed in a database, judged one deed after the other.

use crate::database::{Closed, Deed, OpenRow, Row};
use crate::host::{Excuse, RunKey};
use crate::supervisor::SupervisorId;
use crate::world::World;
use std::time::Duration;
use tenantcron::model::{DatabaseId, DbTime, Exchange, Outcome, RowValue, RunIdentity};
use tenantcron::scheduler::{Mode, StaleAction};

impl World {
    pub fn check_deeds(&mut self, id: SupervisorId, database: DatabaseId, deeds: &[Deed], exchange: Option<&Exchange>) {
        for deed in deeds {
            if let Deed::Claimed { run, before, .. } = deed {
                self.ledger.before.insert(run.key.clone(), before.updated_at);
            }
        }
        for deed in deeds {
            self.trace.count("deed", deed);
            match deed {
                Deed::Claimed { run, before, foreign } => {
                    assert!(!foreign, "foreign claims: {} is claimed, and was running", run.key);
                    let done = before.value == RowValue::Done;
                    let may = !done || matches!(self.supervisors[id.0].rules.mode, Mode::Named { .. });
                    assert!(may, "claims: {} is claimed, and was {:?}", run.key, before.value);
                    let exchange = exchange.expect("claims come by exchanges");
                    self.check_order(database, exchange, run);
                }
                Deed::Closed { run, closed, alive_at } => {
                    self.check_silence(id, database, run, closed, *alive_at);
                    self.check_closed(id, database, run, closed);
                }
                Deed::Inserted { run, closed } => {
                    let key = self.key_of(database, run);
                    let lost = self.ledger.lost_by_failover.contains(&key);
                    assert!(lost, "records: run {} of {} is recorded, and never was", run.id, run.key);
                    // The row may be done by it, as of then, and due once more.
                    self.ledger.resets.remove(&(database, key.tenant));
                    self.check_closed(id, database, run, closed);
                }
                Deed::Undone { run } => {
                    let (key, ledger) = (self.key_of(database, run), &self.ledger);
                    let fine = ledger.refused.contains(&key) || !ledger.started.contains(&key);
                    assert!(fine, "records: run {} of {} is undone, and was started", run.id, run.key);
                }
                Deed::Released { key, run } => self.check_released(id, database, key, run.as_ref()),
                Deed::Repaired { of, .. } => {
                    let key = self.key_of(database, of);
                    // It is done as of its own end, and due once more.
                    self.ledger.resets.remove(&(database, key.tenant));
                    self.ledger.lost_by_failover.remove(&key);
                    // A claim that the copy remembers of another program may be long over.
                    self.ledger.foreign.remove(&(database, key.tenant));
                    let excused = |tree: &&mut crate::host::Tree| tree.run == key;
                    for tree in self.hosts.iter_mut().flat_map(|host| host.trees.values_mut()).filter(excused) {
                        tree.excuse.take_if(|excuse| *excuse == Excuse::Failover);
                        tree.repaired_at = self.now;
                    }
                }
                Deed::Reset { key } => self.check_reset(database, key, exchange),
            }
        }
        let unrelated = self.store(database).content.rows.get("site-name");
        assert_eq!(unrelated, Some(&Row::of_another_program()), "other rows: another program's was touched");
    }

    /// On another host, of before a reboot or of the same name, a run is lost only once it was silent for 75 s.
    fn check_silence(
        &self,
        id: SupervisorId,
        database: DatabaseId,
        run: &RunIdentity,
        closed: &Closed,
        alive_at: DbTime,
    ) {
        let elsewhere = run.host != self.supervisors[id.0].identity().host;
        let store = self.store(database);
        let silent = store.time(self.now).since(alive_at);
        // A sign of life may have come late, or been lost by a failover.
        let unclear = self.ledger.late_life || store.era > 0;
        let fine = closed.outcome != Outcome::Lost || !elsewhere || unclear || silent >= Duration::from_secs(75);
        assert!(fine, "silence: run {} of {} is lost {silent:?} after its last sign of life", run.id, run.key);
    }

    fn check_closed(&mut self, id: SupervisorId, database: DatabaseId, run: &RunIdentity, closed: &Closed) {
        self.trace.count("outcome", &closed.outcome);
        let key = self.key_of(database, run);
        let living = self.trees().find(|tree| tree.run == key).cloned();
        if let Some(tree) = &living {
            let silent = closed.outcome == Outcome::Lost && self.ends_namesake(id, run);
            assert!(silent, "closed and alive: run {} of {} is closed: {tree:?}", run.id, run.key);
            self.excuse(key, Excuse::Namesake);
        }
        if closed.outcome == Outcome::Lost && self.ends_namesake(id, run) {
            self.ledger.closed_by_others.insert(key, Excuse::Namesake);
        } else {
            self.check_truth(key, run, closed);
        }
        if self.healed && closed.outcome == Outcome::Ok {
            self.wanted.remove(&(database, key.tenant));
        }
    }

    fn check_reset(&mut self, database: DatabaseId, key: &str, exchange: Option<&Exchange>) {
        let resets = exchange.map(|exchange| &exchange.reset);
        let slot = resets.and_then(|resets| resets.iter().find(|reset| reset.key == *key)).map(|reset| reset.slot);
        let (slot, tenant) = (slot.expect("resets come by exchanges"), self.plan.tenant_of(database.0, key).unwrap());
        let before = self.ledger.resets.insert((database, tenant), slot);
        assert!(before.is_none_or(|before| before < slot), "slots: {key} is reset twice in one slot");
    }

    fn check_released(&mut self, id: SupervisorId, database: DatabaseId, key: &str, run: Option<&OpenRow>) {
        let tenant = self.plan.tenant_of(database.0, key).unwrap();
        let by_stale = self.supervisors[id.0].rules.stale_action == StaleAction::Release;
        let Some(run) = run else {
            assert!(by_stale, "releases: {key}, claimed by another program, is released");
            self.ledger.foreign.remove(&(database, tenant));
            return;
        };
        let run_key = self.key_of(database, &run.identity);
        let own = run.identity.host == self.supervisors[id.0].identity().host
            && run.identity.node == self.supervisors[id.0].identity().node;
        assert!(!own, "releases: {key} is released by its own node");
        let silent = self.store(database).time(self.now).since(run.alive_at);
        if run.lease.is_some_and(|lease| silent > lease) {
            self.trace.count("deed", &"TakenOver");
            return self.taken_over(id, run_key);
        }
        let stale = by_stale && silent > self.supervisors[id.0].rules.stale_after;
        let proved = self.is_proved_dead(run_key);
        assert!(stale || proved, "fence: {key} is taken over {silent:?} after its last sign of life: {run:?}");
        self.closed_by_others(run_key, Excuse::Released);
    }

    /// No process of it lives anywhere.
    fn is_proved_dead(&self, run: RunKey) -> bool {
        self.trees().all(|tree| tree.run != run)
    }
}
