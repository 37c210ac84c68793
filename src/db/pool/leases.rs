//! What a lease may not wait for: where runs carry one, work that hangs in other databases makes way for the database
//! that must confirm them, or their supervisor would end children that are well. Decides nothing about leases.

use super::{Member, Pool, Seat, Stage, Standing};
use crate::db::task::{Answer, Ask};
use crate::model::Exchange;
use tokio::time::Instant;

/// True if this claims or repairs a run with a lease.
pub(super) fn says_lease(ask: &Ask) -> bool {
    let of = |Exchange { claim, repair, .. }: &Exchange| {
        claim.as_ref().is_some_and(|claim| claim.lease.is_some()) || repair.iter().any(|repair| repair.lease.is_some())
    };
    matches!(ask, Ask::Exchange(exchange) if of(exchange))
}

/// True if a look found a run with a lease, which may be taken up.
pub(super) fn shows_lease(answer: Option<&Answer>) -> bool {
    let Some(Answer::Exchanged { result: Ok(reply), .. }) = answer else { return false };
    reply.polled.as_ref().is_some_and(|polled| polled.runs.iter().any(|run| run.lease.is_some()))
}

impl Pool {
    /// The work that is to make way, and when: the oldest one, if a database with leases waits and no place will be free
    /// for it otherwise. What fails already has its one place for itself, and so has the configuration's own query,
    /// unless there is no other.
    fn in_the_way(&self) -> Option<(Seat, Instant)> {
        let waits = |seat: &Seat| {
            let member = self.members.get(seat)?;
            let fits = member.leased
                && self.silent.standing(member) == Standing::Good
                && matches!(member.stage, Stage::Away)
                && !member.waiting.is_empty();
            member.waits_since.filter(|_| fits)
        };
        if self.open < self.places() {
            return None;
        }
        // Places that change hands all the time leave none free at this very moment: only who waits long has them make way.
        let waits_since = self.lanes.iter().filter_map(waits).min()?;
        let members = || self.seated.iter().filter_map(|seat| Some((*seat, self.members.get(seat)?)));
        // A place is on its way.
        let leaving = |(_, member): (Seat, &Member)| {
            matches!(member.stage, Stage::Idle { .. } | Stage::Closing | Stage::Working { way: None, .. })
        };
        if members().any(leaving) {
            return None;
        }
        let only_place = self.places() == 1;
        members()
            .filter(|(seat, member)| {
                only_place || (*seat != Seat::Tenants && self.silent.standing(member) != Standing::Failing)
            })
            .filter_map(|(seat, member)| match member.stage {
                Stage::Working { since, .. } => Some((seat, since.max(waits_since) + self.settings.deadlines.patience)),
                _ => None,
            })
            .min_by_key(|(_, at)| *at)
    }

    /// Work that takes long makes way for a lease that waits; it fails as it would at its deadline.
    pub(super) fn make_way_for_leases(&mut self, now: Instant) {
        let Some((seat, _)) = self.in_the_way().filter(|(_, at)| *at <= now) else { return };
        if let Some(Member { stage: Stage::Working { way, .. }, .. }) = self.members.get_mut(&seat)
            && let Some(way) = way.take()
        {
            // It may have come to its end meanwhile.
            let _ = way.send(());
        }
    }

    /// When work must make way next.
    pub(super) fn way_due(&self) -> Option<Instant> {
        self.in_the_way().map(|(_, at)| at)
    }
}
