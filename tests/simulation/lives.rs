//! How supervisors come and go: begun, told of tenants and rules, killed, exited, begun again.

use crate::supervisor::{Supervisor, SupervisorId};
use crate::world::{What, World};
use tenantcron::model::Identity;
use tenantcron::scheduler::{Event, ExitReason, Listed, Mode, Rules};

impl World {
    pub fn boot(&mut self, node: usize, mode: Mode) {
        let id = SupervisorId(self.supervisors.len());
        let host = &self.hosts[node];
        let identity = Identity { node: host.node.clone(), host: host.name(), ..self.plan.rules.identity.clone() };
        let (workers, seed) = (host.workers, self.rng.u64(..));
        let rules = Rules { identity, mode, workers, seed, ..self.plan.rules.clone() };
        self.say(|| format!("supervisor {} begins on host {node}: {mode:?}", id.0));
        self.supervisors.push(Supervisor::new(id, node, rules, self.now, &mut self.rng));
        let delay = self.rng.u64(..200_000);
        self.after(delay, What::Listing(id));
    }

    pub fn list(&mut self, id: SupervisorId) {
        if !self.supervisors[id.0].lives {
            return;
        }
        let mut tenants: Vec<Listed> =
            self.plan.tenants.iter().filter(|tenant| !self.vanished.contains(&tenant.tenant.name)).cloned().collect();
        let mode = self.supervisors[id.0].rules.mode;
        if matches!(mode, Mode::Named { .. }) {
            tenants.retain(|_| self.rng.bool());
        }
        self.supervisors[id.0].listed = tenants.iter().map(|tenant| tenant.tenant.name.clone()).collect();
        self.hear(id, Event::TenantsListed(tenants));
    }

    pub fn put_in_force(&mut self, id: SupervisorId, rules: Rules) {
        let supervisor = &mut self.supervisors[id.0];
        let host = &mut self.hosts[supervisor.node];
        host.workers = rules.workers;
        host.workers_before = host.workers_before.max(rules.workers);
        supervisor.rules = rules.clone();
        self.hear(id, Event::Reloaded(Box::new(rules)));
    }

    pub fn tell_all(&mut self, event: impl Fn() -> Event) {
        for id in self.living_supervisors() {
            let delay = self.rng.u64(..20_000);
            self.after(delay, What::Heard(id, event()));
        }
    }

    pub fn daemon_of(&self, node: usize) -> Option<SupervisorId> {
        let fits = |one: &&Supervisor| one.lives && one.node == node && one.rules.mode == Mode::Daemon;
        self.supervisors.iter().find(fits).map(|one| one.id)
    }

    /// The process is gone, whatever it knew; its children live on.
    pub fn die(&mut self, id: SupervisorId) {
        self.supervisors[id.0].lives = false;
        self.host_of(id).bereave(id);
        self.ledger_forgets(id);
        let (node, again) = (self.supervisors[id.0].node, self.rng.u64(100_000..20_000_000));
        self.after(again, What::Boot(node));
    }

    pub fn exit(&mut self, id: SupervisorId, reason: ExitReason) {
        self.trace.count("exit", &reason);
        self.check_exit(id, reason);
        self.die(id);
    }

    /// All wanted have run: everybody is told to stop.
    pub fn close_if_well(&mut self) {
        if self.healed && self.wanted.is_empty() && !self.closing_time {
            self.say(|| "all have run; everybody is told to stop".into());
            self.closing_time = true;
            for id in self.living_supervisors() {
                self.after(0, What::Heard(id, Event::StopAsked));
            }
        }
    }

    pub fn living_supervisors(&self) -> Vec<SupervisorId> {
        self.supervisors.iter().filter(|supervisor| supervisor.lives).map(|supervisor| supervisor.id).collect()
    }
}
