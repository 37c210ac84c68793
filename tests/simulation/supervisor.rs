//! A supervisor process: a real core, and what its shell holds for it.

use crate::kernel::RunKey;
use std::collections::{BTreeMap, BTreeSet};
use tenantcron::model::{DatabaseId, Exchange, Identity, Moment, TenantName};
use tenantcron::scheduler::{Rules, Scheduler};

/// Each supervisor process that ever was has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SupervisorId(pub usize);

/// What a supervisor holds for a run.
#[derive(Debug, Clone, Copy)]
pub struct Belongings {
    pub run: RunKey,
    pub pid: Option<i32>,
    pub slot: Option<u32>,
    pub end_told: bool,
}

/// An exchange under way.
#[derive(Debug)]
pub struct Flight {
    pub number: u64,
    pub exchange: Exchange,
}

#[derive(Debug)]
pub struct Supervisor {
    pub id: SupervisorId,
    pub node: usize,
    pub rules: Rules,
    pub scheduler: Scheduler,
    origin: u64,
    pub lives: bool,
    pub stop_at: Option<u64>,
    pub drains: bool,
    /// Slots that no run holds yet.
    pub slots: Vec<u32>,
    pub runs: BTreeMap<TenantName, Belongings>,
    /// Claimed or adopted, and no record acknowledged.
    pub unrecorded: BTreeSet<RunKey>,
    pub flights: BTreeMap<DatabaseId, Flight>,
    pub exchanges: u64,
    /// Of which moment the newest look at a row is.
    pub seen: BTreeMap<(DatabaseId, String), u64>,
    pub listed: BTreeSet<TenantName>,
    pub closed_by_another: BTreeSet<RunKey>,
    /// Adopted, and the core has not heard it yet.
    pub adopting: BTreeSet<RunKey>,
    /// Rows whose claim was not answered: they are looked at before they are offered again.
    pub unsure: BTreeSet<(DatabaseId, String)>,
    /// Databases told to be down.
    pub told_down: BTreeSet<DatabaseId>,
    pub tick_at: Option<u64>,
    pub pace: Pace,
}

/// How often it wakes, to find a core that spins.
#[derive(Debug, Default)]
pub struct Pace {
    pub second: u64,
    pub events: u32,
    pub stuck: u32,
}

impl Supervisor {
    pub fn new(id: SupervisorId, node: usize, rules: Rules, now: u64, rng: &mut fastrand::Rng) -> Self {
        Self {
            id,
            node,
            scheduler: Scheduler::new(rules.clone()),
            rules,
            // A monotonic clock of its own.
            origin: now.wrapping_sub(rng.u64(..1 << 40)),
            lives: true,
            stop_at: None,
            drains: false,
            slots: Vec::new(),
            runs: BTreeMap::new(),
            unrecorded: BTreeSet::new(),
            flights: BTreeMap::new(),
            exchanges: 0,
            seen: BTreeMap::new(),
            listed: BTreeSet::new(),
            closed_by_another: BTreeSet::new(),
            adopting: BTreeSet::new(),
            unsure: BTreeSet::new(),
            told_down: BTreeSet::new(),
            tick_at: None,
            pace: Pace::default(),
        }
    }

    pub fn moment(&self, now: u64) -> Moment {
        Moment(now.wrapping_sub(self.origin))
    }

    pub fn time_of(&self, moment: Moment) -> u64 {
        moment.0.wrapping_add(self.origin)
    }

    pub fn identity(&self) -> &Identity {
        &self.rules.identity
    }
}
