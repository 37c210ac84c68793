//! How a run ended, and what its row becomes.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How a run ended; the column `outcome`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Exit 0.
    Ok,
    /// Exit ≠ 0, or it could not be executed (126, 127).
    Failed,
    /// Died of a signal that nobody of ours sent.
    Killed,
    /// Ended for `job.timeout` or `stale.action = "kill"`.
    Timeout,
    /// Ended by `tenantcron kill`, a shutdown, or for want of a confirmed lease.
    Stopped,
    /// Ended after its supervisor died; exit status not known.
    Adopted,
    /// Its supervisor or host died and no process is left, or it was taken over.
    Lost,
}

impl Outcome {
    /// Every outcome, in the order of the contract's table.
    pub const ALL: [Self; 7] =
        [Self::Ok, Self::Failed, Self::Killed, Self::Timeout, Self::Stopped, Self::Adopted, Self::Lost];

    /// The word in the column.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Killed => "killed",
            Self::Timeout => "timeout",
            Self::Stopped => "stopped",
            Self::Adopted => "adopted",
            Self::Lost => "lost",
        }
    }

    /// The outcome of a word, if it is one of ours.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a finished run makes of its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Becomes {
    /// The row is `done`, `updated_at` the end of the run.
    Done,
    /// The row is `needed` again and keeps the `updated_at` of its claim.
    Needed,
}

impl Becomes {
    /// The word in the column `value`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Needed => "needed",
        }
    }
}
