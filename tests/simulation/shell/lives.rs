//! How supervisors come and go: begun, told of tenants and rules, frozen, killed, exited, begun again.

use crate::dice::{Of, dice};
use crate::plan::Fault;
use crate::supervisor::{Supervisor, SupervisorId};
use crate::world::{What, World};
use tenantcron::model::Identity;
use tenantcron::scheduler::{AllEnds, Event, ExitReason, Listed, Mode, Rules};

impl World {
    /// `luck` names its dice: that of the how manieth supervisor of this node, or of the deed that began it.
    pub fn boot(&mut self, node: usize, mode: Mode, luck: u64) {
        let id = SupervisorId(self.supervisors.len());
        let mut rng = dice(self.plan.seed, Of::Supervisor, node as u64, luck);
        let of = &self.nodes[node];
        let (host_number, host) = (of.host, &self.hosts[of.host]);
        let identity = Identity { node: of.name.clone(), host: host.name(), ..self.plan.rules.identity.clone() };
        let rules = Rules { identity, mode, workers: of.workers, seed: rng.u64(..), ..self.plan.rules.clone() };
        let begun = self.supervisors.iter().filter(|one| one.node == node).count() + 1;
        // Two machines may bear one name.
        let name = format!("{}.{begun}{}", of.name, if of.rival { "'" } else { "" });
        self.say(|_| format!("{name} begins on host {host_number}: {mode:?}"));
        let mut supervisor = Supervisor::new(id, name, (node, host_number), rules, self.now, rng);
        supervisor.luck = (node as u64) << 32 | luck;
        supervisor.frozen_until = self.hosts[supervisor.host].frozen_until;
        let delay = supervisor.rng.u64(..200_000);
        self.supervisors.push(supervisor);
        self.after(delay, What::Listing(id));
    }

    /// The daemon of a node, unless one runs or nobody wants it any more.
    pub fn boot_daemon(&mut self, node: usize) {
        let absent = self.nodes[node].rival && self.healed;
        if absent || self.closing_time || self.hosts[self.nodes[node].host].off || self.daemon_of(node).is_some() {
            return;
        }
        self.nodes[node].daemons += 1;
        let luck = self.nodes[node].daemons;
        self.boot(node, Mode::Daemon, luck);
    }

    pub fn list(&mut self, id: SupervisorId) -> Vec<Event> {
        let mut events = self.files_of_the_dead(id);
        let named = matches!(self.supervisors[id.0].rules.mode, Mode::Named { .. });
        let mut tenants = Vec::new();
        self.supervisors[id.0].listed_at = self.now;
        self.supervisors[id.0].listed.clear();
        for (place, tenant) in self.plan.tenants.iter().enumerate() {
            let listed = self.plan.happens(Fault::Tenant(place)) && !self.vanished.contains(&place);
            let supervisor = &mut self.supervisors[id.0];
            // Asked in any case, that each keeps its own luck.
            let asked = !named || supervisor.rng.bool();
            if listed && asked {
                supervisor.listed.insert(place);
                tenants.push(Listed::clone(tenant));
            }
        }
        events.push(Event::TenantsListed(tenants));
        events
    }

    /// A configuration that the core hears of now.
    pub(super) fn put_in_force(&mut self, id: SupervisorId, rules: &Rules) {
        let supervisor = &mut self.supervisors[id.0];
        supervisor.slots_above |= rules.workers < supervisor.rules.workers;
        let (mode, born) = (supervisor.rules.mode, supervisor.rules.born);
        supervisor.rules = Rules { mode, born, ..rules.clone() };
        if mode == Mode::Daemon {
            let node = self.supervisors[id.0].node;
            let most = self.most_workers(node);
            let node = &mut self.nodes[node];
            if rules.workers < most {
                node.lowered = Some((self.now, most));
            }
            node.workers = rules.workers;
        }
    }

    pub fn daemon_of(&self, node: usize) -> Option<SupervisorId> {
        let fits = |one: &&Supervisor| one.lives && one.node == node && one.rules.mode == Mode::Daemon;
        self.supervisors.iter().find(fits).map(|one| one.id)
    }

    /// It hears nothing for a while; what comes meanwhile waits.
    pub fn freeze(&mut self, id: SupervisorId, long: u64) {
        let now = self.now;
        let supervisor = &mut self.supervisors[id.0];
        let until = supervisor.frozen_until.max(now + long);
        supervisor.frozen_for += until - supervisor.frozen_until.max(now);
        supervisor.frozen_until = until;
        supervisor.thawed_at = until;
    }

    /// The process is gone, whatever it knew; its children live on.
    pub fn die(&mut self, id: SupervisorId) {
        self.ledger_forgets(id);
        let supervisor = &mut self.supervisors[id.0];
        supervisor.lives = false;
        let (node, daemon, again) =
            (supervisor.node, supervisor.rules.mode == Mode::Daemon, supervisor.rng.u64(100_000..20_000_000));
        let host = self.host_of(id);
        host.bereave(id);
        host.orphan_files_of(id);
        if daemon {
            self.after(again, What::Boot(node));
        }
    }

    pub(super) fn exit(&mut self, id: SupervisorId, reason: ExitReason) {
        self.trace.count("exit", &reason);
        self.write_ends(id, AllEnds::Yes);
        self.check_exit(id, reason);
        self.die(id);
    }

    pub fn living_supervisors(&self) -> Vec<SupervisorId> {
        self.supervisors.iter().filter(|supervisor| supervisor.lives).map(|supervisor| supervisor.id).collect()
    }

    /// Runs: neither dead nor stopped, and not just thawed.
    pub fn runs_for(&self, id: SupervisorId, settled: u64) -> bool {
        let supervisor = &self.supervisors[id.0];
        let host = &self.hosts[supervisor.host];
        let thawed = supervisor.thawed_at.max(host.thawed_at);
        supervisor.lives && (thawed == 0 || self.now >= thawed + settled)
    }
}
