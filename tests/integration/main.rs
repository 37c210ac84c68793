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
mod kit;
mod life;
mod limits;
mod logging;
mod many_runs;
mod named;
mod once;
mod operator;
mod order;
mod outcomes;
mod request;
mod rounds;
mod rows;
mod sources;
mod stale;
mod status;
mod two_nodes;
