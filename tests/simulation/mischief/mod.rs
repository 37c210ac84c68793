//! What is done to the world, and the moment from which nothing is done any more.

mod databases;
mod operator;
mod processes;

use crate::plan::{Deed, Fault};
use crate::world::{What, World};
use tenantcron::model::{DatabaseId, RowValue};
use tenantcron::scheduler::{Event, Mode, Rules, StaleAction};

impl World {
    /// One deed of the plan.
    pub fn deed(&mut self, place: usize) {
        self.faults.push(Fault::Deed(place));
        let deed = self.plan.deeds[place].1.clone();
        self.trace.count("mischief", &deed);
        match deed {
            Deed::DatabaseDown { database, long } => self.take_down(database, long),
            Deed::Cut { node, database, long } => self.cut(node, database, long),
            Deed::Failover { database, behind, down, step } => self.plan_failover(database, behind, down, step),
            Deed::LockRow { tenant, run, long } => self.lock_row(tenant, run, long),
            Deed::Foreign { tenant, work } => self.claim_by_another_program(tenant, work),
            Deed::Operate { tenant, verb, tells } => self.operate(tenant, verb, tells),
            Deed::Meddle { tenant, by } => self.meddle_with_a_row(tenant, by),
            Deed::ChangeSources { tenant } => self.change_sources(tenant, place as u64),
            Deed::Reload { node, workers, enabled, rounds, leased } => {
                let lease = self.plan.rules.lease.filter(|_| leased);
                self.reload(node, |rules| Rules { workers, enabled, rounds, lease, ..rules });
            }
            Deed::Wake { node, pick, all } => self.wake(node, pick, all),
            Deed::Kill { pick } => self.kill(pick),
            Deed::Freeze { pick, long } => self.freeze_one(pick, long),
            Deed::FreezeHost { host, long } => self.freeze_host(host, long),
            Deed::Reboot { host, down } => self.reboot(host, down),
            Deed::Stop { pick, by } => self.stop(pick, by),
            Deed::Sibling { node, mode } => self.run_a_sibling(node, mode, place as u64),
            Deed::Upgrade { node, takes, fails } => self.upgrade(node, takes, fails),
        }
    }

    /// Faults cease: what is left must get well by itself.
    pub fn heal(&mut self) {
        self.say(|_| "faults cease".into());
        self.healed = true;
        self.vanished.clear();
        for node in &mut self.nodes {
            node.cuts.clear();
        }
        for (number, database) in (0..).zip(&mut self.databases) {
            database.hindered_at = self.now;
            database.down_until = database.down_until.min(self.now);
            database.locked.clear();
            database.locked_runs.clear();
            let now = database.time(self.now);
            let releases = self.plan.rules.stale_action == StaleAction::Release;
            for (key, row) in &mut database.content.rows {
                row.paused_at = None;
                if matches!(row.value, RowValue::Unknown(_)) && key != "site-name" {
                    row.value = RowValue::Needed;
                }
                let foreign = row.value == RowValue::Running && !database.content.open.contains_key(key);
                if foreign && !releases {
                    (row.value, row.updated_at) = (RowValue::Done, now);
                    let tenant = self.plan.tenants.iter().position(|one| one.database.0 == number && *one.key == **key);
                    self.ledger.foreign.remove(&(DatabaseId(number), tenant.unwrap()));
                }
            }
        }
        self.heal_processes();
        let rivals: Vec<_> = self.nodes.iter().filter(|node| node.rival).map(|node| node.host).collect();
        for host in rivals {
            self.reboot(host, u64::MAX);
        }
        for id in self.living_supervisors() {
            self.after(0, What::Listing(id));
            let rules = self.supervisors[id.0].rules.clone();
            if rules.mode == Mode::Daemon {
                self.tell(id, 0, Event::Reloaded(Box::new(Rules { enabled: true, ..rules })));
            }
        }
        let tenants =
            self.plan.tenants.iter().enumerate().filter(|(place, _)| self.plan.happens(Fault::Tenant(*place)));
        self.wanted = tenants.map(|(place, tenant)| (tenant.database, place)).collect();
        self.after(1_000_000, What::LookIfWell);
        self.after_duration(self.plan.patience, What::PatienceEnds);
    }
}
