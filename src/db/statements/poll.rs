//! Reading rows with their flags and open runs, and creating the rows that are missing.

use super::{Params, Prepared, Statements, each_row, each_row_of};
use crate::model::{DbTime, Mark, OpenRun, Poll, Polled, RowValue, RunId, RunIdentity, StatusRow};
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row};

/// What `poll.sql` is given.
pub(super) const KEYS_TYPES: [Type; 3] = [Type::TEXT_ARRAY, Type::TEXT, Type::TEXT];

/// What a database's tables allow to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// The status table has a column `created_at`.
    pub created_at: bool,
    /// Our own tables stand too.
    pub runs: bool,
}

/// What a look read.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// The server's time, unless no key was asked for and no run is open.
    pub now: Option<DbTime>,
    /// Rows and runs.
    pub polled: Polled,
    /// Keys without a row.
    pub missing: Vec<Arc<str>>,
    /// Nothing can be written there now.
    pub read_only: bool,
}

impl Read {
    fn take_bare(&mut self, row: &Row) -> Result<(), Error> {
        self.now = Some(row.try_get(0)?);
        match status_row(row)? {
            Found::Row(found) => self.polled.rows.push(found),
            Found::Missing(key) => self.missing.push(key.into()),
            Found::Nothing => {}
        }
        Ok(())
    }

    fn take(&mut self, row: &Row) -> Result<(), Error> {
        self.take_bare(row)?;
        self.polled.runs.extend(open_run(row)?);
        self.read_only = row.try_get(19)?;
        Ok(())
    }
}

impl Statements {
    pub(super) fn looks(&self, look: Look) -> &super::texts::Looks {
        let [without, with] = &self.texts.looks;
        if look.created_at { with } else { without }
    }

    /// Reads what is asked for, and all open runs of this instance and node.
    pub async fn poll(
        &self,
        client: &Client,
        look: Look,
        poll: &Poll,
        prepared: Option<&Prepared>,
    ) -> Result<Read, Error> {
        match poll {
            Poll::Keys(keys) => self.poll_keys(client, look, keys, prepared).await,
            Poll::NotDone { since } => self.poll_short(client, look, since.as_ref()).await,
        }
    }

    /// Reads what is not done; only the time where our own tables do not stand.
    async fn poll_short(&self, client: &Client, look: Look, since: Option<&Mark>) -> Result<Read, Error> {
        let mut read = Read::default();
        if !look.runs {
            read.now = self.now(client).await?;
            return Ok(read);
        }
        let since = since.map(|mark| &*mark.0);
        let params: Params<'_> = &[
            (&self.key_pattern, Type::TEXT),
            (&self.identity.instance, Type::TEXT),
            (&self.identity.node, Type::TEXT),
            (&since, Type::TEXT),
        ];
        each_row(client, &self.looks(look).poll_short, params, |row| {
            read.take(row)?;
            read.polled.mark = row.try_get::<_, Option<Box<str>>>(20)?.map(Mark);
            Ok(())
        })
        .await?;
        Ok(read)
    }

    /// Reads the rows of `keys` and their open runs.
    async fn poll_keys(
        &self,
        client: &Client,
        look: Look,
        keys: &[Arc<str>],
        prepared: Option<&Prepared>,
    ) -> Result<Read, Error> {
        let keys: Vec<&str> = keys.iter().map(AsRef::as_ref).collect();
        let mut read = Read::default();
        let (instance, node) = (&self.identity.instance, &self.identity.node);
        if let Some(statement) = prepared.and_then(|prepared| prepared.look(look, keys.len())) {
            let values: [&(dyn ToSql + Sync); 3] = [&keys, instance, node];
            each_row_of(client, statement, &values, |row| read.take(row)).await?;
            return Ok(read);
        }
        let [kinds, text, _] = &KEYS_TYPES;
        let params: Params<'_> = &[(&keys, kinds.clone()), (instance, text.clone()), (node, text.clone())];
        let (text, params) = match look.runs {
            true => (&self.looks(look).poll, params),
            false => (&self.looks(look).poll_bare, params.get(..1).unwrap_or_default()),
        };
        each_row(client, text, params, |row| if look.runs { read.take(row) } else { read.take_bare(row) }).await?;
        Ok(read)
    }

    /// The text of `view.sql` for these tables.
    pub(super) fn view_text(&self, look: Look) -> &str {
        if look.runs { &self.looks(look).view } else { &self.looks(look).poll_bare }
    }

    /// Creates rows as never having run; those that stand by now stay as they are.
    pub async fn create_rows(&self, client: &Client, look: Look, keys: &[Arc<str>]) -> Result<(), Error> {
        let keys: Vec<&str> = keys.iter().map(AsRef::as_ref).collect();
        each_row(client, &self.looks(look).create_rows, &[(&keys, Type::TEXT_ARRAY)], |_| Ok(())).await
    }
}

/// What columns 1 to 7 say.
pub(super) enum Found {
    /// The row stands.
    Row(StatusRow),
    /// The key was asked for and has no row.
    Missing(String),
    /// The line tells of a run only.
    Nothing,
}

pub(super) fn status_row(row: &Row) -> Result<Found, Error> {
    let Some(key) = row.try_get::<_, Option<String>>(1)? else { return Ok(Found::Nothing) };
    if !row.try_get::<_, bool>(2)? {
        return Ok(Found::Missing(key));
    }
    Ok(Found::Row(StatusRow {
        key,
        value: RowValue::from_word(row.try_get(3)?),
        updated_at: row.try_get(4)?,
        created_at: row.try_get(5)?,
        paused: row.try_get(6)?,
        requested_at: row.try_get(7)?,
    }))
}

/// What columns 8 to 18 say.
pub(super) fn open_run(row: &Row) -> Result<Option<OpenRun>, Error> {
    let Some(id) = row.try_get(8)? else { return Ok(None) };
    let lease: Option<i64> = row.try_get(18)?;
    Ok(Some(OpenRun {
        identity: RunIdentity {
            id: RunId(id),
            key: row.try_get(9)?,
            instance: row.try_get(10)?,
            node: row.try_get(11)?,
            host: row.try_get(12)?,
            started_at: row.try_get(16)?,
        },
        group: row.try_get(13)?,
        pid: row.try_get(14)?,
        pid_start: row.try_get(15)?,
        alive_at: row.try_get(17)?,
        lease: lease.map(|micros| Duration::from_micros(u64::try_from(micros).unwrap_or(0))),
    }))
}
