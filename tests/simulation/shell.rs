//! A supervisor's shell in the fake world: it obeys the core's actions by the fake kernel and the fake
//! databases, and answers by events. It decides nothing.

use crate::kernel::{RunKey, Tree};
use crate::supervisor::{Belongings, Supervisor, SupervisorId};
use crate::world::{What, World};
use tenantcron::model::{RunId, TenantName};
use tenantcron::scheduler::{Action, Event, Exit, Force, Mode, Unknown, Verdict};

impl World {
    pub fn perform(&mut self, id: SupervisorId, action: Action) {
        match action {
            Action::Lock { tenants, slots } => self.lock(id, tenants, slots),
            Action::Unlock { tenants, slots } => self.unlock(id, &tenants, slots),
            Action::Exchange { database, exchange } => self.exchange(id, database, exchange),
            Action::Start { tenant, run, .. } => self.start(id, &tenant, run),
            Action::Signal { tenant, force } => self.signal(id, &tenant, force),
            Action::CheckGroup { tenant } => {
                let run = self.supervisors[id.0].runs[&tenant].run;
                if self.host_of(id).tree_of(run).is_none() {
                    self.after(0, What::Heard(id, Event::GroupEmptied { tenant }));
                }
            }
            Action::ProbeLock { tenant } => {
                let held = self.host_of(id).locks.contains_key(&tenant);
                self.after(0, What::Heard(id, Event::LockProbed { tenant, held }));
            }
            Action::Examine(unknown) => {
                let delay = self.rng.u64(..5_000);
                self.after(delay, What::Examine(id, unknown));
            }
            Action::Close(closing) => {
                let held =
                    self.supervisors[id.0].runs.remove(&closing.tenant).expect("only what was started is closed");
                assert_eq!(held.run.1, closing.run, "another run than the tenant's is closed");
                self.check_closing(held.run, &closing);
                let host = self.host_of(id);
                host.locks.remove(&closing.tenant);
                held.slot.map(|slot| host.slots.remove(&slot));
            }
            Action::Exit { reason } => self.exit(id, reason),
        }
    }

    fn lock(&mut self, id: SupervisorId, tenants: Vec<TenantName>, slots: u32) {
        self.check_lock(id, &tenants, slots);
        let supervisor = &mut self.supervisors[id.0];
        let host = &mut self.hosts[supervisor.node];
        let taken: Vec<_> = (0..slots).map_while(|_| host.take_slot(id)).collect();
        let got = u32::try_from(taken.len()).unwrap();
        supervisor.slots.extend(taken);
        let (mut won, mut held) = (Vec::new(), Vec::new());
        if slots == 0 || got > 0 {
            for tenant in tenants {
                match host.lock(&tenant, id) {
                    Ok(()) => won.push(tenant),
                    Err(pid) => held.push((tenant, pid)),
                }
            }
        }
        let delay = if self.rng.f64() < 0.1 { self.rng.u64(..300_000) } else { 0 };
        self.after(delay, What::Heard(id, Event::Locked { won, held, slots: got }));
    }

    fn unlock(&mut self, id: SupervisorId, tenants: &[TenantName], slots: u32) {
        let supervisor = &mut self.supervisors[id.0];
        let host = &mut self.hosts[supervisor.node];
        for tenant in tenants {
            let held = host.locks.remove(tenant).expect("only a lock that is held is given up");
            assert_eq!((held.supervisor, held.tree), (Some(id), None), "a lock is given up that a run holds");
        }
        for _ in 0..slots {
            let slot = supervisor.slots.pop().expect("only slots that are held are given up");
            host.slots.remove(&slot);
        }
    }

    fn start(&mut self, id: SupervisorId, tenant: &TenantName, run: RunId) {
        let database = self.listed(tenant).database;
        let run = (database, run);
        self.check_start(id, tenant, run);
        let (odds, nice) = (self.plan.odds, self.healed);
        let supervisor = &mut self.supervisors[id.0];
        let slot = if supervisor.rules.mode.uses_slots() { supervisor.slots.pop() } else { None };
        let held = Belongings { run, pid: None, slot, end_told: false };
        supervisor.runs.insert(tenant.clone(), held);
        let delay = self.rng.u64(..20_000);
        if let Some(why) = self.spawn_trouble(&odds) {
            self.ledger_not_started(id, run, &why);
            return self.after(delay, What::Heard(id, Event::NotStarted { tenant: tenant.clone(), why }));
        }
        let stubborn = self.rng.f64() < odds.stubborn;
        let life = self.life(&odds, nice);
        let exit = self.exit_status(nice);
        let tree = Tree {
            tenant: tenant.clone(),
            run,
            pid: 0,
            parent: id,
            keeper: id,
            main_lives: true,
            exit,
            members_live: self.rng.f64() < odds.leaves_members,
            stubborn,
            counted: slot.is_some(),
        };
        let members = tree.members_live;
        let pid = self.host_of(id).spawn(tree, slot);
        self.supervisors[id.0].runs.get_mut(tenant).unwrap().pid = Some(pid);
        self.after(delay, What::Heard(id, Event::Started { tenant: tenant.clone(), pid, pid_start: i64::from(pid) }));
        if let Some(life) = life {
            self.dies(id, pid, delay + life, exit);
            if members {
                let longer = self.rng.u64(..60_000_000);
                self.members_die(id, pid, delay + life + longer);
            }
        }
    }

    fn signal(&mut self, id: SupervisorId, tenant: &TenantName, force: Force) {
        let held = self.supervisors[id.0].runs[tenant];
        if !held.end_told {
            self.check_signal(id, tenant, held.run);
        }
        let Some(tree) = self.host_of(id).tree_of(held.run).cloned() else { return };
        let delay = match force {
            Force::Term if tree.stubborn => return,
            Force::Term => self.rng.u64(..2_000_000),
            Force::Kill => self.rng.u64(..10_000),
        };
        let number = if force == Force::Term { 15 } else { 9 };
        let exit = if force == Force::Term && self.rng.bool() { Exit::Code(0) } else { Exit::Signal(number) };
        self.dies(id, tree.pid, delay, exit);
        let later = self.rng.u64(..1_000_000) * u64::from(force == Force::Term);
        self.members_die(id, tree.pid, delay + later);
    }

    /// The evidence of this host, as SPEC 8 has it.
    pub fn examine(&mut self, id: SupervisorId, unknown: &Unknown) {
        let Unknown { tenant, run } = unknown;
        let key = (self.listed(tenant).database, run.identity.id);
        let living = |other: SupervisorId| self.supervisors[other.0].lives;
        let host = &self.hosts[self.supervisors[id.0].node];
        let lock = host.locks.get(tenant).and_then(|held| held.supervisor).filter(|holder| living(*holder));
        let remembered =
            |supervisor: &&Supervisor| supervisor.lives && supervisor.id != id && supervisor.unrecorded.contains(&key);
        let verdict = match (host.tree_of(key), lock) {
            (Some(tree), _) if tree.keeper != id && living(tree.keeper) => Verdict::Supervised,
            (Some(_), _) if self.supervisors[id.0].rules.mode != Mode::Daemon => Verdict::Supervised,
            (Some(tree), _) => Verdict::Adopted { pid: tree.pid, pid_start: i64::from(tree.pid) },
            (None, Some(holder)) if holder == id => Verdict::Undecided,
            (None, Some(_)) => Verdict::Supervised,
            (None, None) if self.supervisors.iter().any(|supervisor| remembered(&supervisor)) => Verdict::Supervised,
            (None, None) => Verdict::Dead,
        };
        if let Verdict::Adopted { pid, .. } = verdict {
            self.adopt(id, tenant, key, pid);
        }
        let event = Event::Examined { tenant: tenant.clone(), run: run.identity.id, verdict };
        self.after(0, What::Heard(id, event));
    }

    fn adopt(&mut self, id: SupervisorId, tenant: &TenantName, run: RunKey, pid: i32) {
        let supervisor = &mut self.supervisors[id.0];
        let host = &mut self.hosts[supervisor.node];
        let tree = host.trees.get_mut(&pid).unwrap();
        tree.keeper = id;
        host.locks.get_mut(tenant).unwrap().supervisor = Some(id);
        let held = host.slots.iter_mut().find(|(_, held)| held.tree == Some(pid));
        let slot = held.map(|(number, held)| {
            held.supervisor = Some(id);
            *number
        });
        supervisor.unrecorded.insert(run);
        supervisor.adopting.insert(run);
        supervisor.runs.insert(tenant.clone(), Belongings { run, pid: Some(pid), slot, end_told: false });
        if !host.trees[&pid].main_lives {
            self.after(1, What::Collect { supervisor: id, pid });
        }
    }

    /// The main process is collected: its parent learns its status, an adopter only that it has ended.
    pub fn collect(&mut self, id: SupervisorId, pid: i32) {
        let Some((tenant, held)) =
            self.supervisors[id.0].runs.iter_mut().find(|(_, held)| held.pid == Some(pid) && !held.end_told)
        else {
            return;
        };
        held.end_told = true;
        let (tenant, run) = (tenant.clone(), held.run);
        let host = self.host_of(id);
        let tree = host.trees[&pid].clone();
        let exit = if tree.parent == id { tree.exit } else { Exit::Unknown };
        let end = tenantcron::scheduler::End { exit, cpu_seconds: None, max_rss_kb: None };
        self.ledger_ended(id, run, exit);
        self.hear(id, Event::Ended { tenant, end, group_left: tree.members_live });
    }
}
