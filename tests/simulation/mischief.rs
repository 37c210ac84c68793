//! What happens to the world at random moments: outages, locks, other programs, operators, kills; and the moment
//! from which nothing happens any more.

use crate::plan::Odds;
use crate::world::{What, World};
use tenantcron::model::{DatabaseId, RowValue};
use tenantcron::scheduler::{Event, Mode, Rounds};

impl World {
    /// Something goes wrong, or somebody does something; then again, after a while.
    pub fn mischief(&mut self) {
        if self.healed {
            return;
        }
        let mean = u64::try_from(self.plan.mischief_every.as_micros()).unwrap();
        let next = self.rng.u64(..mean * 2);
        self.after(next, What::Mischief);
        match self.rng.u32(..100) {
            0..10 => self.take_database_down(),
            10..20 => self.lock_a_row(),
            20..32 => self.claim_by_another_program(),
            32..45 => self.operate(),
            45..53 => self.change_sources(),
            53..60 => self.reload(),
            60..72 => self.kill_a_supervisor(),
            72..74 => self.reboot_a_host(),
            74..84 => self.stop_a_supervisor(),
            84..92 => self.run_a_sibling(),
            92..95 => self.meddle_with_a_row(),
            _ => self.wake(),
        }
    }

    fn any_database(&mut self) -> DatabaseId {
        DatabaseId(self.rng.u32(..self.plan.databases))
    }

    /// A tenant's database and key.
    fn any_row(&mut self) -> (DatabaseId, String) {
        let place = self.rng.usize(..self.plan.tenants.len());
        let tenant = &self.plan.tenants[place];
        (tenant.database, tenant.key.clone())
    }

    fn take_database_down(&mut self) {
        let database = self.any_database();
        self.databases[database.0 as usize].down = true;
        let long = if self.rng.bool() { 60_000_000 } else { 5_000_000 };
        let back = self.rng.u64(100_000..long);
        self.say(|| format!("{database:?} goes down for {:.1} s", back as f64 / 1e6));
        self.after(back, What::DatabaseBack(database));
    }

    fn lock_a_row(&mut self) {
        let (database, key) = self.any_row();
        self.databases[database.0 as usize].locked.insert(key.clone());
        let wait = self.rng.u64(1_000..20_000_000);
        self.say(|| format!("an application locks {key}"));
        self.after(wait, What::RowUnlocked(database, key));
    }

    /// By the same rule: lock the row, needed → running, commit; after the work done.
    fn claim_by_another_program(&mut self) {
        let (database, key) = self.any_row();
        let store = &mut self.databases[database.0 as usize];
        let now = store.time(self.now);
        let open = store.open_run(&key).is_some();
        let locked = store.locked.contains(&key);
        let Some(row) = store.rows.get_mut(&key).filter(|row| row.value == RowValue::Needed && !locked && !open) else {
            return;
        };
        (row.value, row.updated_at) = (RowValue::Running, now);
        self.foreign_claims(database, &key);
        let forgets = self.rng.f64() < 0.2;
        self.say(|| format!("another program claims {key}{}", if forgets { ", and forgets it" } else { "" }));
        if !forgets {
            let work = self.rng.u64(1_000_000..40_000_000);
            self.after(work, What::ForeignDone(database, key, now));
        }
    }

    fn operate(&mut self) {
        let (database, key) = self.any_row();
        let store = &mut self.databases[database.0 as usize];
        let now = store.time(self.now);
        let Some(row) = store.rows.get_mut(&key) else { return };
        if row.paused_at.take().is_some() {
            self.say(|| format!("the operator resumes {key}"));
        } else if self.rng.bool() {
            row.paused_at = Some(now);
            self.say(|| format!("the operator pauses {key}"));
        } else if matches!(row.value, RowValue::Done | RowValue::Needed) {
            (row.value, row.requested_at) = (RowValue::Needed, Some(now));
            self.say(|| format!("the operator requests {key}"));
        }
        if self.rng.bool() {
            let key = self.rng.bool().then_some(key);
            self.tell_all(|| Event::Notified { database, key: key.clone() });
        }
    }

    /// An application writes what the contract does not know, or deletes the row of a tenant that does not run.
    fn meddle_with_a_row(&mut self) {
        let (database, key) = self.any_row();
        let store = &mut self.databases[database.0 as usize];
        if store.open_run(&key).is_some() || self.ledger.foreign.contains(&(database, key.clone())) {
            return;
        }
        if self.rng.bool() {
            store.rows.remove(&key);
            self.say(|| format!("somebody deletes the row {key}"));
        } else if let Some(row) = store.rows.get_mut(&key) {
            row.value = RowValue::Unknown("broken".into());
            self.say(|| format!("somebody writes nonsense into {key}"));
        }
    }

    fn change_sources(&mut self) {
        let place = self.rng.usize(..self.plan.tenants.len());
        let name = self.plan.tenants[place].tenant.name.clone();
        if !self.vanished.remove(&name) {
            self.say(|| format!("{name} vanishes from the sources"));
            self.vanished.insert(name);
        }
        for id in self.living_supervisors() {
            let delay = self.rng.u64(..10_000_000);
            self.after(delay, What::Listing(id));
        }
    }

    fn reload(&mut self) {
        let node = self.rng.usize(..self.plan.nodes);
        let Some(id) = self.daemon_of(node) else { return };
        let mut rules = self.supervisors[id.0].rules.clone();
        rules.workers = self.rng.u32(1..=3);
        rules.enabled = self.rng.f64() < 0.8;
        rules.rounds = *self.rng.choice(&[Rounds::Rolling, Rounds::Refill, Rounds::Barrier]).unwrap();
        self.put_in_force(id, rules);
    }

    fn kill_a_supervisor(&mut self) {
        let living = self.living_supervisors();
        let Some(id) = self.rng.choice(&living).copied() else { return };
        self.say(|| format!("supervisor {} is killed", id.0));
        self.die(id);
    }

    fn reboot_a_host(&mut self) {
        let node = self.rng.usize(..self.plan.nodes);
        self.say(|| format!("host {node} reboots"));
        self.hosts[node].reboot();
        for id in
            self.living_supervisors().into_iter().filter(|id| self.supervisors[id.0].node == node).collect::<Vec<_>>()
        {
            self.die(id);
        }
    }

    fn stop_a_supervisor(&mut self) {
        let living = self.living_supervisors();
        let Some(id) = self.rng.choice(&living).copied() else { return };
        match self.rng.u32(..4) {
            0 => self.after(0, What::Heard(id, Event::DrainAsked)),
            1 => {
                self.after(0, What::Heard(id, Event::StopAsked));
                let again = self.rng.u64(..10_000_000);
                self.after(again, What::Heard(id, Event::StopAsked));
            }
            2 => {
                self.after(0, What::Heard(id, Event::DrainAsked));
                let stop = self.rng.u64(..10_000_000);
                self.after(stop, What::Heard(id, Event::StopAsked));
            }
            _ => self.after(0, What::Heard(id, Event::StopAsked)),
        }
    }

    fn run_a_sibling(&mut self) {
        let node = self.rng.usize(..self.plan.nodes);
        let mode = match self.rng.u32(..4) {
            0 => Mode::Named { force: self.rng.bool() },
            1 => Mode::DryRun,
            _ => Mode::Once,
        };
        self.boot(node, mode);
    }

    fn wake(&mut self) {
        let living = self.living_supervisors();
        let Some(id) = self.rng.choice(&living).copied() else { return };
        let names: Vec<_> = self.supervisors[id.0].listed.iter().filter(|_| self.rng.bool()).cloned().collect();
        self.after(0, What::Heard(id, Event::Woken(names)));
        self.after(1, What::Heard(id, Event::Tick));
    }

    /// Faults cease: what is left must get well by itself.
    pub fn heal(&mut self) {
        self.say(|| "faults cease".into());
        self.healed = true;
        self.plan.odds = Odds::default();
        self.vanished.clear();
        let releases = self.plan.rules.stale_action == tenantcron::scheduler::StaleAction::Release;
        for (place, database) in self.databases.iter_mut().enumerate() {
            if database.down || !database.locked.is_empty() {
                database.hindered_at = self.now;
            }
            database.down = false;
            database.locked.clear();
            let now = database.time(self.now);
            let foreign = &self.ledger.foreign;
            let place = DatabaseId(u32::try_from(place).unwrap());
            for (key, row) in &mut database.rows {
                row.paused_at = None;
                if matches!(row.value, RowValue::Unknown(_)) && key != "site-name" {
                    row.value = RowValue::Needed;
                }
                if foreign.contains(&(place, key.clone())) && !releases {
                    (row.value, row.updated_at) = (RowValue::Done, now);
                }
            }
        }
        if !releases {
            self.ledger.foreign.clear();
        }
        for id in self.living_supervisors() {
            self.after(0, What::Listing(id));
            let rules = self.supervisors[id.0].rules.clone();
            self.put_in_force(id, tenantcron::scheduler::Rules { enabled: true, ..rules });
        }
        self.wanted = self.plan.tenants.iter().map(|tenant| (tenant.database, tenant.key.clone())).collect();
        let patience = self.plan.patience;
        self.after_duration(patience, What::PatienceEnds);
    }
}
