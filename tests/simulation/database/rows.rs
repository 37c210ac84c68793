//! What a fake database holds, and what an exchange changed in it.

use std::time::Duration;
use tenantcron::model::{Becomes, DbTime, Finish, Outcome, RowValue, RunIdentity};

/// A status row with its flags.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub value: RowValue,
    pub updated_at: DbTime,
    pub created_at: DbTime,
    pub paused_at: Option<DbTime>,
    pub requested_at: Option<DbTime>,
}

/// A run that is open.
#[derive(Debug, Clone)]
pub struct OpenRow {
    pub identity: RunIdentity,
    pub group: Option<String>,
    pub pid: Option<i32>,
    pub pid_start: Option<i64>,
    pub alive_at: DbTime,
    pub lease: Option<Duration>,
}

/// A run that is over.
#[derive(Debug, Clone)]
pub struct DoneRow {
    pub identity: RunIdentity,
    pub closed: Closed,
}

/// How a run was closed.
#[derive(Debug, Clone, PartialEq)]
pub struct Closed {
    pub outcome: Outcome,
    pub becomes: Becomes,
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
}

/// What an exchange changed, for the ledger.
#[derive(Debug, Clone)]
pub enum Deed {
    /// What the row was before.
    Claimed {
        run: RunIdentity,
        before: Row,
        foreign: bool,
    },
    Closed {
        run: RunIdentity,
        closed: Closed,
        /// Since when it was silent.
        alive_at: DbTime,
    },
    /// A finished run that was gone.
    Inserted {
        run: RunIdentity,
        closed: Closed,
    },
    Undone {
        run: RunIdentity,
    },
    Released {
        key: String,
        run: Option<OpenRow>,
    },
    /// Another than it was where that was gone.
    Repaired {
        run: RunIdentity,
        of: RunIdentity,
    },
    Reset {
        key: String,
    },
}

impl Row {
    pub fn never_run(created_at: DbTime) -> Self {
        let (paused_at, requested_at) = (None, None);
        Self { value: RowValue::Needed, updated_at: DbTime::EPOCH, created_at, paused_at, requested_at }
    }

    /// Unrelated to us, in the same table.
    pub fn of_another_program() -> Self {
        Self { value: RowValue::Unknown("14.2".into()), ..Self::never_run(DbTime::EPOCH + Duration::from_secs(9)) }
    }
}

impl OpenRow {
    /// The same process of the same claimer.
    pub fn is_process(&self, run: &RunIdentity, process: (Option<i32>, Option<i64>)) -> bool {
        let claimer = (&self.identity.node, &self.identity.host) == (&run.node, &run.host);
        claimer && process.0.is_some() && (self.pid, self.pid_start) == process
    }
}

impl Closed {
    pub fn of(finish: &Finish) -> Self {
        Self { outcome: finish.outcome, becomes: finish.becomes, exit_code: finish.exit_code, signal: finish.signal }
    }

    pub fn lost() -> Self {
        Self { outcome: Outcome::Lost, becomes: Becomes::Needed, exit_code: None, signal: None }
    }

    /// Told once more: the row's value is not in the run.
    pub fn says_the_same(&self, other: &Self) -> bool {
        (self.outcome, self.exit_code, self.signal) == (other.outcome, other.exit_code, other.signal)
    }
}

/// The same claim, whatever its number, which is another after a repair.
pub fn is_claim(one: &RunIdentity, other: &RunIdentity) -> bool {
    (&one.key, one.started_at, &one.node, &one.host) == (&other.key, other.started_at, &other.node, &other.host)
}
