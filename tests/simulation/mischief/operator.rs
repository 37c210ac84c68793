//! What an operator does: requests, pauses, releases, other tenants, another configuration.

use crate::host::{Excuse, Judged};
use crate::plan::Verb;
use crate::world::{What, World};
use tenantcron::model::{OpenRun, RowValue};
use tenantcron::scheduler::{Event, Rules};

impl World {
    pub(super) fn operate(&mut self, tenant: usize, verb: Verb, tells: bool) {
        let listed = &self.plan.tenants[tenant];
        let (database, key) = (listed.database, listed.key.to_string());
        let store = &mut self.databases[database.0 as usize];
        if store.down_until > self.now {
            return;
        }
        let now = store.time(self.now);
        let Some(row) = store.content.rows.get_mut(&key) else { return };
        match verb {
            Verb::Pause if row.paused_at.take().is_some() => self.say(|_| format!("the operator resumes t{tenant}")),
            Verb::Pause => {
                row.paused_at = Some(now);
                self.say(|_| format!("the operator pauses t{tenant}"));
            }
            Verb::Request if matches!(row.value, RowValue::Done | RowValue::Needed) => {
                (row.value, row.requested_at) = (RowValue::Needed, Some(now));
                self.say(|_| format!("the operator requests t{tenant}"));
            }
            Verb::Request => {}
            Verb::Release { node, force } => self.release_by_hand(tenant, node, force),
        }
        if tells {
            for id in self.living_supervisors() {
                let delay = self.supervisors[id.0].rng.u64(..20_000);
                let key = delay.is_multiple_of(2).then(|| key.clone());
                self.tell(id, delay, Event::Notified { database, key });
            }
        }
    }

    /// `tenantcron release`: after making sure that nothing of it runs on this host; with `--force` of a node that is dead,
    /// as the operator believes.
    fn release_by_hand(&mut self, tenant: usize, node: usize, force: bool) {
        let listed = &self.plan.tenants[tenant];
        let (database, key) = (listed.database, listed.key.to_string());
        let (name, host) = (self.nodes[node].name.clone(), &self.hosts[self.nodes[node].host]);
        let Some(run) = self.store(database).open_run(&key).cloned() else { return };
        let ours = run.identity.node == name && run.identity.host == host.name();
        let open = OpenRun {
            identity: run.identity.clone(),
            group: None,
            pid: run.pid,
            pid_start: run.pid_start,
            alive_at: run.alive_at,
            lease: run.lease,
        };
        let nobody = crate::supervisor::SupervisorId(usize::MAX);
        let living = |id: crate::supervisor::SupervisorId| self.supervisors[id.0].lives;
        let dead = host.judge(tenant, &open, false, nobody, living, None) == Judged::Dead && !host.is_locked(tenant);
        let kept = host.file_naming(&open).is_some();
        if self.store(database).locked.contains(&key) || (ours && (!dead || kept)) || (!ours && !force) {
            return;
        }
        self.trace.count("released", &if ours { "Here" } else { "Force" });
        let run_key = self.key_of(database, &run.identity);
        self.databases[database.0 as usize].free(&key);
        self.say(|_| format!("the operator releases t{tenant} on {name}{}", if ours { "" } else { " by force" }));
        self.closed_by_others(run_key, Excuse::Released);
    }

    pub(super) fn change_sources(&mut self, tenant: usize, place: u64) {
        if !self.vanished.remove(&tenant) {
            self.say(|_| format!("t{tenant} vanishes from the sources"));
            self.vanished.insert(tenant);
        }
        for id in self.living_supervisors() {
            let mut rng = fastrand::Rng::with_seed(self.plan.seed ^ place << 20 ^ id.0 as u64);
            self.after(rng.u64(..10_000_000), What::Listing(id));
        }
    }

    pub(super) fn reload(&mut self, node: usize, change: impl Fn(Rules) -> Rules) {
        let Some(id) = self.daemon_of(node) else { return };
        let rules = change(self.supervisors[id.0].rules.clone());
        self.tell(id, 0, Event::Reloaded(Box::new(rules)));
    }

    pub(super) fn wake(&mut self, node: usize, pick: usize, all: bool) {
        let Some(id) = self.daemon_of(node) else { return };
        let listed = &self.supervisors[id.0].listed;
        let names = listed.iter().filter(|tenant| !all && (pick >> (**tenant % 6)) & 1 == 1);
        let names = names.map(|tenant| self.plan.tenants[*tenant].tenant.name.clone()).collect();
        self.tell(id, 0, Event::Woken(names));
    }
}
