//! Who still has a lock file open: a daemon that left its run's group and took the lock with it. It is
//! named and let go, as under cron; nothing here signals it.
//!
//! Invariant: in the usual case, nobody left, it costs a few system calls; only else is /proc searched.

use super::group;
use super::identity::{Process, Stat};
use super::lock_file::LockFile;
use super::locks::{self, Access};
use super::state_folder::StateFolder;
use super::syscall;
use crate::model::TenantName;
use std::io;
use std::os::fd::{AsFd, RawFd};
use std::path::{Path, PathBuf};

/// Processes that kept a tenant's lock file open when its run had ended and the lock was given up
/// ([`super::TenantLock::unlock`]): call it then, before anything of this supervisor takes the lock again. Whoever claims
/// the tenant next, and that claim's process group, is not meant.
///
/// # Errors
/// The lock file or /proc cannot be read.
pub fn left_behind(folder: &StateFolder, tenant: &TenantName, me: Process) -> io::Result<Vec<Process>> {
    let path = folder.tenant_lock(tenant);
    let file = locks::open(&path, Access::Try)?;
    // Where the kernel cannot tell (a file system without leases), look.
    if let Ok(false) = syscall::is_open_elsewhere(file.as_fd()) {
        return Ok(Vec::new());
    }
    drop(file);
    let mut found = holders(&path)?;
    let next = LockFile::read(&path)?;
    found.retain(|holder| *holder != me);
    if next.supervisor.is_some_and(|by| by != me) {
        let its_group = next.process.map(|process| process.pid);
        found.retain(|holder| Some(*holder) != next.supervisor);
        found.retain(|holder| its_group.is_none() || group_of(*holder) != its_group);
    }
    Ok(found)
}

/// Every process that has this file open, as far as this user may see. Reads all of /proc: some milliseconds and more.
///
/// # Errors
/// The file does not exist, or /proc cannot be read.
pub fn holders(path: &Path) -> io::Result<Vec<Process>> {
    let path = std::fs::canonicalize(path)?;
    let mut found = Vec::new();
    for pid in group::all_pids()? {
        // Processes that have ended, and those that this user may not look at, are passed over.
        let Ok(files) = open_files(pid) else { continue };
        if files.iter().any(|(_, target)| *target == path) {
            found.extend(Process::of(pid)?);
        }
    }
    Ok(found)
}

/// The descriptors of a process and where they lead. Links are read, never followed: a file on a dead network
/// share would hang us.
pub(super) fn open_files(pid: i32) -> io::Result<Vec<(RawFd, PathBuf)>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let (Some(number), Ok(target)) = (number, std::fs::read_link(entry.path())) {
            all.push((number, target));
        }
    }
    Ok(all)
}

fn group_of(process: Process) -> Option<i32> {
    Stat::of(process.pid).ok().flatten().map(|stat| stat.group)
}
