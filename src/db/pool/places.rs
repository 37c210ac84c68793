//! Who gets a place among the `connections`, who must make way, and when. Rules: those that fail share one
//! place (and the only one once nobody else waits), those that never answered take at most half, an idle session makes
//! way for whoever waits, a connect that takes long makes way for those that did not fail.

use super::super::connect::connect;
use super::super::error::{ConnectError, unreachable};
use super::super::lanes::{Lanes, Turn};
use super::super::listen::Ear;
use super::{Event, Member, Pool, Seat, Stage, Standing};
use std::mem::replace;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

impl Pool {
    pub(super) fn places(&self) -> usize {
        usize::try_from(self.settings.connections.max(1)).unwrap_or(usize::MAX)
    }

    /// Gives places and sessions to those who wait.
    pub(super) fn seat(&mut self, now: Instant) {
        // the only place is not for those that fail while others wait
        let failing = if self.places() == 1 && self.others_wait() { 0 } else { 1 };
        let mut lanes = replace(&mut self.lanes, Lanes::new());
        let mut wanted = 0;
        lanes.each(|seat| self.turn(*seat, now, failing, &mut wanted));
        self.lanes = lanes;
        let stopping = self.stopping.is_some();
        let may_listen = self.places() > 1 && !stopping;
        let silent = &self.silent;
        for (id, ear) in &mut self.ears {
            let Some(member) = self.members.get(&Seat::Database(*id)) else { continue };
            if !(may_listen && silent.standing(member) == Standing::Good && ear.is_due(now)) {
                continue;
            }
            if self.open < usize::try_from(self.settings.connections).unwrap_or(usize::MAX) {
                self.open += 1;
                ear.open(*id, &member.url, &self.settings, self.events.clone());
            } else {
                wanted += 1;
            }
        }
        self.evict(wanted, now);
    }

    fn turn(&mut self, seat: Seat, now: Instant, failing: usize, wanted: &mut usize) -> Turn {
        let room = self.open < self.places();
        let Some(member) = self.members.get_mut(&seat).filter(|member| !member.waiting.is_empty()) else {
            return Turn::Leave;
        };
        match replace(&mut member.stage, Stage::Away) {
            Stage::Idle { connection, .. } if connection.client.is_closed() => {
                // the server closed it while nobody looked: a new one
                self.open -= 1;
                self.seated.retain(|seated| *seated != seat);
                self.turn(seat, now, failing, wanted)
            }
            Stage::Idle { connection, since } => {
                self.start(seat, *connection, now.saturating_duration_since(since));
                Turn::Leave
            }
            Stage::Away => {
                if !self.has_quota(seat, failing) {
                    return Turn::Wait;
                }
                if !room {
                    *wanted += 1;
                    return Turn::Wait;
                }
                self.open(seat, now);
                Turn::Leave
            }
            // is served when that is over
            busy @ (Stage::Connecting { .. } | Stage::Working { .. } | Stage::Closing) => {
                member.stage = busy;
                Turn::Leave
            }
        }
    }

    /// Those that fail share one place, if any; those that never answered take at most half.
    fn has_quota(&self, seat: Seat, failing: usize) -> bool {
        let Some(standing) = self.members.get(&seat).map(|member| self.silent.standing(member)) else { return false };
        let most = match standing {
            Standing::Good => return true,
            Standing::New => (self.places() / 2).max(1),
            Standing::Failing => failing,
        };
        let at_work = |member: &&Member| {
            matches!(member.stage, Stage::Connecting { .. } | Stage::Working { .. })
                && self.silent.standing(member) == standing
        };
        self.seated.iter().filter_map(|seat| self.members.get(seat)).filter(at_work).count() < most
    }

    fn open(&mut self, seat: Seat, now: Instant) {
        let Some(member) = self.members.get_mut(&seat) else { return };
        self.open += 1;
        self.serial += 1;
        member.serial = self.serial;
        let (url, serial, events) = (Arc::clone(&member.url), self.serial, self.events.clone());
        let limit = self.settings.deadlines.connect;
        let task = tokio::spawn(async move {
            let result = connect(&url, limit, None).await.map(Box::new);
            // the pool may have ended
            let _ = events.send(Event::Connected(seat, serial, result));
        });
        member.stage = Stage::Connecting { since: now, task: task.abort_handle() };
        self.seated.push(seat);
    }

    /// A connect that takes long makes way for those that wait, and waits on among those that fail.
    pub(super) fn make_way(&mut self, now: Instant) {
        let patience = self.settings.deadlines.patience;
        let others_wait = self.others_wait();
        let only_place = self.places() == 1;
        // who makes way leaves the list; the next in it is looked at in a moment
        for at in 0..self.seated.len() {
            let Some(seat) = self.seated.get(at).copied() else { break };
            let Some(member) = self.members.get_mut(&seat) else { continue };
            match &member.stage {
                Stage::Connecting { since, task } if others_wait && *since + patience <= now => {
                    let failed_before = member.standing == Standing::Failing;
                    if failed_before && !only_place {
                        continue;
                    }
                    task.abort();
                    member.serial = 0;
                    if failed_before {
                        let trouble = unreachable(&member.url, &ConnectError::Silent(patience));
                        self.fail(seat, &trouble);
                    } else {
                        member.standing = Standing::Failing;
                        member.stage = Stage::Away;
                        let url = Arc::clone(&member.url);
                        self.open -= 1;
                        self.seated.retain(|seated| *seated != seat);
                        self.silent.add(&url);
                        self.rejoin(seat);
                    }
                }
                Stage::Idle { since, .. } if *since + self.settings.deadlines.idle <= now => self.dismiss(seat),
                _ => {}
            }
        }
    }

    /// True if somebody waits who did not fail last time.
    fn others_wait(&self) -> bool {
        self.lanes.iter().filter_map(|seat| self.members.get(seat)).any(|member| {
            !member.waiting.is_empty()
                && matches!(member.stage, Stage::Away)
                && self.silent.standing(member) != Standing::Failing
        })
    }

    /// When something happens by time alone.
    pub(super) fn wake(&self) -> Instant {
        let others_wait = self.others_wait();
        let deadlines = &self.settings.deadlines;
        let of_member = |seat: &Seat| {
            let member = self.members.get(seat)?;
            match &member.stage {
                Stage::Connecting { since, .. }
                    if others_wait && (member.standing != Standing::Failing || self.places() == 1) =>
                {
                    Some(*since + deadlines.patience)
                }
                Stage::Idle { since, .. } => Some(*since + deadlines.idle),
                Stage::Working { free_by, .. } => *free_by,
                _ => None,
            }
        };
        let ears = self.ears.values().filter_map(Ear::wake);
        let far = Instant::now() + Duration::from_secs(3600);
        self.seated
            .iter()
            .filter_map(of_member)
            .chain(ears)
            .chain(self.way_due())
            .chain(self.stopping)
            .min()
            .unwrap_or(far)
    }
}
