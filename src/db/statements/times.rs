//! Times on the wire. A `timestamptz` travels as whole microseconds since 2000, so that a [`DbTime`]
//! comes back exactly as the column holds it; no floating point, no text, no time zone.

use crate::model::DbTime;
use std::error::Error;
use std::time::Duration;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

/// 2000-01-01 in microseconds since 1970.
const CENTURY: i64 = 946_684_800_000_000;

impl ToSql for DbTime {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        self.0.saturating_sub(CENTURY).to_sql(&Type::INT8, out)
    }
    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for DbTime {
    /// `infinity` becomes the last time that can be told.
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        i64::from_sql(&Type::INT8, raw).map(|micros| Self(micros.saturating_add(CENTURY)))
    }
    accepts!(TIMESTAMPTZ);
}

/// A duration as the statements take it.
pub(super) fn micros(wait: Duration) -> i64 {
    i64::try_from(wait.as_micros()).unwrap_or(i64::MAX)
}
