//! The first part of a run's life: claimed → starting → running, or not started at all.

use super::action::Action;
use super::event::{End, Exit, NotStarted};
use super::notice::Notice;
use super::rules::Mode;
use super::run::{Phase, RecordAs, Run};
use super::state::Scheduler;
use super::tenant::{Stage, TenantId, Wait};
use crate::model::{Becomes, Claimed, Moment, Outcome, RowValue, RunIdentity, TenantName};
use std::time::Duration;

/// What a claim was made on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub lease: Option<Duration>,
    /// When it was sent.
    pub sent: Moment,
}

impl Scheduler {
    /// The claim was answered: this tenant is ours to start.
    pub(super) fn begin_run(&mut self, id: TenantId, claimed: Claimed, terms: Terms) {
        let now = self.now;
        let started_at = claimed.started_at;
        let identity = &self.rules.identity;
        let Some(tenant) = self.tenants.get_mut(id) else { return };
        let identity = RunIdentity {
            id: claimed.id,
            key: claimed.key,
            instance: identity.instance.clone(),
            node: identity.node.clone(),
            host: identity.host.clone(),
            started_at,
        };
        let database = tenant.listed.database;
        let mut run = Run::new(identity, database, tenant.listed.tenant.group().map(str::to_owned), now);
        run.slot = self.rules.mode.uses_slots();
        run.lease = terms.lease;
        run.confirmed = terms.sent;
        let too_late = run.fence(self.rules.kill_after).is_some_and(|fence| fence.ask <= now);
        run.timeout_at = tenant.listed.timeout.map(|timeout| now + timeout);
        if let Some(row) = &mut tenant.row {
            row.value = RowValue::Running;
            row.updated_at = started_at;
        }
        tenant.stage = Stage::Run(Box::new(run));
        if matches!(self.rules.mode, Mode::Named { .. }) {
            self.tried.insert(id);
        }
        self.hold_slot(id);
        self.databases_mut(database).runs.insert(id);
        let Some(tenant) = self.tenants.get(id) else { return };
        if self.stop.is_asked() || !tenant.present || too_late {
            self.give_back(id);
        } else {
            self.actions.push(Action::Start { tenant: tenant.name().clone(), run: claimed.id, started_at });
        }
        self.touch(id);
    }

    /// A claim that came too late: nothing starts after a stop was asked, of a tenant that has vanished, or on a lease
    /// that is nearly over. It
    /// never had a process, so no run is left of it, and lock and slot go back as those of an offer do.
    fn give_back(&mut self, id: TenantId) {
        let Some(tenant) = self.tenants.get_mut(id) else { return };
        let name = tenant.name().clone();
        let Some(run) = tenant.run_mut() else { return };
        run.phase = Phase::Ended;
        run.locked = false;
        run.verdict = Some(RecordAs::Undo);
        let (database, slots) = (run.database, u32::from(run.slot));
        self.free_slot(id);
        self.actions.push(Action::Unlock { tenants: vec![name], slots });
        let database = self.databases_mut(database);
        database.runs.remove(&id);
        database.to_record.push(id);
    }

    pub(super) fn started(&mut self, name: &TenantName, pid: i32, pid_start: i64) {
        let Some((id, run)) = self.live_run(name) else { return };
        if run.phase != Phase::Starting {
            return;
        }
        run.phase = Phase::Running;
        run.pid = Some((pid, pid_start));
        let number = run.identity.id;
        // Its life can be confirmed from now on: the database has a new deadline.
        let database = run.database;
        self.dirty.insert(database);
        if let Some(tenant) = self.tenants.get_mut(id) {
            tenant.backoff.reset();
            tenant.wait = None;
        }
        self.notices.push(Notice::Started { tenant: name.clone(), run: number, pid });
        self.stop_run(id);
        self.touch(id);
    }

    pub(super) fn not_started(&mut self, name: &TenantName, why: NotStarted) {
        let now = self.now;
        let Some((id, run)) = self.live_run(name) else { return };
        if run.phase != Phase::Starting {
            return;
        }
        run.ended_at = now;
        match why {
            NotStarted::CannotExecute { code, text } => {
                run.end = Some(End { exit: Exit::Code(code), cpu_seconds: None, max_rss_kb: None });
                self.close_run_saying(id, RecordAs::Finish(Outcome::Failed, Becomes::Done), text);
            }
            NotStarted::NoResources { text } => {
                if matches!(self.rules.mode, Mode::Named { .. }) {
                    self.refused.insert(id);
                }
                // What the host lacks, it lacks for all: one alert, not one for each tenant that feels it.
                let known = self.tenants.iter().any(|(_, tenant)| tenant.backoff.is_failing());
                let (tenant, retry_in) = (name.clone(), self.back_off(id).since(now));
                self.notices.push(match known {
                    false => Notice::SpawnFailed { tenant, text, retry_in },
                    true => Notice::SpawnFailedAgain { tenant, text, retry_in },
                });
                self.close_run(id, RecordAs::Undo);
            }
        }
    }

    fn back_off(&mut self, id: TenantId) -> Moment {
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(60));
        let now = self.now;
        let Some(tenant) = self.tenants.get_mut(id) else { return now };
        let until = tenant.backoff.next(now, first, longest, &mut self.rng);
        tenant.not_before = until;
        tenant.wait = Some(Wait::BackingOff);
        until
    }
}
