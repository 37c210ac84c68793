//! What the core knows of one tenant. There are many of them, and most only wait for their slot: what few ever need
//! stands in a box of its own.

use super::backoff::Backoff;
use super::event::Listed;
use super::notice::Notice;
use super::queue::Rank;
use super::run::Run;
use crate::model::{DbTime, Moment, OpenRun, RowValue, TenantName};
use std::mem::Discriminant;

/// A tenant's place on the shelf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TenantId(pub u32);

/// One tenant.
#[derive(Debug)]
pub(super) struct TenantState {
    pub listed: Listed,
    /// Still in the sources. A tenant that vanished stays until its run is recorded.
    pub present: bool,
    /// Its row, as far as it is known for sure.
    pub row: Option<Row>,
    pub stage: Stage,
    /// An open run that we do not watch.
    pub other: Option<Box<OpenRun>>,
    /// It is being examined: the answer must find its tenant, for it may be ours to watch by then.
    pub examining: bool,
    /// Neither claimed nor reset before this.
    pub not_before: Moment,
    /// Why it waits until then.
    pub wait: Option<Wait>,
    pub backoff: Backoff,
    /// A reset is asked or under way.
    pub resetting: bool,
    /// A release is asked or under way.
    pub releasing: bool,
    /// Since when it could have been started.
    pub startable_since: Option<DbTime>,
    /// What was told of it; of most nothing ever is.
    pub told: Option<Box<Told>>,
    /// The last look found no row.
    pub row_missed: bool,
    /// It belongs to another database or key now, and moves there when its run is recorded.
    pub moving: Option<Box<Listed>>,
    /// Where it is filed now.
    pub filed: Filed,
}

/// A status row as last read or written. Times that it does not have are the epoch: they came before all others.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub value: RowValue,
    pub updated_at: DbTime,
    pub created_at: DbTime,
    pub paused: bool,
    pub requested_at: DbTime,
}

impl Row {
    /// A request counts until the row is claimed after it.
    pub fn requested(&self) -> bool {
        self.requested_at > self.updated_at
    }
}

/// What was told of a tenant.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The slot for which lateness was told.
    pub late: Option<DbTime>,
    /// Staleness, of this claim or of an earlier one.
    pub stale: Option<StaleTold>,
    /// When oddities of its row were told last, by kind.
    pub oddities: Vec<(Discriminant<Notice>, Moment)>,
}

/// An alert that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StaleTold {
    /// The claim that it was about, by its time: a later one is judged anew.
    pub since: DbTime,
    /// When it was given last.
    pub at: Moment,
}

/// Where a tenant stands between two runs, and in one.
#[derive(Debug)]
pub(super) enum Stage {
    /// Nothing of ours.
    Idle,
    /// Its lock is being taken or held, and it is offered to a claim.
    Offered,
    /// Claimed by us; ends when the record is acknowledged.
    Run(Box<Run>),
}

/// Why a needed tenant waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// A spawn failed.
    BackingOff,
    /// Another process of this host holds its lock.
    LockHeld(Option<i32>),
}

/// The indexes that a tenant stands in.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Filed {
    pub rank: Option<Rank>,
    pub timer: Option<Moment>,
    pub due: bool,
    pub busy: bool,
    /// Among those that a short look must tell of.
    pub not_done: bool,
    pub counted: Option<Box<Counted>>,
}

/// Running, for the limits: of this group.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Counted(pub Option<String>);

impl TenantState {
    pub fn new(listed: Listed) -> Self {
        Self {
            listed,
            present: true,
            row: None,
            stage: Stage::Idle,
            other: None,
            examining: false,
            not_before: Moment::default(),
            wait: None,
            backoff: Backoff::default(),
            resetting: false,
            releasing: false,
            startable_since: None,
            told: None,
            row_missed: false,
            moving: None,
            filed: Filed::default(),
        }
    }

    pub fn name(&self) -> &TenantName {
        &self.listed.tenant.name
    }

    pub fn run(&self) -> Option<&Run> {
        match &self.stage {
            Stage::Run(run) => Some(run),
            Stage::Idle | Stage::Offered => None,
        }
    }

    pub fn run_mut(&mut self) -> Option<&mut Run> {
        match &mut self.stage {
            Stage::Run(run) => Some(run),
            Stage::Idle | Stage::Offered => None,
        }
    }

    pub fn is_idle(&self) -> bool {
        matches!(self.stage, Stage::Idle)
    }

    pub fn told_mut(&mut self) -> &mut Told {
        self.told.get_or_insert_default()
    }

    /// Not known to be done and at rest: a short look tells of it, or it has changed.
    pub fn is_not_done(&self) -> bool {
        let at_rest = self.row.as_ref().is_some_and(|row| row.value == RowValue::Done && !row.paused);
        self.present && (!at_rest || self.other.is_some())
    }

    pub fn value(&self) -> Option<&RowValue> {
        self.row.as_ref().map(|row| &row.value)
    }
}
