//! Two machines that bear one node's name: the open runs of "this node" on another host are confirmed by somebody who
//! lives. The newcomer leaves; who was there before goes on and says so. Neither touches the other's runs.

use super::notice::Notice;
use super::rules::REBOOT_SILENCE;
use super::state::Scheduler;
use crate::model::{DatabaseId, Moment, OpenRun};
use std::time::Duration;

/// A supervisor that has just come looks so often at runs that may be a rival's: a rival confirms its own every 30 s.
const WATCH_EVERY: Duration = Duration::from_secs(10);
const TELL_EVERY: Duration = Duration::from_secs(3600);

impl Scheduler {
    /// True if a run of this node's name on another host was confirmed since we first looked: not by us.
    pub(super) fn look_for_rival(&mut self, id: DatabaseId, run: &OpenRun) {
        let Some(first) = self.database(id).and_then(|database| database.first_told) else { return };
        if run.alive_at <= first {
            return;
        }
        let newcomer = self.is_newcomer();
        let told = self.rival_told.is_some_and(|at| self.now.since(at) < TELL_EVERY);
        if !told {
            self.rival_told = Some(self.now);
            self.notices.push(Notice::Rival {
                node: run.identity.node.clone(),
                host: run.identity.host.clone(),
                run: run.identity.id,
                leaves: newcomer,
            });
        }
        if newcomer && !self.rival {
            self.rival = true;
            self.drain();
        }
    }

    /// It began a short while ago.
    fn is_newcomer(&self) -> bool {
        self.now.since(self.rules.born) < REBOOT_SILENCE
    }

    /// When an open run of another host is to be looked at again.
    pub(super) fn watch_silence(&mut self, id: DatabaseId, silence_ends: Moment) {
        let watch = if self.is_newcomer() { silence_ends.min(self.now + WATCH_EVERY) } else { silence_ends };
        self.databases_mut(id).poll_by(watch);
    }
}
