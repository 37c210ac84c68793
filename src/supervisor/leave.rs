//! The end of the process: what is said last, and the exit code.

use super::begin::StartError;
use super::event_loop::Supervisor;
use crate::logging::ALERT;
use crate::scheduler::{ExitReason, Mode};
use std::time::Duration;

impl Supervisor {
    /// Says goodbye to all; answers with the exit code.
    pub(super) fn leave(mut self) -> Result<i32, StartError> {
        // Without an end there is no file.
        let kept = self.keep_all_ends();
        if let Some(ExitReason::Unrecorded(number)) = self.leaving {
            self.say_what_is_unrecorded(number, &kept);
        }
        for tenant in self.ended.keys().cloned().collect::<Vec<_>>() {
            self.let_lock_go(&tenant);
        }
        self.lister.end();
        self.engine.stop(Duration::from_secs(2));
        let looked_once = matches!(self.mode, Mode::Once | Mode::DryRun);
        let incomplete = looked_once && (self.left_out || !self.lister.is_complete());
        let code = match self.leaving {
            Some(ExitReason::Done) | None => i32::from(incomplete),
            Some(ExitReason::NoDatabase) if self.met => {
                log::error!("no database at all could be used; what each of them said stands above");
                1
            }
            Some(ExitReason::NoDatabase) => {
                log::error!("no database at all could be reached");
                crate::exit::UNAVAILABLE
            }
            Some(ExitReason::Unrecorded(_) | ExitReason::Refused | ExitReason::Rival) => 1,
        };
        self.log.flush();
        self.follow.finish();
        if !matches!(self.mode, Mode::Named { .. }) || code > 1 {
            return Ok(code);
        }
        // Interrupted before all were run: not done.
        let unfinished = i32::from(self.closed < self.wanted.len());
        Ok(self.worst_exit.max(code).max(unfinished))
    }

    /// Of `number` runs whose ends no database took, some never began, or were found dead: that is found out again.
    fn say_what_is_unrecorded(&self, number: usize, kept: &Result<usize, String>) {
        match kept {
            Ok(0) => log::error!(
                "{number} runs could not be told to their database, it does not answer: the next look finds them out again"
            ),
            Ok(kept) => log::error!(
                target: ALERT,
                "{kept} ends could not be recorded, their database does not answer: they are kept in {}, and recorded by whoever looks next (the supervisor, run --once, run TENANT)",
                self.ends_path()
            ),
            Err(why) => log::error!(
                target: ALERT,
                "{number} ends could not be recorded, their database does not answer; {why}: these runs will count as lost and run again"
            ),
        }
    }
}
