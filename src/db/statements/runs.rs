//! Taking claims back, confirming that runs live, making rows needed again, freeing stale claims.

use super::finish::slot;
use super::times::micros;
use super::{Prepared, Statements, each_row, each_row_of, keys, take_key};
use crate::model::{DbTime, Finished, Refresh, Refreshed, Release, Reset, RunIdentity};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

/// What `reset.sql` is given.
pub(super) const RESET_TYPES: [Type; 2] = [Type::TEXT_ARRAY, Type::TIMESTAMPTZ_ARRAY];

/// The columns that say which runs are meant.
pub(super) struct Identities<'a> {
    id: Vec<i64>,
    key: Vec<&'a str>,
    instance: Vec<&'a str>,
    node: Vec<&'a str>,
    host: Vec<&'a str>,
    started_at: Vec<DbTime>,
}

impl<'a> Identities<'a> {
    pub(super) fn of(runs: impl Iterator<Item = &'a RunIdentity> + Clone) -> Self {
        Self {
            id: runs.clone().map(|run| run.id.0).collect(),
            key: runs.clone().map(|run| run.key.as_str()).collect(),
            instance: runs.clone().map(|run| run.instance.as_str()).collect(),
            node: runs.clone().map(|run| run.node.as_str()).collect(),
            host: runs.clone().map(|run| run.host.as_str()).collect(),
            started_at: runs.map(|run| run.started_at).collect(),
        }
    }

    pub(super) fn params(&self) -> [(&(dyn ToSql + Sync), Type); 6] {
        [
            (&self.id, Type::INT8_ARRAY),
            (&self.key, Type::TEXT_ARRAY),
            (&self.instance, Type::TEXT_ARRAY),
            (&self.node, Type::TEXT_ARRAY),
            (&self.host, Type::TEXT_ARRAY),
            (&self.started_at, Type::TIMESTAMPTZ_ARRAY),
        ]
    }
}

impl Statements {
    /// Takes claims back whose child could not be started. One answer per run; one that is gone or closed counts as recorded.
    pub async fn undo(&self, client: &Client, runs: &[RunIdentity]) -> Result<(DbTime, Vec<Finished>), Error> {
        let which = Identities::of(runs.iter());
        let (mut now, mut answers) = (DbTime::EPOCH, vec![Finished::NotNow; runs.len()]);
        each_row(client, &self.texts.undo, &which.params(), |row| {
            now = row.try_get(0)?;
            if let Some(answer) = slot(&mut answers, row.try_get(1)?)
                && row.try_get(2)?
            {
                *answer = Finished::Recorded { row: row.try_get(3)? };
            }
            Ok(())
        })
        .await?;
        Ok((now, answers))
    }

    /// Confirms lives. One answer per run.
    pub async fn refresh(&self, client: &Client, lives: &[Refresh]) -> Result<(DbTime, Vec<Refreshed>), Error> {
        let which = Identities::of(lives.iter().map(|life| &life.run));
        let pid: Vec<Option<i32>> = lives.iter().map(|life| life.pid).collect();
        let pid_start: Vec<Option<i64>> = lives.iter().map(|life| life.pid_start).collect();
        let (mut now, mut answers) = (DbTime::EPOCH, vec![Refreshed::NotNow; lives.len()]);
        let mut params = which.params().to_vec();
        params.extend([(&pid as &(dyn ToSql + Sync), Type::INT4_ARRAY), (&pid_start, Type::INT8_ARRAY)]);
        each_row(client, &self.texts.refresh, &params, |row| {
            now = row.try_get(0)?;
            let word: &str = row.try_get(2)?;
            if let Some(answer) = slot(&mut answers, row.try_get(1)?) {
                *answer = match word {
                    "confirmed" => Refreshed::Confirmed,
                    "closed" => Refreshed::Closed,
                    "gone" => Refreshed::Gone,
                    _ => Refreshed::NotNow,
                };
            }
            Ok(())
        })
        .await?;
        Ok((now, answers))
    }

    /// Makes done rows needed whose slot has come. The keys that were.
    pub async fn reset(
        &self,
        client: &Client,
        due: &[Reset],
        prepared: Option<&Prepared>,
    ) -> Result<(DbTime, Vec<String>), Error> {
        let key: Vec<&str> = due.iter().map(|row| row.key.as_str()).collect();
        let slots: Vec<DbTime> = due.iter().map(|row| row.slot).collect();
        let Some(Prepared { reset, .. }) = prepared else {
            let [kinds, times] = RESET_TYPES;
            return keys(client, &self.texts.reset, &[(&key, kinds), (&slots, times)]).await;
        };
        let (mut now, mut done) = (DbTime::EPOCH, Vec::new());
        each_row_of(client, reset, &[&key, &slots], |row| take_key(row, &mut now, &mut done)).await?;
        Ok((now, done))
    }

    /// Frees stale claims. The keys that were.
    pub async fn release(&self, client: &Client, stale: &[Release]) -> Result<(DbTime, Vec<String>), Error> {
        let runs = || stale.iter().map(|claim| claim.run.as_ref());
        let key: Vec<&str> = stale.iter().map(|claim| claim.key.as_str()).collect();
        let updated_at: Vec<DbTime> = stale.iter().map(|claim| claim.updated_at).collect();
        let id: Vec<Option<i64>> = runs().map(|run| run.map(|run| run.id.0)).collect();
        let instance: Vec<Option<&str>> = runs().map(|run| run.map(|run| run.instance.as_str())).collect();
        let node: Vec<Option<&str>> = runs().map(|run| run.map(|run| run.node.as_str())).collect();
        let host: Vec<Option<&str>> = runs().map(|run| run.map(|run| run.host.as_str())).collect();
        let started_at: Vec<Option<DbTime>> = runs().map(|run| run.map(|run| run.started_at)).collect();
        let silent: Vec<i64> = stale.iter().map(|claim| micros(claim.silent_for)).collect();
        keys(
            client,
            &self.texts.release,
            &[
                (&key, Type::TEXT_ARRAY),
                (&updated_at, Type::TIMESTAMPTZ_ARRAY),
                (&id, Type::INT8_ARRAY),
                (&instance, Type::TEXT_ARRAY),
                (&node, Type::TEXT_ARRAY),
                (&host, Type::TEXT_ARRAY),
                (&started_at, Type::TIMESTAMPTZ_ARRAY),
                (&silent, Type::INT8_ARRAY),
            ],
        )
        .await
    }
}
