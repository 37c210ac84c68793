//! Children: started, signalled, collected.

use crate::host::{RunKey, Tree};
use crate::plan::{Fault, Odds};
use crate::supervisor::{Belongings, SupervisorId};
use crate::world::{What, World};
use tenantcron::model::{DbTime, RunId, TenantName};
use tenantcron::scheduler::{End, Event, Exit, Force, NotStarted};

/// What a child will do.
#[derive(Debug)]
pub struct Child {
    pub trouble: Option<NotStarted>,
    /// For so long; none: for ever.
    pub life: Option<u64>,
    pub exit: Exit,
    pub stubborn: bool,
    /// Members of its group live on for so long.
    pub members: Option<u64>,
    /// A daemon lives on for so long.
    pub daemon: Option<u64>,
    pub orphaned: bool,
}

impl World {
    pub(super) fn start(&mut self, id: SupervisorId, tenant: &TenantName, run: RunId, started_at: DbTime) {
        let place = self.plan.place(tenant);
        let key = RunKey { database: self.plan.tenants[place].database, tenant: place, started_at };
        self.check_start(id, key, run);
        let odds = if self.healed { Odds::default() } else { self.plan.odds };
        let child = self.child(place, &odds);
        let supervisor = &mut self.supervisors[id.0];
        let slot = if supervisor.rules.mode.uses_slots() { supervisor.slots.pop() } else { None };
        let held = Belongings { run: key, id: run, process: None, slot, adopted: false, end_told: false };
        supervisor.runs.insert(place, held);
        let (delay, node) = (supervisor.rng.u64(..20_000), supervisor.node);
        let host = self.host_of(id);
        if let Some(file) = host.files.get_mut(&place) {
            file.run = Some((run, started_at));
        }
        if let Some(why) = child.trouble {
            self.ledger_not_started(id, key, &why);
            return self.tell(id, delay, Event::NotStarted { tenant: tenant.clone(), why });
        }
        let tree = Tree {
            tenant: place,
            run: key,
            id: run,
            pid: 0,
            start: 0,
            node,
            parent: id,
            keeper: id,
            kept_since: self.now,
            main_lives: true,
            exit: child.exit,
            members_live: child.members.is_some(),
            daemon: child.daemon.is_some(),
            stubborn: child.stubborn,
            counted: slot.is_some(),
            excuse: self.excuse_of(key),
            buried_at: 0,
            repaired_at: 0,
        };
        let now = self.now;
        let process = self.host_of(id).spawn(now, tree, slot.map(|slot| (node, slot)));
        self.plan_deaths(id, process.0, delay, &child);
        if child.orphaned {
            self.say(|world| format!("{} is killed right after it spawned {tenant}", world.supervisors[id.0].name));
            return self.die(id);
        }
        self.host_of(id).files.get_mut(&place).unwrap().process = Some(process);
        self.supervisors[id.0].runs.get_mut(&place).unwrap().process = Some(process);
        let (pid, pid_start) = process;
        self.tell(id, delay, Event::Started { tenant: tenant.clone(), pid, pid_start });
    }

    /// What the next child of a tenant will do.
    fn child(&mut self, place: usize, odds: &Odds) -> Child {
        let starts = self.starts.entry(place).or_default();
        *starts += 1;
        let fault = Fault::Child(place, *starts);
        let mut rng = self.child_dice(place);
        let plain = Child {
            trouble: None,
            life: Some(rng.u64(1_000..1_500_000)),
            exit: Exit::Code(0),
            stubborn: false,
            members: None,
            daemon: None,
            orphaned: false,
        };
        if self.healed || !self.plan.happens(fault) {
            return plain;
        }
        self.faults.push(fault);
        super::fate::child(odds, &mut rng)
    }

    fn plan_deaths(&mut self, id: SupervisorId, pid: i32, delay: u64, child: &Child) {
        // What never ends by itself is ended by an operator once faults have ceased, if nobody else could.
        let at_last = self.plan.heal_at + 100_000_000;
        let life = child.life.unwrap_or(at_last.saturating_sub(self.now + delay));
        self.dies(id, pid, delay + life, child.exit);
        if let Some(longer) = child.members {
            self.members_die(id, pid, delay + life + longer);
        }
        if let Some(longer) = child.daemon {
            let (host, boot) = (self.supervisors[id.0].host, self.host_of(id).boot);
            self.after(delay + life + longer, What::DaemonDies { host, boot, pid });
        }
    }

    pub(super) fn signal(&mut self, id: SupervisorId, tenant: &TenantName, force: Force) {
        let held = self.supervisors[id.0].runs[&self.plan.place(tenant)];
        self.check_signal(id, tenant, held);
        let Some(tree) = self.host_of(id).tree_of(held.run).cloned() else { return };
        let rng = &mut self.supervisors[id.0].rng;
        let delay = match force {
            Force::Term if tree.stubborn => return,
            Force::Term => rng.u64(..2_000_000),
            Force::Kill => rng.u64(..10_000),
        };
        let number = if force == Force::Term { 15 } else { 9 };
        let exit = if force == Force::Term && rng.bool() { Exit::Code(0) } else { Exit::Signal(number) };
        let later = rng.u64(..1_000_000) * u64::from(force == Force::Term);
        self.dies(id, tree.pid, delay, exit);
        self.members_die(id, tree.pid, delay + later);
    }

    fn dies(&mut self, id: SupervisorId, pid: i32, delay: u64, exit: Exit) {
        let (host, boot) = (self.supervisors[id.0].host, self.host_of(id).boot);
        self.after(delay, What::MainDies { host, boot, pid, exit });
    }

    fn members_die(&mut self, id: SupervisorId, pid: i32, delay: u64) {
        let (host, boot) = (self.supervisors[id.0].host, self.host_of(id).boot);
        self.after(delay, What::MembersDie { host, boot, pid });
    }

    /// The main process is collected: its parent learns its status, an adopter only that it has ended.
    pub fn collect(&mut self, id: SupervisorId, pid: i32) -> Option<Event> {
        let supervisor = &mut self.supervisors[id.0];
        let fits = |held: &Belongings| held.process.is_some_and(|process| process.0 == pid) && !held.end_told;
        let (place, held) = supervisor.runs.iter_mut().find(|(_, held)| fits(held))?;
        held.end_told = true;
        let (place, run) = (*place, held.run);
        let tree = self.host_of(id).trees[&pid].clone();
        let exit = if tree.parent == id { tree.exit } else { Exit::Unknown };
        let end = End { exit, cpu_seconds: None, max_rss_kb: None };
        self.ledger_ended(id, run, exit);
        let tenant = self.plan.tenants[place].tenant.name.clone();
        Some(Event::Ended { tenant, end, group_left: tree.members_live })
    }
}
