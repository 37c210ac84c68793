//! The statement of a busy minute, prepared on one session: parsing and planning cost the server more than doing it.
//! Only where sessions are certainly real: behind PgBouncer in transaction mode nothing may be left prepared or set
//! (see `listen`, which finds out).

use super::Statements;
use super::turn::TYPES;
use tokio_postgres::{Client, Error, Statement};

/// What is prepared on a session.
pub(crate) struct Prepared {
    pub turn: Statement,
}

/// One plan for every batch: few rows found by key in tables of any size. Left to itself the planner makes the plan while
/// the tables are small, or by statistics of yesterday, and then reads a table that has grown from end to end.
const BY_KEY: &str = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_bitmapscan = off; \
                      SET enable_hashjoin = off; SET enable_mergejoin = off; \
                      SET jit = off";

impl Statements {
    /// Prepares it on this session.
    pub async fn prepare(&self, client: &Client) -> Result<Prepared, Error> {
        client.batch_execute(BY_KEY).await?;
        Ok(Prepared { turn: client.prepare_typed(&self.texts.turn, &TYPES).await? })
    }
}
