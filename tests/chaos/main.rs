//! A night of faults against the real thing: three supervisors with a state folder and a network of their own, one
//! server, two dozen tenants, and a seeded schedule of everything that goes wrong. Meanwhile no tenant runs twice at once;
//! afterwards every row tells the truth, nobody is forgotten and nothing is left over.
//! `make chaos MINUTES=60 SEED=7`; two minutes of it are part of `make test`. The seed gives the schedule, not the outcome.
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

mod driver;
mod half_said;
mod judge;
mod judgements;
mod night;
mod nodes;
mod relay;
mod report;
mod schedule;
mod tenants;
mod timeline;
mod watch;

/// The most that a node runs at once.
const WORKERS: u32 = 4;
/// The most that all nodes run at once; less than they would.
const CLUSTER: usize = 8;
/// SIGUSR2 replaces a supervisor in place.
const UPGRADES: bool = true;
/// `cluster.takeover_after` is built.
const TAKEOVER: bool = true;
/// `unrecorded/` keeps the ends that the database has not taken.
const UNRECORDED: bool = true;

#[test]
fn three_nodes_under_faults_lose_nothing_and_run_nothing_twice() {
    night::night(night::Variant::Plain);
}

#[test]
fn with_takeover_two_run_at_once_only_where_a_supervisor_alone_was_out() {
    if TAKEOVER {
        night::night(night::Variant::Takeover);
    }
}
