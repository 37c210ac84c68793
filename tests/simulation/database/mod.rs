//! A fake database: what `src/model/exchange.rs` promises, as one atomic step, after the statements in `src/db/sql`. It
//! never waits for a row that somebody holds locked, and knows nothing of who asks but the identity.

mod claims;
mod ends;
mod failover;
mod lives;
mod rows;

pub use failover::Copy;
pub use rows::{Closed, Deed, DoneRow, OpenRow, Row, is_claim};

use crate::flaws::Flaw;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use tenantcron::model::{
    DbTime, Exchange, Identity, Mark, OpenRun, Poll, Polled, Reply, RowValue, RunIdentity, StatusRow,
};

/// What is lost with a failover.
#[derive(Debug, Clone, Default)]
pub struct Content {
    pub rows: BTreeMap<String, Row>,
    /// By key: the index lets no second one in.
    pub open: BTreeMap<String, OpenRow>,
    pub finished: Vec<DoneRow>,
    last_id: i64,
}

#[derive(Debug, Default)]
pub struct Database {
    pub content: Content,
    /// Its clock when the world begins.
    pub epoch: i64,
    /// Which copy this is: what was sent to an earlier one never arrives.
    pub era: u32,
    /// Rows that an application holds locked.
    pub locked: BTreeSet<String>,
    /// Keys whose open run somebody holds locked.
    pub locked_runs: BTreeSet<String>,
    /// Out of reach until this.
    pub down_until: u64,
    /// When it was last hindered from recording: down, cut off, or a row locked.
    pub hindered_at: u64,
    /// Rows are written by a transaction of this moment.
    now: DbTime,
    deeds: Vec<Deed>,
    pub flaw: Option<Flaw>,
}

impl Database {
    /// With a row of another program in it.
    pub fn new(epoch: i64, flaw: Option<Flaw>) -> Self {
        let mut database = Self { epoch, flaw, ..Self::default() };
        database.content.rows.insert("site-name".to_owned(), Row::of_another_program());
        database
    }

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
        reply.repaired = exchange.repair.iter().map(|repair| self.repair(repair)).collect();
        reply.refreshed = exchange.refresh.iter().map(|refresh| self.refresh(refresh)).collect();
        reply.reset = exchange.reset.iter().filter(|reset| self.reset(reset)).map(|reset| reset.key.clone()).collect();
        if let Some(claim) = &exchange.claim {
            reply.claimed = self.claim(who, claim);
        }
        if let Some(poll) = &exchange.poll {
            reply.polled = Some(Box::new(self.poll(who, poll, writes)));
        }
        (reply, std::mem::take(&mut self.deeds))
    }

    pub fn open_run(&self, key: &str) -> Option<&OpenRow> {
        self.content.open.get(key)
    }

    fn open_exactly(&mut self, run: &RunIdentity) -> Option<&mut OpenRow> {
        self.content.open.get_mut(&run.key).filter(|open| open.identity == *run)
    }

    fn next_id(&mut self) -> i64 {
        self.content.last_id += 1;
        self.content.last_id
    }

    fn poll(&mut self, who: &Identity, poll: &Poll, writes: bool) -> Polled {
        let mark = self.mark();
        let keys: BTreeSet<String> = match poll {
            Poll::Keys(keys) => keys.iter().map(|key| key.to_string()).collect(),
            Poll::NotDone { since } => self.not_done(since.is_some() && *since == mark),
        };
        for key in &keys {
            if writes && !self.content.rows.contains_key(key) && matches!(poll, Poll::Keys(_)) {
                self.content.rows.insert(key.clone(), Row::never_run(self.now));
            }
        }
        let row = |key: &String| {
            let row = self.content.rows.get(key)?;
            Some(StatusRow {
                key: key.clone(),
                value: row.value.clone(),
                updated_at: row.updated_at,
                created_at: Some(row.created_at),
                paused: row.paused_at.is_some(),
                requested_at: row.requested_at,
            })
        };
        let wanted = |run: &&OpenRow| {
            let ours = run.identity.instance == who.instance && run.identity.node == who.node;
            ours || keys.contains(&run.identity.key)
        };
        let ignores = self.flaw == Some(Flaw::TakeoverIgnoresLife);
        let open = |run: &OpenRow| OpenRun {
            identity: run.identity.clone(),
            group: run.group.clone(),
            pid: run.pid,
            pid_start: run.pid_start,
            alive_at: if ignores { run.identity.started_at } else { run.alive_at },
            lease: run.lease,
        };
        Polled {
            rows: keys.iter().filter_map(row).collect(),
            runs: self.content.open.values().filter(wanted).map(open).collect(),
            mark: matches!(poll, Poll::NotDone { .. }).then_some(mark).flatten(),
        }
    }

    /// The keys whose rows a short look brings; `same`: nothing was written since the last.
    fn not_done(&self, same: bool) -> BTreeSet<String> {
        let undone = |row: &Row| row.value != RowValue::Done || row.paused_at.is_some();
        let rows = self.content.rows.iter().filter(|(_, row)| !same && undone(row)).map(|(key, _)| key);
        rows.chain(self.content.open.keys()).filter(|key| key.starts_with("cron-status-")).cloned().collect()
    }

    /// What is the same only while all is the same; none while somebody writes.
    fn mark(&self) -> Option<Mark> {
        let mut state = DefaultHasher::new();
        self.era.hash(&mut state);
        for (key, row) in &self.content.rows {
            let times = [Some(row.updated_at), row.paused_at, row.requested_at].map(|time| time.map(|time| time.0));
            (key, row.value.as_str(), times).hash(&mut state);
        }
        for run in self.content.open.values() {
            (run.identity.id.0, run.alive_at.0).hash(&mut state);
        }
        self.locked.is_empty().then(|| Mark(state.finish().to_string().into()))
    }
}
