//! A supervisor process: a real core, and what its shell holds for it.

use crate::host::{Process, RunKey};
use std::collections::{BTreeMap, BTreeSet};
use tenantcron::model::{DatabaseId, Exchange, Identity, Moment, RunId};
use tenantcron::scheduler::{Rules, Scheduler};

/// Each supervisor process that ever was has its own. A program that replaces it in place keeps it, as it keeps the pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SupervisorId(pub usize);

/// What a supervisor holds for a run.
#[derive(Debug, Clone, Copy)]
pub struct Belongings {
    pub run: RunKey,
    pub id: RunId,
    pub process: Option<Process>,
    pub slot: Option<u32>,
    pub adopted: bool,
    pub end_told: bool,
}

/// An exchange under way.
#[derive(Debug)]
pub struct Flight {
    pub exchange: Exchange,
    pub sent: u64,
}

#[derive(Debug)]
pub struct Supervisor {
    pub id: SupervisorId,
    /// `n0.2`: its node, and the how manieth there.
    pub name: String,
    pub node: usize,
    pub host: usize,
    pub rules: Rules,
    pub scheduler: Scheduler,
    pub origin: u64,
    /// Names its dice.
    pub luck: u64,
    pub lives: bool,
    pub stop_at: Option<u64>,
    pub drains: bool,
    /// It does nothing before this: stopped, or busy with its own replacement.
    pub frozen_until: u64,
    pub thawed_at: u64,
    /// How long it was, in all.
    pub frozen_for: u64,
    /// How long the next program takes to replace it, and whether it would not start.
    pub upgrade: Option<(u64, bool)>,
    /// How often another program took its place.
    pub generation: u32,
    pub slots_above: bool,
    /// When slots were last searched for what was left behind.
    pub searched_at: Option<u64>,
    /// Slots that no run holds yet.
    pub slots: Vec<u32>,
    /// By the tenant's place.
    pub runs: BTreeMap<usize, Belongings>,
    /// Tenants whose run is over and not recorded: their locks are held.
    pub ended: BTreeSet<usize>,
    /// Claimed or adopted, and no record acknowledged.
    pub unrecorded: BTreeSet<RunKey>,
    pub flights: BTreeMap<DatabaseId, Flight>,
    pub exchanges: u64,
    /// Of which moment the newest look at a row is.
    pub seen: BTreeMap<(DatabaseId, usize), Look>,
    /// The tenants that it was told of, and when.
    pub listed_at: u64,
    pub listed: BTreeSet<usize>,
    /// When what confirmed a run last was sent.
    pub confirmed: BTreeMap<RunKey, u64>,
    /// Told that these are not theirs any more, or that another is open.
    pub told_to_end: BTreeSet<RunKey>,
    /// Adopted, and the core has not heard it yet.
    pub adopting: BTreeSet<RunKey>,
    /// Tenants whose claim was not answered: their rows are looked at before they are offered again.
    pub unsure: BTreeSet<(DatabaseId, usize)>,
    /// Databases told to be down.
    pub told_down: BTreeSet<DatabaseId>,
    /// Of what `unrecorded_ends` said, the version that is on disk.
    pub kept_version: u64,
    pub tick_at: Option<u64>,
    pub pace: Pace,
    pub rng: fastrand::Rng,
}

/// When a database was looked at, which copy of it, and by which program.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub at: u64,
    pub era: u32,
    pub generation: u32,
}

/// How often it wakes, to find a core that spins.
#[derive(Debug, Default)]
pub struct Pace {
    pub second: u64,
    pub events: u32,
    pub stuck: u32,
}

impl Supervisor {
    pub fn new(
        id: SupervisorId,
        name: String,
        place: (usize, usize),
        rules: Rules,
        now: u64,
        mut rng: fastrand::Rng,
    ) -> Self {
        // A monotonic clock of its own.
        let origin = now.wrapping_sub(rng.u64(..1 << 40));
        let rules = Rules { born: Moment(now.wrapping_sub(origin)), ..rules };
        Self {
            id,
            name,
            node: place.0,
            host: place.1,
            scheduler: Scheduler::new(rules.clone()),
            rules,
            origin,
            luck: 0,
            lives: true,
            stop_at: None,
            drains: false,
            frozen_until: 0,
            thawed_at: 0,
            frozen_for: 0,
            upgrade: None,
            generation: 0,
            slots_above: true,
            searched_at: None,
            slots: Vec::new(),
            runs: BTreeMap::new(),
            ended: BTreeSet::new(),
            unrecorded: BTreeSet::new(),
            flights: BTreeMap::new(),
            exchanges: 0,
            seen: BTreeMap::new(),
            listed_at: 0,
            listed: BTreeSet::new(),
            confirmed: BTreeMap::new(),
            told_to_end: BTreeSet::new(),
            adopting: BTreeSet::new(),
            unsure: BTreeSet::new(),
            told_down: BTreeSet::new(),
            kept_version: 0,
            tick_at: None,
            pace: Pace::default(),
            rng,
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

    /// The number of its file of unrecorded ends.
    pub fn file(&self) -> u64 {
        (self.id.0 as u64) << 16 | u64::from(self.generation)
    }
}
