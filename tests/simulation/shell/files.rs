//! The state folder's unrecorded ends: written whenever the core says something else, found by whoever looks next.

use crate::flaws::Flaw;
use crate::supervisor::SupervisorId;
use crate::world::World;
use tenantcron::scheduler::{AllEnds, Event, FoundEnd, Mode};

impl World {
    /// After each step.
    pub(super) fn keep_ends(&mut self, id: SupervisorId) {
        let supervisor = &mut self.supervisors[id.0];
        let version = supervisor.scheduler.unrecorded_version();
        if version != supervisor.kept_version {
            supervisor.kept_version = version;
            self.write_ends(id, AllEnds::No);
        }
    }

    pub(super) fn write_ends(&mut self, id: SupervisorId, all: AllEnds) {
        let supervisor = &self.supervisors[id.0];
        let ends = supervisor.scheduler.unrecorded_ends(all);
        if !ends.is_empty() {
            self.trace.count("kept", &all);
        }
        self.hosts[supervisor.host].keep(supervisor.file(), id, ends);
    }

    /// What stands in a file of the dead.
    pub(super) fn ends_found(&self, number: u64) -> Option<Event> {
        let file = self.hosts.iter().find_map(|host| host.folder.get(&number))?;
        let end = |end: &tenantcron::model::Unrecorded| FoundEnd {
            database: self.plan.tenants[self.plan.place(&end.tenant.name)].database,
            tenant: end.tenant.name.clone(),
            finish: end.finish.clone(),
            ended_at: end.ended_at,
        };
        Some(Event::EndsFound { file: number, ends: file.ends.iter().map(end).collect() })
    }

    /// Before a look: all files of the dead.
    pub(super) fn files_of_the_dead(&self, id: SupervisorId) -> Vec<Event> {
        let supervisor = &self.supervisors[id.0];
        if supervisor.rules.mode == Mode::DryRun || self.plan.flaw == Some(Flaw::EndsAreIgnored) {
            return Vec::new();
        }
        let dead = self.hosts[supervisor.host].folder.iter().filter(|(_, file)| file.orphaned);
        dead.filter_map(|(number, _)| self.ends_found(*number)).collect()
    }

    pub(super) fn forget_file(&mut self, id: SupervisorId, number: u64) {
        self.check_forget(id, number);
        self.host_of(id).folder.remove(&number);
    }
}
