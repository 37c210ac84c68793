//! One run's life: claimed → running → (leftover of its group) → ended → recorded. It leaves memory only
//! when the database has acknowledged its record.

use super::action::{Action, Closing, Force};
use super::event::{End, Exit, NotStarted};
use super::notice::Notice;
use super::rules::{FIRST_REFRESH, Mode, REFRESH_EVERY};
use super::state::Scheduler;
use super::tenant::{Row, Stage, TenantId, Wait};
use crate::model::{Becomes, Claimed, DatabaseId, DbTime, Finish, Moment, Outcome, RowValue, RunIdentity, TenantName};
use std::time::Duration;

/// A run of ours.
#[derive(Debug)]
pub(super) struct Run {
    pub identity: RunIdentity,
    pub database: DatabaseId,
    pub group: Option<String>,
    pub phase: Phase,
    /// The main process and its start time.
    pub pid: Option<(i32, i64)>,
    /// It holds one of this node's slots.
    pub slot: bool,
    /// When the claim was answered, or the run adopted.
    pub began: Moment,
    /// How old the run was then.
    pub age_at_began: Duration,
    pub refresh_due: Moment,
    pub refreshing: bool,
    pub timeout_at: Option<Moment>,
    /// We asked it to end.
    pub ending: Option<Ending>,
    pub end: Option<End>,
    pub ended_at: Moment,
    /// When the group was asked to end after its main process, and looked at next.
    pub leftover: Option<Leftover>,
    pub verdict: Option<RecordAs>,
    pub record_not_before: Moment,
    /// How long the record waited last for a row that somebody holds locked.
    pub record_wait: Duration,
    pub recording: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Starting,
    Running,
    /// The main process has ended, members of its group have not.
    Leftover,
    /// Over; to be recorded.
    Ended,
}

/// A request of ours that a run end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    pub why: Why,
    pub since: Moment,
    pub killed: bool,
}

/// Why we end a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Timeout,
    Stale,
    Shutdown,
    ClosedByAnother,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Leftover {
    pub since: Moment,
    pub killed: bool,
    pub look_at: Moment,
    pub wait: Duration,
}

/// How the end is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordAs {
    /// As a finished run.
    Finish(Outcome, Becomes),
    /// Not at all: it never began for want of resources.
    Undo,
}

/// The first look at a group that outlives its main process comes after this, later ones after twice as long.
const FIRST_LOOK: Duration = Duration::from_millis(20);
const LONGEST_LOOK: Duration = Duration::from_secs(1);

impl Run {
    pub fn new(identity: RunIdentity, database: DatabaseId, group: Option<String>, now: Moment) -> Self {
        Self {
            identity,
            database,
            group,
            phase: Phase::Starting,
            pid: None,
            slot: false,
            began: now,
            age_at_began: Duration::ZERO,
            refresh_due: now + FIRST_REFRESH,
            refreshing: false,
            timeout_at: None,
            ending: None,
            end: None,
            ended_at: now,
            leftover: None,
            verdict: None,
            record_not_before: now,
            record_wait: Duration::ZERO,
            recording: false,
        }
    }

    /// It is recorded as lost.
    pub fn is_lost(&self) -> bool {
        matches!(self.verdict, Some(RecordAs::Finish(Outcome::Lost, _)))
    }

    /// It has, or may have, a process.
    pub fn lives(&self) -> bool {
        self.phase != Phase::Ended
    }

    fn elapsed(&self) -> Duration {
        self.age_at_began + self.ended_at.since(self.began)
    }

    /// What the database is told.
    pub fn finish(&self, outcome: Outcome, becomes: Becomes, now: Moment) -> Finish {
        let exit = self.end.map(|end| end.exit);
        Finish {
            run: self.identity.clone(),
            group: self.group.clone(),
            outcome,
            becomes,
            exit_code: exit.and_then(|exit| if let Exit::Code(code) = exit { Some(code) } else { None }),
            signal: exit.and_then(|exit| if let Exit::Signal(signal) = exit { Some(signal) } else { None }),
            cpu_seconds: self.end.and_then(|end| end.cpu_seconds),
            max_rss_kb: self.end.and_then(|end| end.max_rss_kb),
            pid: self.pid.map(|(pid, _)| pid),
            pid_start: self.pid.map(|(_, start)| start),
            ended_ago: now.since(self.ended_at),
        }
    }

    /// When its life must be confirmed next.
    pub fn refresh_at(&self) -> Option<Moment> {
        (self.lives() && self.pid.is_some() && !self.refreshing).then_some(self.refresh_due)
    }

    /// The next moment at which its processes must be looked after.
    pub fn deadline(&self, kill_after: Duration) -> Option<Moment> {
        match self.phase {
            Phase::Starting | Phase::Ended => None,
            Phase::Running => match self.ending {
                None => self.timeout_at,
                Some(ending) => (!ending.killed).then_some(ending.since + kill_after),
            },
            Phase::Leftover => self.leftover.map(|left| left.look_at),
        }
    }
}

impl Why {
    fn text(self) -> &'static str {
        match self {
            Self::Timeout => "it has run for longer than job.timeout",
            Self::Stale => "it is stale and stale.action is kill",
            Self::Shutdown => "tenantcron stops",
            Self::ClosedByAnother => "its run was closed by somebody else",
        }
    }

    fn record(self) -> RecordAs {
        match self {
            Self::Timeout => RecordAs::Finish(Outcome::Timeout, Becomes::Done),
            Self::Stale => RecordAs::Finish(Outcome::Timeout, Becomes::Needed),
            Self::Shutdown | Self::ClosedByAnother => RecordAs::Finish(Outcome::Stopped, Becomes::Needed),
        }
    }
}

impl Scheduler {
    /// The claim was answered: this tenant is ours to start.
    pub(super) fn begin_run(&mut self, id: TenantId, claimed: Claimed) {
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
        let mut run = Run::new(identity, database, tenant.listed.tenant.group.clone(), now);
        run.slot = self.rules.mode.uses_slots();
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
        if self.stop.is_asked() || !tenant.present {
            self.give_back(id);
        } else {
            self.actions.push(Action::Start { tenant: tenant.name().clone(), run: claimed.id, started_at });
        }
        self.touch(id);
    }

    /// A claim that came too late: nothing starts after a stop was asked, or of a tenant that has vanished. It
    /// never had a process, so no run is left of it, and lock and slot go back as those of an offer do.
    fn give_back(&mut self, id: TenantId) {
        let Some(tenant) = self.tenants.get_mut(id) else { return };
        let name = tenant.name().clone();
        let Some(run) = tenant.run_mut() else { return };
        run.phase = Phase::Ended;
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

    pub(super) fn ended(&mut self, name: &TenantName, end: End, group_left: bool) {
        let now = self.now;
        let Some((id, run)) = self.live_run(name) else { return };
        if !matches!(run.phase, Phase::Running | Phase::Starting) {
            return;
        }
        run.end = Some(end);
        if !group_left {
            return self.run_is_over(id);
        }
        run.phase = Phase::Leftover;
        let asked = run.ending.is_some();
        run.leftover = Some(Leftover {
            since: run.ending.map_or(now, |ending| ending.since),
            killed: run.ending.is_some_and(|ending| ending.killed),
            look_at: now + FIRST_LOOK,
            wait: FIRST_LOOK,
        });
        let number = run.identity.id;
        if !asked {
            self.notices.push(Notice::GroupLeft { tenant: name.clone(), run: number });
            self.actions.push(Action::Signal { tenant: name.clone(), force: Force::Term });
        }
        self.touch(id);
    }

    pub(super) fn group_emptied(&mut self, name: &TenantName) {
        let Some((id, run)) = self.live_run(name) else { return };
        if run.phase == Phase::Leftover {
            self.run_is_over(id);
        }
    }

    /// The main process and its whole group are gone.
    fn run_is_over(&mut self, id: TenantId) {
        let now = self.now;
        let Some(run) = self.tenants.get_mut(id).and_then(|tenant| tenant.run_mut()) else { return };
        run.ended_at = now;
        let record = match (run.ending, run.end.map_or(Exit::Unknown, |end| end.exit)) {
            (Some(ending), _) => ending.why.record(),
            (None, Exit::Code(0)) => RecordAs::Finish(Outcome::Ok, Becomes::Done),
            (None, Exit::Code(_)) => RecordAs::Finish(Outcome::Failed, Becomes::Done),
            (None, Exit::Signal(_)) => RecordAs::Finish(Outcome::Killed, Becomes::Done),
            (None, Exit::Unknown) => RecordAs::Finish(Outcome::Adopted, Becomes::Done),
        };
        self.close_run(id, record);
    }

    fn close_run(&mut self, id: TenantId, record: RecordAs) {
        self.close_run_saying(id, record, String::new());
    }

    /// The run has no process any more: its slot is free at once, its record goes with the next exchange.
    fn close_run_saying(&mut self, id: TenantId, record: RecordAs, mut detail: String) {
        let now = self.now;
        let Some(tenant) = self.tenants.get_mut(id) else { return };
        let name = tenant.name().clone();
        let Some(run) = tenant.run_mut() else { return };
        run.phase = Phase::Ended;
        run.verdict = Some(record);
        run.record_not_before = now;
        let database = run.database;
        let outcome = match record {
            RecordAs::Finish(outcome, _) => outcome,
            RecordAs::Undo => Outcome::Lost,
        };
        if detail.is_empty() {
            detail = match run.end.map(|end| end.exit) {
                Some(Exit::Code(code)) => format!("exit={code}"),
                Some(Exit::Signal(signal)) => format!("signal={signal}"),
                Some(Exit::Unknown) | None => String::new(),
            };
        }
        let closing = Closing {
            tenant: name.clone(),
            run: run.identity.id,
            pid: run.pid.map(|(pid, _)| pid),
            outcome,
            end: run.end,
            elapsed: run.elapsed(),
        };
        if record != RecordAs::Undo {
            self.notices.push(Notice::Ended {
                tenant: name,
                run: closing.run,
                outcome,
                detail,
                elapsed: closing.elapsed,
            });
        }
        self.actions.push(Action::Close(closing));
        self.free_slot(id);
        let database = self.databases_mut(database);
        database.runs.remove(&id);
        database.to_record.push(id);
        self.touch(id);
    }

    /// A run of this node without a process, which nobody has recorded: its row is needed again.
    pub(super) fn lose_run(&mut self, id: TenantId, identity: RunIdentity, group: Option<String>) {
        let now = self.now;
        let Some(tenant) = self.tenants.get_mut(id) else { return };
        let database = tenant.listed.database;
        let mut run = Run::new(identity, database, group, now);
        run.phase = Phase::Ended;
        run.verdict = Some(RecordAs::Finish(Outcome::Lost, Becomes::Needed));
        tenant.stage = Stage::Run(Box::new(run));
        self.databases_mut(database).to_record.push(id);
        self.touch(id);
    }

    /// The database has acknowledged the record: the run leaves memory.
    pub(super) fn recorded(&mut self, id: TenantId, row: Option<DbTime>) {
        let Some(tenant) = self.tenants.get_mut(id) else { return };
        let Some(run) = tenant.run() else { return };
        let value = match run.verdict {
            Some(RecordAs::Finish(_, Becomes::Done)) => RowValue::Done,
            Some(RecordAs::Finish(_, Becomes::Needed) | RecordAs::Undo) => RowValue::Needed,
            None => return,
        };
        let database = run.database;
        tenant.stage = Stage::Idle;
        tenant.other = None;
        tenant.row = match (tenant.row.take(), row) {
            (Some(known), Some(updated_at)) => Some(Row { value, updated_at, ..known }),
            (_, None) | (None, _) => None,
        };
        if tenant.row.is_none() && tenant.present {
            // What the row says now is unknown: look before anything is started.
            let soon = self.now + Duration::from_millis(200);
            let key = tenant.listed.key.clone();
            self.databases_mut(database).look_again(key, soon);
        }
        if !self.move_on(id) {
            self.touch(id);
        }
    }

    /// Asks a run to end, once; the first reason stays.
    pub(super) fn end_run(&mut self, id: TenantId, why: Why) {
        let now = self.now;
        let Some(tenant) = self.tenants.get_mut(id) else { return };
        let name = tenant.name().clone();
        let Some(run) = tenant.run_mut() else { return };
        if run.phase != Phase::Running || run.ending.is_some() {
            return;
        }
        run.ending = Some(Ending { why, since: now, killed: false });
        let number = run.identity.id;
        self.notices.push(Notice::Ending { tenant: name.clone(), run: number, why: why.text(), killed: false });
        self.actions.push(Action::Signal { tenant: name, force: Force::Term });
        self.touch(id);
    }

    /// SIGKILL for a run that was asked to end, or for what is left of its group.
    pub(super) fn kill_run(&mut self, id: TenantId) {
        let now = self.now;
        let Some(tenant) = self.tenants.get_mut(id) else { return };
        let name = tenant.name().clone();
        let Some(run) = tenant.run_mut() else { return };
        let why = run.ending.map_or("members of its process group live on", |ending| ending.why.text());
        match run.phase {
            Phase::Running => {
                let ending = run.ending.get_or_insert(Ending { why: Why::Shutdown, since: now, killed: false });
                ending.killed = true;
            }
            Phase::Leftover => {
                let Some(left) = &mut run.leftover else { return };
                left.killed = true;
            }
            Phase::Starting | Phase::Ended => return,
        }
        let number = run.identity.id;
        self.notices.push(Notice::Ending { tenant: name.clone(), run: number, why, killed: true });
        self.actions.push(Action::Signal { tenant: name, force: Force::Kill });
        self.touch(id);
    }

    /// What the passing of time asks of a run.
    pub(super) fn tick_run(&mut self, id: TenantId) {
        let (now, kill_after) = (self.now, self.rules.kill_after);
        let Some(tenant) = self.tenants.get_mut(id) else { return };
        let name = tenant.name().clone();
        let Some(run) = tenant.run_mut() else { return };
        match run.phase {
            Phase::Starting | Phase::Ended => {}
            Phase::Running => match run.ending {
                None if run.timeout_at.is_some_and(|at| at <= now) => self.end_run(id, Why::Timeout),
                Some(ending) if !ending.killed && ending.since + kill_after <= now => self.kill_run(id),
                None | Some(_) => {}
            },
            Phase::Leftover => {
                let Some(left) = &mut run.leftover else { return };
                if left.look_at > now {
                    return;
                }
                left.wait = (left.wait * 2).min(LONGEST_LOOK);
                left.look_at = now + left.wait;
                let overdue = !left.killed && left.since + kill_after <= now;
                self.actions.push(Action::CheckGroup { tenant: name });
                if overdue {
                    self.kill_run(id);
                }
            }
        }
    }

    /// After a refresh was confirmed, or could not be said.
    pub(super) fn refreshed(&mut self, id: TenantId, next_in: Option<Duration>) {
        let now = self.now;
        let Some(run) = self.tenants.get_mut(id).and_then(|tenant| tenant.run_mut()) else { return };
        run.refreshing = false;
        run.refresh_due = now + next_in.unwrap_or(REFRESH_EVERY);
        self.touch(id);
    }

    fn live_run(&mut self, name: &TenantName) -> Option<(TenantId, &mut Run)> {
        let id = self.tenants.by_name(name)?;
        let run = self.tenants.get_mut(id)?.run_mut()?;
        run.lives().then_some((id, run))
    }
}
