//! Ends that come one after another go together where the database takes its time: on a slow disk a commit takes as long
//! for one end as for eight, nothing else can be said meanwhile, and what ends a moment after it was sent waits for
//! another. So an exchange with ends waits, for a small part of what the last ones took, for runs that have just begun.

use super::carried::Hold;
use super::databases::Database;
use super::run::Phase;
use super::state::Scheduler;
use crate::model::Moment;
use std::time::Duration;

/// Where an exchange takes less, waiting costs more than another exchange.
const SLOW: Duration = Duration::from_millis(2);
/// The part of an exchange's time that is waited.
const PART: u32 = 4;
/// However slow the database: a slot stands empty meanwhile.
const LONGEST: Duration = Duration::from_millis(10);

/// How long exchanges take, and until when the next one waits.
#[derive(Debug, Default)]
pub(super) struct Together {
    last: Duration,
    /// The shorter of the last two times, as one may have been an accident.
    takes: Duration,
    until: Option<Moment>,
}

impl Together {
    /// Ends and a claim took so long.
    pub fn took(&mut self, time: Duration) {
        self.takes = time.min(std::mem::replace(&mut self.last, time));
    }

    pub fn is_slow(&self) -> bool {
        self.takes >= SLOW
    }

    pub fn until(&self) -> Option<Moment> {
        self.until
    }
}

impl Scheduler {
    /// Before slots are filled: finds which of the databases that something happened to wait for ends that may come soon.
    /// What is offered to one is sent to it at once, so nothing is offered to those that wait.
    pub(super) fn wait_for_ends(&mut self) {
        let now = self.now;
        for id in &self.dirty {
            let Some(database) = self.databases.get(id.0 as usize) else { continue };
            let until = self.may_wait(database).then(|| {
                let until = now + (database.together.takes / PART).min(LONGEST);
                database.together.until.unwrap_or(until)
            });
            if let Some(database) = self.databases.get_mut(id.0 as usize) {
                database.together.until = until.filter(|until| *until > now);
            }
        }
    }

    fn may_wait(&self, database: &Database) -> bool {
        let now = self.now;
        let run = |tenant| self.tenants.get(tenant).and_then(|tenant| tenant.run());
        let ended = |tenant: &_| run(*tenant).is_some_and(|run| run.record_not_before <= now);
        let may_end_soon = |tenant: &_| {
            run(*tenant).is_some_and(|run| {
                matches!(run.phase, Phase::Starting | Phase::Running) && run.began + database.together.takes > now
            })
        };
        database.together.is_slow()
            && database.in_flight.is_none()
            && database.claim.offers.is_empty()
            && self.hold == Hold::No
            && !self.stop.is_asked()
            && database.to_record.iter().any(ended)
            && database.runs.iter().any(may_end_soon)
    }
}
