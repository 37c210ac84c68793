//! The database of the bench: what it answers by the rows and runs that it has.

use super::bench::{Bench, open_run};
use crate::model::{
    Claimed, Exchange, Finished, Mark, OpenRun, Poll, Polled, Refreshed, Repair, Repaired, Reply, RowValue, RunId,
    RunIdentity, StatusRow,
};

impl Bench {
    /// What a database would say.
    pub fn answer(&mut self, exchange: &Exchange) -> Reply {
        let now = self.db_now();
        let mut reply = Reply { now: Some(now), took: self.took, ..Reply::default() };
        for finish in &exchange.finish {
            let answer = self.record(&finish.run, finish.becomes.as_str());
            if answer != Finished::NotNow {
                self.finished.push(finish.clone());
            }
            reply.finished.push(answer);
        }
        for run in &exchange.undo {
            reply.undone.push(self.record(run, "needed"));
            self.undone.push(run.id);
        }
        reply.released = exchange.release.iter().map(|release| release.key.clone()).collect();
        for key in &reply.released {
            self.rows.get_mut(key).unwrap().value = RowValue::Needed;
        }
        for repair in &exchange.repair {
            reply.repaired.push(self.repair(repair));
        }
        reply.refreshed = exchange.refresh.iter().map(|_| Refreshed::Confirmed).collect();
        for reset in exchange.reset.iter().filter(|reset| !self.locked.contains(&reset.key)) {
            let Some(row) = self.rows.get_mut(&reset.key) else { continue };
            if row.value == RowValue::Done && row.updated_at < reset.slot && reset.slot <= now {
                row.value = RowValue::Needed;
                reply.reset.push(reset.key.clone());
            }
        }
        if let Some(claim) = &exchange.claim {
            for offer in &claim.offers {
                let row = self.rows.get_mut(&offer.key).unwrap();
                let wanted = row.value == RowValue::Needed || (claim.done_too && row.value == RowValue::Done);
                if reply.claimed.len() == claim.limit as usize || !wanted || self.locked.contains(&offer.key) {
                    continue;
                }
                (row.value, row.updated_at) = (RowValue::Running, now);
                let claimed = Claimed { key: offer.key.clone(), id: RunId(self.next_run), started_at: now };
                self.next_run += 1;
                let lease = claim.lease;
                self.runs.push(OpenRun { lease, ..open_run(&offer.key, claimed.id.0, now) });
                reply.claimed.push(claimed);
            }
        }
        if let Some(poll) = &exchange.poll {
            reply.polled = Some(Box::new(self.look(poll)));
        }
        reply
    }

    fn look(&self, poll: &Poll) -> Polled {
        let mark = Mark(format!("{:?} {:?}", self.rows, self.runs).into());
        let (rows, mark) = match poll {
            Poll::Keys(keys) => (keys.iter().filter_map(|key| self.rows.get(&**key)).cloned().collect(), None),
            Poll::NotDone { since } => {
                let same = since.as_ref() == Some(&mark);
                let runs = |row: &StatusRow| self.runs.iter().any(|run| run.identity.key == row.key);
                let brought = |row: &&StatusRow| runs(row) || (!same && (row.value != RowValue::Done || row.paused));
                (self.rows.values().filter(brought).cloned().collect(), Some(mark))
            }
        };
        Polled { rows, runs: self.runs.clone(), mark }
    }

    fn repair(&mut self, repair: &Repair) -> Repaired {
        let open = self.runs.iter().find(|open| open.identity.key == repair.run.key);
        let (id, started_at) = match open {
            Some(open) if open.identity != repair.run => return Repaired::Another,
            Some(open) => (open.identity.id, open.identity.started_at),
            None => (RunId(self.next_run + 1_000), repair.run.started_at),
        };
        if open.is_none() {
            self.next_run += 1;
            let mut new = open_run(&repair.run.key, id.0, started_at);
            new.lease = repair.lease;
            self.runs.push(new);
        }
        self.repaired.push(repair.clone());
        let row = self.rows.get_mut(&repair.run.key).unwrap();
        (row.value, row.updated_at) = (RowValue::Running, started_at);
        Repaired::Running { id, started_at }
    }

    fn record(&mut self, run: &RunIdentity, becomes: &str) -> Finished {
        if self.locked.contains(&run.key) {
            return Finished::NotNow;
        }
        self.runs.retain(|open| open.identity.started_at != run.started_at || open.identity.key != run.key);
        let now = self.db_now();
        let Some(row) = self.rows.get_mut(&run.key) else { return Finished::Recorded { row: None } };
        row.value = RowValue::from_word(becomes);
        if becomes == "done" {
            row.updated_at = now;
        }
        Finished::Recorded { row: Some(row.updated_at) }
    }
}
