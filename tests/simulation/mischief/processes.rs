//! What happens to supervisors and hosts.

use crate::plan::StopBy;
use crate::supervisor::SupervisorId;
use crate::world::{What, World};
use tenantcron::scheduler::{Event, Mode};

impl World {
    fn pick(&self, pick: usize) -> Option<SupervisorId> {
        let living = self.living_supervisors();
        (!living.is_empty()).then(|| living[pick % living.len()])
    }

    pub(super) fn kill(&mut self, pick: usize) {
        let Some(id) = self.pick(pick) else { return };
        self.say(|world| format!("{} is killed", world.supervisors[id.0].name));
        self.die(id);
    }

    pub(super) fn freeze_one(&mut self, pick: usize, long: u64) {
        let Some(id) = self.pick(pick) else { return };
        let long = self.until_heal(long);
        self.say(|world| format!("{} is stopped for {:.1} s", world.supervisors[id.0].name, long as f64 / 1e6));
        self.freeze(id, long);
    }

    fn supervisors_of(&self, host: usize) -> Vec<SupervisorId> {
        self.living_supervisors().into_iter().filter(|id| self.supervisors[id.0].host == host).collect()
    }

    fn until_heal(&self, long: u64) -> u64 {
        long.min(self.plan.heal_at.saturating_sub(self.now))
    }

    pub(super) fn freeze_host(&mut self, host: usize, long: u64) {
        let long = self.until_heal(long);
        self.say(|_| format!("host {host} is stopped for {:.1} s", long as f64 / 1e6));
        let until = self.now + long;
        let host_now = &mut self.hosts[host];
        host_now.frozen_until = host_now.frozen_until.max(until);
        host_now.thawed_at = host_now.frozen_until;
        for id in self.supervisors_of(host) {
            self.freeze(id, long);
        }
    }

    /// Everything on it dies, and comes back after so long.
    pub(super) fn reboot(&mut self, host: usize, down: u64) {
        self.say(|_| format!("host {host} goes down"));
        self.hosts[host].off = true;
        for id in self.supervisors_of(host) {
            self.die(id);
        }
        let (now, on_disk) = (self.now, self.plan.state_on_disk);
        self.hosts[host].reboot(now, on_disk);
        if !on_disk || down == u64::MAX {
            self.ledger_loses_files(host);
        }
        if down < u64::MAX {
            self.after(down, What::PowerOn(host));
        }
    }

    pub fn power_on(&mut self, host: usize) {
        let rival = self.nodes.iter().any(|node| node.rival && node.host == host);
        if (self.healed && rival) || !std::mem::take(&mut self.hosts[host].off) {
            return;
        }
        self.say(|_| format!("host {host} is up again"));
        for node in self.nodes_of(Some(host)) {
            let delay = 100_000 + 50_000 * node as u64;
            self.after(delay, What::Boot(node));
        }
    }

    /// Hosts that are off come back, but for those of rivals.
    pub(super) fn heal_processes(&mut self) {
        for host in 0..self.hosts.len() {
            self.power_on(host);
            // Thawed when the night was planned, or now.
            self.hosts[host].frozen_until = self.hosts[host].frozen_until.min(self.now);
        }
        for supervisor in &mut self.supervisors {
            supervisor.frozen_until = supervisor.frozen_until.min(self.now);
        }
    }

    pub(super) fn stop(&mut self, pick: usize, by: StopBy) {
        let Some(id) = self.pick(pick) else { return };
        match by {
            StopBy::Drain => self.tell(id, 0, Event::DrainAsked),
            StopBy::StopTwice(later) => {
                self.tell(id, 0, Event::StopAsked);
                self.tell(id, later, Event::StopAsked);
            }
            StopBy::DrainThenStop(later) => {
                self.tell(id, 0, Event::DrainAsked);
                self.tell(id, later, Event::StopAsked);
            }
            StopBy::Stop => self.tell(id, 0, Event::StopAsked),
        }
    }

    pub(super) fn run_a_sibling(&mut self, node: usize, mode: Mode, deed: u64) {
        if !self.hosts[self.nodes[node].host].off && self.has(node) {
            self.boot(node, mode, 1 << 16 | deed);
        }
    }

    pub(super) fn upgrade(&mut self, node: usize, takes: u64, fails: bool) {
        let Some(id) = self.daemon_of(node) else { return };
        self.supervisors[id.0].upgrade = Some((takes, fails));
        self.tell(id, 0, Event::UpgradeAsked);
    }
}
