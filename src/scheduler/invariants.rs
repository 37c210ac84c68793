//! What must hold after every step (DESIGN 2), checked in debug builds and in every simulated world.

use super::run::Phase;
use super::state::Scheduler;
use super::tenant::Stage;

impl Scheduler {
    /// The broken invariants, in words; empty if all hold.
    pub fn broken_invariants(&self) -> Vec<String> {
        let mut broken = Vec::new();
        let mut check = |holds: bool, what: &dyn Fn() -> String| {
            if !holds {
                broken.push(what());
            }
        };
        let runs = || self.tenants.iter().filter_map(|(id, tenant)| tenant.run().map(|run| (id, tenant, run)));
        let with_slot = runs().filter(|(_, _, run)| run.slot).count();
        check(with_slot == self.counts.slots_held as usize, &|| {
            format!("{with_slot} runs hold slots, {} are counted", self.counts.slots_held)
        });
        for (id, tenant, run) in runs() {
            let in_database = self.database(run.database).is_some_and(|database| database.runs.contains(&id));
            check(in_database == (run.phase != Phase::Ended), &|| {
                format!("{}: run {} is filed wrongly", tenant.name(), run.identity.id)
            });
            check(run.phase != Phase::Ended || run.verdict.is_some(), &|| {
                format!("{}: ended without a verdict", tenant.name())
            });
            let waits = self.database(run.database).is_some_and(|database| database.to_record.contains(&id));
            check(run.phase != Phase::Ended || run.recording != waits, &|| {
                format!("{}: the end of run {} would be forgotten", tenant.name(), run.identity.id)
            });
        }
        let offered: usize = self.tenants.iter().filter(|(_, tenant)| matches!(tenant.stage, Stage::Offered)).count();
        check(offered > 0 || self.counts.slots_offered == 0, &|| {
            format!("{} slots are held for claims that offer nobody", self.counts.slots_offered)
        });
        for place in &self.queue {
            let fine = self.tenants.get(place.id).is_some_and(|tenant| tenant.is_idle() && tenant.present);
            check(fine, &|| format!("the queue holds {place:?}, who cannot start"));
        }
        broken
    }

    #[expect(clippy::panic, reason = "debug builds and simulations stop at the first broken invariant")]
    pub(super) fn assert_invariants(&self) {
        let broken = self.broken_invariants();
        if !broken.is_empty() {
            panic!("invariants broken: {}", broken.join("; "));
        }
    }
}
