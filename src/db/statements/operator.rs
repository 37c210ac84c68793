//! What commands and housekeeping ask: `status`, `request`, pruning, and a word to a channel.

use super::finish::slot;
use super::poll::{Found, open_run, status_row};
use super::times::micros;
use super::{Look, Statements, each_row};
use crate::model::{DbTime, OpenRun, Outcome, RowValue, RunId, StatusRow};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};

/// One tenant as `status` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewed {
    /// The key asked for.
    pub key: String,
    /// Its row, if it stands.
    pub row: Option<StatusRow>,
    /// Its open run.
    pub open: Option<OpenRun>,
    /// Its last finished run.
    pub last: Option<ViewedRun>,
}

/// A finished run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewedRun {
    /// Its id.
    pub id: RunId,
    /// Where it ran.
    pub node: String,
    /// How it ended; none for a word that is not ours.
    pub outcome: Option<Outcome>,
    /// Exit status, if it exited.
    pub exit_code: Option<i32>,
    /// Signal, if it died of one.
    pub signal: Option<i32>,
    /// When it was claimed.
    pub started_at: DbTime,
    /// When it ended.
    pub finished_at: DbTime,
}

/// What became of a request for one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requested {
    /// It was done and is needed now, first in the queue.
    Needed,
    /// It was needed already and is now first in the queue.
    First,
    /// It runs.
    Running,
    /// Somebody holds its row: try again.
    NotNow,
    /// It has no row.
    Missing,
    /// Its value is none of ours: left alone.
    Unknown(String),
}

impl Statements {
    /// Reads what `status` shows. One answer per key, in their order, and the server's time.
    pub async fn view(
        &self,
        client: &Client,
        look: Look,
        keys: &[String],
    ) -> Result<(Option<DbTime>, Vec<Viewed>), Error> {
        let (mut now, mut list) = (None, Vec::with_capacity(keys.len()));
        each_row(client, self.view_text(look), &[(&keys, Type::TEXT_ARRAY)], |row| {
            now = Some(row.try_get(0)?);
            let (key, found) = match status_row(row)? {
                Found::Row(found) => (found.key.clone(), Some(found)),
                Found::Missing(key) => (key, None),
                Found::Nothing => return Ok(()),
            };
            let (open, last) = if look.runs { (open_run(row)?, last_run(row)?) } else { (None, None) };
            list.push(Viewed { key, row: found, open, last });
            Ok(())
        })
        .await?;
        Ok((now, list))
    }

    /// Asks for runs. One answer per key, in their order.
    pub async fn request(&self, client: &Client, keys: &[String]) -> Result<Vec<Requested>, Error> {
        let mut answers = vec![Requested::Missing; keys.len()];
        each_row(client, &self.texts.request, &[(&keys, Type::TEXT_ARRAY)], |row| {
            let (value, held, stands): (Option<&str>, bool, bool) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
            if let Some(answer) = slot(&mut answers, row.try_get(0)?) {
                *answer = match RowValue::from_word(value.unwrap_or_default()) {
                    _ if !stands => Requested::Missing,
                    RowValue::Running => Requested::Running,
                    _ if !held => Requested::NotNow,
                    RowValue::Done => Requested::Needed,
                    RowValue::Needed => Requested::First,
                    RowValue::Unknown(word) => Requested::Unknown(word.into()),
                };
            }
            Ok(())
        })
        .await?;
        Ok(answers)
    }

    /// Removes up to `most` old runs. How many were removed.
    pub async fn prune(&self, client: &Client, most: u32) -> Result<u64, Error> {
        let params = &[(&micros(self.keep_runs) as _, Type::INT8), (&i64::from(most) as _, Type::INT8)];
        client.execute_typed(&self.texts.prune, params).await
    }

    /// Notifies a channel.
    pub async fn notify(&self, client: &Client, channel: &str) -> Result<(), Error> {
        each_row(client, &self.texts.notify, &[(&channel, Type::TEXT)], |_| Ok(())).await
    }
}

/// What columns 19 to 25 say.
fn last_run(row: &tokio_postgres::Row) -> Result<Option<ViewedRun>, Error> {
    let Some(id) = row.try_get(19)? else { return Ok(None) };
    Ok(Some(ViewedRun {
        id: RunId(id),
        node: row.try_get(20)?,
        outcome: row.try_get::<_, Option<&str>>(21)?.and_then(Outcome::from_word),
        exit_code: row.try_get(22)?,
        signal: row.try_get(23)?,
        started_at: row.try_get(24)?,
        finished_at: row.try_get(25)?,
    }))
}
