//! Actions become calls, in order; what they answer goes to the core as events.

use super::event_loop::Supervisor;
use super::runs::Belongings;
use crate::logging::ALERT;
use crate::model::{DatabaseId, DbTime, RunId, TenantName};
use crate::process::{self, Adopted, Adoption, LockFile, Process, StateFolder, SupervisorLock, TenantLock};
use crate::scheduler::{Action, Event, Mode, Unknown, Verdict};
use std::fs::File;
use std::time::Duration;

impl Supervisor {
    pub(super) fn perform(&mut self, action: Action) {
        match action {
            Action::Lock { tenants, slots } => self.lock(tenants, slots),
            Action::Unlock { tenants, slots } => self.unlock(&tenants, slots),
            Action::Exchange { database, exchange } => self.engine.exchange(database, exchange),
            Action::Start { tenant, run, started_at } => self.start_child(&tenant, run, started_at),
            Action::Signal { tenant, force } => self.signal(&tenant, force),
            Action::CheckGroup { tenant } => self.check_group(&tenant),
            Action::ProbeLock { tenant } => self.probe_lock(tenant),
            Action::Examine(unknown) => self.examine(&unknown),
            Action::Close(closing) => self.close(&closing),
            Action::Renumber { tenant, run, started_at } => self.renumber(&tenant, run, started_at),
            Action::Forget { file: _ } => {}
            Action::Upgrade => self.events.push_back(Event::UpgradeFailed),
            Action::Exit { reason } => self.leaving = Some(reason),
        }
    }

    fn lock(&mut self, tenants: Vec<TenantName>, slots: u32) {
        let taken = if slots > 0 { self.take_slots(slots) } else { 0 };
        if slots > 0 && taken == 0 {
            return self.events.push_back(Event::Locked { won: Vec::new(), held: Vec::new(), slots: 0 });
        }
        let (mut won, mut held) = (Vec::with_capacity(tenants.len()), Vec::new());
        for tenant in tenants {
            match self.take_lock(&tenant) {
                Ok(Some(lock)) => {
                    self.locks.insert(tenant.clone(), lock);
                    won.push(tenant);
                }
                Ok(None) => {
                    let pid = self.holder_of(&tenant);
                    held.push((tenant, pid));
                }
                Err(error) => {
                    self.remake_state();
                    self.alert_hourly(
                        &format!("lock {tenant}"),
                        &format!("{tenant}: cannot be started, its lock cannot be taken: {error}"),
                    );
                    held.push((tenant, None));
                }
            }
        }
        self.events.push_back(Event::Locked { won, held, slots: taken });
    }

    /// Who holds a tenant's lock, by its file; where that names nobody alive, a process was left behind: it is named
    /// every hour, and the tenant waits for it.
    fn holder_of(&mut self, tenant: &TenantName) -> Option<i32> {
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

    fn take_lock(&mut self, tenant: &TenantName) -> Result<Option<TenantLock>, process::LockError> {
        let Some(mut lock) = TenantLock::try_take(&self.state, tenant)? else { return Ok(None) };
        lock.write_claiming(self.me, &self.identity.host)?;
        Ok(Some(lock))
    }

    /// Slots for the claims that are about to be made; answers how many were free. Slots above our number may be
    /// held (after a reload that lowered it, or from an earlier supervisor): then nothing starts until fewer are held in all.
    fn take_slots(&mut self, wanted: u32) -> u32 {
        let mut wanted = wanted;
        if self.slots_above {
            match self
                .slot_files
                .held_above(self.workers)
                .and_then(|above| Ok((above, self.slot_files.held_by_anyone()?)))
            {
                Ok((0, _)) => self.slots_above = false,
                Ok((_, all)) => wanted = wanted.min(self.workers.saturating_sub(all)),
                Err(error) => self.alert_hourly("slots", &format!("the slots cannot be counted: {error}")),
            }
        }
        match self.slot_files.take(wanted as usize, self.workers) {
            Ok(slots) => {
                let taken = u32::try_from(slots.len()).unwrap_or(u32::MAX);
                self.slots.extend(slots);
                taken
            }
            Err(error) => {
                self.remake_state();
                self.alert_hourly("slots", &format!("nothing can be started, the slots cannot be taken: {error}"));
                0
            }
        }
    }

    /// The state folder was removed under us: it is made anew, and our place in it taken again, so that the night
    /// goes on. Where somebody else has taken that place meanwhile, we leave.
    fn remake_state(&mut self) {
        if self.state.file("tenants").is_dir() {
            return;
        }
        let path = self.state.path().to_owned();
        let made = StateFolder::make(Some(&path), &self.identity.instance, &process::Places::here());
        match made.map_err(|why| why.to_string()) {
            Ok(_) => {
                log::error!(target: ALERT, "state folder {} was removed: made anew; leave it alone", path.display())
            }
            Err(why) => {
                return self
                    .alert_hourly("state", &format!("state folder {} cannot be made anew: {why}", path.display()));
            }
        }
        if self.mode != Mode::Daemon {
            return;
        }
        match SupervisorLock::take(&self.state, &self.identity.node, self.me) {
            Ok(Ok(lock)) => self._lock = Some(lock),
            Ok(Err(_)) => {
                log::error!(target: ALERT, "another supervisor took our place meanwhile: this one drains and leaves");
                self.events.push_back(Event::DrainAsked);
            }
            Err(error) => self.alert_hourly("state", &error.to_string()),
        }
    }

    fn unlock(&mut self, tenants: &[TenantName], slots: u32) {
        for tenant in tenants {
            if let Some(lock) = self.locks.remove(tenant)
                && let Err(error) = lock.unlock()
            {
                log::error!("{tenant}: its lock cannot be given up: {error}");
            }
        }
        for _ in 0..slots {
            let Some(slot) = self.slots.pop() else { break };
            if let Err(error) = slot.release() {
                log::error!("a slot cannot be given up: {error}");
            }
        }
    }

    fn probe_lock(&mut self, tenant: TenantName) {
        // What cannot be told counts as held: a release must be sure.
        let held = process::probe_tenant(&self.state, &tenant).map_or(true, |held| held == process::Held::Held);
        self.events.push_back(Event::LockProbed { tenant, held });
    }

    fn examine(&mut self, unknown: &Unknown) {
        let Unknown { tenant, run, may_adopt } = unknown;
        let verdict = match process::examine(&self.state, tenant, run, &self.identity.host, self.me) {
            Ok(process::Verdict::Dead) => Verdict::Dead,
            Ok(process::Verdict::Living { process }) if *may_adopt => self.adopt(tenant, run.identity.id, process),
            Ok(process::Verdict::Living { .. } | process::Verdict::Supervised { .. }) => Verdict::Supervised,
            Ok(process::Verdict::Claimed) => Verdict::Undecided,
            Err(error) => {
                log::warn!("{tenant}: cannot tell whether run {} lives: {error}", run.identity.id);
                Verdict::Undecided
            }
        };
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

    /// A run of ours has another number from now on: whoever judges it later finds that in the lock file.
    fn renumber(&mut self, tenant: &TenantName, run: RunId, started_at: DbTime) {
        let Some(belongings) = self.runs.get_mut(tenant) else { return };
        belongings.run = run;
        if let Some(lock) = &mut belongings.lock
            && let Err(error) = lock.write_run(run, started_at)
        {
            log::warn!("{tenant}: its lock file cannot name run {run}: {error}");
        }
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

    /// Tells databases that are new to the engine.
    pub(super) fn tell_databases(&mut self) {
        for (id, url) in self.registry.news() {
            self.engine.database(id, Some(url));
            if self.mode == Mode::Daemon && !self.config.database.url.varies_by_tenant() {
                self.engine.listen(id);
            }
        }
    }

    pub(super) fn prune_hourly(&mut self, id: DatabaseId) {
        let now = self.clock.now();
        let due = self.pruned.get(&id).is_none_or(|at| now.since(*at) >= Duration::from_secs(3600));
        if due && self.mode == Mode::Daemon {
            self.pruned.insert(id, now);
            self.engine.prune(id);
        }
    }
}

/// Where output goes that has no log.
pub(super) fn null() -> std::io::Result<File> {
    File::options().read(true).write(true).open("/dev/null")
}
