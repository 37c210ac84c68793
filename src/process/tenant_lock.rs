//! A tenant's lock: taken before the claim, inherited by the child, given up when the run has ended. With
//! it go the words in its file, by which others judge a run whose supervisor has died.
//!
//! Invariants: while any process of the run that inherited it lives, nobody else on this host gets it, unless this supervisor
//! unlocks; dropping it unlocks nothing, so that no early return can free a living child's lock.

use super::identity::Process;
use super::lock_file::LockFile;
use super::locks::{self, Access, LockError};
use super::state_folder::StateFolder;
use crate::model::{DbTime, RunId, TenantName};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// A tenant's lock, held.
#[derive(Debug)]
#[must_use = "dropped without unlock() it stays held by whoever inherited it"]
pub struct TenantLock {
    lock: OwnedFd,
    /// Close-on-exec, and closed after the last word: a child must not be able to write what root will believe.
    writer: Option<File>,
    content: LockFile,
    path: PathBuf,
}

impl TenantLock {
    /// Takes the lock; `None` if another holds it. Never waits.
    ///
    /// # Errors
    /// [`LockError`] if the file cannot be opened, made or locked.
    pub fn try_take(folder: &StateFolder, tenant: &TenantName) -> Result<Option<Self>, LockError> {
        let path = folder.tenant_lock(tenant);
        match locks::take_inheritable(&path) {
            Ok(Some(lock)) => Ok(Some(Self::held(lock, LockFile::default(), path))),
            Ok(None) => Ok(None),
            Err(source) => Err(LockError { path, source }),
        }
    }

    /// One that is held, and what its file says.
    pub(super) fn held(lock: OwnedFd, content: LockFile, path: PathBuf) -> Self {
        Self { lock, writer: None, content, path }
    }

    /// Says that this supervisor is about to claim; no run and no process yet. Call it right after taking the lock.
    ///
    /// # Errors
    /// [`LockError`]: the tenant must not be offered then.
    pub fn write_claiming(&mut self, me: Process, host: &str) -> Result<(), LockError> {
        self.content = LockFile { supervisor: Some(me), host: Some(host.to_owned()), run: None, process: None };
        self.write()
    }

    /// Says which run it is. Call it when the claim was answered, before the spawn.
    ///
    /// # Errors
    /// [`LockError`]: the run must not be started then.
    pub fn write_run(&mut self, run: RunId, started_at: DbTime) -> Result<(), LockError> {
        self.content.run = Some((run, started_at));
        self.write()
    }

    /// Says which process it is. Call it right after the spawn; the last word.
    ///
    /// # Errors
    /// [`LockError`]: the run goes on, judged by the lock alone.
    pub fn write_process(&mut self, process: Process) -> Result<(), LockError> {
        self.content.process = Some(process);
        self.write()?;
        self.writer = None;
        Ok(())
    }

    /// Gives the lock up, for every process that inherited it.
    ///
    /// # Errors
    /// None that is known; what flock(2) answers.
    pub fn unlock(self) -> Result<(), LockError> {
        locks::unlock(&self.lock).map_err(LockError::at(&self.path))
    }

    fn write(&mut self) -> Result<(), LockError> {
        let written = self.content.render().and_then(|text| {
            let writer = match self.writer.take() {
                Some(writer) => writer,
                None => locks::open(&self.path, Access::Write)?,
            };
            self.writer.insert(writer).write_all_at(&text, 0)
        });
        written.map_err(LockError::at(&self.path))
    }
}

impl AsFd for TenantLock {
    /// The descriptor for the child to inherit; 64 or above.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }
}
