//! Which session makes way for whoever waits. A run that lives will soon have its end recorded where it was claimed: the
//! sessions of its database go last, so that an end seldom costs a connect. Not who gets the place.
//! Invariants: whoever waits is delayed for the sake of a live run by a [`MOMENT`] of one exchange at most, and a session
//! that rests is never out of reach, whatever lives in its database.

use super::{Pool, Seat, Stage};
use crate::db::task::{Answer, Ask};
use crate::model::{Finished, Identity, OpenRun, Reply};
use std::mem::replace;
use std::time::Duration;
use tokio::time::Instant;

/// A session whose last ends are being recorded is expected to be free within this: many times what a commit takes, and
/// little beside what a deadline takes.
const MOMENT: Duration = Duration::from_millis(100);

/// How many runs of ours live in a database after an answer. A look tells it, whatever was missed before.
pub(super) fn live_runs(before: usize, answer: Option<&Answer>, identity: &Identity) -> usize {
    let Some(Answer::Exchanged { result: Ok(reply), .. }) = answer else { return before };
    let Reply { finished, undone, claimed, polled, .. } = reply;
    let is_ours = |run: &&OpenRun| run.identity.instance == identity.instance && run.identity.node == identity.node;
    match polled {
        Some(polled) => polled.runs.iter().filter(is_ours).count(),
        None => {
            let over = finished.iter().chain(undone).filter(|answer| **answer != Finished::NotNow).count();
            before.saturating_sub(over) + claimed.len()
        }
    }
}

/// Until when others may wait for the place of a session that is put to this: it records the last ends of its database.
pub(super) fn soon_free(ask: &Ask, live: usize, more_waits: bool, now: Instant) -> Option<Instant> {
    let Ask::Exchange(said) = ask else { return None };
    let ends_all = !said.finish.is_empty() && said.finish.len() >= live && said.claim.is_none();
    (ends_all && !more_waits).then(|| now + MOMENT)
}

/// Of sessions that rest, with the live runs of their databases, the one that goes first.
fn first_out(resting: impl Iterator<Item = (Seat, usize, Instant)>) -> Option<(Seat, bool)> {
    let order = |(_, live, since): &(Seat, usize, Instant)| (*live > 0, *since);
    resting.min_by_key(order).map(|(seat, live, _)| (seat, live > 0))
}

impl Pool {
    /// Closes sessions that rest for those who want their places.
    pub(super) fn evict(&mut self, wanted: usize, now: Instant) {
        let (mut closing, mut soon) = (0, 0);
        for seat in &self.seated {
            match self.members.get_mut(seat) {
                Some(member) if matches!(member.stage, Stage::Closing) => closing += 1,
                Some(member) => {
                    let more_waits = !member.waiting.is_empty();
                    if let Stage::Working { free_by, .. } = &mut member.stage {
                        // it took longer than that, or goes on with the next: no longer counted on
                        *free_by = free_by.filter(|free_by| now < *free_by && !more_waits);
                        soon += usize::from(free_by.is_some());
                    }
                }
                None => {}
            }
        }
        for missing in (1..=wanted.saturating_sub(closing)).rev() {
            let resting = |seat: &Seat| {
                let member = self.members.get(seat)?;
                let Stage::Idle { since, .. } = member.stage else { return None };
                Some((*seat, member.live_runs, since))
            };
            match first_out(self.seated.iter().filter_map(resting)) {
                Some((seat, lives)) if !lives || missing > soon => self.dismiss(seat),
                _ => return,
            }
        }
    }

    pub(super) fn dismiss(&mut self, seat: Seat) {
        let Some(member) = self.members.get_mut(&seat) else { return };
        match replace(&mut member.stage, Stage::Closing) {
            Stage::Idle { connection, .. } => {
                let serial = member.serial;
                self.close(seat, serial, *connection);
            }
            other => member.stage = other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::tests::bench::{claim, end, settings};
    use crate::model::*;

    fn run(node: &str, id: i64) -> RunIdentity {
        let Identity { instance, node, host } = settings(node).identity;
        RunIdentity { id: RunId(id), key: format!("k{id}"), instance, node, host, started_at: DbTime(0) }
    }

    fn after(before: usize, reply: Reply) -> usize {
        let answer = Answer::Exchanged { database: DatabaseId(0), number: 0, result: Ok(reply) };
        live_runs(before, Some(&answer), &settings("n1").identity)
    }

    #[test]
    fn sessions_without_a_live_run_go_first_and_the_longest_unused_of_each_kind() {
        let moment = Instant::now();
        let session = |id, live, rested| {
            (Seat::Database(DatabaseId(id)), live, moment.checked_sub(Duration::from_secs(rested)).unwrap())
        };
        let mut resting = vec![session(1, 1, 50), session(2, 0, 10), session(3, 3, 40), session(4, 0, 20)];
        let mut went = Vec::new();
        while let Some((seat, lives)) = first_out(resting.iter().copied()) {
            resting.retain(|(other, ..)| *other != seat);
            went.push((seat, lives));
        }
        let seat = |id| Seat::Database(DatabaseId(id));
        assert_eq!(went, [(seat(4), false), (seat(2), false), (seat(1), true), (seat(3), true)]);
    }

    #[test]
    fn a_run_lives_from_its_claim_to_its_recorded_end_and_a_look_corrects_what_was_missed() {
        let claimed = |id| Claimed { key: format!("k{id}"), id: RunId(id), started_at: DbTime(0) };
        let over = Finished::Recorded { row: None };
        assert_eq!(after(0, Reply { claimed: vec![claimed(1), claimed(2)], ..Reply::default() }), 2);
        assert_eq!(after(2, Reply { finished: vec![over, Finished::NotNow], ..Reply::default() }), 1);
        assert_eq!(after(1, Reply { finished: vec![over], claimed: vec![claimed(3)], ..Reply::default() }), 1);
        assert_eq!(after(1, Reply { undone: vec![Finished::ClosedByAnother], ..Reply::default() }), 0);
        assert_eq!(after(0, Reply { finished: vec![over], ..Reply::default() }), 0);
        assert_eq!(live_runs(2, None, &settings("n1").identity), 2);
        let open =
            |identity| OpenRun { identity, group: None, pid: None, pid_start: None, alive_at: DbTime(0), lease: None };
        let polled = Some(Box::new(Polled { runs: vec![open(run("n1", 1)), open(run("n2", 2))], ..Polled::default() }));
        assert_eq!(after(7, Reply { polled, ..Reply::default() }), 1);
    }

    #[test]
    fn only_the_last_ends_of_a_database_promise_its_place() {
        let finish = || vec![end(run("n1", 1), Outcome::Ok, Becomes::Done)];
        let ends = |said: Exchange, live, more| {
            soon_free(&Ask::Exchange(Box::new(said)), live, more, Instant::now()).is_some()
        };
        let finishing = || Exchange { finish: finish(), ..Exchange::default() };
        assert!(ends(finishing(), 1, false));
        assert!(!ends(finishing(), 2, false), "another run lives there");
        assert!(!ends(finishing(), 1, true), "something else is asked there");
        assert!(!ends(Exchange { claim: Some(claim(&["b"], 1)), ..finishing() }, 1, false), "a run will live there");
        assert!(!ends(Exchange::default(), 0, false), "a look may take long");
    }
}
