//! Rows that disagree with a run that lives: set running again.

use super::finish::slot;
use super::runs::Identities;
use super::times::micros;
use super::{Statements, each_row};
use crate::model::{DbTime, Repair, Repaired, RunId};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

impl Statements {
    /// Repairs rows. One answer per run.
    pub async fn repair(&self, client: &Client, living: &[Repair]) -> Result<(DbTime, Vec<Repaired>), Error> {
        let which = Identities::of(living.iter().map(|life| &life.run));
        let group: Vec<Option<&str>> = living.iter().map(|life| life.group.as_deref()).collect();
        let pid: Vec<Option<i32>> = living.iter().map(|life| life.pid).collect();
        let pid_start: Vec<Option<i64>> = living.iter().map(|life| life.pid_start).collect();
        let lease: Vec<Option<i64>> = living.iter().map(|life| life.lease.map(micros)).collect();
        let mut params = which.params().to_vec();
        params.extend([
            (&group as &(dyn ToSql + Sync), Type::TEXT_ARRAY),
            (&pid, Type::INT4_ARRAY),
            (&pid_start, Type::INT8_ARRAY),
            (&lease, Type::INT8_ARRAY),
        ]);
        let (mut now, mut answers) = (DbTime::EPOCH, vec![Repaired::NotNow; living.len()]);
        each_row(client, &self.texts.repair, &params, |row| {
            now = row.try_get(0)?;
            let word: &str = row.try_get(2)?;
            if let Some(answer) = slot(&mut answers, row.try_get(1)?) {
                *answer = match word {
                    "running" => Repaired::Running { id: RunId(row.try_get(3)?), started_at: row.try_get(4)? },
                    "closed" => Repaired::Closed,
                    "another" => Repaired::Another,
                    _ => Repaired::NotNow,
                };
            }
            Ok(())
        })
        .await?;
        Ok((now, answers))
    }
}
