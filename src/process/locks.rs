//! Lock files: opening, taking, trying, and the two plain ones (the supervisor's and the keeper's). A lock is
//! an exclusive flock(2); the kernel frees it with its last holder, so none is ever stale.
//!
//! Invariants: lock files are never unlinked; who only looks reads ([`super::LockFile::read`]) and never
//! locks; who must know tries for [`PATIENCE`], since others may hold a lock for the moment of a try.

use super::identity::Process;
use super::poller;
use super::state_folder::StateFolder;
use super::syscall::{self, Flock};
use crate::model::TenantName;
use nix::fcntl::OFlag;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long who must know tries: 100 ms.
const PATIENCE: Duration = Duration::from_millis(100);
const PAUSE: Duration = Duration::from_millis(5);
/// Inherited descriptors are numbered from here up, out of the way of scripts that use small numbers.
const LOWEST_INHERITED: i32 = 64;

/// A lock file that cannot be used; that another holds it is no error.
#[derive(Debug, thiserror::Error)]
#[error("lock file {}: {source}", path.display())]
pub struct LockError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl From<LockError> for io::Error {
    fn from(error: LockError) -> Self {
        Self::new(error.source.kind(), error)
    }
}

impl LockError {
    pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { path: path.to_owned(), source }
    }
}

/// Whether anybody holds a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// Nobody.
    Free,
    /// Somebody, over the whole time of trying.
    Held,
}

/// Who holds a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// Nobody.
    Nobody,
    /// This process, by its own words in the file.
    Process(Process),
    /// Somebody who has not written yet.
    Unknown,
}

/// How a lock file is opened.
#[derive(Clone, Copy)]
pub(super) enum Access {
    /// To be locked, and inherited so that a child cannot write: made if missing.
    Lock,
    /// To be locked, never inherited, and written: made if missing.
    LockAndWrite,
    /// To be tried or read: not made.
    Try,
    /// To write the content of a file that exists.
    Write,
}

pub(super) fn open(path: &Path, access: Access) -> io::Result<File> {
    // A file whose openers are being counted (`syscall::is_open_elsewhere`) refuses others for some microseconds.
    let opened = patiently(|| match open_now(path, access) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    })?;
    opened.ok_or_else(|| io::ErrorKind::WouldBlock.into())
}

fn open_now(path: &Path, access: Access) -> io::Result<File> {
    // std adds O_CLOEXEC.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let mut options = OpenOptions::new();
    options.mode(0o600).custom_flags(flags.bits());
    match access {
        // std refuses to create without write access; the kernel does not.
        Access::Lock => options.read(true).custom_flags((flags | OFlag::O_CREAT).bits()),
        Access::LockAndWrite => options.read(true).write(true).create(true).truncate(false),
        Access::Try => options.read(true),
        Access::Write => options.write(true),
    };
    options.open(path)
}

/// Takes a lock that a child shall inherit; `None` if another holds it.
pub(super) fn take_inheritable(path: &Path) -> io::Result<Option<OwnedFd>> {
    let file = open(path, Access::Lock)?;
    if !syscall::flock(file.as_fd(), Flock::Exclusive)? {
        return Ok(None);
    }
    syscall::duplicate_from(file.as_fd(), LOWEST_INHERITED).map(Some)
}

/// Gives a lock up, for every duplicate of its descriptor.
pub(super) fn unlock(lock: &OwnedFd) -> io::Result<()> {
    syscall::flock(lock.as_fd(), Flock::Unlock).map(drop)
}

/// Tries a lock once and gives it up again.
pub(super) fn try_once(path: &Path) -> io::Result<Held> {
    let file = match open(path, Access::Try) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Held::Free),
        Err(error) => return Err(error),
    };
    if !syscall::flock(file.as_fd(), Flock::Exclusive)? {
        return Ok(Held::Held);
    }
    syscall::flock(file.as_fd(), Flock::Unlock)?;
    Ok(Held::Free)
}

/// Repeats `attempt` until it succeeds or [`PATIENCE`] is over, counted in pauses.
fn patiently<T>(mut attempt: impl FnMut() -> io::Result<Option<T>>) -> io::Result<Option<T>> {
    let tries = PATIENCE.as_millis() / PAUSE.as_millis();
    for _ in 0..tries {
        if let Some(success) = attempt()? {
            return Ok(Some(success));
        }
        poller::wait::<()>(&[], Some(PAUSE))?;
    }
    attempt()
}

fn probe(path: &Path) -> Result<Held, LockError> {
    let free = patiently(|| Ok((try_once(path)? == Held::Free).then_some(()))).map_err(LockError::at(path))?;
    Ok(if free.is_some() { Held::Free } else { Held::Held })
}

/// Whether a tenant's lock is held. Takes up to 100 ms where it is.
///
/// # Errors
/// [`LockError`] if the file exists and cannot be opened.
pub fn probe_tenant(folder: &StateFolder, tenant: &TenantName) -> Result<Held, LockError> {
    probe(&folder.tenant_lock(tenant))
}

/// Who watches the tenant's adopted run. Takes up to 100 ms where somebody does.
///
/// # Errors
/// [`LockError`] if the file exists and cannot be used.
pub fn probe_keeper(folder: &StateFolder, tenant: &TenantName) -> Result<Holder, LockError> {
    probe_holder(&folder.keeper(tenant))
}

/// Which supervisor of this node runs: a signal may go to it only while its lock is held. Takes up to 100 ms where one does.
///
/// # Errors
/// [`LockError`] if the file exists and cannot be used.
pub fn probe_supervisor(folder: &StateFolder, node: &str) -> Result<Holder, LockError> {
    probe_holder(&folder.supervisor_lock(node))
}

fn probe_holder(path: &Path) -> Result<Holder, LockError> {
    match probe(path)? {
        Held::Free => Ok(Holder::Nobody),
        Held::Held => read_holder(path).map_err(LockError::at(path)),
    }
}

/// The lock of the one daemon of an instance and node. Freed when dropped.
#[derive(Debug)]
pub struct SupervisorLock {
    pub(super) file: File,
    pub(super) path: PathBuf,
}

impl SupervisorLock {
    /// Takes it; else says who holds it.
    ///
    /// # Errors
    /// [`LockError`] if the file cannot be used.
    pub fn take(folder: &StateFolder, node: &str, me: Process) -> Result<Result<Self, Holder>, LockError> {
        let path = folder.supervisor_lock(node);
        let taken = take_plain(&path, me).map_err(LockError::at(&path))?;
        Ok(taken.map(|file| Self { file, path }))
    }

    /// False if the file was removed, or another stands in its place: then others look at that one. What cannot be
    /// told counts as in place.
    pub fn is_in_place(&self) -> bool {
        let which = |found: std::fs::Metadata| (found.dev(), found.ino());
        match (self.file.metadata(), std::fs::symlink_metadata(&self.path)) {
            (Ok(ours), Ok(there)) => which(ours) == which(there),
            (_, Err(error)) => error.kind() != io::ErrorKind::NotFound,
            (Err(_), _) => true,
        }
    }
}

/// Held by the one process that watches an adopted run; never inherited. Freed when dropped.
#[derive(Debug)]
pub struct KeeperLock {
    pub(super) file: File,
}

impl KeeperLock {
    /// Takes it; else says who holds it.
    ///
    /// # Errors
    /// [`LockError`] if the file cannot be used.
    pub fn take(folder: &StateFolder, tenant: &TenantName, me: Process) -> Result<Result<Self, Holder>, LockError> {
        let path = folder.keeper(tenant);
        Ok(take_plain(&path, me).map_err(LockError::at(&path))?.map(|file| Self { file }))
    }
}

/// Patient, since somebody may be trying it at this very moment.
fn take_plain(path: &Path, me: Process) -> io::Result<Result<File, Holder>> {
    let file = open(path, Access::LockAndWrite)?;
    if patiently(|| Ok(syscall::flock(file.as_fd(), Flock::Exclusive)?.then_some(())))?.is_none() {
        return Ok(Err(read_holder(path)?));
    }
    let Process { pid, start } = me;
    file.write_all_at(format!("{:<46}\n", format!("{pid} {start}")).as_bytes(), 0)?;
    Ok(Ok(file))
}

fn read_holder(path: &Path) -> io::Result<Holder> {
    let mut buffer = [0; 64];
    let length = open(path, Access::Try)?.read_at(&mut buffer, 0)?;
    let text = std::str::from_utf8(buffer.get(..length).unwrap_or_default()).unwrap_or_default();
    let holder = text.trim_end().split_once(' ').and_then(|(pid, start)| {
        let pid = pid.parse().ok().filter(|pid: &i32| *pid > 0)?;
        Some(Process { pid, start: start.trim().parse().ok()? })
    });
    Ok(holder.map_or(Holder::Unknown, Holder::Process))
}
