//! Judges an open run of this node that this supervisor does not know: is it alive under a dead
//! supervisor, watched by a living one, or dead? Proof comes from the kernel only: locks, pids with their
//! start times, process groups. It changes nothing.
//!
//! Invariant: where the evidence is missing or cannot be read the verdict is never [`Verdict::Dead`], for
//! that one starts a second copy when it is wrong.

use super::group;
use super::identity::{Process, Stat};
use super::lock_file::LockFile;
use super::locks::{Held, Holder, probe_keeper, probe_tenant};
use super::state_folder::StateFolder;
use crate::model::{OpenRun, TenantName};
use std::io;

/// What is true of an open run of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Its main process, or a member of its process group, lives, and its supervisor does not: to be adopted.
    Living {
        /// The main process (which may have ended before its group).
        process: Process,
    },
    /// Another living process watches it: left alone.
    Supervised {
        /// Which.
        by: Process,
    },
    /// Nothing of it lives: lost.
    Dead,
    /// Its lock is held and no process is named: somebody is between claim and start, or died there. Wait.
    Claimed,
}

/// When a run was confirmed last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Somebody may watch it still.
    Lately,
    /// So long ago that nobody does: 75 s.
    LongAgo,
}

/// Judges `run` of `tenant`. `host` is [`super::host`], `me` the supervisor that asks and does not know the run.
///
/// For a run of this node on another host (the one before a reboot, or another machine of that name) only
/// the tenant's lock can speak: free is [`Verdict::Dead`] here, held is [`Verdict::Claimed`].
///
/// # Errors
/// The lock file or /proc cannot be read: then nothing is known of the run.
pub fn examine(
    folder: &StateFolder,
    tenant: &TenantName,
    run: &OpenRun,
    heard: Heard,
    host: &str,
    me: Process,
) -> io::Result<Verdict> {
    let content = LockFile::read(&folder.tenant_lock(tenant))?;
    if run.identity.host != host {
        return by_lock(folder, tenant);
    }
    // Whoever claims here leaves a word in the file: where there is none, the folder was emptied, and a process may live
    // that nothing leads to.
    let wordless = content == LockFile::default() && heard == Heard::Lately;
    // What a file says of another host's processes means nothing here.
    let content = if content.host.as_deref() == Some(host) { content } else { LockFile::default() };
    // Who claims, watches or records holds the lock; a file that was left behind says what was.
    if let Some(by) = content.supervisor
        && by != me
        && by.is_alive()?
        && by_lock(folder, tenant)? == Verdict::Claimed
    {
        return Ok(Verdict::Supervised { by });
    }
    let names_it = content.run == Some((run.identity.id, run.identity.started_at));
    let in_row = run
        .pid
        .filter(|pid| *pid > 1)
        .map(|pid| Process { pid, start: run.pid_start.unwrap_or(Process::UNKNOWN_START) });
    let verdict = match content.process.filter(|_| names_it).or(in_row) {
        Some(process) if lives(process)? => Verdict::Living { process },
        Some(_) => Verdict::Dead,
        // We hold, or held, the lock for something else, and a run that we claimed and do not know was never
        // started: its answer was lost.
        None if !names_it && content.supervisor == Some(me) => Verdict::Dead,
        None if wordless => Verdict::Claimed,
        None => by_lock(folder, tenant)?,
    };
    // Whoever watches an adopted run records its end, also when the process has just ended.
    match verdict {
        Verdict::Living { .. } | Verdict::Dead => match probe_keeper(folder, tenant)? {
            Holder::Process(by) if by != me => Ok(Verdict::Supervised { by }),
            Holder::Unknown => Ok(Verdict::Claimed),
            Holder::Process(_) | Holder::Nobody => Ok(verdict),
        },
        Verdict::Claimed | Verdict::Supervised { .. } => Ok(verdict),
    }
}

/// True while a main process, or a member of its process group, lives.
///
/// # Errors
/// /proc cannot be read.
pub fn lives(process: Process) -> io::Result<bool> {
    match Stat::of(process.pid)? {
        // A number is not given away while a group bears it: another process has it, so the group is gone.
        Some(stat) if !process.is(stat) => Ok(false),
        Some(stat) if !stat.ended => Ok(true),
        _ => group::has_living_members(process.pid),
    }
}

fn by_lock(folder: &StateFolder, tenant: &TenantName) -> io::Result<Verdict> {
    Ok(match probe_tenant(folder, tenant)? {
        Held::Held => Verdict::Claimed,
        Held::Free => Verdict::Dead,
    })
}
