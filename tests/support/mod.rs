//! What the integration tests and benches stand on: a private PostgreSQL, a supervisor with a folder of
//! its own, jobs that keep a journal, a syslog daemon, servers that misbehave, and waits with deadlines.
//! Not a place for tests. Whatever is started here carries a mark and lies in one folder, so that it goes
//! away with the test process in whatever way that dies (see `world`).
#![allow(dead_code, reason = "each test binary and bench uses its own part of this")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test ends here when the world is not as it should be, and waits by the host's clock"
)]

pub mod cluster;
pub mod configuration;
pub mod daemon;
pub mod journal;
pub mod mount;
pub mod notify;
pub mod proc;
pub mod relay;
pub mod rows;
pub mod silent;
pub mod syslogd;
pub mod wait;
pub mod world;
