//! What the core knows of one tenant, and the shelf on which all tenants stand.

use super::backoff::Backoff;
use super::event::Listed;
use super::notice::Notice;
use super::queue::Place;
use super::run::Run;
use crate::model::{DatabaseId, DbTime, Moment, OpenRun, RowValue, TenantName};
use std::collections::HashMap;
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
    pub other: Option<OpenRun>,
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
    /// The slot for which lateness was told.
    pub late_told: Option<DbTime>,
    /// Staleness that was told, of this claim or of an earlier one.
    pub stale_told: Option<StaleTold>,
    /// When oddities of its row were told last, by kind.
    pub oddities_told: Vec<(Discriminant<Notice>, Moment)>,
    /// The last look found no row.
    pub row_missed: bool,
    /// It belongs to another database or key now, and moves there when its run is recorded.
    pub moving: Option<Box<Listed>>,
    /// Where it is filed now.
    pub filed: Filed,
}

/// A status row as last read or written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub value: RowValue,
    pub updated_at: DbTime,
    pub created_at: Option<DbTime>,
    pub paused: bool,
    pub requested_at: Option<DbTime>,
}

impl Row {
    /// A request counts until the row is claimed after it.
    pub fn requested(&self) -> bool {
        self.requested_at.is_some_and(|at| at > self.updated_at)
    }
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
    pub place: Option<Place>,
    pub timer: Option<Moment>,
    pub due: bool,
    pub busy: bool,
    /// Among those that a short look must tell of.
    pub not_done: bool,
    pub counted: Option<Counted>,
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
            late_told: None,
            stale_told: None,
            oddities_told: Vec::new(),
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

    /// Not known to be done and at rest: a short look tells of it, or it has changed.
    pub fn is_not_done(&self) -> bool {
        let at_rest = self.row.as_ref().is_some_and(|row| row.value == RowValue::Done && !row.paused);
        self.present && (!at_rest || self.other.is_some())
    }

    pub fn value(&self) -> Option<&RowValue> {
        self.row.as_ref().map(|row| &row.value)
    }
}

/// All tenants, found by place, name, or database and key.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    places: Vec<Option<Box<TenantState>>>,
    free: Vec<u32>,
    by_name: HashMap<TenantName, TenantId>,
    by_key: HashMap<DatabaseId, HashMap<String, TenantId>>,
}

impl Shelf {
    pub fn get(&self, id: TenantId) -> Option<&TenantState> {
        self.places.get(id.0 as usize)?.as_deref()
    }

    pub fn get_mut(&mut self, id: TenantId) -> Option<&mut TenantState> {
        self.places.get_mut(id.0 as usize)?.as_deref_mut()
    }

    pub fn by_name(&self, name: &TenantName) -> Option<TenantId> {
        self.by_name.get(name).copied()
    }

    pub fn by_key(&self, database: DatabaseId, key: &str) -> Option<TenantId> {
        self.by_key.get(&database)?.get(key).copied()
    }

    pub fn insert(&mut self, tenant: TenantState) -> TenantId {
        let id = TenantId(self.free.pop().unwrap_or(u32::try_from(self.places.len()).unwrap_or(u32::MAX)));
        self.by_name.insert(tenant.name().clone(), id);
        self.by_key.entry(tenant.listed.database).or_default().insert(tenant.listed.key.clone(), id);
        let place = Some(Box::new(tenant));
        match self.places.get_mut(id.0 as usize) {
            Some(empty) => *empty = place,
            None => self.places.push(place),
        }
        id
    }

    pub fn remove(&mut self, id: TenantId) -> Option<Box<TenantState>> {
        let tenant = self.places.get_mut(id.0 as usize)?.take()?;
        self.free.push(id.0);
        self.by_name.remove(tenant.name());
        if let Some(keys) = self.by_key.get_mut(&tenant.listed.database) {
            keys.remove(&tenant.listed.key);
        }
        Some(tenant)
    }

    pub fn ids(&self) -> impl Iterator<Item = TenantId> + '_ {
        self.iter().map(|(id, _)| id)
    }

    pub fn iter(&self) -> impl Iterator<Item = (TenantId, &TenantState)> {
        self.places.iter().zip(0..).filter_map(|(place, id)| place.as_deref().map(|tenant| (TenantId(id), tenant)))
    }
}
