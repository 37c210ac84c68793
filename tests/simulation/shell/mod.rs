//! A supervisor's shell in the fake world: it obeys the core's actions by the fake kernel and the fake databases, and
//! answers by events. It decides nothing.

mod adopt;
mod fate;
mod files;
mod hearing;
mod line;
mod lives;
mod start;
mod upgrade;

use crate::flaws::Flaw;
use crate::supervisor::SupervisorId;
use crate::world::{What, World};
use tenantcron::model::{DbTime, RunId, TenantName};
use tenantcron::scheduler::{Action, Closing, Event};

impl World {
    pub fn perform(&mut self, id: SupervisorId, action: Action) {
        match action {
            Action::Lock { tenants, slots } => self.lock(id, &tenants, slots),
            Action::Unlock { tenants, slots } => self.unlock(id, &tenants, slots),
            Action::Exchange { database, exchange } => self.exchange(id, database, exchange),
            Action::Start { tenant, run, started_at } => self.start(id, &tenant, run, started_at),
            Action::Signal { tenant, force } => self.signal(id, &tenant, force),
            Action::CheckGroup { tenant } => self.check_group(id, tenant),
            Action::ProbeLock { tenant } => {
                let place = self.plan.place(&tenant);
                let held = self.host_of(id).is_locked(place);
                self.tell(id, 0, Event::LockProbed { tenant, held });
            }
            Action::Examine(unknown) => {
                let delay = self.supervisors[id.0].rng.u64(..5_000);
                self.after(delay, What::Examine(id, Box::new(unknown)));
            }
            Action::Close(closing) => self.close(id, &closing),
            Action::Renumber { tenant, run, started_at } => self.renumber(id, &tenant, run, started_at),
            Action::Forget { file } => self.forget_file(id, file),
            Action::Upgrade => self.replace(id),
            Action::Exit { reason } => self.exit(id, reason),
        }
    }

    /// The supervisor hears of it after a while.
    pub fn tell(&mut self, id: SupervisorId, delay: u64, event: Event) {
        self.after(delay, What::Heard(id, Box::new(event)));
    }

    fn lock(&mut self, id: SupervisorId, tenants: &[TenantName], slots: u32) {
        self.check_lock(id, tenants, slots);
        let mut taken = self.take_slots(id, slots);
        if taken < slots && self.free_slots_left_behind(id) {
            taken += self.take_slots(id, slots - taken);
        }
        let (mut won, mut held) = (Vec::new(), Vec::new());
        if slots == 0 || taken > 0 {
            for tenant in tenants {
                let place = self.plan.place(tenant);
                if self.unreadable(id) {
                    held.push((tenant.clone(), None));
                } else if self.host_of(id).lock(place, id)
                    || (self.let_go(id, place) && self.host_of(id).lock(place, id))
                {
                    won.push(tenant.clone());
                } else {
                    let living = |other: SupervisorId| self.supervisors[other.0].lives;
                    let pid = self.hosts[self.supervisors[id.0].host].holder_of(place, living);
                    held.push((tenant.clone(), pid));
                }
            }
        }
        let rng = &mut self.supervisors[id.0].rng;
        let delay = if rng.f64() < 0.1 { rng.u64(..300_000) } else { 0 };
        self.tell(id, delay, Event::Locked { won, held, slots: taken });
    }

    fn take_slots(&mut self, id: SupervisorId, wanted: u32) -> u32 {
        let supervisor = &mut self.supervisors[id.0];
        let host = &mut self.hosts[supervisor.host];
        let (node, workers) = (supervisor.node, supervisor.rules.workers);
        let mut wanted = wanted;
        if supervisor.slots_above {
            if host.slots_above(node, workers) == 0 {
                supervisor.slots_above = false;
            } else {
                wanted = wanted.min(workers.saturating_sub(host.slots_above(node, 0)));
            }
        }
        let taken = host.take_slots(node, wanted, workers, id);
        supervisor.slots.extend(&taken);
        self.check_slots(id, &taken);
        u32::try_from(taken.len()).unwrap()
    }

    pub(super) fn let_go(&mut self, id: SupervisorId, tenant: usize) -> bool {
        let living = |other: SupervisorId| self.supervisors[other.0].lives;
        let let_go = self.plan.may_fetch && self.hosts[self.supervisors[id.0].host].let_go(tenant, living);
        if let_go {
            self.trace.count("locks", &"LetGo");
        }
        let_go
    }

    /// What daemons of runs that are over hold of the slots, looked into once a minute.
    fn free_slots_left_behind(&mut self, id: SupervisorId) -> bool {
        let now = self.now;
        let supervisor = &mut self.supervisors[id.0];
        if supervisor.searched_at.is_some_and(|at| at + 60_000_000 > now) {
            return false;
        }
        supervisor.searched_at = Some(now);
        let held = self.host_of(id).locks.iter().filter(|(_, held)| held.daemon.is_some());
        let tenants: Vec<_> = held.map(|(tenant, _)| *tenant).collect();
        let own = |world: &Self, tenant: &usize| world.supervisors[id.0].runs.contains_key(tenant);
        let others: Vec<_> = tenants.into_iter().filter(|tenant| !own(self, tenant)).collect();
        others.into_iter().filter(|tenant| self.let_go(id, *tenant)).count() > 0
    }

    fn unlock(&mut self, id: SupervisorId, tenants: &[TenantName], slots: u32) {
        for tenant in tenants {
            let place = self.plan.place(tenant);
            let was_run = self.supervisors[id.0].ended.remove(&place);
            let host = self.host_of(id);
            // Where an adopter could not fetch it, it is not given up.
            if let Some(held) = host.locks.get(&place)
                && (held.supervisor == Some(id) || !was_run)
            {
                assert_eq!((held.supervisor, held.tree), (Some(id), None), "locks: one is given up that a run holds");
                host.locks.remove(&place);
            } else {
                assert!(was_run, "locks: one is given up that is not held");
            }
            if host.keepers.get(&place) == Some(&id) {
                host.keepers.remove(&place);
            }
        }
        for _ in 0..slots {
            let supervisor = &mut self.supervisors[id.0];
            let slot = supervisor.slots.pop().expect("only slots that are held are given up");
            self.hosts[supervisor.host].slots.remove(&(supervisor.node, slot));
        }
    }

    fn check_group(&mut self, id: SupervisorId, tenant: TenantName) {
        let run = self.supervisors[id.0].runs[&self.plan.place(&tenant)].run;
        if self.host_of(id).tree_of(run).is_none() {
            self.tell(id, 0, Event::GroupEmptied { tenant });
        }
    }

    fn close(&mut self, id: SupervisorId, closing: &Closing) {
        let place = self.plan.place(&closing.tenant);
        let held = self.supervisors[id.0].runs.remove(&place).expect("only what was started is closed");
        assert_eq!(held.id, closing.run, "closing: another run than the tenant's is closed");
        self.check_closing(held.run, closing);
        let node = self.supervisors[id.0].node;
        // The lock stays until the end is recorded.
        self.supervisors[id.0].ended.insert(place);
        if self.plan.flaw == Some(Flaw::LockLetGoEarly) {
            let host = self.host_of(id);
            host.locks.remove(&place);
            host.keepers.remove(&place);
        }
        if let Some(slot) = held.slot {
            self.host_of(id).slots.remove(&(node, slot));
        }
    }

    fn renumber(&mut self, id: SupervisorId, tenant: &TenantName, run: RunId, started_at: DbTime) {
        let place = self.plan.place(tenant);
        let Some(held) = self.supervisors[id.0].runs.get_mut(&place) else { return };
        held.id = run;
        let (key, adopted) = (held.run, held.adopted);
        let host = self.host_of(id);
        if let Some(tree) = host.trees.values_mut().find(|tree| tree.run == key) {
            tree.id = run;
        }
        if let Some(file) = host.files.get_mut(&place).filter(|_| !adopted) {
            file.run = Some((run, started_at));
        }
    }
}
