//! Slots: the lock files that bound how many run at once on this node, whoever starts them. A slot is
//! taken before a child starts, inherited by it, and given up when its run has ended.
//!
//! Invariant: the count needs no daemon and no database; it is what the kernel holds locked.

use super::locks::{self, Held, LockError};
use super::state_folder::StateFolder;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The slots of one node.
#[derive(Debug, Clone)]
pub struct Slots {
    folder: PathBuf,
    /// `slot.<node>.`
    prefix: String,
}

/// A slot, held. Dropping it unlocks nothing.
#[derive(Debug)]
#[must_use = "dropped without release() it stays held by whoever inherited it"]
pub struct SlotLock {
    lock: OwnedFd,
    path: PathBuf,
}

impl Slots {
    /// The slots of `node` in this folder.
    pub fn new(folder: &StateFolder, node: &str) -> Self {
        Self { folder: folder.path().to_owned(), prefix: format!("slot.{node}.") }
    }

    /// Takes up to `wanted` free slots among the first `workers`. Never waits.
    ///
    /// # Errors
    /// [`LockError`] if a file cannot be used; slots taken before it are given up.
    pub fn take(&self, wanted: usize, workers: u32) -> Result<Vec<SlotLock>, LockError> {
        let mut taken = Vec::new();
        for number in 1..=workers {
            if taken.len() >= wanted {
                break;
            }
            let path = self.folder.join(format!("{}{number}", self.prefix));
            match locks::take_inheritable(&path) {
                Ok(Some(lock)) => taken.push(SlotLock { lock, path }),
                Ok(None) => {}
                Err(source) => return Err(LockError { path, source }),
            }
        }
        Ok(taken)
    }

    /// How many slots of this node are held by anyone, those above `workers` (lowered by a reload) included. Tries each for a moment.
    ///
    /// # Errors
    /// [`LockError`] if the folder or a file cannot be read.
    pub fn held_by_anyone(&self) -> Result<u32, LockError> {
        self.held_above(0)
    }

    /// The same for those with numbers above `workers` alone.
    ///
    /// # Errors
    /// [`LockError`] if the folder or a file cannot be read.
    pub fn held_above(&self, workers: u32) -> Result<u32, LockError> {
        let mut held = 0;
        for entry in std::fs::read_dir(&self.folder).map_err(LockError::at(&self.folder))? {
            let path = entry.map_err(LockError::at(&self.folder))?.path();
            if self.number(&path).is_some_and(|number| number > workers)
                && locks::try_once(&path).map_err(LockError::at(&path))? == Held::Held
            {
                held += 1;
            }
        }
        Ok(held)
    }

    /// True for `<folder>/slot.<node>.<number>`.
    pub(super) fn is_slot(&self, path: &Path) -> bool {
        self.number(path).is_some()
    }

    fn number(&self, path: &Path) -> Option<u32> {
        let digits = path.file_name()?.to_str()?.strip_prefix(&self.prefix)?;
        let plain = path.parent() == Some(&self.folder) && digits.bytes().all(|digit| digit.is_ascii_digit());
        digits.parse().ok().filter(|_| plain)
    }
}

impl SlotLock {
    /// A slot that was fetched from the process that inherited it.
    pub(super) fn fetched(lock: OwnedFd, path: PathBuf) -> Self {
        Self { lock, path }
    }

    /// Its file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the slot up, for every process that inherited it.
    ///
    /// # Errors
    /// None that is known; what flock(2) answers.
    pub fn release(self) -> Result<(), LockError> {
        locks::unlock(&self.lock).map_err(LockError::at(&self.path))
    }
}

impl AsFd for SlotLock {
    /// The descriptor for the child to inherit; 64 or above.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }
}
