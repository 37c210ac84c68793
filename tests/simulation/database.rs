//! A fake database: what `src/model/exchange.rs` promises, as one atomic step. It never waits for a row that
//! somebody holds locked, and it knows nothing of who asks but the identity.

use crate::rows::{Closed, Deed, Row, Run};
use std::collections::{BTreeMap, BTreeSet};
use tenantcron::model::{
    Becomes, Claim, Claimed, DbTime, Exchange, Finish, Finished, Identity, OpenRun, Outcome, Polled, Refresh,
    Refreshed, Release, Reply, Reset, RowValue, RunId, RunIdentity, StatusRow,
};

#[derive(Debug, Default)]
pub struct Database {
    /// Its clock when the world begins.
    pub epoch: i64,
    pub rows: BTreeMap<String, Row>,
    pub runs: Vec<Run>,
    pub undone: BTreeSet<RunId>,
    /// Rows that an application holds locked.
    pub locked: BTreeSet<String>,
    pub down: bool,
    /// When it was last hindered from recording: down, or a row locked.
    pub hindered_at: u64,
    /// The `updated_at` that each key had before its newest claim.
    pub before: BTreeMap<String, DbTime>,
    /// Rows are written by a transaction of this moment.
    pub now: DbTime,
    pub deeds: Vec<Deed>,
}

impl Database {
    pub fn time(&self, now: u64) -> DbTime {
        DbTime(self.epoch + i64::try_from(now).unwrap())
    }

    /// One exchange, one transaction.
    pub fn apply(&mut self, now: u64, who: &Identity, exchange: &Exchange, writes: bool) -> (Reply, Vec<Deed>) {
        self.now = self.time(now);
        let mut reply = Reply { now: Some(self.now), ..Reply::default() };
        reply.finished = exchange.finish.iter().map(|finish| self.finish(finish)).collect();
        reply.undone = exchange.undo.iter().map(|run| self.undo(run)).collect();
        reply.released = exchange
            .release
            .iter()
            .filter(|release| self.release(release))
            .map(|release| release.key.clone())
            .collect();
        reply.refreshed = exchange.refresh.iter().map(|refresh| self.refresh(refresh)).collect();
        reply.reset = exchange.reset.iter().filter(|reset| self.reset(reset)).map(|reset| reset.key.clone()).collect();
        if let Some(claim) = &exchange.claim {
            reply.claimed = self.claim(who, claim);
        }
        if let Some(poll) = &exchange.poll {
            reply.polled = Some(self.poll(who, &poll.keys, writes));
        }
        (reply, std::mem::take(&mut self.deeds))
    }

    pub fn open_run(&self, key: &str) -> Option<&Run> {
        self.runs.iter().find(|run| run.closed.is_none() && run.identity.key == key)
    }

    fn place_of(&self, identity: &RunIdentity) -> Option<usize> {
        self.runs.iter().position(|run| run.identity == *identity)
    }

    fn finish(&mut self, finish: &Finish) -> Finished {
        let key = &finish.run.key;
        if self.locked.contains(key) {
            return Finished::NotNow;
        }
        let closed = Closed {
            outcome: finish.outcome,
            becomes: finish.becomes,
            exit_code: finish.exit_code,
            signal: finish.signal,
        };
        let ended_at = (self.now - finish.ended_ago).max(finish.run.started_at);
        let from = match self.place_of(&finish.run).map(|place| &mut self.runs[place]) {
            Some(run) => match &run.closed {
                None => {
                    run.closed = Some(closed.clone());
                    self.deeds.push(Deed::Closed { id: finish.run.id, key: key.clone(), closed });
                    RowValue::Running
                }
                Some(before) if *before == closed => return Finished::Recorded { row: None },
                Some(_) => return Finished::ClosedByAnother,
            },
            // Somebody undid it while it was found lost: nothing is left to say.
            None if finish.outcome == Outcome::Lost => return Finished::Recorded { row: None },
            None => {
                self.deeds.push(Deed::Inserted { id: finish.run.id });
                let identity = finish.run.clone();
                let run = Run {
                    identity,
                    group: finish.group.clone(),
                    pid: finish.pid,
                    alive_at: ended_at,
                    closed: Some(closed),
                };
                self.runs.push(run);
                RowValue::Needed
            }
        };
        let started_at = finish.run.started_at;
        let Some(row) = self.rows.get_mut(key) else { return Finished::Recorded { row: None } };
        let flips = row.value == from
            && (from == RowValue::Running || (finish.becomes == Becomes::Done && row.updated_at < started_at));
        if !flips {
            return Finished::Recorded { row: None };
        }
        match finish.becomes {
            Becomes::Done => (row.value, row.updated_at) = (RowValue::Done, ended_at),
            Becomes::Needed => row.value = RowValue::Needed,
        }
        Finished::Recorded { row: Some(row.updated_at) }
    }

    fn undo(&mut self, identity: &RunIdentity) -> Finished {
        if self.locked.contains(&identity.key) {
            return Finished::NotNow;
        }
        let Some(place) = self.place_of(identity) else { return Finished::Recorded { row: None } };
        if self.runs[place].closed.is_some() {
            return Finished::ClosedByAnother;
        }
        self.runs.remove(place);
        self.undone.insert(identity.id);
        self.deeds.push(Deed::Undone { id: identity.id });
        match self.rows.get_mut(&identity.key) {
            Some(row) if row.value == RowValue::Running => {
                row.value = RowValue::Needed;
                Finished::Recorded { row: Some(row.updated_at) }
            }
            _ => Finished::Recorded { row: None },
        }
    }

    fn release(&mut self, release: &Release) -> bool {
        let fits = self.rows.get(&release.key).is_some_and(|row| {
            row.value == RowValue::Running
                && row.updated_at == release.updated_at
                && !self.locked.contains(&release.key)
        });
        let silent_since = self.now - release.silent_for;
        let frees = fits
            && match &release.run {
                None => self.open_run(&release.key).is_none(),
                Some(identity) => self.place_of(identity).is_some_and(|place| {
                    let run = &mut self.runs[place];
                    let silent = run.closed.is_none() && run.alive_at < silent_since;
                    if silent {
                        let becomes = Becomes::Needed;
                        run.closed = Some(Closed { outcome: Outcome::Lost, becomes, exit_code: None, signal: None });
                    }
                    silent
                }),
            };
        if frees {
            let id = release.run.as_ref().map(|run| run.id);
            self.deeds.push(Deed::Released { key: release.key.clone(), id });
            self.rows.get_mut(&release.key).unwrap().value = RowValue::Needed;
        }
        frees
    }

    fn refresh(&mut self, refresh: &Refresh) -> Refreshed {
        let now = self.now;
        match self.place_of(&refresh.run).map(|place| &mut self.runs[place]) {
            None => Refreshed::Gone,
            Some(run) if run.closed.is_some() => Refreshed::Closed,
            Some(run) => {
                (run.alive_at, run.pid) = (now, refresh.pid);
                Refreshed::Confirmed
            }
        }
    }

    fn reset(&mut self, reset: &Reset) -> bool {
        let now = self.now;
        let Some(row) = self.rows.get_mut(&reset.key).filter(|_| !self.locked.contains(&reset.key)) else {
            return false;
        };
        let due = row.value == RowValue::Done && row.updated_at < reset.slot && reset.slot <= now;
        if due {
            row.value = RowValue::Needed;
            self.deeds.push(Deed::Reset { key: reset.key.clone(), slot: reset.slot });
        }
        due
    }

    fn claim(&mut self, who: &Identity, claim: &Claim) -> Vec<Claimed> {
        let mut claimed = Vec::new();
        let open = |database: &Self| database.runs.iter().filter(|run| run.closed.is_none()).count();
        let foreign = |database: &Self| {
            let rows = database.rows.iter().filter(|(_, row)| row.value == RowValue::Running);
            rows.filter(|(key, _)| database.open_run(key).is_none()).count()
        };
        for offer in &claim.offers {
            if claimed.len() >= claim.limit as usize
                || (claim.cluster_limit > 0 && open(self) + foreign(self) >= claim.cluster_limit as usize)
            {
                break;
            }
            let Some(row) = self.rows.get(&offer.key) else { continue };
            let wanted = row.value == RowValue::Needed || (claim.done_too && row.value == RowValue::Done);
            if !wanted || self.locked.contains(&offer.key) || self.open_run(&offer.key).is_some() {
                continue;
            }
            if let Some(group) = offer.group.as_ref().filter(|_| claim.group_limit > 0) {
                let ours = self.runs.iter().filter(|run| run.closed.is_none() && run.group.as_ref() == Some(group));
                let foreign =
                    claim.foreign_in_group.iter().find(|(name, _)| name == group).map_or(0, |(_, count)| *count);
                if ours.count() + foreign as usize >= claim.group_limit as usize {
                    continue;
                }
            }
            claimed.push(self.open(who, &offer.key, offer.group.clone()));
        }
        claimed
    }

    fn open(&mut self, who: &Identity, key: &str, group: Option<String>) -> Claimed {
        let newest = self.runs.iter().map(|run| run.identity.id).chain(self.undone.iter().copied()).max();
        let id = RunId(newest.map_or(1, |id| id.0 + 1));
        let (key, started_at) = (key.to_owned(), self.now);
        let (instance, node, host) = (who.instance.clone(), who.node.clone(), who.host.clone());
        let identity = RunIdentity { id, key: key.clone(), instance, node, host, started_at };
        self.runs.push(Run { identity, group, pid: None, alive_at: started_at, closed: None });
        let row = self.rows.get_mut(&key).unwrap();
        self.before.insert(key.clone(), row.updated_at);
        (row.value, row.updated_at) = (RowValue::Running, started_at);
        self.deeds.push(Deed::Claimed { key: key.clone() });
        Claimed { key, id, started_at }
    }

    fn poll(&mut self, who: &Identity, keys: &[String], writes: bool) -> Polled {
        for key in keys {
            if writes && !self.rows.contains_key(key) {
                self.rows.insert(key.clone(), Row::never_run(self.now));
            }
        }
        let row = |key: &String| {
            let row = self.rows.get(key)?;
            Some(StatusRow {
                key: key.clone(),
                value: row.value.clone(),
                updated_at: row.updated_at,
                created_at: Some(row.created_at),
                paused: row.paused_at.is_some(),
                requested_at: row.requested_at,
            })
        };
        let wanted = |run: &&Run| {
            let ours = run.identity.instance == who.instance && run.identity.node == who.node;
            run.closed.is_none() && (ours || keys.contains(&run.identity.key))
        };
        let open = |run: &Run| OpenRun {
            identity: run.identity.clone(),
            group: run.group.clone(),
            pid: run.pid,
            pid_start: run.pid.map(i64::from),
            alive_at: run.alive_at,
            lease: None,
        };
        Polled {
            rows: keys.iter().filter_map(row).collect(),
            runs: self.runs.iter().filter(wanted).map(open).collect(),
        }
    }
}
