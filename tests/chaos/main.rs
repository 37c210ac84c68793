//! Faults.
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

mod relay;
