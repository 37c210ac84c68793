//! Process groups: one per run, numbered as its main process. Signals go to the group, and a run ends
//! only when its group is empty.
//!
//! Invariant: the number of a group is not given to another process while the group has a member, so a
//! group may be signalled after its leader was collected, until it was once seen empty and not after.

use super::identity::{Process, Stat};
use super::syscall;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::io;
use std::os::fd::AsFd;

/// Sends a signal to every member of a group. `false` if there is none.
///
/// # Errors
/// EPERM, where every member belongs to another user.
pub fn signal_group(group: i32, signal: Signal) -> io::Result<bool> {
    found(killpg(checked(group)?, signal))
}

/// Sends a signal to one process that is certainly still the one meant: a child not yet collected. `false` if there is none.
///
/// # Errors
/// EPERM.
pub fn signal_process(pid: i32, signal: Signal) -> io::Result<bool> {
    found(kill(Pid::from_raw(pid), signal))
}

/// Sends a signal to a process that is nobody's child here, and to no later one with its number. `false` if it has ended.
///
/// # Errors
/// EPERM, or what pidfd_open(2) answers.
pub fn signal_stranger(process: Process, signal: Signal) -> io::Result<bool> {
    let gone = |error: &io::Error| error.raw_os_error() == Some(Errno::ESRCH as i32);
    let descriptor = match syscall::pidfd_open(process.pid) {
        Ok(descriptor) => descriptor,
        Err(error) if gone(&error) => return Ok(false),
        Err(error) => return Err(error),
    };
    // The number may have been given away before the descriptor was opened; after, it cannot be.
    if process.stat()?.is_none() {
        return Ok(false);
    }
    match syscall::pidfd_send_signal(descriptor.as_fd(), signal as i32) {
        Ok(()) => Ok(true),
        Err(error) if gone(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// True if the group has a member. Cheap; counts members of other users, and zombies that nobody collects (where PID 1 is no
/// reaper): see [`has_living_members`].
///
/// # Errors
/// None that is known; what kill(2) answers.
pub fn has_members(group: i32) -> io::Result<bool> {
    match killpg(checked(group)?, None) {
        Err(Errno::EPERM) => Ok(true),
        other => found(other),
    }
}

/// True if the group has a member that has not ended. Where the group is not empty it reads all of /proc: some milliseconds.
///
/// # Errors
/// /proc cannot be read.
pub fn has_living_members(group: i32) -> io::Result<bool> {
    Ok(has_members(group)? && !members(group)?.is_empty())
}

/// The members of a group that have not ended. Reads all of /proc.
///
/// # Errors
/// /proc cannot be read.
pub fn members(group: i32) -> io::Result<Vec<Process>> {
    let mut found = Vec::new();
    for pid in all_pids()? {
        let stat = match Stat::of(pid) {
            Ok(Some(stat)) => stat,
            Ok(None) => continue,
            // hidepid: a process that this user may not see is no child of a job that this user started
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => continue,
            Err(error) => return Err(error),
        };
        if stat.group == group && !stat.ended {
            found.push(Process { pid, start: stat.start });
        }
    }
    Ok(found)
}

/// The number of every process that /proc shows.
pub(super) fn all_pids() -> io::Result<Vec<i32>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        all.extend(entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    Ok(all)
}

/// 0 would be our own group and 1 everybody: no run has such a group, whatever a file or a row may say.
fn checked(group: i32) -> io::Result<Pid> {
    if group > 1 {
        return Ok(Pid::from_raw(group));
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{group} is no run's process group")))
}

fn found(result: nix::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(Errno::ESRCH) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
