//! The statements of a busy minute, prepared on one session: parsing and planning cost the server more than doing it.
//! Only where sessions are certainly real: behind PgBouncer in transaction mode nothing may be left prepared or set
//! (see `listen`, which finds out).

use super::poll::KEYS_TYPES;
use super::runs::RESET_TYPES;
use super::turn::TYPES;
use super::{Look, Statements};
use tokio_postgres::{Client, Error, Statement};

/// What is prepared on a session.
pub(crate) struct Prepared {
    pub turn: Statement,
    pub reset: Statement,
    /// A look at single rows of such tables.
    look: Option<(Look, Statement)>,
}

/// A look at more rows is planned for them.
const SINGLE_ROWS: usize = 100;

impl Prepared {
    /// What looks at so many rows of such tables, if that is prepared.
    pub fn look(&self, look: Look, rows: usize) -> Option<&Statement> {
        let (prepared, statement) = self.look.as_ref()?;
        (*prepared == look && rows <= SINGLE_ROWS).then_some(statement)
    }
}

/// One plan for every batch: few rows found by key in tables of any size. Left to itself the planner makes the plan while
/// the tables are small, or by statistics of yesterday, and then reads a table that has grown from end to end.
const BY_KEY: &str = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_bitmapscan = off; \
                      SET enable_hashjoin = off; SET enable_mergejoin = off; \
                      SET jit = off";

impl Statements {
    /// Prepares them on this session; the look if the tables are known and all stand.
    pub async fn prepare(&self, client: &Client, look: Option<Look>) -> Result<Prepared, Error> {
        client.batch_execute(BY_KEY).await?;
        let turn = client.prepare_typed(&self.texts.turn, &TYPES).await?;
        let reset = client.prepare_typed(&self.texts.reset, &RESET_TYPES).await?;
        let look = match look.filter(|look| look.runs) {
            Some(look) => Some((look, client.prepare_typed(&self.looks(look).poll, &KEYS_TYPES).await?)),
            None => None,
        };
        Ok(Prepared { turn, reset, look })
    }
}
