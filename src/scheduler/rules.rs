//! The configuration as the core needs it: numbers and choices, nothing to look up.

use crate::model::{Identity, Moment};
use std::time::Duration;

/// What the core decides by. Replaced whole by a reload.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// Who we are.
    pub identity: Identity,
    /// What we were started for.
    pub mode: Mode,
    /// Slots of this node.
    pub workers: u32,
    /// False: a standby node that starts and resets nothing.
    pub enabled: bool,
    /// When done rows become needed.
    pub rounds: Rounds,
    /// From SIGTERM to SIGKILL.
    pub kill_after: Duration,
    /// A row running for longer is stale.
    pub stale_after: Duration,
    /// What is done about it.
    pub stale_action: StaleAction,
    /// The alert's interval.
    pub stale_repeat: Duration,
    /// Most running at once over all nodes, 0 for no limit.
    pub cluster_limit: u32,
    /// Most running at once of one group, 0 for no limit.
    pub group_limit: u32,
    /// Between two looks at a database.
    pub poll: Duration,
    /// A whole look reads so many rows at a time.
    pub look_size: usize,
    /// One database for all: its own guard statement keeps the limits exactly.
    pub shared: bool,
    /// `cluster.takeover_after`: others may take our runs once they are silent for longer.
    pub lease: Option<Duration>,
    /// When this supervisor began, programs that it replaced included.
    pub born: Moment,
    /// Seed of the jitter.
    pub seed: u64,
}

/// What the process was started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `run`: supervise until told to stop.
    Daemon,
    /// `run --once`: one look, then what is needed while slots are free.
    Once,
    /// `run TENANT…`: the listed tenants now, needed or done.
    Named {
        /// Paused ones too.
        force: bool,
    },
    /// `run --dry-run`: one look, nothing locked or written.
    DryRun,
}

impl Mode {
    /// Children take one of this node's slots; `run TENANT…` takes none.
    pub fn uses_slots(self) -> bool {
        !matches!(self, Self::Named { .. })
    }
}

/// When done rows become needed (SPEC 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounds {
    /// Each at its own slot.
    Rolling,
    /// When no row is needed and a slot is free.
    Refill,
    /// When no row is needed and nothing runs.
    Barrier,
}

/// What is done about a stale row, besides the alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StaleAction {
    /// Nothing.
    Alert,
    /// The owner ends the run.
    Kill,
    /// A row whose owner cannot be asked returns to needed.
    Release,
}

/// `alive_at` is confirmed this often (SPEC 2, without a lease).
pub const REFRESH_EVERY: Duration = Duration::from_secs(30);
/// Rows of a whole look at a time: an end to record or a slot to fill never waits for a hundred thousand of them, and
/// they never stand in memory all at once.
pub const LOOK_SIZE: usize = 10_000;
/// A run must be over so long before its lease is: what clocks and a slow network may take.
pub const FENCE_MARGIN: Duration = Duration::from_secs(10);
/// The first refresh, which writes the pid, comes this long after the start.
pub const FIRST_REFRESH: Duration = Duration::from_secs(2);
/// A run of this node on another boot is lost once silent for so long.
pub const REBOOT_SILENCE: Duration = Duration::from_secs(75);
/// After a stop, so long is waited for a database that is down.
pub const RECORD_PATIENCE: Duration = Duration::from_secs(20);
