//! Facts for people: the only way out of the core for words. One notice, one log line.

use crate::model::{DatabaseId, DbTime, Outcome, RunId, TenantName};
use std::time::Duration;

/// Something worth a line.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// A child was started.
    Started {
        /// Whose.
        tenant: TenantName,
        /// Which run.
        run: RunId,
        /// Its process.
        pid: i32,
    },
    /// A run is over.
    Ended {
        /// Whose.
        tenant: TenantName,
        /// Which run.
        run: RunId,
        /// How.
        outcome: Outcome,
        /// What to add: exit code or signal, or why it could not be executed.
        detail: String,
        /// From claim to end.
        elapsed: Duration,
    },
    /// A child could not be started for want of resources, the first of them.
    SpawnFailed {
        /// Whose.
        tenant: TenantName,
        /// Why.
        text: String,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// The same, while that is known already: of this tenant or of another.
    SpawnFailedAgain {
        /// Whose.
        tenant: TenantName,
        /// Why.
        text: String,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// We asked a run to end.
    Ending {
        /// Whose.
        tenant: TenantName,
        /// Which run.
        run: RunId,
        /// Why.
        why: &'static str,
        /// By SIGKILL.
        killed: bool,
    },
    /// The main process ended and left members of its group, which are ended now.
    GroupLeft {
        /// Whose.
        tenant: TenantName,
        /// Which run.
        run: RunId,
    },
    /// A run of a dead supervisor is watched by us now.
    Adopted {
        /// Whose.
        tenant: TenantName,
        /// Which run.
        run: RunId,
        /// Its process.
        pid: i32,
    },
    /// A run of this node has no process left: its row is needed again.
    Lost {
        /// Whose.
        tenant: TenantName,
        /// Which run.
        run: RunId,
    },
    /// An end could not be recorded by us: somebody else closed the run.
    ClosedByAnother {
        /// Whose.
        tenant: TenantName,
        /// Which run.
        run: RunId,
    },
    /// The row of a living child of ours is `running` again: a failover, a restored backup or a hand had set it back.
    Repaired {
        /// Whose.
        tenant: TenantName,
        /// Its run now.
        run: RunId,
        /// Its run before: another where the database had lost it.
        before: RunId,
    },
    /// Another run of a tenant whose child lives here is open: ours is ended.
    AnotherRunOpen {
        /// Whose.
        tenant: TenantName,
        /// Ours.
        run: RunId,
        /// The other.
        other: RunId,
        /// Of which node.
        node: String,
    },
    /// The lease of another node's run is over: closed as lost, its row needed.
    TakenOver {
        /// Whose.
        tenant: TenantName,
        /// Which run.
        run: RunId,
        /// Of which node.
        node: String,
    },
    /// An end that a dead supervisor could not record is recorded.
    EndRecovered {
        /// Whose.
        tenant: TenantName,
        /// Which run.
        run: RunId,
        /// How it had ended.
        outcome: Outcome,
    },
    /// Another machine bears this node's name.
    Rival {
        /// The name.
        node: String,
        /// `<boot id>/<pid namespace>` of the other.
        host: String,
        /// A run that it confirms.
        run: RunId,
        /// We came later, and leave.
        leaves: bool,
    },
    /// Running too long.
    Stale {
        /// Whose.
        tenant: TenantName,
        /// The node, or none for another program's claim.
        node: Option<String>,
        /// The process, if known.
        pid: Option<i32>,
        /// Since when.
        since: DbTime,
        /// How long.
        age: Duration,
    },
    /// A stale row of another was released.
    Released {
        /// Whose.
        tenant: TenantName,
    },
    /// Needed and startable for a whole interval.
    Late {
        /// Who; one, or many at once.
        tenants: Vec<TenantName>,
        /// Slots of this node in use.
        busy: u32,
        /// Slots of this node.
        workers: u32,
    },
    /// A database stopped answering.
    DatabaseDown {
        /// Which.
        database: DatabaseId,
        /// Why.
        text: String,
        /// The whole server is, not this database alone.
        whole_server: bool,
    },
    /// It answers again.
    DatabaseUp {
        /// Which.
        database: DatabaseId,
        /// How long it was down.
        down_for: Duration,
    },
    /// A row with a value that nobody knows; left alone.
    UnknownValue {
        /// Whose.
        tenant: TenantName,
        /// The value.
        value: String,
    },
    /// A tenant without a row that may not be created (`migrate = "manual"`).
    NoRow {
        /// Whose.
        tenant: TenantName,
    },
    /// A needed row with an open run, which no claim takes.
    OpenRunInTheWay {
        /// Whose.
        tenant: TenantName,
        /// The run.
        run: RunId,
        /// Its node.
        node: String,
    },
    /// `run TENANT…`: this one cannot be run.
    Refused {
        /// Whose.
        tenant: TenantName,
        /// Why.
        why: String,
    },
    /// `--dry-run`: this would be done.
    Would {
        /// Whose.
        tenant: TenantName,
        /// What and why.
        what: String,
    },
    /// A stop or drain began.
    Stopping {
        /// How many runs are under way.
        running: usize,
        /// Children are not signalled.
        draining: bool,
    },
}
