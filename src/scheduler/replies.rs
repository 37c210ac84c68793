//! An exchange was answered or failed: every part of it finds its tenants again. Replies may be late or
//! doubled; one that no exchange waits for is only read as a look.

use super::action::Action;
use super::databases::{InFlight, Pending};
use super::looks::{LOOK_AGAIN, Polls};
use super::notice::Notice;
use super::rules::Mode;
use super::run::Why;
use super::starting::Terms;
use super::state::Scheduler;
use super::tenant::{Row, Stage, TenantId};
use crate::model::{
    Claimed, DatabaseId, DbTime, Finished, Moment, Polled, Refreshed, Reply, RowValue, StatusRow, Trouble, TroubleKind,
};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// What a lock on a row keeps from being said is said again after this, or with a sooner exchange.
const SAY_AGAIN: Duration = Duration::from_millis(200);
/// A claim that loses offers to others makes the next ones offer more than there are slots, for so long.
const CONTENDED: Duration = Duration::from_secs(60);

impl Scheduler {
    pub(super) fn exchanged(&mut self, id: DatabaseId, number: u64, result: Result<Reply, Trouble>) {
        let Some(flight) = self.databases_mut(id).in_flight.take_if(|flight| flight.number == number) else { return };
        match result {
            Ok(reply) => self.answered(id, flight, reply),
            Err(trouble) => self.failed(id, flight, &trouble),
        }
    }

    fn answered(&mut self, id: DatabaseId, flight: InFlight, reply: Reply) {
        let looked = reply.polled.is_some();
        if flight.is_turn() {
            self.databases_mut(id).together.took(reply.took);
        }
        self.database_answered(id, reply.now, &flight, looked);
        if !looked {
            self.not_looked(id, &flight.polls);
        }
        let ends = flight.finish.len();
        for (tenant, answer) in flight.finish.into_iter().zip(&reply.finished) {
            self.finish_answered(id, tenant, *answer);
        }
        for (found, answer) in flight.found.into_iter().zip(reply.finished.iter().skip(ends)) {
            self.found_answered(id, found, *answer);
        }
        for (tenant, answer) in flight.undo.into_iter().zip(&reply.undone) {
            self.finish_answered(id, tenant, *answer);
        }
        for (tenant, answer) in flight.repair.into_iter().zip(&reply.repaired) {
            self.repair_answered(id, tenant, *answer);
        }
        for (tenant, answer) in flight.refresh.into_iter().zip(&reply.refreshed) {
            self.refresh_answered(id, tenant, *answer, flight.sent);
        }
        self.resets_answered(id, flight.resets, &reply.reset);
        self.releases_answered(id, &flight.releases, &reply.released);
        let terms = Terms { lease: flight.lease, sent: flight.sent };
        self.claim_answered(id, flight.claim, reply.claimed, terms);
        if let Some(polled) = reply.polled {
            self.polled(id, *polled, &flight.polls);
        }
    }

    fn failed(&mut self, id: DatabaseId, flight: InFlight, trouble: &Trouble) {
        self.databases_mut(id).refuses |= trouble.kind == TroubleKind::Unfit && flight.writes();
        for tenant in flight.finish.into_iter().chain(flight.undo) {
            if let Some(run) = self.tenants.get_mut(tenant).and_then(|tenant| tenant.run_mut()) {
                run.recording = false;
            }
            self.databases_mut(id).to_record.push(tenant);
            self.keep_end(tenant);
            self.touch(tenant);
        }
        self.databases_mut(id).found.extend(flight.found);
        if let Polls::Some(keys) = &flight.polls
            && self.database(id).is_some_and(|database| database.keys.is_empty())
        {
            // No regular look comes back to these.
            let again = self.now + LOOK_AGAIN;
            keys.iter().for_each(|key| self.databases_mut(id).look_again(key.clone(), again));
        }
        for tenant in flight.repair {
            if let Some(run) = self.tenants.get_mut(tenant).and_then(|tenant| tenant.run_mut()) {
                run.repairing = false;
            }
        }
        for tenant in flight.refresh {
            self.refreshed(tenant, Some(SAY_AGAIN));
        }
        // Those not sent yet are found anew too, when it answers.
        let waiting = std::mem::take(&mut self.databases_mut(id).resets);
        for tenant in flight.resets.into_iter().chain(waiting.tenants()) {
            if let Some(state) = self.tenants.get_mut(tenant) {
                state.resetting = false;
            }
        }
        for key in &flight.releases {
            self.release_answered(id, key, false);
        }
        let pending = std::mem::take(&mut self.databases_mut(id).claim);
        // A claim whose answer is lost may have happened: only the next look at the rows can tell.
        let unsure = trouble.kind == TroubleKind::Interrupted;
        for claim in [flight.claim, pending] {
            for tenant in &claim.offers {
                if let Some(state) = self.tenants.get_mut(*tenant)
                    && unsure
                {
                    state.row = None;
                }
            }
            self.withdraw(&claim.offers, claim.limit);
        }
        self.database_failed(id, trouble);
    }

    fn finish_answered(&mut self, id: DatabaseId, tenant: TenantId, answer: Finished) {
        let now = self.now;
        match answer {
            Finished::Recorded { row } => {
                if let Some(state) = self.tenants.get(tenant)
                    && let Some(run) = state.run()
                    && run.is_lost()
                {
                    self.notices.push(Notice::Lost { tenant: state.name().clone(), run: run.identity.id });
                }
                self.recorded(tenant, row);
            }
            Finished::ClosedByAnother => {
                if let Some(state) = self.tenants.get(tenant)
                    && let Some(run) = state.run()
                    && !run.is_lost()
                {
                    self.notices.push(Notice::ClosedByAnother { tenant: state.name().clone(), run: run.identity.id });
                }
                self.recorded(tenant, None);
            }
            Finished::NotNow => {
                if let Some(run) = self.tenants.get_mut(tenant).and_then(|tenant| tenant.run_mut()) {
                    run.recording = false;
                    run.record_wait = (run.record_wait * 2).clamp(SAY_AGAIN, SAY_AGAIN * 32);
                    run.record_not_before = now + run.record_wait;
                }
                self.databases_mut(id).to_record.push(tenant);
                self.touch(tenant);
            }
        }
    }

    fn refresh_answered(&mut self, id: DatabaseId, tenant: TenantId, answer: Refreshed, sent: Moment) {
        match answer {
            Refreshed::Confirmed => {
                if let Some(run) = self.tenants.get_mut(tenant).and_then(|tenant| tenant.run_mut()) {
                    run.confirmed = sent;
                    run.grace = Moment::default();
                }
                self.refreshed(tenant, None);
            }
            Refreshed::Gone => {
                self.refreshed(tenant, None);
                // A look compares, and repairs.
                if let Some(key) = self.tenants.get(tenant).map(|state| state.listed.key.clone()) {
                    self.databases_mut(id).look_at.insert(key);
                }
            }
            Refreshed::NotNow => self.refreshed(tenant, Some(SAY_AGAIN)),
            Refreshed::Closed => {
                self.refreshed(tenant, None);
                self.end_run(tenant, Why::ClosedByAnother);
            }
        }
    }

    fn claim_answered(&mut self, id: DatabaseId, claim: Pending, claimed: Vec<Claimed>, terms: Terms) {
        let Pending { offers, limit } = claim;
        let won = u32::try_from(claimed.len()).unwrap_or(u32::MAX);
        let all_considered = won < limit;
        self.counts.slots_offered =
            self.counts.slots_offered.saturating_sub(if self.rules.mode.uses_slots() { won } else { 0 });
        let mut taken = HashSet::with_capacity(claimed.len());
        for claim in claimed {
            let Some(tenant) = self.tenants.by_key(id, &claim.key) else { continue };
            if taken.insert(tenant) {
                self.begin_run(tenant, claim, terms);
            }
        }
        let left: Vec<_> = offers.into_iter().filter(|tenant| !taken.contains(tenant)).collect();
        if all_considered && !left.is_empty() {
            let contended_until = self.now + CONTENDED;
            self.databases_mut(id).contended_until = contended_until;
            // Another node was faster, or a row is locked, or a limit is reached: look again before the next offer.
            let again = self.now + LOOK_AGAIN;
            // A limit that another node has filled is no reason to forget the rows: the next place that we free ourselves
            // is claimed along with its record.
            for tenant in &left {
                if let Some(state) = self.tenants.get_mut(*tenant) {
                    state.row = None;
                    let key = state.listed.key.clone();
                    self.databases_mut(id).look_again(key, again);
                }
                self.refuse(*tenant, "its row could not be claimed: another node took it, somebody holds it locked, or it has an open run");
            }
        }
        self.withdraw(&left, limit.saturating_sub(won));
    }

    /// Offers that became no claim: let go of their locks and slots.
    pub(super) fn withdraw(&mut self, offers: &[TenantId], slots: u32) {
        let slots = if self.rules.mode.uses_slots() { slots } else { 0 };
        let mut names = Vec::with_capacity(offers.len());
        for tenant in offers {
            if let Some(state) = self.tenants.get_mut(*tenant)
                && matches!(state.stage, Stage::Offered)
            {
                state.stage = Stage::Idle;
                names.push(state.name().clone());
            }
            self.touch(*tenant);
        }
        self.counts.slots_offered = self.counts.slots_offered.saturating_sub(slots);
        if !names.is_empty() || slots > 0 {
            self.actions.push(Action::Unlock { tenants: names, slots });
        }
    }

    fn polled(&mut self, id: DatabaseId, polled: Polled, polls: &Polls) {
        let mut seen = HashSet::with_capacity(polled.rows.len());
        let mut odd = HashSet::new();
        for row in polled.rows {
            if let Some(tenant) = self.tenants.by_key(id, &row.key) {
                seen.insert(tenant);
                if matches!(row.value, RowValue::Needed | RowValue::Done) {
                    odd.insert(tenant);
                }
                self.row_seen(tenant, row);
            }
        }
        match polls {
            Polls::All(asked) | Polls::Some(asked) => self.rows_missing(id, asked, &seen),
            Polls::NotDone => {
                self.look_at_changed(id, &seen);
                self.databases_mut(id).mark = polled.mark;
            }
            Polls::Nothing => {}
        }
        self.reconcile(id, polled.runs, &seen, &odd);
        // In one order: what is replayed must come out the same.
        let mut seen: Vec<_> = seen.into_iter().collect();
        seen.sort_unstable();
        for tenant in seen {
            self.touch(tenant);
            self.release_stale(tenant);
            self.take_over(tenant);
        }
        self.dirty.insert(id);
    }

    fn row_seen(&mut self, tenant: TenantId, row: StatusRow) {
        let Some(state) = self.tenants.get_mut(tenant) else { return };
        if let RowValue::Unknown(value) = &row.value {
            let value = value.to_string();
            let name = state.name().clone();
            self.tell_oddity(tenant, Notice::UnknownValue { tenant: name, value });
        }
        let Some(state) = self.tenants.get_mut(tenant) else { return };
        state.row_missed = false;
        if row.value != RowValue::Running {
            state.releasing = false;
        }
        match (&state.stage, &mut state.row) {
            // What our own run makes of its row is known better here; the flags are the operator's.
            (Stage::Run(_), Some(known)) => {
                known.paused = row.paused;
                known.requested_at = row.requested_at.unwrap_or(DbTime::EPOCH);
            }
            (Stage::Run(_), None) => {}
            (Stage::Idle | Stage::Offered, _) => {
                if row.value == RowValue::Needed && state.wait.is_none() {
                    // It waited to be made so.
                    state.not_before = Moment::default();
                }
                state.row = Some(Row {
                    value: row.value,
                    updated_at: row.updated_at,
                    created_at: row.created_at.unwrap_or(DbTime::EPOCH),
                    paused: row.paused,
                    requested_at: row.requested_at.unwrap_or(DbTime::EPOCH),
                });
            }
        }
    }

    /// Of the rows asked for; a tenant listed since then was not asked for.
    fn rows_missing(&mut self, id: DatabaseId, asked: &[Arc<str>], seen: &HashSet<TenantId>) {
        for key in asked {
            let Some(tenant) = self.tenants.by_key(id, key) else { continue };
            let Some(state) = self.tenants.get_mut(tenant) else { continue };
            if seen.contains(&tenant) || !state.present || !state.is_idle() {
                continue;
            }
            state.row = None;
            let name = state.name().clone();
            if !std::mem::replace(&mut state.row_missed, true) {
                // Its making may have met a lock: once more before it is told.
                let key = state.listed.key.clone();
                let again = self.now + LOOK_AGAIN;
                self.databases_mut(id).look_again(key, again);
                self.touch(tenant);
                continue;
            }
            self.refuse(tenant, "it has no status row; run tenantcron migrate");
            if self.rules.mode != Mode::DryRun {
                self.tell_oddity(tenant, Notice::NoRow { tenant: name });
            }
            self.touch(tenant);
        }
    }

    /// Tells an oddity of a row once an hour.
    pub(super) fn tell_oddity(&mut self, tenant: TenantId, notice: Notice) {
        let now = self.now;
        let Some(state) = self.tenants.get_mut(tenant) else { return };
        let kind = std::mem::discriminant(&notice);
        let told = &mut state.told_mut().oddities;
        match told.iter_mut().find(|(told, _)| *told == kind) {
            Some((_, at)) if now.since(*at) < Duration::from_secs(3600) => return,
            Some((_, at)) => *at = now,
            None => told.push((kind, now)),
        }
        self.notices.push(notice);
    }
}
