//! Recording ends. `finish` does the usual case in one small statement; what it leaves goes to
//! `finish_rest`, which knows every other case and costs the server four times as much to plan.

use super::times::micros;
use super::{Statements, each_row};
use crate::model::{DbTime, Finish, Finished};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

/// The columns of many ends.
pub(super) struct Columns<'a> {
    pub id: Vec<i64>,
    pub key: Vec<&'a str>,
    instance: Vec<&'a str>,
    node: Vec<&'a str>,
    host: Vec<&'a str>,
    pub started_at: Vec<DbTime>,
    group: Vec<Option<&'a str>>,
    pub outcome: Vec<&'a str>,
    pub becomes: Vec<&'a str>,
    pub exit_code: Vec<Option<i32>>,
    pub signal: Vec<Option<i32>>,
    pub cpu_seconds: Vec<Option<f64>>,
    pub max_rss_kb: Vec<Option<i64>>,
    pub pid: Vec<Option<i32>>,
    pub pid_start: Vec<Option<i64>>,
    pub ago: Vec<i64>,
}

impl<'a> Columns<'a> {
    pub fn of(ends: &[&'a Finish]) -> Self {
        fn column<'a, T>(ends: &[&'a Finish], field: impl Fn(&'a Finish) -> T) -> Vec<T> {
            ends.iter().map(|end| field(end)).collect()
        }
        Self {
            id: column(ends, |end| end.run.id.0),
            key: column(ends, |end| end.run.key.as_str()),
            instance: column(ends, |end| end.run.instance.as_str()),
            node: column(ends, |end| end.run.node.as_str()),
            host: column(ends, |end| end.run.host.as_str()),
            started_at: column(ends, |end| end.run.started_at),
            group: column(ends, |end| end.group.as_deref()),
            outcome: column(ends, |end| end.outcome.as_str()),
            becomes: column(ends, |end| end.becomes.as_str()),
            exit_code: column(ends, |end| end.exit_code),
            signal: column(ends, |end| end.signal),
            cpu_seconds: column(ends, |end| end.cpu_seconds),
            max_rss_kb: column(ends, |end| end.max_rss_kb),
            pid: column(ends, |end| end.pid),
            pid_start: column(ends, |end| end.pid_start),
            ago: column(ends, |end| micros(end.ended_ago)),
        }
    }

    fn params(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        let values: [&(dyn ToSql + Sync); 16] = [
            &self.id,
            &self.key,
            &self.instance,
            &self.node,
            &self.host,
            &self.started_at,
            &self.group,
            &self.outcome,
            &self.becomes,
            &self.exit_code,
            &self.signal,
            &self.cpu_seconds,
            &self.max_rss_kb,
            &self.pid,
            &self.pid_start,
            &self.ago,
        ];
        values.into_iter().zip(TYPES).collect()
    }
}

/// Of the parameters of finish.sql and finish_rest.sql, in their order.
const TYPES: [Type; 16] = [
    Type::INT8_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::TIMESTAMPTZ_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::INT4_ARRAY,
    Type::INT4_ARRAY,
    Type::FLOAT8_ARRAY,
    Type::INT8_ARRAY,
    Type::INT4_ARRAY,
    Type::INT8_ARRAY,
    Type::INT8_ARRAY,
];

impl Statements {
    /// Closes the runs that are still open and whose row can be locked. The answer has a place for each of `ends`,
    /// empty where `finish_rest` must be asked.
    pub async fn finish(&self, client: &Client, ends: &[&Finish]) -> Result<(DbTime, Vec<Option<Finished>>), Error> {
        let columns = Columns::of(ends);
        let (mut now, mut answers) = (DbTime::EPOCH, vec![None; ends.len()]);
        each_row(client, &self.texts.finish, &columns.params(), |row| {
            now = row.try_get(0)?;
            if let Some(place) = row.try_get(1)?
                && let Some(answer) = slot(&mut answers, place)
            {
                *answer = Some(Finished::Recorded { row: row.try_get(2)? });
            }
            Ok(())
        })
        .await?;
        Ok((now, answers))
    }

    /// Records ends in whatever state their run and row are. One answer per end.
    pub async fn finish_rest(&self, client: &Client, ends: &[&Finish]) -> Result<Vec<Finished>, Error> {
        let columns = Columns::of(ends);
        let mut answers = vec![Finished::NotNow; ends.len()];
        each_row(client, &self.texts.finish_rest, &columns.params(), |row| {
            let word: &str = row.try_get(2)?;
            if let Some(answer) = slot(&mut answers, row.try_get(1)?) {
                *answer = match word {
                    "recorded" => Finished::Recorded { row: row.try_get(3)? },
                    "closed by another" => Finished::ClosedByAnother,
                    _ => Finished::NotNow,
                };
            }
            Ok(())
        })
        .await?;
        Ok(answers)
    }
}

/// The element at an SQL ordinality, which counts from 1.
pub(super) fn slot<T>(list: &mut [T], place: i64) -> Option<&mut T> {
    usize::try_from(place).ok().and_then(|place| place.checked_sub(1)).and_then(|at| list.get_mut(at))
}
