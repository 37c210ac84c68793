//! What a fake database holds, and what an exchange changed in it.

use std::time::Duration;
use tenantcron::model::{Becomes, DbTime, Outcome, RowValue, RunId, RunIdentity};

/// A status row with its flags.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub value: RowValue,
    pub updated_at: DbTime,
    pub created_at: DbTime,
    pub paused_at: Option<DbTime>,
    pub requested_at: Option<DbTime>,
}

/// A run, open while `closed` is none.
#[derive(Debug, Clone)]
pub struct Run {
    pub identity: RunIdentity,
    pub group: Option<String>,
    pub pid: Option<i32>,
    pub alive_at: DbTime,
    pub closed: Option<Closed>,
}

/// How a run was closed.
#[derive(Debug, Clone, PartialEq)]
pub struct Closed {
    pub outcome: Outcome,
    pub becomes: Becomes,
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
}

/// What an exchange changed, for the ledger of invariants.
#[derive(Debug, Clone)]
pub enum Deed {
    Claimed { key: String },
    Closed { id: RunId, key: String, closed: Closed },
    Inserted { id: RunId },
    Undone { id: RunId },
    Released { key: String, id: Option<RunId> },
    Reset { key: String, slot: DbTime },
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
