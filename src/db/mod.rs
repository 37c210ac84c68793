//! PostgreSQL, from a URL to an answered exchange. The rest of the house speaks to it in the words of
//! [`crate::model`] through one [`Engine`]; SQL, sessions, TLS and everything asynchronous end here.
//!
//! - `url` what a database's URL means; `connect`, `stream`, `tls` a session
//! - `statements` and `sql/` what may be said, typed in and typed out
//! - `exchange`, `perform`, `migrate` one piece of work on one session
//! - `pool`, `lanes`, `listen`, `engine` who gets a session, and the thread behind it all
//! - `task` what may be asked and what comes back; `error` what follows from a failure

mod connect;
mod engine;
mod error;
mod exchange;
mod lanes;
mod listen;
mod migrate;
mod perform;
mod pool;
mod settings;
mod statements;
mod stream;
mod task;
mod tls;
mod url;

pub use engine::Engine;
pub use settings::{Access, Deadlines, Migrate, Settings, key_pattern};
pub use statements::{BadTable, Requested, Viewed, ViewedRun};
pub use task::{Answer, TenantRow};
pub use url::{BadUrl, DatabaseUrl, Environment, render};

#[cfg(test)]
mod tests;
