//! A lock that outlived its run: the run is over, its supervisor died before it could give the lock up, and a daemon
//! that the job left behind holds what it inherited. The lock is fetched from it and given up, and its slot with it, as
//! a living supervisor would have done at the end of the run.
//!
//! Invariant: what a living run, a claim or a watcher holds is never given up. A descriptor is taken for inherited only
//! if it is not close-on-exec: whoever takes a lock itself holds it close-on-exec ([`super::syscall`]).

use super::adopt::lives;
use super::adopted::leader;
use super::group;
use super::identity::Process;
use super::left_behind::open_files;
use super::lock_file::LockFile;
use super::locks::{self, Held, Holder, probe_keeper};
use super::slots::Slots;
use super::state_folder::StateFolder;
use super::syscall;
use crate::model::TenantName;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What became of a lock that another holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LetGo {
    /// Nobody held it.
    Free,
    /// It was held by what a run left behind, and is free now.
    GivenUp,
    /// A run or a supervisor that lives does: the run's main process, if it is known.
    InUse(Option<Process>),
    /// Processes of no living run hold it, by all that is known, and it cannot be given up: the file names no process, or
    /// fetching is forbidden here.
    Stuck,
}

/// Gives up a tenant's lock, and the slots that go with it, where only processes of no living run hold it. `host` is
/// [`super::host`]. Reads all of /proc where nobody who lives is named.
///
/// # Errors
/// The lock file or /proc cannot be read: then nothing was given up.
pub fn let_go(folder: &StateFolder, slots: &Slots, tenant: &TenantName, host: &str) -> io::Result<LetGo> {
    let path = folder.tenant_lock(tenant);
    if locks::try_once(&path)? == Held::Free {
        return Ok(LetGo::Free);
    }
    if let Some(other) = who_needs_it(folder, tenant, host)? {
        return Ok(other);
    }
    let path = std::fs::canonicalize(&path)?;
    let mut fetched = Vec::new();
    for pid in group::all_pids()? {
        // Processes that have ended, and those that this user may not look at, are passed over.
        let Ok(files) = open_files(pid) else { continue };
        if files.iter().any(|(_, target)| *target == path) {
            fetched.extend(fetch_inherited(pid, |target| *target == *path || slots.is_slot(target)));
        }
    }
    // A claim may have come between, and what was fetched be its child's.
    if let Some(other) = who_needs_it(folder, tenant, host)? {
        return Ok(other);
    }
    for lock in &fetched {
        locks::unlock(lock)?;
    }
    Ok(if locks::try_once(&path)? == Held::Free { LetGo::GivenUp } else { LetGo::Stuck })
}

/// The tenants whose lock is open in a process that has a slot open too: of its run, or left behind by it. Reads all of /proc.
///
/// # Errors
/// /proc cannot be read.
pub fn tenants_with_slots(folder: &StateFolder, slots: &Slots) -> io::Result<Vec<TenantName>> {
    let tenants = std::fs::canonicalize(folder.file("tenants"))?;
    let mut found = Vec::new();
    for pid in group::all_pids()? {
        let Ok(files) = open_files(pid) else { continue };
        if !files.iter().any(|(_, target)| slots.is_slot(target)) {
            continue;
        }
        let of_tenants = files.iter().filter(|(_, target)| target.parent() == Some(&tenants));
        let names = of_tenants.filter_map(|(_, target)| target.file_name()?.to_str()?.strip_suffix(".lock"));
        found.extend(names.filter_map(|name| TenantName::parse(name).ok()));
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// A duplicate of a process's descriptor, if it is (still) this file's.
pub(super) fn fetch(process: BorrowedFd<'_>, number: RawFd, path: &Path) -> io::Result<OwnedFd> {
    let fetched = File::from(syscall::pidfd_getfd(process, number)?);
    let which = |found: std::fs::Metadata| (found.dev(), found.ino());
    if which(fetched.metadata()?) == which(std::fs::symlink_metadata(path)?) {
        return Ok(fetched.into());
    }
    Err(io::Error::other("the number came to mean another file"))
}

/// Nobody, where the file speaks of a run of this host that is over, and neither its supervisor nor another watches it:
/// a supervisor that lives gives the lock up itself. Where it names no process, the held lock alone counts.
fn who_needs_it(folder: &StateFolder, tenant: &TenantName, host: &str) -> io::Result<Option<LetGo>> {
    let content = LockFile::read(&folder.tenant_lock(tenant))?;
    let content = if content.host.as_deref() == Some(host) { content } else { LockFile::default() };
    if let Some(process) = content.process
        && lives(process)?
    {
        return Ok(Some(LetGo::InUse(Some(process))));
    }
    let watched = content.supervisor.map_or(Ok(false), Process::is_alive)?;
    if watched || probe_keeper(folder, tenant)? != Holder::Nobody {
        return Ok(Some(LetGo::InUse(None)));
    }
    Ok((content.supervisor.is_none() || content.process.is_none()).then_some(LetGo::Stuck))
}

fn fetch_inherited(pid: i32, wanted: impl Fn(&Path) -> bool) -> Vec<OwnedFd> {
    let Ok(Some(process)) = Process::of(pid) else { return Vec::new() };
    let Ok(Some(pidfd)) = leader(process) else { return Vec::new() };
    // Once more: the descriptor is certainly this process's, the look before it may have been at another.
    let files = open_files(pid).unwrap_or_default();
    let inherited = files.into_iter().filter(|(number, target)| wanted(target) && survives_exec(pid, *number));
    inherited.filter_map(|(number, target)| fetch(pidfd.as_fd(), number, &target).ok()).collect()
}

/// The flags of a descriptor stand in octal in its fdinfo, close-on-exec among them.
fn survives_exec(pid: i32, number: RawFd) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap_or_default();
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & nix::fcntl::OFlag::O_CLOEXEC.bits() == 0)
}
