//! One run's life: claimed → running → (leftover of its group) → ended → recorded. It leaves memory only
//! when the database has acknowledged its record.

use super::event::{End, Exit};
use super::rules::FIRST_REFRESH;
use crate::model::{Becomes, DatabaseId, Finish, Moment, Outcome, RunIdentity};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A run of ours.
#[derive(Debug)]
pub(super) struct Run {
    pub identity: RunIdentity,
    pub database: DatabaseId,
    pub group: Option<String>,
    pub phase: Phase,
    /// The main process and its start time.
    pub pid: Option<(i32, i64)>,
    /// It holds one of this node's slots.
    pub slot: bool,
    /// It holds its tenant's lock, until its record is acknowledged: whoever gets the lock before could take the open
    /// run for one that nobody remembers.
    pub locked: bool,
    /// When the claim was answered, or the run adopted.
    pub began: Moment,
    /// How old the run was then.
    pub age_at_began: Duration,
    /// Others may take it once it is silent for longer.
    pub lease: Option<Duration>,
    /// When what confirmed it last was sent.
    pub confirmed: Moment,
    /// Adopted, and first to be confirmed: not ended for its lease before this.
    pub grace: Moment,
    pub refresh_due: Moment,
    pub refreshing: bool,
    pub repairing: bool,
    pub timeout_at: Option<Moment>,
    /// We asked it to end.
    pub ending: Option<Ending>,
    pub end: Option<End>,
    pub ended_at: Moment,
    /// When the group was asked to end after its main process, and looked at next.
    pub leftover: Option<Leftover>,
    pub verdict: Option<RecordAs>,
    pub record_not_before: Moment,
    /// How long the record waited last for a row that somebody holds locked.
    pub record_wait: Duration,
    pub recording: bool,
    /// The database did not take its end: it is kept in a file too.
    pub kept: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Starting,
    Running,
    /// The main process has ended, members of its group have not.
    Leftover,
    /// Over; to be recorded.
    Ended,
}

/// A request of ours that a run end.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ending {
    pub why: Why,
    pub since: Moment,
    pub killed: bool,
}

/// Why we end a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    Timeout,
    Stale,
    Shutdown,
    ClosedByAnother,
    AnotherRunOpen,
    Unconfirmed,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Leftover {
    pub since: Moment,
    pub killed: bool,
    pub look_at: Moment,
    pub wait: Duration,
}

/// How the end is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordAs {
    /// As a finished run.
    Finish(Outcome, Becomes),
    /// Not at all: it never began for want of resources.
    Undo,
}

/// The first look at a group that outlives its main process comes after this, later ones after twice as long.
pub(super) const FIRST_LOOK: Duration = Duration::from_millis(20);
pub(super) const LONGEST_LOOK: Duration = Duration::from_secs(1);

impl Run {
    pub fn new(identity: RunIdentity, database: DatabaseId, group: Option<String>, now: Moment) -> Self {
        Self {
            identity,
            database,
            group,
            phase: Phase::Starting,
            pid: None,
            slot: false,
            locked: true,
            began: now,
            age_at_began: Duration::ZERO,
            lease: None,
            confirmed: now,
            grace: Moment::default(),
            refresh_due: now + FIRST_REFRESH,
            refreshing: false,
            repairing: false,
            timeout_at: None,
            ending: None,
            end: None,
            ended_at: now,
            leftover: None,
            verdict: None,
            record_not_before: now,
            record_wait: Duration::ZERO,
            recording: false,
            kept: false,
        }
    }

    /// It is recorded as lost.
    pub fn is_lost(&self) -> bool {
        matches!(self.verdict, Some(RecordAs::Finish(Outcome::Lost, _)))
    }

    /// It has, or may have, a process.
    pub fn lives(&self) -> bool {
        self.phase != Phase::Ended
    }

    pub fn elapsed(&self) -> Duration {
        self.age_at_began + self.ended_at.since(self.began)
    }

    /// What the database is told.
    pub fn finish(&self, outcome: Outcome, becomes: Becomes, now: Moment) -> Finish {
        let exit = self.end.map(|end| end.exit);
        Finish {
            run: self.identity.clone(),
            group: self.group.clone(),
            outcome,
            becomes,
            exit_code: exit.and_then(|exit| if let Exit::Code(code) = exit { Some(code) } else { None }),
            signal: exit.and_then(|exit| if let Exit::Signal(signal) = exit { Some(signal) } else { None }),
            cpu_seconds: self.end.and_then(|end| end.cpu_seconds),
            max_rss_kb: self.end.and_then(|end| end.max_rss_kb),
            pid: self.pid.map(|(pid, _)| pid),
            pid_start: self.pid.map(|(_, start)| start),
            ended_ago: now.since(self.ended_at),
        }
    }

    /// When its life must be confirmed next.
    pub fn refresh_at(&self) -> Option<Moment> {
        (self.lives() && self.pid.is_some() && !self.refreshing).then_some(self.refresh_due)
    }

    /// The next moment at which its processes must be looked after.
    pub fn deadline(&self, kill_after: Duration) -> Option<Moment> {
        let fence = self.fence(kill_after);
        match self.phase {
            Phase::Starting | Phase::Ended => None,
            Phase::Running => match self.ending {
                None => [self.timeout_at, fence.map(|fence| fence.ask)].into_iter().flatten().min(),
                Some(ending) if ending.killed => None,
                Some(ending) => {
                    [Some(ending.since + kill_after), fence.map(|fence| fence.kill)].into_iter().flatten().min()
                }
            },
            Phase::Leftover => self.leftover.map(|left| left.look_at),
        }
    }
}

impl Why {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Timeout => "it has run for longer than job.timeout",
            Self::Stale => "it is stale and stale.action is kill",
            Self::Shutdown => "tenantcron stops",
            Self::ClosedByAnother => "its run was closed by somebody else",
            Self::AnotherRunOpen => "another run of the tenant is open",
            Self::Unconfirmed => "its life could not be confirmed within its lease",
        }
    }

    /// The row is somebody else's from now on.
    pub(super) fn leaves_the_row(self) -> bool {
        matches!(self, Self::ClosedByAnother | Self::AnotherRunOpen)
    }

    pub(super) fn record(self) -> RecordAs {
        match self {
            Self::Timeout => RecordAs::Finish(Outcome::Timeout, Becomes::Done),
            Self::Stale => RecordAs::Finish(Outcome::Timeout, Becomes::Needed),
            Self::Shutdown | Self::ClosedByAnother | Self::AnotherRunOpen | Self::Unconfirmed => {
                RecordAs::Finish(Outcome::Stopped, Becomes::Needed)
            }
        }
    }
}
