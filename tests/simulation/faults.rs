//! What goes wrong, and when: the fate of each exchange and each child, and mischief at random moments.

use crate::plan::{LONG, Odds};
use crate::world::World;
use tenantcron::model::{Trouble, TroubleKind};
use tenantcron::scheduler::{Exit, NotStarted};

/// What becomes of an exchange. Times in microseconds.
#[derive(Debug)]
pub enum Fate {
    /// Nothing happened.
    Unsent(Trouble, u64),
    /// It is committed, and the answer takes so long.
    Answered { back: u64, doubled: bool },
    /// No answer; it is committed at `commits`, if at all.
    Unanswered { trouble: Trouble, after: u64, commits: Option<u64> },
}

/// A deadline of the engine.
const DEADLINE: u64 = 30_000_000;

pub fn trouble(kind: TroubleKind) -> Trouble {
    Trouble { kind, text: format!("{kind:?}") }
}

impl World {
    pub fn fate(&mut self) -> Fate {
        let odds = self.plan.odds;
        let mut chance = self.rng.f64();
        let mut hit = |odds: f64| {
            chance -= odds;
            chance < 0.0
        };
        let soon = self.rng.u64(100..5_000_000);
        if hit(odds.unreachable) {
            Fate::Unsent(trouble(TroubleKind::Unreachable), soon * 2)
        } else if hit(odds.refused) {
            Fate::Unsent(trouble(TroubleKind::Refused), soon / 100)
        } else if hit(odds.answer_lost) {
            let commits = if self.rng.bool() { Some(self.rng.u64(100..5_000)) } else { None };
            Fate::Unanswered { trouble: trouble(TroubleKind::Interrupted), after: 5_000 + soon, commits }
        } else if hit(odds.straggler) {
            let commits = Some(self.rng.u64(5_000_000..90_000_000));
            Fate::Unanswered { trouble: trouble(TroubleKind::Interrupted), after: DEADLINE, commits }
        } else if hit(odds.late) {
            Fate::Answered { back: soon * 5, doubled: false }
        } else {
            Fate::Answered { back: self.rng.u64(100..5_000), doubled: hit(odds.doubled) }
        }
    }

    pub fn spawn_trouble(&mut self, odds: &Odds) -> Option<NotStarted> {
        let chance = self.rng.f64();
        if chance < odds.no_resources {
            Some(NotStarted::NoResources { text: "fork: EAGAIN".into() })
        } else if chance < odds.no_resources + odds.cannot_execute {
            let code = if self.rng.bool() { 127 } else { 126 };
            Some(NotStarted::CannotExecute { code, text: "exec: no such file".into() })
        } else {
            None
        }
    }

    /// How long a child runs; none: for ever.
    pub fn life(&mut self, odds: &Odds, nice: bool) -> Option<u64> {
        let chance = self.rng.f64();
        if nice {
            Some(self.rng.u64(1_000..1_500_000))
        } else if chance < odds.endless {
            None
        } else if chance < odds.endless + odds.long {
            Some(self.rng.u64(10_000_000..u64::try_from(LONG.as_micros()).unwrap()))
        } else {
            Some(self.rng.u64(1_000..8_000_000))
        }
    }

    pub fn exit_status(&mut self, nice: bool) -> Exit {
        match self.rng.u32(..10) {
            _ if nice => Exit::Code(0),
            0 => Exit::Code(3),
            1 => Exit::Signal(11),
            _ => Exit::Code(0),
        }
    }
}
