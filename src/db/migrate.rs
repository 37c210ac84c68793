//! The tables of a database: looked at when it is first met, created by whoever comes first, mended by
//! `tenantcron migrate`. An existing table is never altered here but by adding an index when an operator
//! asks. Invariant: whatever is created is created in one transaction behind an advisory lock.

use super::error::Failure;
use super::settings::{Access, Migrate};
use super::statements::{Inspection, Look, Statements};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// What is known about a database's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tables {
    /// Never looked at.
    Unseen,
    /// No status table, and none may be created.
    Absent,
    /// They stand.
    Stand(Look),
}

/// Looks at the tables, and creates ours where that is allowed.
pub(crate) async fn meet(
    client: &Client,
    statements: &Statements,
    migrate: Migrate,
    access: Access,
) -> Result<Tables, Failure> {
    let mut found = statements.inspect(client).await?;
    if let Some(why) = statements.misfit(&found) {
        return Err(Failure::Unfit(why));
    }
    if access != Access::ReadOnly && found.lacks_index() {
        return Err(Failure::Unfit(format!(
            "no plain valid unique index on key in {}; run `tenantcron migrate`",
            statements.tables_of(&found)
        )));
    }
    if !found.is_whole() {
        match (access, migrate) {
            (Access::ReadOnly, _) | (Access::Rehearsal, Migrate::Auto) => {}
            (Access::ReadWrite, Migrate::Auto) => found = create(client, statements).await?,
            (Access::ReadWrite | Access::Rehearsal, Migrate::Manual) => {
                return Err(Failure::Unfit("tables are missing; run `tenantcron migrate`".to_owned()));
            }
        }
    }
    Ok(found.look().map_or(Tables::Absent, Tables::Stand))
}

/// Creates what is missing, once more if somebody else did at the same moment.
async fn create(client: &Client, statements: &Statements) -> Result<Inspection, Failure> {
    match change(client, statements, Change::Tables).await {
        Err(failure) if is_race(&failure) => {
            change(client, statements, Change::Tables).await?;
        }
        Err(failure) => return Err(failure),
        Ok(_) => {}
    }
    Ok(statements.inspect(client).await?)
}

/// The statements that `tenantcron migrate` would run; none if all is well.
pub(crate) async fn plan(client: &Client, statements: &Statements) -> Result<Vec<String>, Failure> {
    let found = statements.inspect(client).await?;
    Ok(wanted(client, statements, &found, Change::Everything).await?.into_iter().map(str::to_owned).collect())
}

/// Runs them; the statements that were run.
pub(crate) async fn migrate(client: &Client, statements: &Statements) -> Result<Vec<String>, Failure> {
    match change(client, statements, Change::Everything).await {
        // a table that somebody else made meanwhile, or a key doubled meanwhile, which the second look names
        Err(failure) if is_race(&failure) => change(client, statements, Change::Everything).await,
        Err(failure) if failure.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => Err(Failure::Busy(
            "a table is in use and could not be locked within 5 s; nothing was changed; try again".to_owned(),
        )),
        other => other,
    }
}

#[derive(Clone, Copy)]
enum Change {
    /// Only what is missing whole.
    Tables,
    /// Indexes of existing tables too.
    Everything,
}

async fn change(client: &Client, statements: &Statements, change: Change) -> Result<Vec<String>, Failure> {
    let done = async {
        statements.begin(client).await?;
        statements.patient(client).await?;
        statements.migrate_lock(client).await?;
        let found = statements.inspect(client).await?;
        let texts = wanted(client, statements, &found, change).await?;
        for text in &texts {
            statements.run(client, text).await?;
        }
        statements.commit(client).await?;
        Ok(texts.into_iter().map(str::to_owned).collect())
    }
    .await;
    if done.as_ref().is_err_and(|failure: &Failure| !failure.ends_session()) {
        statements.rollback(client).await?;
    }
    done
}

async fn wanted<'a>(
    client: &Client,
    statements: &'a Statements,
    found: &Inspection,
    change: Change,
) -> Result<Vec<&'a str>, Failure> {
    let mut texts = statements.missing_tables(found);
    if let Change::Everything = change {
        if let Some(why) = statements.misfit(found) {
            return Err(Failure::Unfit(why));
        }
        if found.lacks_status_key() {
            doubled(client, statements).await?;
        }
        texts.extend(statements.missing_indexes(found));
    }
    Ok(texts)
}

/// Refuses where keys stand more than once, and names them.
async fn doubled(client: &Client, statements: &Statements) -> Result<(), Failure> {
    let list = statements.duplicates(client).await?;
    if list.is_empty() {
        return Ok(());
    }
    let named: Vec<String> = list.iter().map(|(key, count)| format!("\"{key}\" ({count} times)")).collect();
    Err(Failure::Unfit(format!(
        "keys stand more than once in {}, nothing was changed: {}; delete the rows that are too many",
        statements.status_table(),
        named.join(", ")
    )))
}

fn is_race(failure: &Failure) -> bool {
    [&SqlState::UNIQUE_VIOLATION, &SqlState::DUPLICATE_TABLE, &SqlState::DUPLICATE_OBJECT]
        .contains(&failure.code().unwrap_or(&SqlState::SUCCESSFUL_COMPLETION))
}
