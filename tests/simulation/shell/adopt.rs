//! Open runs that a core does not know: judged by the host's evidence, adopted, or told to be what they are.

use crate::flaws::Flaw;
use crate::host::{Held, Judged, Process, RunKey};
use crate::supervisor::{Belongings, SupervisorId};
use crate::world::{What, World};
use tenantcron::scheduler::{Event, Unknown, Verdict};

impl World {
    /// The answer, and before it what the state folder says.
    pub fn examine(&mut self, id: SupervisorId, unknown: &Unknown) -> Vec<Event> {
        let Unknown { tenant, run, may_adopt, silent } = unknown;
        let place = self.plan.place(tenant);
        let unreadable = self.unreadable(id);
        let host = &self.hosts[self.supervisors[id.0].host];
        let living = |other: SupervisorId| self.supervisors[other.0].lives;
        let judged = host.judge(place, run, *silent, id, living, self.plan.flaw);
        let key = self.key_of(self.plan.tenants[place].database, &run.identity);
        let mut events = Vec::new();
        let verdict = match judged {
            _ if unreadable => Verdict::Undecided,
            Judged::Living(process) if *may_adopt => self.adopt(id, key, run.identity.id, process),
            Judged::Living(_) | Judged::Supervised => Verdict::Supervised,
            Judged::Claimed => Verdict::Undecided,
            Judged::Dead if self.plan.flaw == Some(Flaw::EndsAreIgnored) => Verdict::Dead,
            Judged::Dead => match host.file_naming(run) {
                None => Verdict::Dead,
                Some((_, file)) if !file.orphaned => Verdict::Supervised,
                // Its end is known: it is recorded, not lost.
                Some((number, _)) => {
                    events.extend(self.ends_found(number));
                    Verdict::Undecided
                }
            },
        };
        if judged == Judged::Dead {
            self.let_go(id, place);
        }
        self.trace.count("judged", &judged);
        // A `--once` beside it may go by a configuration of before.
        self.supervisors[id.0].slots_above |= verdict == Verdict::Supervised;
        events.push(Event::Examined { tenant: tenant.clone(), run: run.identity.id, verdict });
        events
    }

    /// Now and then nothing can be told.
    pub(super) fn unreadable(&mut self, id: SupervisorId) -> bool {
        let odds = if self.healed { 0.0 } else { self.plan.odds.unreadable };
        self.supervisors[id.0].rng.f64() < odds
    }

    fn adopt(&mut self, id: SupervisorId, run: RunKey, number: tenantcron::model::RunId, process: Process) -> Verdict {
        let place = run.tenant;
        let verdict = Verdict::Adopted { pid: process.0, pid_start: process.1 };
        if self.supervisors[id.0].runs.get(&place).is_some_and(|known| known.id == number && known.adopted) {
            return verdict;
        }
        let now = self.now;
        let supervisor = &mut self.supervisors[id.0];
        let (node, workers) = (supervisor.node, supervisor.rules.workers);
        let host = &mut self.hosts[supervisor.host];
        if host.keepers.get(&place).is_some_and(|keeper| *keeper != id) {
            return Verdict::Supervised;
        }
        host.keepers.insert(place, id);
        let held = host.locks.entry(place).or_default();
        let fetches = self.plan.may_fetch;
        if (held.tree == Some(process.0) && fetches) || *held == Held::default() {
            held.supervisor = Some(id);
        }
        let mut slot = None;
        let slots = host.slots.iter_mut().filter(|(_, held)| held.tree == Some(process.0) && fetches);
        for ((_, number), held) in slots {
            held.supervisor = Some(id);
            slot = Some(*number);
        }
        let slot = slot.or_else(|| host.take_slots(node, 1, workers, id).first().copied());
        let tree = host.trees.get_mut(&process.0).unwrap();
        (tree.keeper, tree.kept_since) = (id, now);
        let main_lives = tree.main_lives;
        supervisor.unrecorded.insert(run);
        supervisor.adopting.insert(run);
        supervisor.confirmed.remove(&run);
        let belongings = Belongings { run, id: number, process: Some(process), slot, adopted: true, end_told: false };
        supervisor.runs.insert(place, belongings);
        if !main_lives {
            self.after(1, What::Collect { supervisor: id, pid: process.0 });
        }
        verdict
    }
}
