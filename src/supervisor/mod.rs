//! The thin shell around the core: it waits, gathers, asks, obeys, and decides nothing.
//!
//! `start` turns the configuration into the core's rules, `gather` turns what happened into events,
//! `perform` turns actions into calls, `announce` turns notices into words. Everything runs on one thread;
//! the database engine has its own and wakes this one.

mod announce;
mod begin;
mod children;
mod clock;
mod event_loop;
mod follow;
mod gather;
mod judging;
mod keeping;
mod leave;
mod listing;
mod notify;
mod perform;
mod place;
mod registry;
mod reload;
mod runs;
mod shown;
mod start;
mod take_listing;
mod why_file;

pub use announce::short;
pub use begin::{Given, Purpose, StartError};
pub use clock::Clock;
pub use event_loop::Supervisor;
pub use listing::{Lister, configured_sources};
pub use registry::Registry;
pub use start::{engine_settings, host_identity, list_tenant, log_settings, try_url};
pub use why_file::{WHY_FILE, WhyFile};
