//! The two statements of a busy minute, prepared on one session: parsing and planning cost the server more than
//! doing them. Only where sessions are certainly real: behind PgBouncer in transaction mode nothing may be left
//! prepared (see `listen`, which finds out).

use super::Statements;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, Statement};

/// What is prepared on a session.
pub(crate) struct Prepared {
    pub finish: Statement,
    pub claim: Statement,
}

/// A statement to run: by its text, or prepared.
#[derive(Clone, Copy)]
pub(super) enum Text<'a> {
    Plain(&'a str),
    Prepared(&'a Statement),
}

impl<'a> From<&'a String> for Text<'a> {
    fn from(text: &'a String) -> Self {
        Self::Plain(text)
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self::Plain(text)
    }
}

impl Statements {
    /// Prepares them on this session.
    pub async fn prepare(&self, client: &Client) -> Result<Prepared, Error> {
        let finish: Vec<Type> = super::finish::TYPES.to_vec();
        Ok(Prepared {
            finish: client.prepare_typed(&self.texts.finish, &finish).await?,
            claim: client.prepare_typed(&self.texts.claim, &super::claim::TYPES).await?,
        })
    }
}
