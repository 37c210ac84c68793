//! The last part of a run's life: asked to end, ended, closed, recorded. It leaves memory only when the
//! database has acknowledged its record.

use super::action::{Action, Closing, Force};
use super::event::{End, Exit};
use super::notice::Notice;
use super::run::{Ending, FIRST_LOOK, LONGEST_LOOK, Leftover, Phase, RecordAs, Run, Why};
use super::state::Scheduler;
use super::tenant::{Row, Stage, TenantId};
use crate::model::{Becomes, DbTime, Outcome, RowValue, RunIdentity, TenantName};
use std::time::Duration;

impl Scheduler {
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

    pub(super) fn close_run(&mut self, id: TenantId, record: RecordAs) {
        self.close_run_saying(id, record, String::new());
    }

    /// The run has no process any more: its slot is free at once, its record goes with the next exchange,
    /// and its lock when that is acknowledged.
    pub(super) fn close_run_saying(&mut self, id: TenantId, record: RecordAs, mut detail: String) {
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
        let down = !self.is_up(database);
        let database = self.databases_mut(database);
        database.runs.remove(&id);
        database.to_record.push(id);
        if down {
            self.keep_end(id);
        } else {
            self.watch_ends();
        }
        self.touch(id);
    }

    /// A run of this node without a process, which nobody has recorded: its row is needed again.
    pub(super) fn lose_run(&mut self, id: TenantId, identity: RunIdentity, group: Option<String>) {
        let now = self.now;
        let Some(tenant) = self.tenants.get_mut(id) else { return };
        let database = tenant.listed.database;
        let mut run = Run::new(identity, database, group, now);
        run.phase = Phase::Ended;
        run.locked = false;
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
        let (database, locked) = (run.database, run.locked);
        self.unrecorded_version += u64::from(run.kept);
        if locked {
            self.actions.push(Action::Unlock { tenants: vec![tenant.name().clone()], slots: 0 });
        }
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
        self.fence(id);
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
        let lease = self.tenants.get(id).and_then(|tenant| tenant.run()).and_then(|run| run.lease);
        let every = self.refresh_every(lease);
        let Some(run) = self.tenants.get_mut(id).and_then(|tenant| tenant.run_mut()) else { return };
        run.refreshing = false;
        run.refresh_due = now + next_in.unwrap_or(every);
        self.touch(id);
    }

    pub(super) fn live_run(&mut self, name: &TenantName) -> Option<(TenantId, &mut Run)> {
        let id = self.tenants.by_name(name)?;
        let run = self.tenants.get_mut(id)?.run_mut()?;
        run.lives().then_some((id, run))
    }
}
