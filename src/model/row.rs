//! Rows as a poll reads them: the status of a tenant, and a run that is open.

use super::DbTime;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// The value of a status row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowValue {
    /// Wants to run.
    Needed,
    /// Claimed by somebody.
    Running,
    /// Has run.
    Done,
    /// A value that the contract does not know: reported and left alone.
    Unknown(Box<str>),
}

impl RowValue {
    /// Reads the column.
    pub fn from_word(word: &str) -> Self {
        match word {
            "needed" => Self::Needed,
            "running" => Self::Running,
            "done" => Self::Done,
            other => Self::Unknown(other.into()),
        }
    }

    /// The word in the column.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Needed => "needed",
            Self::Running => "running",
            Self::Done => "done",
            Self::Unknown(word) => word,
        }
    }
}

/// A status row and its tenant's flags, as one poll saw them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusRow {
    /// The column `key`.
    pub key: String,
    /// The column `value`.
    pub value: RowValue,
    /// When it last became running or done; the epoch where the column is NULL or earlier.
    pub updated_at: DbTime,
    /// The column `created_at`, where the table has it.
    pub created_at: Option<DbTime>,
    /// An operator paused the tenant.
    pub paused: bool,
    /// An operator asked for a run at this time. It counts while later than `updated_at`.
    pub requested_at: Option<DbTime>,
}

/// The id of a run within its database; grows, and so serves jobs as a fencing token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RunId(pub i64);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What makes a run this run: ids come again after a failover or a restored backup, so every statement
/// that closes or confirms a run compares all of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunIdentity {
    /// Its id.
    pub id: RunId,
    /// Its tenant's key.
    pub key: String,
    /// The instance that claimed it.
    pub instance: String,
    /// The node that claimed it.
    pub node: String,
    /// `<boot id>/<inode of the pid namespace>` of the claimer.
    pub host: String,
    /// When it was claimed, exactly as the column holds it (microseconds).
    pub started_at: DbTime,
}

/// A run whose `finished_at` is null, as a poll saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRun {
    /// Which run.
    pub identity: RunIdentity,
    /// The tenant's group at the claim.
    pub group: Option<String>,
    /// The main process, once known to the database.
    pub pid: Option<i32>,
    /// Field 22 of /proc/PID/stat of that process, in clock ticks since boot.
    pub pid_start: Option<i64>,
    /// When its watcher last confirmed it.
    pub alive_at: DbTime,
    /// Its lease, with `cluster.takeover_after`.
    pub lease: Option<Duration>,
}

impl OpenRun {
    /// The run that `identity` names, if under another number: a repair whose answer was lost opened it anew, by the same
    /// claim or at least of the same process (and its start time).
    pub fn is_of(&self, identity: &RunIdentity, process: Option<(i32, i64)>) -> bool {
        let (own, other) = (&self.identity, identity);
        let named = self.pid.zip(self.pid_start);
        (&own.key, &own.instance, &own.node, &own.host) == (&other.key, &other.instance, &other.node, &other.host)
            && (own.started_at == other.started_at || (named.is_some() && named == process))
    }
}
