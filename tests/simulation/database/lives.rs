//! Lives confirmed, repaired, and taken from those who are silent: `refresh.sql`, `release.sql`, and what
//! `src/model/exchange.rs` says of a repair.

use super::{Closed, Database, Deed, DoneRow, OpenRow, is_claim};
use crate::flaws::Flaw;
use tenantcron::model::{Refresh, Refreshed, Release, Repair, Repaired, RowValue, RunId, RunIdentity};

impl Database {
    pub(super) fn refresh(&mut self, refresh: &Refresh) -> Refreshed {
        let now = self.now;
        let locked = self.locked_runs.contains(&refresh.run.key);
        if let Some(open) = self.open_exactly(&refresh.run) {
            if locked {
                return Refreshed::NotNow;
            }
            open.alive_at = open.alive_at.max(now);
            (open.pid, open.pid_start) = (refresh.pid.or(open.pid), refresh.pid_start.or(open.pid_start));
            return Refreshed::Confirmed;
        }
        let closed = self.content.finished.iter().any(|done| done.identity == refresh.run);
        if closed { Refreshed::Closed } else { Refreshed::Gone }
    }

    pub(super) fn release(&mut self, release: &Release) -> bool {
        let fits = self.content.rows.get(&release.key).is_some_and(|row| {
            row.value == RowValue::Running
                && row.updated_at == release.updated_at
                && !self.locked.contains(&release.key)
        });
        if !fits {
            return false;
        }
        let silent_since = self.now - release.silent_for;
        let ignores = self.flaw == Some(Flaw::TakeoverIgnoresLife);
        let open = self.content.open.get(&release.key);
        let frees = match (&release.run, open) {
            (None, open) => open.is_none(),
            (Some(_), Some(_)) if self.locked_runs.contains(&release.key) => false,
            (Some(run), Some(open)) => open.identity == *run && (ignores || open.alive_at < silent_since),
            (Some(_), None) => false,
        };
        if frees {
            let run = self.free(&release.key);
            self.deeds.push(Deed::Released { key: release.key.clone(), run });
        }
        frees
    }

    /// The row is needed, its open run lost.
    pub fn free(&mut self, key: &str) -> Option<OpenRow> {
        let run = self.content.open.remove(key);
        if let Some(run) = &run {
            self.content.finished.push(DoneRow { identity: run.identity.clone(), closed: Closed::lost() });
        }
        if let Some(row) = self.content.rows.get_mut(key) {
            row.value = RowValue::Needed;
        }
        run
    }

    /// Ours too is what an earlier repair opened whose answer was lost: the same claim, or the same process.
    pub(super) fn repair(&mut self, repair: &Repair) -> Repaired {
        let (run, key) = (&repair.run, &repair.run.key);
        let usable = self.content.rows.get(key).is_some_and(|row| !matches!(row.value, RowValue::Unknown(_)));
        let held = usable && !self.locked.contains(key);
        let process = (repair.pid, repair.pid_start);
        let forgets = self.flaw == Some(Flaw::RepairForgets);
        let ours = self
            .content
            .open
            .get(key)
            .map(|open| (is_claim(&open.identity, run) || open.is_process(run, process), open.identity.clone()));
        let closed = !forgets && self.content.finished.iter().any(|done| is_claim(&done.identity, run));
        let identity = match ours {
            Some((true, identity)) if held && !self.locked_runs.contains(key) => identity,
            Some((true, _)) => return Repaired::NotNow,
            _ if closed => return Repaired::Closed,
            Some((false, _)) => return Repaired::Another,
            None if held => self.insert_anew(repair),
            None => return Repaired::NotNow,
        };
        let row = self.content.rows.get_mut(key).unwrap();
        if row.value != RowValue::Running && identity.id == run.id {
            self.deeds.push(Deed::Repaired { run: identity.clone(), of: repair.run.clone() });
        }
        (row.value, row.updated_at) = (RowValue::Running, identity.started_at);
        Repaired::Running { id: identity.id, started_at: identity.started_at }
    }

    fn insert_anew(&mut self, repair: &Repair) -> RunIdentity {
        let id = RunId(self.next_id());
        let identity = RunIdentity { id, ..repair.run.clone() };
        let open = OpenRow {
            identity: identity.clone(),
            group: repair.group.clone(),
            pid: repair.pid,
            pid_start: repair.pid_start,
            alive_at: self.now,
            lease: repair.lease,
        };
        self.content.open.insert(identity.key.clone(), open);
        self.deeds.push(Deed::Repaired { run: identity.clone(), of: repair.run.clone() });
        identity
    }
}
