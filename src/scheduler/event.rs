//! What can happen, as the core hears it. Past participles: every event is a fact, late and doubled ones included.

use super::Rules;
use super::carried::CarriedRun;
use crate::model::{DatabaseId, DbTime, Finish, OpenRun, Reply, RunId, Tenant, TenantName, Trouble};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// A fact from the world.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The deadline passed, or the loop woke for nothing.
    Tick,
    /// All sources have answered at least once (or keep their last answer): these are the tenants.
    TenantsListed(Vec<Listed>),
    /// The answer to [`super::Action::Lock`]: which of the tenants' locks were won, and how many slots.
    Locked {
        /// Won by us.
        won: Vec<TenantName>,
        /// Held by another process of this host: by the run's pid where the file tells, by none while it is only claiming.
        held: Vec<(TenantName, Option<i32>)>,
        /// Slots won, at most as many as were asked for.
        slots: u32,
    },
    /// An open run of this instance and node, about to be read, belongs to a tenant that no source lists (any more).
    UnlistedFound(Box<Listed>),
    /// The answer to [`super::Action::ProbeLock`].
    LockProbed {
        /// Whose.
        tenant: TenantName,
        /// Whether a process of this host holds it.
        held: bool,
    },
    /// An exchange was answered or failed.
    Exchanged {
        /// With which database.
        database: DatabaseId,
        /// The number of the exchange.
        number: u64,
        /// The answer, or why there is none.
        result: Result<Reply, Trouble>,
    },
    /// The child lives.
    Started {
        /// Whose.
        tenant: TenantName,
        /// Its process and process group.
        pid: i32,
        /// Field 22 of its stat, clock ticks since boot.
        pid_start: i64,
    },
    /// There is no child.
    NotStarted {
        /// Whose.
        tenant: TenantName,
        /// Why.
        why: NotStarted,
    },
    /// The main process has ended.
    Ended {
        /// Whose.
        tenant: TenantName,
        /// How, and what it cost.
        end: End,
        /// Whether members of its process group live on.
        group_left: bool,
    },
    /// The process group is empty (the answer to [`super::Action::CheckGroup`], which is silent otherwise).
    GroupEmptied {
        /// Whose.
        tenant: TenantName,
    },
    /// The answer to [`super::Action::Examine`].
    Examined {
        /// Whose.
        tenant: TenantName,
        /// The run examined.
        run: RunId,
        /// What was found.
        verdict: Verdict,
    },
    /// The database told of a change, of one key or of any.
    Notified {
        /// Which database.
        database: DatabaseId,
        /// Which key.
        key: Option<String>,
    },
    /// Somebody asked to look now: at these tenants, or at all if none is named.
    Woken(Vec<TenantName>),
    /// TERM or INT.
    StopAsked,
    /// QUIT.
    DrainAsked,
    /// A new configuration is in force.
    Reloaded(Box<Rules>),
    /// Ends that a supervisor which is dead could not record. The same file may be found again and again.
    EndsFound {
        /// Which of its files; told back by [`super::Action::Forget`].
        file: u64,
        /// What stands in it.
        ends: Vec<FoundEnd>,
    },
    /// A run of the program that this one replaced (SIGUSR2); before the first listing.
    Carried {
        /// Its tenant, by the new configuration.
        listed: Box<Listed>,
        /// The run.
        run: Box<CarriedRun>,
    },
    /// USR2: come to rest, answer by [`super::Action::Upgrade`].
    UpgradeAsked,
    /// The new program would not start: this one goes on.
    UpgradeFailed,
}

/// A tenant with what the configuration says of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// The tenant.
    pub tenant: Tenant,
    /// Its key in the status table; shared with its name where they are the same.
    pub key: Arc<str>,
    /// Where its row is.
    pub database: DatabaseId,
    /// Its interval.
    pub every: Duration,
    /// Its offset within the interval.
    pub offset: Duration,
    /// `job.timeout`.
    pub timeout: Option<Duration>,
    /// False: not started.
    pub enabled: bool,
}

/// Why a child could not be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotStarted {
    /// The command cannot be executed: 127 (not found) or 126 (found, not executable).
    CannotExecute {
        /// The exit code a shell would give.
        code: i32,
        /// What failed and what to do.
        text: String,
    },
    /// The host lacks processes, memory or descriptors now.
    NoResources {
        /// What failed.
        text: String,
    },
}

/// How a main process ended, and what it cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// Its status.
    pub exit: Exit,
    /// CPU time, seconds; unknown for an adopted run.
    pub cpu_seconds: Option<f64>,
    /// Peak memory, KiB, if it can be told from the supervisor's own.
    pub max_rss_kb: Option<i64>,
}

/// An exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// It exited.
    Code(i32),
    /// It died of a signal.
    Signal(i32),
    /// It was not our child (adopted): nobody can tell.
    Unknown,
}

/// What the kernel of this host says of an open run that the core does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It lived under a dead supervisor, and is watched by us from now on.
    Adopted {
        /// Its main process.
        pid: i32,
        /// Its start time.
        pid_start: i64,
    },
    /// It lives and is watched by another process of this host.
    Supervised,
    /// Nothing lives: proved.
    Dead,
    /// It cannot be told yet.
    Undecided,
}

/// An end from a dead supervisor's file.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundEnd {
    /// Where its row is.
    pub database: DatabaseId,
    /// Whose.
    pub tenant: TenantName,
    /// What the database is to be told; `ended_ago` is reckoned when it is told.
    pub finish: Finish,
    /// When the run ended, by the database's clock.
    pub ended_at: DbTime,
}

/// An open run to examine, with the tenant it belongs to.
#[derive(Debug, Clone, PartialEq)]
pub struct Unknown {
    /// The tenant.
    pub tenant: TenantName,
    /// The run as the database has it.
    pub run: OpenRun,
    /// If it lives under a dead supervisor it becomes ours to watch.
    pub may_adopt: bool,
    /// Nobody has confirmed it for so long that nobody watches it.
    pub silent: bool,
}
