//! The built binary against a real PostgreSQL, real children and real signals: one file a subject.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test ends where the world is not as it should be, and waits by the host's clock"
)]

#[path = "../support/mod.rs"]
mod support;

mod child_world;
mod config;
mod cost;
mod database;
mod documents;
mod faults;
mod kit;
mod left_behind;
mod life;
mod limits;
mod logging;
mod many_runs;
mod named;
mod names;
mod once;
mod operator;
mod order;
mod outcomes;
mod recovery;
mod request;
mod restored;
mod rival;
mod rounds;
mod rows;
mod shutdown;
mod sources;
mod spawn_failure;
mod stale;
mod standby;
mod state_folder;
mod status;
mod takeover;
mod two_nodes;
mod unrecorded;
mod upgrade;
mod upgrade_refused;
