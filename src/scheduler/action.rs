//! What the core wants done. Imperatives; the shell obeys in order and answers by events.

use super::event::{End, Unknown};
use crate::model::{DatabaseId, DbTime, Exchange, Outcome, RunId, TenantName};
use std::time::Duration;

/// A thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Take these tenants' locks and up to so many slots, without waiting; answer [`super::Event::Locked`].
    Lock {
        /// In queue order.
        tenants: Vec<TenantName>,
        /// How many slots; zero where none are needed.
        slots: u32,
    },
    /// Let go of tenants' locks (of offers that became no claim, of runs whose record is acknowledged) and of slots that
    /// no run holds.
    Unlock {
        /// Their locks.
        tenants: Vec<TenantName>,
        /// How many slots.
        slots: u32,
    },
    /// Talk to a database; answer [`super::Event::Exchanged`].
    Exchange {
        /// Which.
        database: DatabaseId,
        /// What to say.
        exchange: Exchange,
    },
    /// Start the child of a claimed run; answer Started or NotStarted.
    Start {
        /// Whose.
        tenant: TenantName,
        /// The run.
        run: RunId,
        /// When it was claimed, by its database.
        started_at: DbTime,
    },
    /// Signal the process group.
    Signal {
        /// Whose.
        tenant: TenantName,
        /// Which signal.
        force: Force,
    },
    /// See whether the process group is empty; answer GroupEmptied if so.
    CheckGroup {
        /// Whose.
        tenant: TenantName,
    },
    /// See whether a process of this host holds a tenant's lock; answer LockProbed.
    ProbeLock {
        /// Whose.
        tenant: TenantName,
    },
    /// Find out what an open run of this node that nobody here knows is; answer Examined.
    Examine(Unknown),
    /// The run is over: write the end line, let go of the slot. The lock stays ours until [`Action::Unlock`].
    Close(Closing),
    /// A run of ours has another number: its own was gone from the database, and a new one stands in its place.
    Renumber {
        /// Whose.
        tenant: TenantName,
        /// Its number from now on.
        run: RunId,
        /// Its claim's time from now on.
        started_at: DbTime,
    },
    /// Every end of this file is recorded: remove it.
    Forget {
        /// The number that [`super::Event::EndsFound`] told.
        file: u64,
    },
    /// All is at rest: put the new program in this one's place; answer UpgradeFailed if it would not start.
    Upgrade,
    /// Nothing is left to do.
    Exit {
        /// What the process ends with.
        reason: ExitReason,
    },
}

/// How hard to ask a process group to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// SIGTERM.
    Term,
    /// SIGKILL.
    Kill,
}

/// A run that is over.
#[derive(Debug, Clone, PartialEq)]
pub struct Closing {
    /// Whose.
    pub tenant: TenantName,
    /// Which.
    pub run: RunId,
    /// Its main process, if there was one.
    pub pid: Option<i32>,
    /// How it ended.
    pub outcome: Outcome,
    /// The main process's status and cost.
    pub end: Option<End>,
    /// From the claim to the end.
    pub elapsed: Duration,
}

/// Why the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitReason {
    /// All is done and recorded.
    Done,
    /// Ends could not be recorded, so many.
    Unrecorded(usize),
    /// Another machine bears this node's name.
    Rival,
    /// `--once`: not one database answered.
    NoDatabase,
    /// `run TENANT…`: some tenant could not be run at all.
    Refused,
}
