//! Lives are confirmed in time where nothing hinders it; notices come in pairs.

use crate::supervisor::SupervisorId;
use crate::world::World;
use tenantcron::model::DatabaseId;
use tenantcron::scheduler::Notice;

impl World {
    /// Without faults the pid is known after two seconds, and lives are confirmed every thirty.
    pub fn check_lives(&self, database: DatabaseId) {
        let store = self.store(database);
        let now = store.time(self.now);
        for run in store.content.open.values() {
            let key = self.key_of(database, &run.identity);
            let Some(tree) = self.hosts[0].tree_of(key).filter(|tree| tree.main_lives) else { continue };
            let (age, silent) = (now.since(run.identity.started_at).as_secs(), now.since(run.alive_at).as_secs());
            let known = run.pid == Some(tree.pid);
            assert!(age < 3 || known, "lives: t{} runs for {age} s and its pid is not recorded", tree.tenant);
            assert!(silent < 32, "lives: t{} runs and has not been confirmed for {silent} s", tree.tenant);
        }
    }

    pub fn check_notice(&mut self, id: SupervisorId, notice: &Notice) {
        self.trace.count("notice", notice);
        let calm = self.plan.is_calm();
        let told_down = &mut self.supervisors[id.0].told_down;
        match notice {
            Notice::DatabaseDown { database, .. } => {
                assert!(told_down.insert(*database), "notices: {database:?} is told to be down twice")
            }
            Notice::DatabaseUp { database, .. } => {
                assert!(told_down.remove(database), "notices: {database:?} is told to be up, and was not down")
            }
            Notice::Ending { why, killed: false, .. } => {
                self.trace.count("why", &reason(why));
                let fenced = why.contains("could not be confirmed");
                assert!(!calm || !fenced, "notices: a calm night, and a run is ended: {why}");
            }
            Notice::Repaired { run, before, .. } if run != before => self.trace.count("notice", &"RepairedAnew"),
            _ => {}
        }
    }
}

/// A word for each reason to end a run.
fn reason(why: &str) -> &'static str {
    let words = [
        ("job.timeout", "Timeout"),
        ("stale", "Stale"),
        ("stops", "Shutdown"),
        ("closed by somebody else", "ClosedByAnother"),
        ("another run", "AnotherRunOpen"),
        ("could not be confirmed", "Unconfirmed"),
    ];
    words.into_iter().find(|(part, _)| why.contains(part)).map_or("Unknown", |(_, word)| word)
}
