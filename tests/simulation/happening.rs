//! What is due happens: one entry of the agenda after the other, until the night is over.

use crate::plan::Fault;
use crate::supervisor::SupervisorId;
use crate::world::{What, World};
use tenantcron::model::{DatabaseId, DbTime, RowValue};
use tenantcron::scheduler::{Event, Exit};

impl World {
    /// A whole night, to its proper end. Panics where an invariant breaks.
    pub fn run(&mut self) {
        if self.trace.on {
            let plan = crate::trace::plan(&self.plan);
            self.say(|_| plan);
        }
        for node in self.nodes_of(None) {
            self.after(self.plan.nodes[node].from, What::Boot(node));
        }
        for place in 0..self.plan.deeds.len() {
            let at = self.plan.deeds[place].0;
            if at < self.plan.heal_at && self.plan.happens(Fault::Deed(place)) {
                self.after(at, What::Deed(place));
            }
        }
        self.after(self.plan.heal_at, What::Heal);
        while let Some(((at, _), what)) = self.agenda.pop_first() {
            self.now = at;
            self.happen(what);
            if self.closing_time && self.supervisors.iter().all(|supervisor| !supervisor.lives) {
                return self.check_morning();
            }
        }
        panic!("liveness: the night ends and somebody is still up");
    }

    fn happen(&mut self, what: What) {
        if let Some(until) = self.frozen(&what) {
            return match what {
                // The program that hears all the rest.
                What::Replaced(id, _) => drop(self.agenda.insert((until, id.0 as u64), what)),
                _ => self.after(until - self.now, what),
            };
        }
        if let Some(id) = addressee(&what) {
            let mut events = self.taken_in(id, what);
            // What is heard at the same moment is sometimes taken in together.
            while self.plan.batches
                && let Some(next) = self.agenda.first_entry()
                && next.key().0 == self.now
                && addressee(next.get()) == Some(id)
            {
                let next = next.remove();
                events.extend(self.taken_in(id, next));
            }
            // The shell gathers signals before anything else.
            events.sort_by_key(|event| match event {
                Event::Carried { .. } => 0,
                Event::StopAsked | Event::DrainAsked => 1,
                _ => 2,
            });
            return self.hear(id, events);
        }
        match what {
            What::Arrived(arrival) => self.arrived(*arrival),
            What::MainDies { host, boot, pid, exit } => self.main_died(host, boot, pid, exit),
            What::MembersDie { host, boot, pid } if self.hosts[host].boot == boot => {
                if let Some(tree) = self.hosts[host].trees.get_mut(&pid) {
                    tree.members_live = false;
                }
                self.bury_if_gone(host, pid);
            }
            What::DaemonDies { host, boot, pid } if self.hosts[host].boot == boot => {
                if let Some(tree) = self.hosts[host].trees.get_mut(&pid) {
                    tree.daemon = false;
                }
                self.hosts[host].daemon_dies(pid);
            }
            What::FailsOver { database, copy, down, step } => self.fail_over(database, *copy, down, step),
            What::RowUnlocked(database, key) => {
                let now = self.now;
                let store = &mut self.databases[database.0 as usize];
                store.locked.remove(&key);
                store.locked_runs.remove(&key);
                store.hindered_at = now;
            }
            What::ForeignDone(database, tenant, since) => self.foreign_done(database, tenant, since),
            What::Boot(node) => self.boot_daemon(node),
            What::PowerOn(host) => self.power_on(host),
            What::Deed(place) => self.deed(place),
            What::Heal => self.heal(),
            What::LookIfWell => self.close_if_well(),
            What::MustBeGone(id, frozen_for) => self.must_be_gone(id, frozen_for),
            What::MustAgree(run, since) => self.check_agreement(run, since),
            What::PatienceEnds => self.check_patience(),
            What::MembersDie { .. } | What::DaemonDies { .. } => {}
            What::Heard(..)
            | What::Tick(_)
            | What::Listing(_)
            | What::Answered { .. }
            | What::Collect { .. }
            | What::Examine(..)
            | What::Replaced(..) => unreachable!("heard above"),
        }
    }

    /// Until when whoever it is for does nothing.
    fn frozen(&self, what: &What) -> Option<u64> {
        let until = match (addressee(what), what) {
            (Some(id), _) => {
                let supervisor = &self.supervisors[id.0];
                if !supervisor.lives {
                    return None;
                }
                supervisor.frozen_until.max(self.hosts[supervisor.host].frozen_until)
            }
            (None, What::MainDies { host, .. } | What::MembersDie { host, .. } | What::DaemonDies { host, .. }) => {
                self.hosts[*host].frozen_until
            }
            (None, _) => 0,
        };
        (until > self.now).then_some(until)
    }

    /// What a supervisor hears of it.
    fn taken_in(&mut self, id: SupervisorId, what: What) -> Vec<Event> {
        if !self.supervisors[id.0].lives {
            return Vec::new();
        }
        match what {
            What::Heard(_, event) => vec![*event],
            What::Tick(_) => {
                // The alarm that was set last, or one that had to wait.
                self.supervisors[id.0].tick_at.take_if(|at| *at <= self.now).map(|_| Event::Tick).into_iter().collect()
            }
            What::Listing(_) => self.list(id),
            What::Answered { database, number, result, of, .. } => self.answered(id, database, number, *result, of),
            What::Collect { pid, .. } => self.collect(id, pid).into_iter().collect(),
            What::Examine(_, unknown) => self.examine(id, &unknown),
            What::Replaced(_, fails) => self.replaced(id, fails),
            _ => unreachable!("addressed to nobody"),
        }
    }

    fn main_died(&mut self, host: usize, boot: u32, pid: i32, exit: Exit) {
        if self.hosts[host].boot != boot {
            return;
        }
        let Some(tree) = self.hosts[host].trees.get_mut(&pid).filter(|tree| tree.main_lives) else { return };
        (tree.main_lives, tree.exit) = (false, exit);
        let supervisor = tree.keeper;
        self.after(0, What::Collect { supervisor, pid });
        self.bury_if_gone(host, pid);
    }

    fn bury_if_gone(&mut self, host: usize, pid: i32) {
        if self.hosts[host].trees.get(&pid).is_some_and(|tree| !tree.lives()) {
            let now = self.now;
            self.hosts[host].bury(now, pid);
        }
    }

    fn must_be_gone(&mut self, id: SupervisorId, frozen_for: u64) {
        let supervisor = &self.supervisors[id.0];
        let longer = supervisor.frozen_for - frozen_for;
        if supervisor.lives && longer > 0 {
            let frozen_for = supervisor.frozen_for;
            return self.after(longer, What::MustBeGone(id, frozen_for));
        }
        assert!(!supervisor.lives, "after a stop: {} was stopped and has not exited", supervisor.name);
    }

    fn foreign_done(&mut self, database: DatabaseId, tenant: usize, since: DbTime) {
        let key = &self.plan.tenants[tenant].key;
        let store = &mut self.databases[database.0 as usize];
        let now = store.time(self.now);
        if let Some(row) = store.content.rows.get_mut(&**key)
            && row.value == RowValue::Running
            && row.updated_at == since
            && !store.content.open.contains_key(&**key)
        {
            (row.value, row.updated_at) = (RowValue::Done, now);
        }
        self.ledger.foreign.remove(&(database, tenant));
    }
}

fn addressee(what: &What) -> Option<SupervisorId> {
    match what {
        What::Heard(id, _)
        | What::Tick(id)
        | What::Listing(id)
        | What::Answered { supervisor: id, .. }
        | What::Collect { supervisor: id, .. }
        | What::Examine(id, _)
        | What::Replaced(id, _) => Some(*id),
        What::Arrived(_)
        | What::MainDies { .. }
        | What::MembersDie { .. }
        | What::DaemonDies { .. }
        | What::FailsOver { .. }
        | What::RowUnlocked(..)
        | What::ForeignDone(..)
        | What::Boot(_)
        | What::PowerOn(_)
        | What::Deed(_)
        | What::Heal
        | What::LookIfWell
        | What::MustBeGone(..)
        | What::MustAgree(..)
        | What::PatienceEnds => None,
    }
}
