//! Actions become calls, in order; what they answer goes to the core as events.

use super::event_loop::Supervisor;
use crate::model::{DatabaseId, DbTime, RunId, TenantName};
use crate::process::{self, LetGo, TenantLock};
use crate::scheduler::{Action, Event, Mode};
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
            Action::Forget { file } => self.forget_ends(file),
            Action::Upgrade => self.upgrade_now(),
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
            match self.win_lock(&tenant) {
                Ok(Ok(lock)) => {
                    self.locks.insert(tenant.clone(), lock);
                    won.push(tenant);
                }
                Ok(Err(pid)) => held.push((tenant, pid)),
                Err(error) => {
                    self.mind_the_folder();
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

    /// The lock, or the pid of the run that holds it, where that can be told.
    fn win_lock(&mut self, tenant: &TenantName) -> Result<Result<TenantLock, Option<i32>>, process::LockError> {
        if let Some(lock) = self.take_lock(tenant)? {
            return Ok(Ok(lock));
        }
        match self.another_holds(tenant) {
            LetGo::Free | LetGo::GivenUp => Ok(self.take_lock(tenant)?.ok_or(None)),
            LetGo::InUse(process) => Ok(Err(process.map(|process| process.pid))),
            LetGo::Stuck => Ok(Err(None)),
        }
    }

    fn take_lock(&mut self, tenant: &TenantName) -> Result<Option<TenantLock>, process::LockError> {
        let Some(mut lock) = TenantLock::try_take(&self.state, tenant)? else { return Ok(None) };
        lock.write_claiming(self.me, &self.identity.host)?;
        Ok(Some(lock))
    }

    /// Slots for the claims that are about to be made; answers how many were free.
    fn take_slots(&mut self, wanted: u32) -> u32 {
        let taken = self.take_free_slots(wanted);
        if taken < wanted && self.free_slots_left_behind() {
            return taken + self.take_free_slots(wanted - taken);
        }
        taken
    }

    /// Slots above our number may be held (after a reload that lowered it, or from an earlier supervisor): then nothing
    /// starts until fewer are held in all.
    fn take_free_slots(&mut self, wanted: u32) -> u32 {
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
                self.mind_the_folder();
                self.alert_hourly("slots", &format!("nothing can be started, the slots cannot be taken: {error}"));
                0
            }
        }
    }

    fn unlock(&mut self, tenants: &[TenantName], slots: u32) {
        for tenant in tenants {
            if let Some(lock) = self.locks.remove(tenant)
                && let Err(error) = lock.unlock()
            {
                log::error!("{tenant}: its lock cannot be given up: {error}");
            }
            self.let_lock_go(tenant);
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
