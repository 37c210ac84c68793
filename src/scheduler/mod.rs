//! The pure core: a state machine without a clock, a process, a socket or a thread. An [`Event`] goes in
//! with the time, [`Action`]s and [`Notice`]s come out. Everything hard is decided here (order, slots,
//! limits, stale, stopping, recovery, backing off) and can be replayed and simulated.

mod action;
mod backoff;
mod composing;
mod databases;
mod ending;
mod event;
mod invariants;
mod limits;
mod listing;
mod notice;
mod queue;
mod recovery;
mod replies;
mod rounds;
mod rules;
mod run;
mod slots;
mod stale;
mod starting;
mod state;
mod stopping;
mod tenant;
#[cfg(test)]
mod tests;
mod why;

pub use action::{Action, Closing, ExitReason, Force};
pub use event::{End, Event, Exit, Listed, NotStarted, Unknown, Verdict};
pub use notice::Notice;
pub use rules::{Mode, Rounds, Rules, StaleAction};
pub use slots::{newest, next_after, offset_of};
pub use state::Scheduler;
pub use why::Reason;
