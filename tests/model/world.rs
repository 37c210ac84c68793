//! One state: supervisors, the kernels of their hosts, the rows. Small and plain, for there are millions of them.

use crate::exchange::{Exchange, Mark, Phase};

pub const NODES: usize = 2;
pub const TENANTS: usize = 2;
/// Rows of runs per tenant that something still refers to: more are never needed, and a test says so.
pub const RUNS: usize = 4;

/// Index of a run among the rows of its tenant; older runs come first, and what nothing refers to leaves.
pub type RunId = u8;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct World {
    pub rows: [Rows; TENANTS],
    pub hosts: [[Local; TENANTS]; NODES],
    pub supervisors: [Supervisor; NODES],
    pub faults_left: u8,
    pub requests_left: u8,
    /// What must not happen and did: a bit for each [`Wrong`].
    pub wrong: u8,
}

/// What must not happen, noted at the step that did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wrong {
    /// A child was started beside one of the same tenant on the same host.
    SecondOnHost,
    /// A run was claimed whose row was not needed.
    Unneeded,
    /// An end was recorded that was none, or with another outcome than was seen.
    FalseEnd,
    /// A recorded outcome was replaced.
    Overwritten,
    /// A run was declared lost by its own node while its child lived.
    LostAlive,
    /// The model has too few places for runs.
    NoPlace,
}

impl Wrong {
    pub const ALL: [Self; 6] =
        [Self::SecondOnHost, Self::Unneeded, Self::FalseEnd, Self::Overwritten, Self::LostAlive, Self::NoPlace];
}

/// What the database has of one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rows {
    pub value: Value,
    pub runs: [Option<Run>; RUNS],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value {
    Needed,
    Running,
    Done,
}

/// A row of the table of runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Run {
    pub host: u8,
    /// Of the boot that its host is in now.
    pub this_boot: bool,
    /// None while it is open.
    pub outcome: Option<Outcome>,
    /// Ticks since `alive_at`.
    pub age: u8,
    /// Not in the row: what became of its process.
    pub fate: Fate,
    /// Not in the row: who saw its end.
    pub seen_by: SeenBy,
}

impl Run {
    pub fn is_open(&self) -> bool {
        self.outcome.is_none()
    }

    /// Whoever watches it so sees that its process is gone: the outcome that is to be recorded.
    pub fn see(&mut self, watched: Stage) -> Outcome {
        let adopted = matches!(watched, Stage::Adopted(_));
        self.seen_by = self.seen_by.max(if adopted { SeenBy::Adopter } else { SeenBy::Parent });
        match self.fate {
            Fate::WasEnded => Outcome::Stopped,
            _ if adopted => Outcome::Adopted,
            _ => Outcome::Ok,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fate {
    /// None was started.
    None,
    Lives,
    /// It ended by itself.
    Ended,
    /// Its supervisor ended it.
    WasEnded,
    /// It died with its host.
    Died,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SeenBy {
    Nobody,
    Adopter,
    Parent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// It ended by itself, its supervisor saw it (`ok`, `failed`, `killed`).
    Ok,
    /// The same, seen by an adopter.
    Adopted,
    /// Its supervisor ended it.
    Stopped,
    Lost,
    /// Not started after all: the run is deleted.
    Undone,
}

impl Outcome {
    pub fn becomes(self) -> Value {
        match self {
            Self::Ok | Self::Adopted => Value::Done,
            Self::Stopped | Self::Lost | Self::Undone => Value::Needed,
        }
    }

    /// An end that was seen, and is kept in `unrecorded/`.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Ok | Self::Adopted | Self::Stopped)
    }
}

/// What a host's kernel and state folder have of one tenant. Whether its lock is held follows from who lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Local {
    /// The living supervisor that the lock file names.
    pub by: Option<u8>,
    /// The run that it names.
    pub run: Option<RunId>,
    /// It names that run's process too.
    pub names_process: bool,
    /// The run whose child lives.
    pub child: Option<RunId>,
    /// In the file of a dead supervisor.
    pub unrecorded: Option<(RunId, Outcome)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Supervisor {
    pub life: Life,
    /// No word gets from it to the database or back.
    pub cut: bool,
    /// The exchange that it waits for.
    pub exchange: Option<Exchange>,
    /// One that it waits for no more (or an earlier supervisor did), and that may still commit.
    pub adrift: Option<Exchange>,
    pub watches: [Watch; TENANTS],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Life {
    Running,
    Dead,
    /// Alone.
    Stopped,
    /// With its whole host.
    Frozen,
    /// It runs again and has not looked at its clock yet.
    Waking,
}

/// A tenant, as its supervisor sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Watch {
    pub stage: Stage,
    /// Ticks since what confirmed the run last was sent; see [`UNCONFIRMED`].
    pub since: u8,
}

/// Of a run adopted when its fence was already due: it is ended or confirmed, and until then watched by nobody who
/// could promise anything.
pub const UNCONFIRMED: u8 = u8::MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    Idle,
    /// Its claim is under way.
    Offered,
    /// Claimed, not spawned.
    Starting(RunId),
    Running(RunId),
    /// As `Running`, and it holds the tenant's keeper.
    Adopted(RunId),
    /// No process (any more); to be recorded.
    Ended(RunId, Outcome),
}

impl Stage {
    pub fn run(self) -> Option<RunId> {
        match self {
            Self::Idle | Self::Offered => None,
            Self::Starting(run) | Self::Running(run) | Self::Adopted(run) | Self::Ended(run, _) => Some(run),
        }
    }

    /// The run whose child it watches.
    pub fn watched(self) -> Option<RunId> {
        match self {
            Self::Running(run) | Self::Adopted(run) => Some(run),
            Self::Idle | Self::Offered | Self::Starting(_) | Self::Ended(..) => None,
        }
    }
}

impl World {
    /// So many needed tenants, the others done; two supervisors that have just begun.
    pub fn new(needed: usize, faults_left: u8, requests_left: u8) -> Self {
        let mut rows = [Rows { value: Value::Done, runs: [None; RUNS] }; TENANTS];
        rows.iter_mut().take(needed).for_each(|rows| rows.value = Value::Needed);
        let watch = Watch { stage: Stage::Idle, since: 0 };
        let supervisor =
            Supervisor { life: Life::Running, cut: false, exchange: None, adrift: None, watches: [watch; TENANTS] };
        Self {
            rows,
            hosts: [[Local::default(); TENANTS]; NODES],
            supervisors: [supervisor; NODES],
            faults_left,
            requests_left,
            wrong: 0,
        }
    }

    pub fn run(&self, tenant: usize, run: RunId) -> Option<&Run> {
        self.rows[tenant].runs[usize::from(run)].as_ref()
    }

    pub fn run_mut(&mut self, tenant: usize, run: RunId) -> Option<&mut Run> {
        self.rows[tenant].runs[usize::from(run)].as_mut()
    }

    pub fn runs(&self, tenant: usize) -> impl Iterator<Item = (RunId, &Run)> {
        (0..).zip(&self.rows[tenant].runs).filter_map(|(id, run)| Some((id, run.as_ref()?)))
    }

    pub fn open_run(&self, tenant: usize) -> Option<RunId> {
        self.runs(tenant).find(|(_, run)| run.is_open()).map(|(id, _)| id)
    }

    pub fn is_open(&self, tenant: usize, run: RunId) -> bool {
        self.run(tenant, run).is_some_and(Run::is_open)
    }

    pub fn note(&mut self, wrong: Wrong) {
        self.wrong |= 1 << wrong as u8;
    }

    pub fn has(&self, wrong: Wrong) -> bool {
        self.wrong & 1 << wrong as u8 != 0
    }

    /// A transaction under way holds this tenant's rows.
    pub fn rows_are_held(&self, tenant: usize) -> bool {
        self.exchanges().any(|exchange| exchange.phase == Phase::Begun && exchange.said[tenant].mark == Mark::Held)
    }

    pub fn exchanges(&self) -> impl Iterator<Item = &Exchange> {
        self.supervisors.iter().flat_map(|supervisor| supervisor.exchange.iter().chain(&supervisor.adrift))
    }
}
