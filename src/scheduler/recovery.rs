//! Every look compares the open runs of this instance and node with what lives here. Unknown ones are
//! examined by the kernel's evidence: adopted, left to a living supervisor, or lost. Never by age alone.

use super::action::Action;
use super::event::{Unknown, Verdict};
use super::lease::FIRST_ANSWER;
use super::notice::Notice;
use super::rules::{Mode, REBOOT_SILENCE};
use super::run::{Phase, Run};
use super::state::Scheduler;
use super::tenant::{Stage, TenantId};
use crate::model::{DatabaseId, OpenRun, RowValue, RunId, TenantName};
use std::collections::HashSet;

impl Scheduler {
    /// `runs` are the open runs of the rows in `seen`, and all of this instance and node.
    /// `odd` are those of ours that live and whose row is not `running`.
    pub(super) fn reconcile(
        &mut self,
        id: DatabaseId,
        runs: Vec<OpenRun>,
        seen: &HashSet<TenantId>,
        odd: &HashSet<TenantId>,
    ) {
        let mut with_run = HashSet::with_capacity(runs.len());
        let mut open = HashSet::new();
        for run in runs {
            let Some(tenant) = self.tenants.by_key(id, &run.identity.key) else { continue };
            let own = self.tenants.get(tenant).and_then(|state| state.run());
            if own.is_some_and(|own| own.identity == run.identity) {
                open.insert(tenant);
                continue;
            }
            if own.is_some_and(|own| !own.recording && run.is_of(&own.identity, own.pid)) {
                self.renumber(tenant, run.identity.id, run.identity.started_at);
                open.insert(tenant);
                continue;
            }
            with_run.insert(tenant);
            if own.is_some_and(|own| own.lives()) {
                self.other_run_seen(id, tenant, run);
            } else {
                self.open_run_seen(id, tenant, run);
                self.touch(tenant);
            }
        }
        for tenant in seen {
            if !with_run.contains(tenant)
                && let Some(state) = self.tenants.get_mut(*tenant)
            {
                state.other = None;
            }
        }
        self.compare_rows(id, &open, odd);
    }

    fn open_run_seen(&mut self, id: DatabaseId, tenant: TenantId, run: OpenRun) {
        let ours = self.is_ours(&run);
        let Some(state) = self.tenants.get_mut(tenant) else { return };
        if matches!(state.stage, Stage::Run(_)) {
            return;
        }
        let name = state.name().clone();
        let needed = state.value() == Some(&RowValue::Needed);
        state.other = Some(Box::new(run.clone()));
        let idle = state.is_idle();
        if self.database(id).is_some_and(|database| database.keys.is_empty()) {
            // All its tenants vanished: no regular look comes back to it.
            let again = self.now + self.rules.poll;
            self.databases_mut(id).look_again(run.identity.key.as_str().into(), again);
        }
        if self.is_found(id, &run) {
            // Its end is known, and on its way.
            return;
        }
        if !idle {
            // Offered: its claim answers first, the next look examines what is left.
            return;
        }
        if !ours || matches!(self.rules.mode, Mode::Named { .. } | Mode::DryRun) {
            self.refuse(tenant, "it is running");
            if needed {
                let notice = Notice::OpenRunInTheWay { tenant: name, run: run.identity.id, node: run.identity.node };
                self.tell_oddity(tenant, notice);
            }
        } else if self.stop.is_asked() {
            // Nothing is taken on by a supervisor that leaves; its successor looks at once.
        } else if run.identity.host == self.rules.identity.host || self.is_silent(id, &run) {
            self.examine(id, name, run);
        }
    }

    pub(super) fn examine(&mut self, id: DatabaseId, tenant: TenantName, run: OpenRun) {
        self.examining += 1;
        if let Some(state) = self.tenants.by_name(&tenant).and_then(|tenant| self.tenants.get_mut(tenant)) {
            state.examining = true;
        }
        let may_adopt = self.rules.mode == Mode::Daemon && self.is_ours(&run);
        let silent = self.is_long_silent(id, &run);
        self.actions.push(Action::Examine(Unknown { tenant, run, may_adopt, silent }));
    }

    /// Not confirmed for longer than any watcher would let pass, when it was read: that answer may have been held back
    /// since, and the run confirmed.
    pub(super) fn is_long_silent(&self, id: DatabaseId, run: &OpenRun) -> bool {
        let read = self.database(id).and_then(|database| database.asked);
        read.is_some_and(|(told, _)| told.since(run.alive_at) >= REBOOT_SILENCE)
    }

    /// Of this instance and node, on whatever host.
    pub(super) fn is_ours(&self, run: &OpenRun) -> bool {
        run.identity.instance == self.rules.identity.instance && run.identity.node == self.rules.identity.node
    }

    /// A run of this node on another host: of before a reboot, which is certain once it was silent for long, or of another
    /// machine that bears its name.
    pub(super) fn is_silent(&mut self, id: DatabaseId, run: &OpenRun) -> bool {
        self.look_for_rival(id, run);
        let silent = self.is_long_silent(id, run);
        if !silent && let Some(silence_ends) = self.moment_of(id, run.alive_at + REBOOT_SILENCE) {
            self.watch_silence(id, silence_ends);
        }
        silent
    }

    pub(super) fn examined(&mut self, name: &TenantName, number: RunId, verdict: Verdict) {
        self.examining = self.examining.saturating_sub(1);
        let Some(tenant) = self.tenants.by_name(name) else { return };
        if let Some(state) = self.tenants.get_mut(tenant) {
            state.examining = false;
        }
        let ours = self.tenants.get(tenant).and_then(|state| state.other.as_ref()).is_some_and(|run| self.is_ours(run));
        if self.tenants.get(tenant).and_then(|state| state.run()).is_some_and(Run::lives) {
            return self.other_run_examined(tenant, number, verdict);
        }
        let Some(state) = self.tenants.get_mut(tenant) else { return };
        if !state.is_idle() || state.other.as_ref().is_none_or(|run| run.identity.id != number) {
            return;
        }
        match verdict {
            Verdict::Supervised | Verdict::Undecided => {}
            // Of another node on this host, and examined because it is stale.
            Verdict::Dead if !ours => {
                let run = state.other.as_deref().cloned();
                self.release(tenant, run);
            }
            Verdict::Dead => {
                if let Some(run) = state.other.take() {
                    self.lose_run(tenant, run.identity, run.group);
                }
            }
            Verdict::Adopted { pid, pid_start } => {
                if let Some(run) = state.other.take() {
                    self.adopt_run(tenant, *run, pid, pid_start);
                }
            }
        }
    }

    fn adopt_run(&mut self, tenant: TenantId, open: OpenRun, pid: i32, pid_start: i64) {
        let now = self.now;
        let Some(state) = self.tenants.get(tenant) else { return };
        let database = state.listed.database;
        let age = self.database_now(database).map(|now| now.since(open.identity.started_at)).unwrap_or_default();
        let timeout = state.listed.timeout;
        // Its last refresh was sent by another: at the latest when its database stamped it.
        let confirmed = self
            .database(database)
            .map_or(now, |database| database.asked.map_or(now, |(told, sent)| sent - told.since(open.alive_at)));
        let mut run = Run::new(open.identity, database, open.group, now);
        run.phase = Phase::Running;
        run.pid = Some((pid, pid_start));
        run.slot = self.rules.mode.uses_slots();
        run.age_at_began = age;
        run.lease = open.lease;
        run.confirmed = confirmed;
        run.grace = now + FIRST_ANSWER;
        run.timeout_at = timeout.map(|timeout| now + timeout.saturating_sub(age));
        // An adoption begins with a refresh, so that other nodes see that somebody watches.
        run.refresh_due = now;
        let notice = Notice::Adopted { tenant: state.name().clone(), run: run.identity.id, pid };
        let Some(state) = self.tenants.get_mut(tenant) else { return };
        state.stage = Stage::Run(Box::new(run));
        self.notices.push(notice);
        self.hold_slot(tenant);
        self.databases_mut(database).runs.insert(tenant);
        self.stop_run(tenant);
        self.touch(tenant);
    }
}
