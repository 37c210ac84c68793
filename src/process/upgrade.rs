//! The next program in this one's place, by execve(2): the same pid, so the same children, whose statuses nobody else
//! could collect; and the same open locks, so that nobody can come between. What the next program must know goes along
//! in a file on memory. When and whether is the supervisor's to decide.
//!
//! Invariants: only what is named survives, all else is close-on-exec; a failed exec leaves everything as it was.

use super::adopted::{Adopted, leader};
use super::identity::Process;
use super::lock_file::LockFile;
use super::locks::{KeeperLock, SupervisorLock};
use super::slots::SlotLock;
use super::state_folder::StateFolder;
use super::syscall;
use super::tenant_lock::TenantLock;
use crate::model::TenantName;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// This program as it was started: by which path, with which arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    pub(super) path: PathBuf,
    pub(super) arguments: Vec<OsString>,
}

/// Which file lies at a path: another one after a replacement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    file: (u64, u64),
    size: u64,
    changed: (i64, i64),
}

impl Program {
    /// Finds it by its first argument, as the shell did, so that a link which leads to another version later leads there.
    /// Call it at the start: once the file is replaced nothing tells where it was.
    ///
    /// # Errors
    /// /proc/self/exe cannot be read.
    pub fn of_this_process(arguments: Vec<OsString>, search: Option<&OsStr>) -> io::Result<Self> {
        let which = |found: Metadata| (found.dev(), found.ino());
        let own = which(std::fs::metadata("/proc/self/exe")?);
        let name = arguments.first().cloned().unwrap_or_default();
        let candidates: Vec<PathBuf> = if name.as_bytes().contains(&b'/') {
            vec![name.into()]
        } else {
            std::env::split_paths(search.unwrap_or_default()).map(|folder| folder.join(&name)).collect()
        };
        let absolute = candidates.into_iter().filter_map(|path| std::path::absolute(path).ok());
        let found = absolute.into_iter().find(|path| std::fs::metadata(path).is_ok_and(|found| which(found) == own));
        let path = found.map_or_else(|| std::fs::read_link("/proc/self/exe"), Ok)?;
        Ok(Self { path, arguments })
    }

    /// Its absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it was started with, its name first.
    pub fn arguments(&self) -> &[OsString] {
        &self.arguments
    }

    /// What lies at its path now.
    ///
    /// # Errors
    /// Nothing does.
    pub fn stamp(&self) -> io::Result<Stamp> {
        let found = std::fs::metadata(&self.path)?;
        Ok(Stamp { file: (found.dev(), found.ino()), size: found.size(), changed: (found.ctime(), found.ctime_nsec()) })
    }

    /// Puts what lies at its path in this program's place, with the same arguments, this environment, and these
    /// descriptors under their numbers. Comes back only if that failed, with the reason.
    pub fn replace(&self, environment: &[(OsString, OsString)], keep: &[BorrowedFd<'_>]) -> io::Error {
        let done = self.try_replace(environment, keep);
        let marked = mark(keep, FdFlag::FD_CLOEXEC);
        let Err(why) = done;
        marked.err().unwrap_or(why)
    }

    fn try_replace(
        &self,
        environment: &[(OsString, OsString)],
        keep: &[BorrowedFd<'_>],
    ) -> Result<Infallible, io::Error> {
        let text = |bytes: &[u8]| CString::new(bytes);
        let path = text(self.path.as_os_str().as_bytes())?;
        let arguments: Vec<_> = self.arguments.iter().map(|one| text(one.as_bytes())).collect::<Result<_, _>>()?;
        let line = |(name, value): &(OsString, OsString)| text(&[name.as_bytes(), value.as_bytes()].join(&b'='));
        let environment: Vec<_> = environment.iter().map(line).collect::<Result<_, _>>()?;
        mark(keep, FdFlag::empty())?;
        Ok(nix::unistd::execve(&path, &arguments, &environment)?)
    }
}

fn mark(files: &[BorrowedFd<'_>], flag: FdFlag) -> io::Result<()> {
    for file in files {
        fcntl(file, FcntlArg::F_SETFD(flag))?;
    }
    Ok(())
}

/// A file on memory that holds `text`.
///
/// # Errors
/// No descriptor or memory left.
pub fn memory_file_of(text: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create(c"tenantcron-upgrade", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(text)?;
    Ok(file)
}

/// What the file that was left open under this number says; it stays open.
///
/// # Errors
/// There is none.
pub fn look_into(number: RawFd) -> io::Result<Vec<u8>> {
    std::fs::read(format!("/proc/self/fd/{number}"))
}

/// The same, closing it.
///
/// # Errors
/// No program before this one left it open.
pub fn take_out(number: RawFd) -> io::Result<Vec<u8>> {
    let mut file = File::from(syscall::inherited(number)?);
    file.rewind()?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    Ok(text)
}

/// Descriptors that the program before this one left open for it.
#[derive(Debug, Default)]
pub struct Inherited {
    by_number: HashMap<RawFd, OwnedFd>,
}

impl Inherited {
    /// Takes those under these numbers; call it before [`super::Spawner::new`]. What is not there is missed when it is wanted.
    pub fn take(numbers: impl IntoIterator<Item = RawFd>) -> Self {
        let taken = numbers.into_iter().filter_map(|number| Some((number, syscall::inherited(number).ok()?)));
        Self { by_number: taken.collect() }
    }

    pub(super) fn give(&mut self, number: RawFd) -> io::Result<OwnedFd> {
        let missing = || io::Error::other(format!("descriptor {number} was not left open"));
        self.by_number.remove(&number).ok_or_else(missing)
    }
}

/// The locks of one run, by their numbers in the program that hands them on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handed {
    /// The tenant's.
    pub lock: Option<RawFd>,
    /// The slot's, and its file.
    pub slot: Option<(RawFd, PathBuf)>,
    /// The keeper's, of an adopted run.
    pub keeper: Option<RawFd>,
}

impl Handed {
    /// Those of a run that this program started.
    pub fn of(lock: Option<&TenantLock>, slot: Option<&SlotLock>) -> Self {
        Self {
            lock: lock.map(|lock| lock.as_fd().as_raw_fd()),
            slot: slot.map(|slot| (slot.as_fd().as_raw_fd(), slot.path().to_owned())),
            keeper: None,
        }
    }

    /// Those of a run that it adopted.
    pub fn of_adopted(adopted: &Adopted) -> Self {
        Self {
            lock: adopted.lock.as_ref().map(AsRawFd::as_raw_fd),
            slot: adopted.slot.as_ref().map(|slot| (slot.as_fd().as_raw_fd(), slot.path().to_owned())),
            keeper: Some(adopted.keeper.file.as_raw_fd()),
        }
    }

    /// All their numbers.
    pub fn numbers(&self) -> impl Iterator<Item = RawFd> {
        let slot = self.slot.as_ref().map(|(number, _)| *number);
        [self.lock, slot, self.keeper].into_iter().flatten()
    }

    /// Takes the tenant's lock over.
    ///
    /// # Errors
    /// It was not left open.
    pub fn take_lock(
        &self,
        inherited: &mut Inherited,
        folder: &StateFolder,
        tenant: &TenantName,
    ) -> io::Result<Option<TenantLock>> {
        let Some(number) = self.lock else { return Ok(None) };
        let path = folder.tenant_lock(tenant);
        let content = LockFile::read(&path).unwrap_or_default();
        Ok(Some(TenantLock::held(inherited.give(number)?, content, path)))
    }

    /// Takes the slot over.
    ///
    /// # Errors
    /// It was not left open.
    pub fn take_slot(&self, inherited: &mut Inherited) -> io::Result<Option<SlotLock>> {
        let Some((number, path)) = self.slot.clone() else { return Ok(None) };
        Ok(Some(SlotLock::fetched(inherited.give(number)?, path)))
    }

    /// Takes an adopted run over; `None` if nothing was kept of it.
    ///
    /// # Errors
    /// Something was not left open, or /proc cannot be read.
    pub fn take_adopted(&self, inherited: &mut Inherited, process: Process) -> io::Result<Option<Adopted>> {
        let Some(keeper) = self.keeper else { return Ok(None) };
        let keeper = KeeperLock { file: inherited.give(keeper)?.into() };
        let lock = self.lock.map(|number| inherited.give(number)).transpose()?;
        Ok(Some(Adopted { process, pidfd: leader(process)?, lock, slot: self.take_slot(inherited)?, keeper }))
    }
}

impl SupervisorLock {
    /// Its number, for the next program.
    pub fn number(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// The lock that the program before this one held.
    ///
    /// # Errors
    /// It was not left open.
    pub fn take_over(inherited: &mut Inherited, folder: &StateFolder, node: &str, number: RawFd) -> io::Result<Self> {
        Ok(Self { file: inherited.give(number)?.into(), path: folder.supervisor_lock(node) })
    }
}

impl AsFd for SupervisorLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Adopted {
    /// What must survive for the next program to watch it.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let lock = self.lock.as_ref().map(AsFd::as_fd);
        let slot = self.slot.as_ref().map(AsFd::as_fd);
        [lock, slot, Some(self.keeper.file.as_fd())].into_iter().flatten()
    }
}
