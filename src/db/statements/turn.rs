//! Ends and a claim in one statement: what most exchanges of a busy minute consist of. It does what finish.sql and
//! claim.sql do, for runs of this supervisor's own name and without limits; prepared it costs the server half of what the
//! two and their transaction cost.

use super::claim::Offered;
use super::finish::{Columns, slot};
use super::times::micros;
use super::{Prepared, Statements, each_row_of};
use crate::model::{Claim, Claimed, DbTime, Exchange, Finish, Finished, RunId};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

/// Of the parameters of turn.sql, in their order.
pub(super) const TYPES: [Type; 20] = [
    Type::INT8_ARRAY,
    Type::TEXT_ARRAY,
    Type::TIMESTAMPTZ_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::INT4_ARRAY,
    Type::INT4_ARRAY,
    Type::FLOAT8_ARRAY,
    Type::INT8_ARRAY,
    Type::INT4_ARRAY,
    Type::INT8_ARRAY,
    Type::INT8_ARRAY,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::INT8,
    Type::BOOL,
    Type::INT8,
];

/// What a turn brings.
#[derive(Debug, Default)]
pub(crate) struct Turned {
    /// The server's time; none where nothing was closed and nothing claimed.
    pub now: Option<DbTime>,
    /// A place for each end, empty where `finish_rest` must be asked.
    pub finished: Vec<Option<Finished>>,
    /// What was claimed.
    pub claimed: Vec<Claimed>,
}

/// True if ends and an unlimited claim are all that is said.
pub(crate) fn is_turn(exchange: &Exchange) -> bool {
    let Exchange { number: _, finish, undo, release, repair, refresh, reset, claim, poll } = exchange;
    let more = !(undo.is_empty() && release.is_empty() && repair.is_empty() && refresh.is_empty() && reset.is_empty());
    !more && poll.is_none() && (claim.is_some() || !finish.is_empty()) && !claim.as_ref().is_some_and(Claim::is_limited)
}

impl Statements {
    /// Closes runs and claims rows.
    pub async fn turn(
        &self,
        client: &Client,
        prepared: &Prepared,
        ends: &[&Finish],
        claim: Option<&Claim>,
    ) -> Result<Turned, Error> {
        let ended = Columns::of(ends);
        let offered = Offered::of(claim);
        let limit = i64::from(claim.map_or(0, |claim| claim.limit));
        let done_too = claim.is_some_and(|claim| claim.done_too);
        let lease = claim.and_then(|claim| claim.lease).map(micros);
        let who = &self.identity;
        let values: [&(dyn ToSql + Sync); 20] = [
            &ended.id,
            &ended.key,
            &ended.started_at,
            &ended.outcome,
            &ended.becomes,
            &ended.exit_code,
            &ended.signal,
            &ended.cpu_seconds,
            &ended.max_rss_kb,
            &ended.pid,
            &ended.pid_start,
            &ended.ago,
            &who.instance,
            &who.node,
            &who.host,
            &offered.keys,
            &offered.groups,
            &limit,
            &done_too,
            &lease,
        ];
        let mut turned = Turned { finished: vec![None; ends.len()], ..Turned::default() };
        each_row_of(client, &prepared.turn, &values, |row| {
            let now = row.try_get(0)?;
            turned.now = Some(now);
            if let Some(place) = row.try_get(1)?
                && let Some(answer) = slot(&mut turned.finished, place)
            {
                *answer = Some(Finished::Recorded { row: row.try_get(2)? });
            }
            if let Some(id) = row.try_get(3)? {
                turned.claimed.push(Claimed { key: row.try_get(4)?, id: RunId(id), started_at: now });
            }
            Ok(())
        })
        .await?;
        Ok(turned)
    }
}
