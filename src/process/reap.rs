//! Ended children: who, how, and what they used. Every child of this process is collected here, strangers
//! that were left to us (as PID 1) included; who is whose is the caller's to know.
//!
//! Invariant: a child is reported exactly once.

use super::syscall;
use nix::sys::resource::{UsageWho, getrusage};
use std::io;
use std::time::Duration;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// It died of this signal.
    Signal(i32),
}

/// A child that has ended and been collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reaped {
    /// Its number, free for others from now on.
    pub pid: i32,
    /// How it ended.
    pub exit: Exit,
    /// User and system time of it and of the children it waited for.
    pub cpu: Duration,
    /// The kernel's count of its peak memory, KiB; begins at this process's own peak. See [`Reaped::peak_kb`].
    pub max_rss_kb: i64,
}

impl Reaped {
    /// The peak memory that is certainly the child's own, KiB: `None` where the count is not above what it began with.
    pub fn peak_kb(&self, own_peak_at_spawn_kb: i64) -> Option<i64> {
        (self.max_rss_kb > own_peak_at_spawn_kb).then_some(self.max_rss_kb)
    }
}

/// Collects all children that have ended. Call it whenever SIGCHLD was seen; signals coalesce, hence "all".
///
/// # Errors
/// What the kernel answers to wait4(2); that there is no child is not an error.
pub fn reap() -> io::Result<Vec<Reaped>> {
    let mut all = Vec::new();
    while let Some(one) = syscall::wait_any()? {
        all.push(one);
    }
    Ok(all)
}

/// This process's own peak memory so far, KiB.
pub fn own_peak_kb() -> i64 {
    getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| usage.max_rss())
}
