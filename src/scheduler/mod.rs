//! The pure core: a state machine without a clock, a process, a socket or a thread. An [`Event`] goes in
//! with the time, [`Action`]s and [`Notice`]s come out. Everything hard is decided here (order, slots,
//! limits, stale, stopping, recovery, backing off) and can be replayed and simulated.

mod action;
mod backoff;
mod carried;
mod composing;
mod databases;
mod ending;
mod event;
mod found;
mod invariants;
mod lease;
mod limits;
mod listing;
mod looks;
mod notice;
mod queue;
mod recovery;
mod repairs;
mod replies;
mod resets;
mod rival;
mod rounds;
mod rules;
mod run;
mod shelf;
mod slots;
mod stale;
mod starting;
mod state;
mod stopping;
mod tenant;
#[cfg(test)]
mod tests;
mod together;
mod why;

pub use action::{Action, Closing, ExitReason, Force};
pub use carried::CarriedRun;
pub use event::{End, Event, Exit, FoundEnd, Listed, NotStarted, Unknown, Verdict};
pub use found::AllEnds;
pub use notice::Notice;
pub use rules::{LOOK_SIZE, Mode, Rounds, Rules, StaleAction};
pub use slots::{newest, next_after, offset_of};
pub use state::Scheduler;
pub use why::Reason;
