//! Runs that the core does not know and locks that others hold: who lives, who watches, what was left behind. The
//! evidence is the kernel's, read by `process`; here it becomes the core's verdicts.

use super::event_loop::Supervisor;
use super::runs::Belongings;
use crate::model::{RunId, TenantName};
use crate::process::{self, Adopted, Adoption, Heard, LetGo, Process};
use crate::scheduler::{Event, Unknown, Verdict};
use std::time::Duration;

/// Slots are searched for what was left behind at most so often.
const SEARCH_AGAIN: Duration = Duration::from_secs(60);

impl Supervisor {
    pub(super) fn examine(&mut self, unknown: &Unknown) {
        let Unknown { tenant, run, may_adopt, silent } = unknown;
        let heard = if *silent { Heard::LongAgo } else { Heard::Lately };
        let mut verdict = match process::examine(&self.state, tenant, run, heard, &self.identity.host, self.me) {
            Ok(process::Verdict::Dead) => Verdict::Dead,
            Ok(process::Verdict::Living { process }) if *may_adopt => self.adopt(tenant, run.identity.id, process),
            Ok(process::Verdict::Living { .. } | process::Verdict::Supervised { .. }) => Verdict::Supervised,
            Ok(process::Verdict::Claimed) => Verdict::Undecided,
            Err(error) => {
                log::warn!("{tenant}: cannot tell whether run {} lives: {error}", run.identity.id);
                Verdict::Undecided
            }
        };
        if verdict == Verdict::Dead {
            self.let_go(tenant);
            // How it ended may be known all the same.
            if self.is_end_kept(run) {
                verdict = Verdict::Undecided;
            }
        }
        // A `--once` beside us may go by a configuration of before, whose workers were more.
        self.slots_above |= verdict == Verdict::Supervised;
        self.events.push_back(Event::Examined { tenant: tenant.clone(), run: run.identity.id, verdict });
    }

    fn adopt(&mut self, tenant: &TenantName, run: RunId, process: Process) -> Verdict {
        if self.runs.get(tenant).is_some_and(|known| known.run == run && known.adopted.is_some()) {
            return Verdict::Adopted { pid: process.pid, pid_start: process.start };
        }
        match Adopted::adopt(&self.state, &self.slot_files, tenant, process, self.me) {
            Ok(Adoption::Adopted(mut adopted)) => {
                if !adopted.has_slot()
                    && let Ok(mut slots) = self.slot_files.take(1, self.workers)
                    && let Some(slot) = slots.pop()
                {
                    adopted.give_slot(slot);
                }
                let belongings = Belongings {
                    run,
                    lock: None,
                    slot: None,
                    log: None,
                    process: Some(process),
                    own_peak_kb: 0,
                    adopted: Some(adopted),
                    end_told: false,
                };
                self.runs.insert(tenant.clone(), belongings);
                Verdict::Adopted { pid: process.pid, pid_start: process.start }
            }
            Ok(Adoption::KeptBy(_)) => Verdict::Supervised,
            Ok(Adoption::Ended) => Verdict::Dead,
            Err(error) => {
                log::error!("{tenant}: run {run} lives and cannot be adopted: {error}");
                Verdict::Undecided
            }
        }
    }

    /// The lock of a tenant is held by another. What an earlier run left behind is made to let go of it; where that
    /// cannot be done it is named every hour, and the tenant waits for it.
    pub(super) fn another_holds(&mut self, tenant: &TenantName) -> LetGo {
        let subject = format!("left {tenant}");
        if self.told_within_the_hour(&subject) {
            // It was tried, and costs a look at every process.
            return LetGo::Stuck;
        }
        let found = self.let_go(tenant);
        if found == LetGo::Stuck {
            let holders = process::holders(&self.state.tenant_lock(tenant)).unwrap_or_default();
            let pids: Vec<_> = holders.iter().map(|process| process.pid.to_string()).collect();
            let pids = if pids.is_empty() { "not visible to this user".to_owned() } else { pids.join(", ") };
            let text = format!(
                "{tenant}: waits, its lock is held by a process that an earlier run left behind (pid {pids}): end that process"
            );
            self.alert_hourly(&subject, &text);
        }
        found
    }

    fn let_go(&mut self, tenant: &TenantName) -> LetGo {
        match process::let_go(&self.state, &self.slot_files, tenant, &self.identity.host) {
            Ok(LetGo::GivenUp) => {
                self.name_left_behind(tenant);
                LetGo::GivenUp
            }
            Ok(other) => other,
            Err(error) => {
                log::warn!("{tenant}: cannot tell who holds its lock: {error}");
                LetGo::InUse(None)
            }
        }
    }

    /// Fewer slots are free than by our own count: what daemons of runs that are over hold of them is given up. True if
    /// that was so. Looked into once a minute: others may well hold slots.
    pub(super) fn free_slots_left_behind(&mut self) -> bool {
        let now = self.clock.now();
        if self.slots_searched.is_some_and(|at| now.since(at) < SEARCH_AGAIN) {
            return false;
        }
        self.slots_searched = Some(now);
        let tenants = process::tenants_with_slots(&self.state, &self.slot_files).unwrap_or_else(|error| {
            log::warn!("cannot see who holds the slots: {error}");
            Vec::new()
        });
        let others = tenants.into_iter().filter(|tenant| self.runs.get(tenant).is_none()).collect::<Vec<_>>();
        others.iter().filter(|tenant| self.let_go(tenant) == LetGo::GivenUp).count() > 0
    }

    /// A daemon that left the group and took the lock with it is named, once, and let go, as under cron.
    pub(super) fn name_left_behind(&mut self, tenant: &TenantName) {
        let left = match process::left_behind(&self.state, tenant, self.me) {
            Ok(left) => left,
            Err(error) => return log::debug!("{tenant}: cannot see who holds its lock: {error}"),
        };
        let known = self.left_behind.remove(tenant).unwrap_or_default();
        for process in left.iter().filter(|process| !known.contains(process)) {
            log::warn!(
                "{tenant}: pid {} left the run's process group and still holds its lock: let go, the tenant runs again",
                process.pid
            );
        }
        if !left.is_empty() {
            self.left_behind.insert(tenant.clone(), left);
        }
    }
}
