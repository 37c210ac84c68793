//! A run whose supervisor died, watched by this one: not our child, so its end comes by pidfd and its exit
//! status never. Its lock and slot are fetched from it, so that they can be given up at the end although a
//! daemon may have inherited them.
//!
//! Invariant: one process at a time watches an adopted run, the holder of its keeper file.

use super::adopt::lives;
use super::group::{self, signal_group, signal_stranger};
use super::identity::Process;
use super::left_behind::open_files;
use super::let_go::fetch;
use super::locks::{self, Holder, KeeperLock};
use super::slots::{SlotLock, Slots};
use super::state_folder::StateFolder;
use super::syscall;
use crate::model::TenantName;
use nix::sys::signal::Signal;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// An adopted run.
#[derive(Debug)]
pub struct Adopted {
    pub(super) process: Process,
    /// Of the main process, while it lives.
    pub(super) pidfd: Option<OwnedFd>,
    pub(super) lock: Option<OwnedFd>,
    pub(super) slot: Option<SlotLock>,
    pub(super) keeper: KeeperLock,
}

/// What came of an adoption.
#[derive(Debug)]
#[must_use = "an adopted run that is dropped is watched by nobody"]
pub enum Adoption {
    /// It is ours to watch.
    Adopted(Box<Adopted>),
    /// Another process watches it.
    KeptBy(Holder),
    /// It has ended meanwhile.
    Ended,
}

impl Adopted {
    /// Takes over the watch of a run by its main process, as [`super::Verdict::Living`] named it.
    ///
    /// # Errors
    /// The keeper file or /proc cannot be used. Fetching the lock may be forbidden; that is no error: see [`Adopted::has_lock`].
    pub fn adopt(
        folder: &StateFolder,
        slots: &Slots,
        tenant: &TenantName,
        process: Process,
        me: Process,
    ) -> io::Result<Adoption> {
        let keeper = match KeeperLock::take(folder, tenant, me)? {
            Ok(keeper) => keeper,
            Err(by) => return Ok(Adoption::KeptBy(by)),
        };
        if !lives(process)? {
            return Ok(Adoption::Ended);
        }
        let mut adopted = Self { process, pidfd: leader(process)?, lock: None, slot: None, keeper };
        let path = folder.tenant_lock(tenant);
        // sudo and the like close what they inherit: a lock that nobody holds is taken, that nobody else starts the tenant.
        adopted.lock = locks::take_inheritable(&path)?;
        let mut holders = vec![process];
        holders.extend(group::members(process.pid)?.into_iter().filter(|member| *member != process));
        for holder in holders {
            adopted.fetch(holder, &std::fs::canonicalize(&path)?, slots);
        }
        Ok(Adoption::Adopted(Box::new(adopted)))
    }

    /// The main process; it may have ended before its group.
    pub fn process(&self) -> Process {
        self.process
    }

    /// Readable when the main process has ended: then ask [`Adopted::is_living`]. `None` once it has ended; what is left of
    /// its group has no descriptor, ask every second or so.
    pub fn watch(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }

    /// True while the main process or a member of its group lives.
    ///
    /// # Errors
    /// /proc cannot be read.
    pub fn is_living(&mut self) -> io::Result<bool> {
        if !self.process.is_alive()? {
            self.pidfd = None;
        }
        lives(self.process)
    }

    /// False where the lock could not be fetched and another holds it: after the end the tenant waits for that holder.
    pub fn has_lock(&self) -> bool {
        self.lock.is_some()
    }

    /// False if the run holds no slot that we know: then one should be given to it.
    pub fn has_slot(&self) -> bool {
        self.slot.is_some()
    }

    /// Gives it a slot, to be given up with it.
    pub fn give_slot(&mut self, slot: SlotLock) {
        self.slot = Some(slot);
    }

    /// Signals what lives of it: its group, or the main process if that left its group. `false` if nothing does.
    ///
    /// # Errors
    /// EPERM; /proc cannot be read.
    pub fn signal(&self, signal: Signal) -> io::Result<bool> {
        Ok(lives(self.process)? && (signal_group(self.process.pid, signal)? || signal_stranger(self.process, signal)?))
    }

    /// Gives up the slot. Call it when nothing lives any more and that is known.
    ///
    /// # Errors
    /// None that is known; what flock(2) answers.
    pub fn release_slot(&mut self) -> io::Result<()> {
        self.slot.take().map_or(Ok(()), SlotLock::release).map_err(io::Error::from)
    }

    /// Gives up what is left: lock and watch. Call it when the end is recorded too: until then nobody may take the run
    /// for one that is not watched.
    ///
    /// # Errors
    /// None that is known; what flock(2) answers.
    pub fn release(mut self) -> io::Result<()> {
        let slot = self.release_slot();
        self.lock.as_ref().map_or(Ok(()), locks::unlock).and(slot)
    }

    /// Fetches the lock and the slot from a process, where that is allowed and it has them.
    fn fetch(&mut self, holder: Process, lock: &Path, slots: &Slots) {
        // A process that has ended, or may not be looked at, has nothing to give.
        let (Ok(files), Ok(Some(pidfd))) = (open_files(holder.pid), leader(holder)) else { return };
        for (number, target) in files {
            let is_lock = target == lock && self.lock.is_none();
            let is_slot = self.slot.is_none() && slots.is_slot(&target);
            if !is_lock && !is_slot {
                continue;
            }
            match fetch(pidfd.as_fd(), number, &target) {
                Ok(fetched) if is_lock => self.lock = Some(fetched),
                Ok(fetched) => self.slot = Some(SlotLock::fetched(fetched, target)),
                Err(_) => {}
            }
        }
    }
}

/// A descriptor for exactly this process, `None` if it has ended.
pub(super) fn leader(process: Process) -> io::Result<Option<OwnedFd>> {
    match syscall::pidfd_open(process.pid) {
        // Checked after opening: from then on the number cannot come to mean another.
        Ok(descriptor) => Ok(process.is_alive()?.then_some(descriptor)),
        Err(_) if !process.is_alive()? => Ok(None),
        Err(error) => Err(error),
    }
}
