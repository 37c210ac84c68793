//! What may be asked of a database and what comes back, in the project's words and without SQL: a second
//! store would stand behind the same words.

use super::statements::{Requested, Viewed};
use crate::model::{DatabaseId, DbTime, Exchange, Reply, Trouble, TroubleKind};

/// Something asked of one database.
#[derive(Debug)]
pub(crate) enum Ask {
    /// An exchange of the scheduler.
    Exchange(Box<Exchange>),
    /// The rows and runs of these keys, for `status`.
    View(Vec<String>),
    /// Runs of these keys, for `request`.
    Request(Vec<String>),
    /// What `migrate` would do.
    Plan,
    /// `migrate`.
    Migrate,
    /// A batch of old runs less, on top of so many removed.
    Prune(u64),
    /// The tenants that this statement of the configuration lists.
    Tenants(String),
    /// A word to a channel, to see whether it is heard.
    Echo(String, tokio::sync::oneshot::Sender<()>),
}

/// What comes back, on the engine's thread.
#[derive(Debug)]
pub enum Answer {
    /// To [`Engine::exchange`](super::Engine::exchange).
    Exchanged {
        /// The database.
        database: DatabaseId,
        /// The exchange's number.
        number: u64,
        /// What it answered.
        result: Result<Reply, Trouble>,
    },
    /// To [`Engine::view`](super::Engine::view).
    Viewed {
        /// The database.
        database: DatabaseId,
        /// Its time, unless no key was asked for, and one entry per key.
        result: Result<(Option<DbTime>, Vec<Viewed>), Trouble>,
    },
    /// To [`Engine::request`](super::Engine::request).
    Requested {
        /// The database.
        database: DatabaseId,
        /// One answer per key, in their order.
        result: Result<Vec<Requested>, Trouble>,
    },
    /// To [`Engine::plan_migration`](super::Engine::plan_migration) and [`Engine::migrate`](super::Engine::migrate).
    Migrated {
        /// The database.
        database: DatabaseId,
        /// The statements that would be or were run; none if all is well.
        result: Result<Vec<String>, Trouble>,
    },
    /// To [`Engine::prune`](super::Engine::prune).
    Pruned {
        /// The database.
        database: DatabaseId,
        /// How many runs were removed.
        result: Result<u64, Trouble>,
    },
    /// To [`Engine::tenants`](super::Engine::tenants).
    Tenants {
        /// The rows, or what failed on which database and why.
        result: Result<Vec<TenantRow>, String>,
    },
    /// Somebody notified `tenantcron` in a database that is listened to, or words may have been missed.
    Notified {
        /// The database.
        database: DatabaseId,
        /// The key to look at; all if none.
        key: Option<String>,
    },
    /// Something worth a line at info level.
    Info {
        /// The database.
        database: DatabaseId,
        /// The line.
        text: String,
    },
}

/// A tenant as `tenants.query` tells it, unchecked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantRow {
    /// The column `name`.
    pub name: String,
    /// The column `database`.
    pub database: Option<String>,
    /// The column `group`.
    pub group: Option<String>,
}

impl Ask {
    /// True if a run waits for it.
    pub fn is_urgent(&self) -> bool {
        match self {
            Self::Exchange(exchange) => exchange.is_urgent(),
            Self::View(_) | Self::Request(_) | Self::Plan | Self::Migrate => true,
            Self::Prune(_) | Self::Tenants(_) | Self::Echo(..) => false,
        }
    }

    /// True if it may change anything.
    pub fn writes(&self) -> bool {
        match self {
            Self::Exchange(exchange) => writes(exchange),
            Self::Request(_) | Self::Migrate | Self::Prune(_) => true,
            Self::View(_) | Self::Plan | Self::Tenants(_) | Self::Echo(..) => false,
        }
    }

    /// What is answered where nothing could be done.
    pub fn failed(&self, database: DatabaseId, trouble: Trouble) -> Option<Answer> {
        Some(match self {
            Self::Exchange(said) => Answer::Exchanged { database, number: said.number, result: Err(trouble) },
            Self::View(_) => Answer::Viewed { database, result: Err(trouble) },
            Self::Request(_) => Answer::Requested { database, result: Err(trouble) },
            Self::Plan | Self::Migrate => Answer::Migrated { database, result: Err(trouble) },
            Self::Prune(_) => Answer::Pruned { database, result: Err(trouble) },
            Self::Tenants(_) => Answer::Tenants { result: Err(trouble.text) },
            Self::Echo(..) => return None,
        })
    }
}

/// True if the exchange changes anything beside creating rows that are missing.
pub(crate) fn writes(exchange: &Exchange) -> bool {
    !(exchange.finish.is_empty()
        && exchange.undo.is_empty()
        && exchange.release.is_empty()
        && exchange.repair.is_empty()
        && exchange.refresh.is_empty()
        && exchange.reset.is_empty()
        && exchange.claim.is_none())
}

/// True if the database itself failed, not what was asked of it.
pub(crate) fn is_down(kind: TroubleKind) -> bool {
    match kind {
        TroubleKind::Unreachable | TroubleKind::Interrupted => true,
        TroubleKind::Refused | TroubleKind::Unfit => false,
    }
}
