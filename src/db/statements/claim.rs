//! Claiming rows, with and without limits.

use super::times::micros;
use super::{Statements, each_row};
use crate::model::{Claim, Claimed, DbTime, RunId};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

/// Of the parameters of claim.sql, in their order.
const TYPES: [Type; 8] =
    [Type::TEXT_ARRAY, Type::TEXT_ARRAY, Type::INT8, Type::BOOL, Type::TEXT, Type::TEXT, Type::TEXT, Type::INT8];

/// The columns of what is offered.
pub(super) struct Offered<'a> {
    pub keys: Vec<&'a str>,
    pub groups: Vec<Option<&'a str>>,
}

impl<'a> Offered<'a> {
    pub fn of(claim: Option<&'a Claim>) -> Self {
        let offers = || claim.iter().flat_map(|claim| &claim.offers);
        Self {
            keys: offers().map(|offer| offer.key.as_str()).collect(),
            groups: offers().map(|offer| offer.group.as_deref()).collect(),
        }
    }
}

impl Statements {
    /// Stands before a limited claim in the same transaction.
    pub async fn claim_guard(&self, client: &Client) -> Result<(), Error> {
        each_row(client, &self.texts.claim_guard, &[(&self.claim_lock, Type::INT8)], |_| Ok(())).await
    }

    /// Claims, and tells what was claimed.
    pub async fn claim(&self, client: &Client, claim: &Claim) -> Result<(DbTime, Vec<Claimed>), Error> {
        let Offered { keys, groups } = Offered::of(Some(claim));
        let limit = i64::from(claim.limit);
        let lease = claim.lease.map(micros);
        let who = &self.identity;
        let values: [&(dyn ToSql + Sync); 8] =
            [&keys, &groups, &limit, &claim.done_too, &who.instance, &who.node, &who.host, &lease];
        let plain: Vec<_> = values.into_iter().zip(TYPES).collect();
        let (mut now, mut claimed) = (DbTime::EPOCH, Vec::with_capacity(claim.limit.min(1024) as usize));
        let take = |row: &tokio_postgres::Row| {
            now = row.try_get(0)?;
            if let Some(id) = row.try_get(1)? {
                claimed.push(Claimed { key: row.try_get(2)?, id: RunId(id), started_at: now });
            }
            Ok(())
        };
        if claim.is_limited() {
            let (cluster, group) = (i64::from(claim.cluster_limit), i64::from(claim.group_limit));
            let foreign: Vec<&str> = claim.foreign_in_group.iter().map(|(group, _)| group.as_str()).collect();
            let counts: Vec<i64> = claim.foreign_in_group.iter().map(|(_, runs)| i64::from(*runs)).collect();
            let mut limited = plain;
            limited.extend([
                (&cluster as &(dyn ToSql + Sync), Type::INT8),
                (&group, Type::INT8),
                (&foreign, Type::TEXT_ARRAY),
                (&counts, Type::INT8_ARRAY),
                (&self.key_pattern, Type::TEXT),
            ]);
            each_row(client, &self.texts.claim_limited, &limited, take).await?;
        } else {
            each_row(client, &self.texts.claim, &plain, take).await?;
        }
        Ok((now, claimed))
    }
}

impl Claim {
    /// True if a guard must stand before it.
    pub(crate) fn is_limited(&self) -> bool {
        self.cluster_limit > 0 || self.group_limit > 0
    }
}
