//! Runs that the core does not know and locks that others hold: who lives, who watches, what was left behind. The
//! evidence is the kernel's, read by `process`; here it becomes the core's verdicts.

use super::event_loop::Supervisor;
use super::runs::Belongings;
use crate::model::{RunId, TenantName};
use crate::process::{self, Adopted, Adoption, LockFile, Process};
use crate::scheduler::{Event, Unknown, Verdict};

impl Supervisor {
    pub(super) fn examine(&mut self, unknown: &Unknown) {
        let Unknown { tenant, run, may_adopt } = unknown;
        let mut verdict = match process::examine(&self.state, tenant, run, &self.identity.host, self.me) {
            Ok(process::Verdict::Dead) => Verdict::Dead,
            Ok(process::Verdict::Living { process }) if *may_adopt => self.adopt(tenant, run.identity.id, process),
            Ok(process::Verdict::Living { .. } | process::Verdict::Supervised { .. }) => Verdict::Supervised,
            Ok(process::Verdict::Claimed) => Verdict::Undecided,
            Err(error) => {
                log::warn!("{tenant}: cannot tell whether run {} lives: {error}", run.identity.id);
                Verdict::Undecided
            }
        };
        // Dead it is, but how it ended may be known.
        if verdict == Verdict::Dead && self.is_end_kept(run) {
            verdict = Verdict::Undecided;
        }
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

    /// Who holds a tenant's lock, by its file; where that names nobody alive, a process was left behind: it is named
    /// every hour, and the tenant waits for it.
    pub(super) fn holder_of(&mut self, tenant: &TenantName) -> Option<i32> {
        let path = self.state.tenant_lock(tenant);
        let file = LockFile::read(&path).unwrap_or_default();
        let living = |process: &Process| process.is_alive().unwrap_or(true);
        match (file.process.filter(living), file.supervisor.filter(living)) {
            (Some(process), _) => return Some(process.pid),
            // Offered to a claim, or just ending: no process to name.
            (None, Some(_)) => return None,
            (None, None) => {}
        }
        let subject = format!("left {tenant}");
        if self.told_within_the_hour(&subject) {
            return None;
        }
        let holders = process::holders(&path).unwrap_or_default();
        let pids: Vec<_> = holders.iter().map(|process| process.pid.to_string()).collect();
        let text = format!(
            "{tenant}: waits, its lock is held by a process that an earlier run left behind (pid {}): end that process",
            if pids.is_empty() { "not visible to this user".to_owned() } else { pids.join(", ") }
        );
        self.alert_hourly(&subject, &text);
        holders.first().map(|process| process.pid)
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
