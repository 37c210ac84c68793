//! SIGUSR2: another program takes the place of this one, or would not start.

use crate::supervisor::SupervisorId;
use crate::world::{What, World};
use tenantcron::model::Moment;
use tenantcron::scheduler::{AllEnds, Event, Rules, Scheduler};

impl World {
    /// All is at rest: the next program is tried, and then takes over. Meanwhile this one hears nothing.
    pub(super) fn replace(&mut self, id: SupervisorId) {
        self.check_rest(id);
        let (takes, fails) = self.supervisors[id.0].upgrade.take().unwrap_or((1_000, true));
        self.freeze(id, takes);
        self.after(takes, What::Replaced(id, fails));
    }

    pub fn replaced(&mut self, id: SupervisorId, fails: bool) -> Vec<Event> {
        if fails {
            self.trace.count("upgrade", &"Failed");
            return vec![Event::UpgradeFailed];
        }
        self.trace.count("upgrade", &"Done");
        let supervisor = &mut self.supervisors[id.0];
        let carried = supervisor.scheduler.carried_runs();
        let ends = supervisor.scheduler.unrecorded_ends(AllEnds::Yes);
        let born: Moment = supervisor.rules.born;
        let rules = Rules { seed: supervisor.rng.u64(..), born, ..supervisor.rules.clone() };
        self.check_carried(id, &carried, &ends);
        // Ends are in the file; what is lost or never began is found out again.
        let kept: Vec<_> = self.supervisors[id.0].runs.values().map(|held| held.run).collect();
        self.supervisors[id.0].unrecorded.retain(|run| kept.contains(run));
        let supervisor = &mut self.supervisors[id.0];
        let host = &mut self.hosts[supervisor.host];
        host.keep(supervisor.file(), id, ends);
        host.orphan_files_of(id);
        // What has ended is in the file, and watched by nobody.
        for tenant in std::mem::take(&mut supervisor.ended) {
            host.locks.remove(&tenant);
            host.keepers.remove(&tenant);
        }
        supervisor.generation += 1;
        supervisor.kept_version = 0;
        supervisor.scheduler = Scheduler::new(rules.clone());
        supervisor.rules = rules;
        supervisor.slots_above = true;
        supervisor.tick_at = None;
        supervisor.told_down.clear();
        supervisor.seen.clear();
        let mut events: Vec<_> = carried
            .into_iter()
            .map(|(tenant, run)| Event::Carried {
                listed: Box::new(self.plan.tenants[self.plan.place(&tenant.name)].clone()),
                run: Box::new(run),
            })
            .collect();
        events.extend(self.files_of_the_dead(id));
        let delay = self.supervisors[id.0].rng.u64(..200_000);
        self.after(delay, What::Listing(id));
        events
    }
}
