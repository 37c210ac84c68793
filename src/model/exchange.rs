//! One exchange with one database: what the scheduler has to say (ends, releases, lives, resets, a
//! claim, a look) and what the database answered. One exchange is one transaction, in the order finish, undo,
//! release, repair, refresh, reset, claim, poll; every part covers many tenants in one statement and never waits for a row.

use super::{Becomes, DbTime, OpenRun, Outcome, RunId, RunIdentity, StatusRow, Tenant};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// A database of this supervisor, by its place in the list of distinct URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DatabaseId(pub u32);

/// Who claims: the same for every run of this supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The instance.
    pub instance: String,
    /// The node.
    pub node: String,
    /// `<boot id>/<inode of the pid namespace>`.
    pub host: String,
}

/// What is said in one exchange.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Exchange {
    /// Told back with the answer, so that one that comes late or twice is known for what it is.
    pub number: u64,
    /// Runs that ended (or are lost).
    pub finish: Vec<Finish>,
    /// Claims whose child could not be started for want of resources: the run is deleted, the row needed.
    pub undo: Vec<RunIdentity>,
    /// Stale claims of others that the operator's `stale.action = "release"` frees.
    pub release: Vec<Release>,
    /// Living runs of ours of which the rows know nothing (a failover, a restored backup, a hand).
    pub repair: Vec<Repair>,
    /// Runs whose life is confirmed.
    pub refresh: Vec<Refresh>,
    /// Done rows whose slot has come.
    pub reset: Vec<Reset>,
    /// Needed rows to claim.
    pub claim: Option<Claim>,
    /// Read the rows and the open runs.
    pub poll: Option<Poll>,
}

impl Exchange {
    /// True if there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.finish.is_empty()
            && self.undo.is_empty()
            && self.release.is_empty()
            && self.repair.is_empty()
            && self.refresh.is_empty()
            && self.reset.is_empty()
            && self.claim.is_none()
            && self.poll.is_none()
    }

    /// True if a run waits for it, or may not live on without it: such exchanges go before mere looks.
    pub fn is_urgent(&self) -> bool {
        !self.finish.is_empty()
            || !self.undo.is_empty()
            || !self.repair.is_empty()
            || !self.refresh.is_empty()
            || self.claim.is_some()
    }
}

/// A run that ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finish {
    /// Which run.
    pub run: RunIdentity,
    /// The tenant's group, for a run that must be inserted anew.
    pub group: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// What its row becomes.
    pub becomes: Becomes,
    /// Exit status, if it exited.
    pub exit_code: Option<i32>,
    /// Signal, if it died of one.
    pub signal: Option<i32>,
    /// User and system time of the child and what it waited for, seconds.
    pub cpu_seconds: Option<f64>,
    /// Peak memory, KiB.
    pub max_rss_kb: Option<i64>,
    /// The main process.
    pub pid: Option<i32>,
    /// Its start time, clock ticks since boot.
    pub pid_start: Option<i64>,
    /// Monotonic time since the end was seen.
    pub ended_ago: Duration,
}

/// An end that the database has not taken yet, as it is kept for whoever looks next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unrecorded {
    /// Whose, with what its sources said of it: that leads to its database.
    pub tenant: Tenant,
    /// What the database is to be told; `ended_ago` counts for nothing here.
    pub finish: Finish,
    /// When the run ended, by its database's clock carried forward: true in another process and after a reboot too.
    pub ended_at: DbTime,
}

/// What became of a [`Finish`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// Closed (now, or by an earlier exchange whose answer was lost, or inserted anew). `row` is the row's
    /// new `updated_at` if the row took the value asked for just now.
    Recorded {
        /// The row's `updated_at` after this, if it was `running` and became what was asked.
        row: Option<DbTime>,
    },
    /// Somebody else closed it; their outcome stays.
    ClosedByAnother,
    /// The row is locked by somebody: say it again with the next exchange.
    NotNow,
}

/// A row `running` too long whose owner cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The row.
    pub key: String,
    /// Its `updated_at` as it was read: if it has moved, nothing happens.
    pub updated_at: DbTime,
    /// The open run of another node, closed as `lost`; none for another program's claim (then the row must have no open run).
    pub run: Option<RunIdentity>,
    /// The run's `alive_at` must be older than this too.
    pub silent_for: Duration,
}

/// A run of ours that lives and whose row is not `running`, or that the database does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// Which run.
    pub run: RunIdentity,
    /// Its tenant's group, for a run that must be inserted anew.
    pub group: Option<String>,
    /// Its main process, for the same.
    pub pid: Option<i32>,
    /// That process's start time, clock ticks since boot.
    pub pid_start: Option<i64>,
    /// Its lease, for the same.
    pub lease: Option<Duration>,
}

/// What became of a [`Repair`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repaired {
    /// The row is `running` and this run is open: ours, or a new one in its place where ours was gone.
    Running {
        /// Its id.
        id: RunId,
        /// Its `started_at`.
        started_at: DbTime,
    },
    /// Ours is closed: somebody released it or took it over.
    Closed,
    /// Another run of the tenant is open.
    Another,
    /// Locked by somebody, or no row to set: say it again.
    NotNow,
}

/// A run whose life is confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refresh {
    /// Which run.
    pub run: RunIdentity,
    /// Its main process, once started.
    pub pid: Option<i32>,
    /// That process's start time, clock ticks since boot.
    pub pid_start: Option<i64>,
}

/// What became of a [`Refresh`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refreshed {
    /// `alive_at` is now.
    Confirmed,
    /// The run is closed: somebody released or took it over.
    Closed,
    /// No such run: a failover or a restored backup.
    Gone,
    /// Locked by somebody: say it again.
    NotNow,
}

/// A done row whose slot has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reset {
    /// The row.
    pub key: String,
    /// Its newest slot: the row must have finished before it, and it must not lie in the future.
    pub slot: DbTime,
}

/// Rows offered to a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// In queue order.
    pub offers: Vec<Offer>,
    /// At most so many are taken: the slots held for it.
    pub limit: u32,
    /// Also take `done` rows (`run TENANT`).
    pub done_too: bool,
    /// `limits.cluster`, 0 for none.
    pub cluster_limit: u32,
    /// `limits.group`, 0 for none.
    pub group_limit: u32,
    /// Claims of other programs running now, by the last view, per group.
    pub foreign_in_group: Vec<(String, u32)>,
    /// Carried by each run, with `cluster.takeover_after`.
    pub lease: Option<Duration>,
}

/// One row offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The row.
    pub key: String,
    /// Its tenant's group.
    pub group: Option<String>,
}

/// A row that was claimed, and its run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The row.
    pub key: String,
    /// The run.
    pub id: RunId,
    /// Its `started_at`, which is the row's `updated_at` too.
    pub started_at: DbTime,
}

/// Which rows are read, beside every open run of this instance and node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Poll {
    /// Those of these keys; what is missing is created (unless `migrate = "manual"` or nothing may be written).
    Keys(Arc<[Arc<str>]>),
    /// A short look: those of this instance's keys that are not done, are paused or have an open run; none is created.
    NotDone {
        /// The mark of the last short look. If it is still the same, rows without an open run are not read again:
        /// nothing was written since. Given only by who knows of no row that is not done.
        since: Option<Mark>,
    },
}

/// How far a server's history has come, in its own words: where it is the same twice, nothing was written between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark(pub Box<str>);

/// What a poll read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Polled {
    /// The rows that exist (now).
    pub rows: Vec<StatusRow>,
    /// The open runs of these keys, and all open runs of this instance and node.
    pub runs: Vec<OpenRun>,
    /// Of a short look: up to where this was read, unless something older was still being written.
    pub mark: Option<Mark>,
}

/// What the database answered; each list in the order of what was asked.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reply {
    /// The database's `now()`, unless nothing in the exchange could tell it.
    pub now: Option<DbTime>,
    /// One answer per [`Finish`].
    pub finished: Vec<Finished>,
    /// One answer per run to undo.
    pub undone: Vec<Finished>,
    /// Keys that were released.
    pub released: Vec<String>,
    /// One answer per [`Repair`].
    pub repaired: Vec<Repaired>,
    /// One answer per [`Refresh`].
    pub refreshed: Vec<Refreshed>,
    /// Keys that were reset.
    pub reset: Vec<String>,
    /// What was claimed.
    pub claimed: Vec<Claimed>,
    /// What was read.
    pub polled: Option<Box<Polled>>,
    /// How long it took from its sending, on the way and in the server.
    pub took: Duration,
}

/// Why an exchange failed. Nothing of it happened, unless the kind is [`TroubleKind::Interrupted`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What follows from it.
    pub kind: TroubleKind,
    /// What failed, on which database, why, and what to do; without a password.
    pub text: String,
    /// The whole server does not answer (connection refused or lost, starting up, shutting down), not this database alone.
    pub whole_server: bool,
}

/// What follows from a failed exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TroubleKind {
    /// No connection, or it refused before anything was sent.
    Unreachable,
    /// It was sent and no answer came: it may have happened, may still happen, or not.
    Interrupted,
    /// The server answered with an error and took everything back; a retry may help (deadlock, read-only, shutting down).
    Refused,
    /// The database is there and does not fit (no unique index on `key`, tables missing under `migrate = "manual"`,
    /// no permission): a person must act.
    Unfit,
}
