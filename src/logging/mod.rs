//! Where words go: the supervisor's own log (standard error or syslog), and the log file of each tenant's runs.
//! Not what is said: lines are written by those who have something to say, through the macros of the `log` crate.
//!
//! Its invariant: **logging never blocks and never ends the program.** A syslog daemon that is stopped, frozen or
//! restarted, a terminal held by ^S, a pipe that nobody reads: what cannot be written at once waits in a bounded
//! queue, what does not fit there is dropped and counted, and the count is said when the way is free again.
//!
//! The `log` crate has no level above error. An alert (syslog's 1, `<1>` under a journal) is
//! `log::error!(target: ALERT, "…")`.

mod backlog;
mod end_words;
mod line;
mod link;
mod log_handle;
mod resume;
mod severity;
mod stderr;
mod syslog;
mod tenant_file;
#[cfg(test)]
mod tests;
mod wall;

pub use end_words::RunEnd;
pub use log_handle::{ALERT, Log, LogError, LogSettings, Target, install, level_after};
pub use tenant_file::{TenantFile, TenantFileError};
