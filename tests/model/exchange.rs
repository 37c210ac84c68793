//! An exchange as it stands: what it says of each tenant, how far it has come, and what came of it.

use crate::world::{Outcome, RunId, TENANTS};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Exchange {
    pub phase: Phase,
    /// Ticks since it was sent.
    pub age: u8,
    /// Ticks since its transaction began: its `now()`.
    pub begun: u8,
    pub said: [Said; TENANTS],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    Sent,
    /// The transaction has locked and read.
    Begun,
    /// It has committed.
    Answered,
}

/// What an exchange says of a tenant, and what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Said {
    pub part: Part,
    pub mark: Mark,
}

impl Said {
    pub const NOTHING: Self = Self { part: Part::Nothing, mark: Mark::Unread };

    /// It will write.
    pub fn is_held(&self) -> bool {
        matches!(self.mark, Mark::Held | Mark::Read)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    Nothing,
    Claim,
    Finish(RunId, Outcome),
    Refresh(RunId),
    TakeOver(RunId),
}

impl Part {
    pub fn run(self) -> Option<RunId> {
        match self {
            Self::Nothing | Self::Claim => None,
            Self::Finish(run, _) | Self::Refresh(run) | Self::TakeOver(run) => Some(run),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mark {
    /// Not looked at yet.
    Unread,
    /// The rows were locked by somebody else (SKIP LOCKED), or not as the statement wants them.
    Passed,
    /// They are as it wants them, and locked until the commit.
    Held,
    /// The same without the lock: [`crate::rules::Mutation::ClaimWithoutRowLock`].
    Read,
    /// Recorded, confirmed, taken over.
    Done,
    Claimed(RunId),
    /// The run was closed by another.
    Closed,
    /// Somebody held the rows.
    NotNow,
}
