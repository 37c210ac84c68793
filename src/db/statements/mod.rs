//! The statements, typed in and typed out: what the rest of this floor may do to rows, runs and flags.
//! Each covers many tenants, never waits for a row, and leaves nothing prepared on the session (PgBouncer).
//! Here stands no decision about when to say what, and no transaction: see `perform`.

mod claim;
mod finish;
mod operator;
mod poll;
mod prepared;
mod repair;
mod runs;
mod schema;
mod texts;
mod times;
mod turn;

use super::Settings;
use crate::model::{DbTime, Identity};
use std::pin::pin;
use std::time::Duration;
pub use texts::BadTable;
use texts::Texts;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row, RowStream, Statement};

pub use operator::{Requested, Viewed, ViewedRun};
pub(crate) use poll::{Look, Read};
pub(crate) use prepared::Prepared;
pub(crate) use schema::Inspection;
pub(crate) use turn::{Turned, is_turn};

/// The statements of one configuration.
#[derive(Debug)]
pub(crate) struct Statements {
    texts: Texts,
    identity: Identity,
    key_pattern: String,
    keep_runs: Duration,
    /// Serialises the limited claims of this instance.
    claim_lock: i64,
    /// Serialises the creation of tables.
    migrate_lock: i64,
}

impl Statements {
    /// Builds every text once.
    ///
    /// # Errors
    /// [`BadTable`] names a table that cannot be one.
    pub fn of(settings: &Settings) -> Result<Self, BadTable> {
        let texts = Texts::of(settings)?;
        let instance = settings.identity.instance.as_str();
        Ok(Self {
            claim_lock: lock_key(&["tenantcron claim", instance, &texts.tables.run]),
            migrate_lock: lock_key(&["tenantcron migrate"]),
            identity: settings.identity.clone(),
            key_pattern: settings.key_pattern.clone(),
            keep_runs: settings.keep_runs,
            texts,
        })
    }
}

/// A number for an advisory lock: FNV-1a 64 of the words, the same in every supervisor.
fn lock_key(words: &[&str]) -> i64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in words.iter().flat_map(|word| word.bytes().chain([0])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash.cast_signed()
}

/// A transaction, whose statements see what others committed before each of them. All of it is sent in one flight: where
/// the network swallows the rest, the server lets go of its locks, the guard of all claims among them, when we have given
/// up too, and not when TCP does.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL idle_in_transaction_session_timeout = '10s'";
/// Gives way to whoever holds a lock, within this transaction only.
const IMPATIENT: &str = "SET LOCAL lock_timeout = '1s'";
/// Waits a little for a lock, within this transaction only.
const PATIENT: &str = "SET LOCAL lock_timeout = '5s'";

impl Statements {
    /// Begins a transaction.
    pub async fn begin(&self, client: &Client) -> Result<(), Error> {
        client.batch_execute(BEGIN).await
    }

    /// Commits. After a statement that failed it answers Ok and has taken everything back: look at each answer.
    pub async fn commit(&self, client: &Client) -> Result<(), Error> {
        client.batch_execute("COMMIT").await
    }

    /// Takes everything back.
    pub async fn rollback(&self, client: &Client) -> Result<(), Error> {
        client.batch_execute("ROLLBACK").await
    }

    /// Lets this transaction wait a second for a lock.
    pub async fn impatient(&self, client: &Client) -> Result<(), Error> {
        client.batch_execute(IMPATIENT).await
    }

    /// Lets this transaction wait five seconds for a lock.
    pub async fn patient(&self, client: &Client) -> Result<(), Error> {
        client.batch_execute(PATIENT).await
    }

    /// The server's time.
    pub async fn now(&self, client: &Client) -> Result<Option<DbTime>, Error> {
        let mut now = None;
        each_row(client, &self.texts.now, &[], |row| {
            now = Some(row.try_get(0)?);
            Ok(())
        })
        .await?;
        Ok(now)
    }
}

/// Tunes a session to the contract's channel and to one of its own, whose name is plain.
pub(crate) async fn listen(client: &Client, echo: &str) -> Result<(), Error> {
    client.batch_execute(&format!("LISTEN tenantcron; LISTEN \"{echo}\"")).await
}

type Params<'a> = &'a [(&'a (dyn ToSql + Sync), Type)];

/// Runs a statement and hands each row over as it comes.
async fn each_row(
    client: &Client,
    text: &str,
    params: Params<'_>,
    take: impl FnMut(&Row) -> Result<(), Error>,
) -> Result<(), Error> {
    let typed = params.iter().map(|(value, kind)| (*value as &(dyn ToSql + Sync), kind.clone()));
    hear(client.query_typed_raw(text, typed).await?, take).await
}

/// The same for one that is prepared.
async fn each_row_of(
    client: &Client,
    statement: &Statement,
    values: &[&(dyn ToSql + Sync)],
    take: impl FnMut(&Row) -> Result<(), Error>,
) -> Result<(), Error> {
    hear(client.query_raw(statement, values.iter().copied()).await?, take).await
}

async fn hear(rows: RowStream, mut take: impl FnMut(&Row) -> Result<(), Error>) -> Result<(), Error> {
    use futures_util::TryStreamExt as _;
    let mut rows = pin!(rows);
    while let Some(row) = rows.try_next().await? {
        take(&row)?;
    }
    Ok(())
}

/// Runs a statement whose rows are `now()` and a key, of which the key is null where there is none.
async fn keys(client: &Client, text: &str, params: Params<'_>) -> Result<(DbTime, Vec<String>), Error> {
    let (mut now, mut keys) = (DbTime::EPOCH, Vec::new());
    each_row(client, text, params, |row| take_key(row, &mut now, &mut keys)).await?;
    Ok((now, keys))
}

fn take_key(row: &Row, now: &mut DbTime, keys: &mut Vec<String>) -> Result<(), Error> {
    *now = row.try_get(0)?;
    keys.extend(row.try_get::<_, Option<String>>(1)?);
    Ok(())
}
