//! What was done to each node and when, as the driver noted it: the ground on which the judge stands. All times are
//! nanoseconds since the epoch by this host's clock, which the jobs' journal and the server use too.

use crate::support::wait::secs;
use std::time::{Duration, SystemTime};

/// Nanoseconds since the epoch.
pub type Nanos = i64;

/// Now.
pub fn now() -> Nanos {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock after 1970").as_nanos() as Nanos
}

/// A duration in nanoseconds.
pub const fn nanos(time: Duration) -> Nanos {
    time.as_nanos() as Nanos
}

/// The longest that a fault may be felt after its end: an exchange's deadline, or the longest delay between two tries,
/// and a connect's.
pub const AFTERMATH: Nanos = nanos(secs(45));

/// A supervisor that cannot confirm its runs' lives has ended them so long before their lease is over.
const FENCE: Nanos = nanos(secs(10));

/// From one moment to another; open ones last on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub from: Nanos,
    pub to: Nanos,
}

/// How a supervisor ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Killed,
    Left(i32),
}

/// One supervisor, from its start to its end. For a kill `ended` is just before the signal, else when its end was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    pub from: Nanos,
    pub asked_to_stop: Option<Nanos>,
    pub ended: Option<(Nanos, How)>,
}

/// What happened to one node.
#[derive(Debug, Clone, Default)]
pub struct NodeLine {
    pub name: String,
    pub lives: Vec<Life>,
    pub frozen: Vec<Span>,
    /// Its database was out of reach, or its sessions were ended.
    pub broken: Vec<Span>,
    /// What it and the database said to each other was held back.
    pub late: Vec<Span>,
}

/// Runs whose process or group we killed, and when.
#[derive(Debug, Clone, Default)]
pub struct Kills(pub Vec<(i64, Nanos)>);

impl Span {
    pub fn open(from: Nanos) -> Self {
        Self { from, to: Nanos::MAX }
    }

    fn meets(&self, from: Nanos, to: Nanos) -> bool {
        self.from <= to && from <= self.to
    }
}

/// Ends the last of some spans, if it is open.
pub fn close(spans: &mut [Span]) {
    if let Some(last) = spans.last_mut() {
        last.to = last.to.min(now());
    }
}

fn any(spans: &[Span], from: Nanos, to: Nanos) -> bool {
    spans.iter().any(|span| span.meets(from, to))
}

impl Life {
    pub fn end(&self) -> Nanos {
        self.ended.map_or(Nanos::MAX, |(at, _)| at)
    }

    fn was_killed(&self) -> bool {
        matches!(self.ended, Some((_, How::Killed)))
    }
}

impl NodeLine {
    /// The supervisor that lived then.
    pub fn life_at(&self, time: Nanos) -> Option<&Life> {
        self.lives.iter().find(|life| life.from <= time && time <= life.end())
    }

    /// The database was out of reach or late at some time in between, or could still be felt to have been.
    pub fn troubled(&self, from: Nanos, to: Nanos) -> bool {
        let from = from.saturating_sub(AFTERMATH);
        any(&self.broken, from, to) || any(&self.late, from, to)
    }

    /// What it said may have arrived late, or it may have looked late.
    pub fn was_late(&self, from: Nanos, to: Nanos) -> bool {
        let ended = self.lives.iter().any(|life| from <= life.end() && life.end() <= to);
        any(&self.late, from, to) || any(&self.frozen, from, to) || ended
    }

    /// Something was wrong with it or its way to the database in between.
    pub fn was_disturbed(&self, from: Nanos, to: Nanos) -> bool {
        any(&self.broken, from, to) || self.was_late(from, to)
    }

    /// It was out or late in between for so long that whoever waited for a lock of its half said exchange gave up.
    pub fn held_up_others(&self, from: Nanos, to: Nanos) -> bool {
        let long = |span: &&Span| span.to - span.from > nanos(secs(20));
        self.frozen.iter().chain(&self.late).filter(long).any(|span| span.meets(from, to))
    }

    /// A supervisor of it ended in between.
    pub fn died(&self, from: Nanos, to: Nanos) -> bool {
        self.lives.iter().any(|life| from <= life.end() && life.end() <= to)
    }

    /// A supervisor of it was asked to stop in between.
    pub fn was_asked_to_stop(&self, from: Nanos, to: Nanos) -> bool {
        self.lives.iter().filter_map(|life| life.asked_to_stop).any(|at| from <= at && at <= to)
    }

    /// Its supervisor was frozen then, or was killed since: a lease promises nothing for such a time. One that was awake for
    /// a good part of the last seconds has ended its child.
    pub fn was_out(&self, since: Nanos, at: Nanos) -> bool {
        let killed = |life: &Life| life.was_killed() && since <= life.end() && life.end() <= at;
        let awake: Nanos = self.lives.iter().map(|life| self.awake(life, at - FENCE, at)).sum();
        self.lives.iter().any(killed) || awake < FENCE / 2
    }

    /// For how long this supervisor was awake in between.
    pub fn awake(&self, life: &Life, from: Nanos, to: Nanos) -> Nanos {
        let (from, to) = (from.max(life.from), to.min(life.end()));
        let frozen = |span: &Span| (span.to.min(to) - span.from.max(from)).max(0);
        (to.saturating_sub(from)).max(0).saturating_sub(self.frozen.iter().map(frozen).sum())
    }
}
