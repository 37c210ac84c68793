//! What must hold after every step (DESIGN 2), checked in debug builds and in every simulated world.

use super::databases::Database;
use super::limits::{Counts, Locking};
use super::queue::counted;
use super::run::Phase;
use super::state::Scheduler;
use super::tenant::Counted;

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
        for (id, tenant) in self.tenants.iter() {
            let database = self.database(tenant.listed.database);
            let filed = database.is_some_and(|database| database.not_done.contains(&id));
            check(filed == tenant.is_not_done(), &|| format!("{}: a short look would misjudge it", tenant.name()));
        }
        let mut counts = Counts::default();
        for (_, tenant) in self.tenants.iter() {
            counts.busy += usize::from(self.is_busy(tenant));
            if let Some(Counted(group)) = counted(tenant) {
                counts.running(group.as_deref(), true);
            }
        }
        let same = (counts.busy, counts.cluster, &counts.groups)
            == (self.counts.busy, self.counts.cluster, &self.counts.groups);
        check(same, &|| format!("{:?} are counted, and there are {counts:?}", self.counts));
        let limits: u32 = self.databases.iter().map(Database::slots_offered).sum();
        let asked = self.locking.as_ref().map_or(0, Locking::slots);
        let offered = if self.rules.mode.uses_slots() { limits + asked } else { 0 };
        check(offered == self.counts.slots_offered, &|| {
            format!("{offered} slots are held for offers, {} are counted", self.counts.slots_offered)
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
