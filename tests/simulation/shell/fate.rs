//! What becomes of an exchange, and of a child.

use super::start::Child;
use crate::plan::{LONG, Odds};
use tenantcron::model::{Trouble, TroubleKind};
use tenantcron::scheduler::{Exit, NotStarted};

/// What becomes of an exchange. Times in microseconds.
#[derive(Debug)]
pub enum Fate {
    /// Nothing happened.
    Unsent(Trouble, u64),
    /// It is committed, and the answer takes so long; it may come once more, so much later.
    Answered { back: u64, doubled: Option<u64> },
    /// The same, but what was asked for last was not read.
    Lookless { back: u64 },
    /// No answer; it is committed at `commits`, if at all.
    Unanswered { trouble: Trouble, after: u64, commits: Option<u64> },
}

/// A deadline of the engine.
pub const DEADLINE: u64 = 30_000_000;

pub fn trouble(kind: TroubleKind) -> Trouble {
    Trouble { kind, text: format!("{kind:?}"), whole_server: false }
}

/// The usual.
pub fn well(rng: &mut fastrand::Rng) -> Fate {
    Fate::Answered { back: rng.u64(100..5_000), doubled: None }
}

/// None: the usual.
pub fn fate(odds: &Odds, rng: &mut fastrand::Rng) -> Option<Fate> {
    let mut chance = rng.f64();
    let mut hit = |odds: f64| {
        chance -= odds;
        chance < 0.0
    };
    let soon = rng.u64(100..5_000_000);
    Some(if hit(odds.unreachable) {
        Fate::Unsent(trouble(TroubleKind::Unreachable), soon * 2)
    } else if hit(odds.refused) {
        Fate::Unsent(trouble(TroubleKind::Refused), soon / 100)
    } else if hit(odds.unfit) {
        Fate::Unsent(trouble(TroubleKind::Unfit), soon / 100)
    } else if hit(odds.lookless) {
        Fate::Lookless { back: soon / 100 + 100 }
    } else if hit(odds.answer_lost) {
        let commits = rng.bool().then(|| rng.u64(100..5_000));
        Fate::Unanswered { trouble: trouble(TroubleKind::Interrupted), after: 5_000 + soon, commits }
    } else if hit(odds.straggler) {
        let commits = Some(rng.u64(5_000_000..90_000_000));
        Fate::Unanswered { trouble: trouble(TroubleKind::Interrupted), after: DEADLINE, commits }
    } else if hit(odds.late) {
        Fate::Answered { back: soon * 5, doubled: None }
    } else if hit(odds.doubled) {
        let later = if rng.bool() { 1 } else { rng.u64(1..60_000_000) };
        Fate::Answered { back: rng.u64(100..5_000), doubled: Some(later) }
    } else {
        return None;
    })
}

pub fn child(odds: &Odds, rng: &mut fastrand::Rng) -> Child {
    let mut hit = |odds: f64| rng.f64() < odds;
    let (no_resources, cannot_execute) = (hit(odds.no_resources), hit(odds.cannot_execute));
    let (stubborn, members, daemon) = (hit(odds.stubborn), hit(odds.leaves_members), hit(odds.leaves_daemon));
    let (orphaned, endless, long) = (hit(odds.orphaned), hit(odds.endless), hit(odds.long));
    let trouble = if no_resources {
        Some(NotStarted::NoResources { text: "fork: EAGAIN".into() })
    } else if cannot_execute {
        let code = if rng.bool() { 127 } else { 126 };
        Some(NotStarted::CannotExecute { code, text: "exec: no such file".into() })
    } else {
        None
    };
    let life = match (endless && !orphaned, long) {
        (true, _) => None,
        (false, true) => Some(rng.u64(10_000_000..u64::try_from(LONG.as_micros()).unwrap())),
        (false, false) => Some(rng.u64(1_000..8_000_000)),
    };
    let exit = match rng.u32(..10) {
        0 => Exit::Code(3),
        1 => Exit::Signal(11),
        _ => Exit::Code(0),
    };
    let members = members.then(|| rng.u64(..60_000_000));
    let daemon = daemon.then(|| rng.u64(..60_000_000));
    Child { trouble, life, exit, stubborn, members, daemon, orphaned }
}
