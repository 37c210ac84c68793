//! Ends and claims taken back: `finish.sql`, `finish_rest.sql`, `undo.sql`.

use super::{Closed, Database, Deed, DoneRow, is_claim};
use crate::flaws::Flaw;
use tenantcron::model::{Becomes, DbTime, Finish, Finished, Outcome, RowValue, RunId, RunIdentity};

impl Database {
    pub(super) fn finish(&mut self, finish: &Finish) -> Finished {
        let (run, closed) = (&finish.run, Closed::of(finish));
        let ended_at = (self.now - finish.ended_ago).max(run.started_at);
        let locked = self.locked.contains(&run.key);
        let run_locked = self.locked_runs.contains(&run.key);
        let ignores = self.flaw == Some(Flaw::FinishIgnoresTheRun);
        let open = self.content.open.get(&run.key);
        // Ours too is what a repair opened whose answer was lost.
        if let Some(open) = open.filter(|open| is_claim(&open.identity, run) || ignores) {
            let (run, alive_at) = (open.identity.clone(), open.alive_at);
            if locked || run_locked {
                return Finished::NotNow;
            }
            self.content.open.remove(&run.key);
            self.deeds.push(Deed::Closed { run: run.clone(), closed: closed.clone(), alive_at });
            self.content.finished.push(DoneRow { identity: run, closed });
            let flips = self.value(&finish.run.key) == Some(&RowValue::Running);
            return Finished::Recorded { row: flips.then(|| self.flip(finish, ended_at)) };
        }
        let known = self.content.finished.iter().rfind(|done| is_claim(&done.identity, run));
        if let Some(known) = known {
            return if known.closed.says_the_same(&closed) {
                Finished::Recorded { row: None }
            } else {
                Finished::ClosedByAnother
            };
        }
        if locked {
            return Finished::NotNow;
        }
        if finish.outcome == Outcome::Lost {
            return Finished::Recorded { row: None };
        }
        let identity = RunIdentity { id: RunId(self.next_id()), ..run.clone() };
        self.deeds.push(Deed::Inserted { run: identity.clone(), closed: closed.clone() });
        self.content.finished.push(DoneRow { identity, closed });
        let Some(row) = self.content.rows.get(&run.key) else { return Finished::Recorded { row: None } };
        let flips = match row.value {
            RowValue::Needed => finish.becomes == Becomes::Done && row.updated_at < run.started_at,
            RowValue::Running => row.updated_at == run.started_at && self.open_run(&run.key).is_none(),
            RowValue::Done | RowValue::Unknown(_) => false,
        };
        Finished::Recorded { row: flips.then(|| self.flip(finish, ended_at)) }
    }

    fn value(&self, key: &str) -> Option<&RowValue> {
        self.content.rows.get(key).map(|row| &row.value)
    }

    /// The row takes the value asked for; its new `updated_at`.
    fn flip(&mut self, finish: &Finish, ended_at: DbTime) -> DbTime {
        let row = self.content.rows.get_mut(&finish.run.key).unwrap();
        match finish.becomes {
            Becomes::Done => (row.value, row.updated_at) = (RowValue::Done, ended_at),
            Becomes::Needed => row.value = RowValue::Needed,
        }
        row.updated_at
    }

    pub(super) fn undo(&mut self, run: &RunIdentity) -> Finished {
        if self.open_exactly(run).is_none() {
            return Finished::Recorded { row: None };
        }
        if self.locked.contains(&run.key) || self.locked_runs.contains(&run.key) {
            return Finished::NotNow;
        }
        self.content.open.remove(&run.key);
        self.deeds.push(Deed::Undone { run: run.clone() });
        match self.content.rows.get_mut(&run.key) {
            Some(row) if row.value == RowValue::Running => {
                row.value = RowValue::Needed;
                Finished::Recorded { row: Some(row.updated_at) }
            }
            _ => Finished::Recorded { row: None },
        }
    }
}
