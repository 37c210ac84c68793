//! Databases that go away, come back without what they had just learned, or are meddled with by others.

use crate::database::{Closed, Content, Copy};
use crate::host::{Excuse, RunKey};
use crate::plan::Meddling;
use crate::world::{What, World};
use std::collections::{BTreeMap, BTreeSet};
use tenantcron::model::{DatabaseId, RowValue};

impl World {
    pub(super) fn take_down(&mut self, database: u32, long: u64) {
        let until = self.now + long;
        let store = &mut self.databases[database as usize];
        store.down_until = store.down_until.max(until);
        store.hindered_at = store.down_until;
        self.say(|_| format!("db{database} is down for {:.1} s", long as f64 / 1e6));
    }

    pub(super) fn cut(&mut self, node: usize, database: Option<u32>, long: u64) {
        let until = self.now + long;
        self.nodes[node].cuts.push((database.map(DatabaseId), until));
        let from = database.map_or("every database".to_owned(), |number| format!("db{number}"));
        self.say(|world| format!("{} is cut off from {from} for {:.1} s", world.nodes[node].name, long as f64 / 1e6));
    }

    /// What is committed from now on is lost with the failover.
    pub(super) fn plan_failover(&mut self, database: u32, behind: u64, down: u64, step: i64) {
        if self.now + behind >= self.plan.heal_at {
            return;
        }
        let copy = Box::new(self.databases[database as usize].copy());
        self.say(|_| format!("db{database}: another copy of it falls behind"));
        self.after(behind, What::FailsOver { database: database as usize, copy, down, step });
    }

    pub fn fail_over(&mut self, place: usize, copy: Copy, down: u64, step: i64) {
        if self.healed {
            return;
        }
        let now = self.now;
        let store = &mut self.databases[place];
        let before = store.become_copy(copy, step);
        store.down_until = store.down_until.max(now + down);
        store.hindered_at = store.down_until;
        self.say(|_| {
            let clock = step as f64 / 1e6;
            format!("db{place} fails over to the copy, {:.1} s down, its clock {clock:+.1} s", down as f64 / 1e6)
        });
        let id = DatabaseId(u32::try_from(place).unwrap());
        self.ledger.resets.retain(|(database, _), _| *database != id);
        let after = self.databases[place].content.clone();
        let runs = |content: &Content| -> BTreeSet<RunKey> {
            let open = content.open.values().map(|run| &run.identity);
            let all = open.chain(content.finished.iter().map(|run| &run.identity));
            all.map(|run| self.key_of(id, run)).collect()
        };
        let gone: BTreeSet<RunKey> = runs(&before).difference(&runs(&after)).copied().collect();
        let records = |content: &Content| -> BTreeMap<RunKey, Closed> {
            let all = content.finished.iter();
            all.map(|run| (self.key_of(id, &run.identity), run.closed.clone())).collect()
        };
        let still = records(&after);
        for (run, _) in records(&before).into_iter().filter(|(run, closed)| still.get(run) != Some(closed)) {
            self.trace.count("failover", &"Unrecorded");
            self.ledger.closed_by_others.remove(&run);
            if let Some(truth) = self.ledger.truths.get_mut(&run) {
                truth.undone = true;
            }
        }
        for run in gone {
            self.trace.count("failover", &"Unclaimed");
            self.ledger.lost_by_failover.insert(run);
        }
        self.excuse_after_failover(id);
        self.foreign_after_failover(id);
    }

    /// Trees whose run is not the open one any more.
    fn excuse_after_failover(&mut self, id: DatabaseId) {
        let runs: Vec<_> = self.trees().filter(|tree| tree.run.database == id).map(|tree| tree.run).collect();
        for run in runs {
            let open = self.store(id).open_run(&self.plan.tenants[run.tenant].key);
            if open.is_none_or(|open| self.key_of(id, &open.identity) != run) {
                self.excuse(run, Excuse::Failover);
            }
        }
    }

    /// Another program's claim that the copy does not know is nobody's.
    fn foreign_after_failover(&mut self, id: DatabaseId) {
        let claims: Vec<_> = self.ledger.foreign.iter().filter(|(database, _)| *database == id).copied().collect();
        for (database, tenant) in claims {
            let key = &self.plan.tenants[tenant].key;
            let content = &self.store(database).content;
            let running = content.rows.get(&**key).is_some_and(|row| row.value == RowValue::Running);
            if !running || content.open.contains_key(&**key) {
                self.ledger.foreign.remove(&(database, tenant));
            }
        }
        // And one that it remembers may have ended.
        for tenant in 0..self.plan.tenants.len() {
            let key = &self.plan.tenants[tenant].key;
            let content = &self.store(id).content;
            let running = content.rows.get(&**key).is_some_and(|row| row.value == RowValue::Running);
            if self.plan.tenants[tenant].database == id && running && !content.open.contains_key(&**key) {
                self.ledger.foreign.insert((id, tenant));
            }
        }
    }

    pub(super) fn lock_row(&mut self, tenant: usize, run: bool, long: u64) {
        let listed = &self.plan.tenants[tenant];
        let (database, key) = (listed.database, listed.key.to_string());
        let store = &mut self.databases[database.0 as usize];
        if run {
            store.locked_runs.insert(key.clone())
        } else {
            store.locked.insert(key.clone())
        };
        let what = if run { "run" } else { "row" };
        self.say(|_| format!("an application locks the {what} of t{tenant} for {:.1} s", long as f64 / 1e6));
        self.after(long, What::RowUnlocked(database, key));
    }

    /// By the same rule: lock the row, needed → running, commit; after the work done.
    pub(super) fn claim_by_another_program(&mut self, tenant: usize, work: Option<u64>) {
        let listed = &self.plan.tenants[tenant];
        let (database, key) = (listed.database, listed.key.to_string());
        let store = &mut self.databases[database.0 as usize];
        let now = store.time(self.now);
        let free = store.down_until <= self.now && !store.locked.contains(&key) && store.open_run(&key).is_none();
        let needed = |row: &&mut crate::database::Row| row.value == RowValue::Needed && free;
        let Some(row) = store.content.rows.get_mut(&key).filter(needed) else { return };
        (row.value, row.updated_at) = (RowValue::Running, now);
        let ours = self.trees().find(|tree| tree.tenant == tenant && tree.excuse.is_none());
        assert!(ours.is_none(), "rows: that of a living process is needed: {ours:?}");
        self.ledger.foreign.insert((database, tenant));
        self.say(|_| {
            format!("another program claims t{tenant}{}", if work.is_none() { ", and forgets it" } else { "" })
        });
        if let Some(work) = work {
            self.after(work, What::ForeignDone(database, tenant, now));
        }
    }

    /// Where another program works it is left alone: nobody could tell what becomes of it.
    pub(super) fn meddle_with_a_row(&mut self, tenant: usize, by: Meddling) {
        let listed = &self.plan.tenants[tenant];
        let (database, key) = (listed.database, listed.key.to_string());
        let store = &mut self.databases[database.0 as usize];
        if self.ledger.foreign.contains(&(database, tenant))
            || store.down_until > self.now
            || store.locked.contains(&key)
        {
            return;
        }
        let Some(row) = store.content.rows.get_mut(&key) else { return };
        match by {
            Meddling::Deletes => drop(store.content.rows.remove(&key)),
            Meddling::WritesNonsense => row.value = RowValue::Unknown("broken".into()),
            Meddling::SetsNeeded => row.value = RowValue::Needed,
            Meddling::SetsDone => row.value = RowValue::Done,
        }
        self.ledger.by_hand.insert((database, tenant), self.now);
        for tree in self.trees().filter(|tree| tree.tenant == tenant).cloned().collect::<Vec<_>>() {
            self.disagrees(&tree);
        }
        self.ledger.resets.remove(&(database, tenant));
        self.trace.count("meddling", &by);
        self.say(|_| format!("somebody meddles with the row of t{tenant}: {by:?}"));
    }
}
