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
mod handover;
mod judging;
mod keeping;
mod leave;
mod listing;
mod notify;
mod outages;
mod perform;
mod place;
mod registry;
mod reload;
mod resume;
mod runs;
mod shown;
mod start;
mod take_listing;
mod upgrade;
mod why_file;

pub use announce::short;
pub use begin::{Given, Purpose, StartError};
pub use clock::Clock;
pub use event_loop::Supervisor;
pub use handover::{PROGRAM, RESUME_VARIABLE, can_resume};
pub use listing::{Lister, configured_sources};
pub use registry::Registry;
pub use start::{engine_settings, host_identity, list_tenant, log_settings, try_url};
pub use upgrade::ANSWER;
pub use why_file::{WHY_FILE, WhyFile};
