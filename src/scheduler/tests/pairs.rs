//! Two things at once: every ordered pair of what may happen, in every state of a run. Nothing panics, the
//! invariants hold after every step (the core checks them itself), and it still ends properly.

use super::bench::{Bench, ended, lives, name, rules, sec, tenant, trouble};
use crate::model::{DatabaseId, RowValue, TroubleKind};
use crate::scheduler::{Action, Event, Exit, ExitReason, Rounds, Rules};
use std::time::Duration;

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Happens {
    StopAsked,
    DrainAsked,
    Reloaded,
    Down,
    Up,
    Ended,
    EndedWithGroupLeft,
    Answered,
    Locked,
    UpgradeAsked,
    UpgradeFailed,
    /// The last answer comes again.
    Doubled,
    /// A failover lost what was committed last.
    FailedOver,
    /// The supervisor was frozen for so long that a lease is over.
    Thawed,
}

const HAPPENS: [Happens; 14] = [
    Happens::StopAsked,
    Happens::DrainAsked,
    Happens::Reloaded,
    Happens::Down,
    Happens::Up,
    Happens::Ended,
    Happens::EndedWithGroupLeft,
    Happens::Answered,
    Happens::Locked,
    Happens::UpgradeAsked,
    Happens::UpgradeFailed,
    Happens::Doubled,
    Happens::FailedOver,
    Happens::Thawed,
];

/// Where a run stands.
#[derive(Debug, Clone, Copy)]
enum State {
    Listed,
    Idle,
    Locking,
    Claiming,
    Starting,
    Running,
    Refreshing,
    Ending,
    Leftover,
    Recording,
    Unrecorded,
    Resetting,
}

const STATES: [State; 12] = [
    State::Listed,
    State::Idle,
    State::Locking,
    State::Claiming,
    State::Starting,
    State::Running,
    State::Refreshing,
    State::Ending,
    State::Leftover,
    State::Recording,
    State::Unrecorded,
    State::Resetting,
];

/// A tenant `a` in this state, and `b` who waits behind it; locks and exchanges wait to be answered.
fn bring_to(state: State, lease: Option<Duration>) -> Bench {
    let value = if matches!(state, State::Resetting | State::Idle) { "done" } else { "needed" };
    let first = if matches!(state, State::Resetting) { -60 } else { 1_000 };
    let updated_at = if value == "needed" { -900 } else { first };
    let mut bench = Bench::with_rows(Rules { lease, ..rules() }, &[("a", value, updated_at), ("b", "needed", -100)]);
    if matches!(state, State::Idle | State::Resetting) {
        bench.rows.remove("b");
    }
    bench.hold = true;
    bench.slow_start = true;
    bench.list(["a", "b"].map(tenant).into_iter().filter(|one| bench.rows.contains_key(&*one.key)).collect::<Vec<_>>());
    let answers = match state {
        State::Listed => 0,
        State::Idle | State::Locking | State::Resetting => 1,
        State::Claiming => 2,
        _ => 3,
    };
    (0..answers).for_each(|_| bench.answer_one());
    match state {
        State::Running => bench.tell(lives("a")),
        State::Refreshing => {
            bench.tell(lives("a"));
            bench.pass(sec(3));
        }
        State::Ending => {
            bench.tell(lives("a"));
            bench.tell(Event::StopAsked);
        }
        State::Leftover => {
            bench.tell(lives("a"));
            bench.tell(ended("a", Exit::Code(0), true));
        }
        State::Recording | State::Unrecorded => {
            bench.tell(lives("a"));
            bench.tell(ended("a", Exit::Code(0), false));
        }
        State::Listed | State::Idle | State::Locking | State::Claiming | State::Starting | State::Resetting => {}
    }
    if matches!(state, State::Unrecorded) {
        fails(&mut bench);
    }
    bench
}

/// The exchange under way fails.
fn fails(bench: &mut Bench) {
    bench.waiting.retain(|action| !matches!(action, Action::Exchange { .. }));
    bench.answered(Err(trouble(TroubleKind::Interrupted)));
}

fn happen(bench: &mut Bench, what: Happens) {
    let place = |bench: &Bench, lock: bool| {
        bench.waiting.iter().position(|action| matches!(action, Action::Lock { .. }) == lock)
    };
    match what {
        Happens::StopAsked => bench.tell(Event::StopAsked),
        Happens::DrainAsked => bench.tell(Event::DrainAsked),
        Happens::Reloaded => {
            let rules = Rules { workers: 3, rounds: Rounds::Barrier, kill_after: sec(1), ..rules() };
            bench.tell(Event::Reloaded(Box::new(rules)));
        }
        Happens::Down => {
            bench.down = true;
            fails(bench);
        }
        Happens::Up => {
            bench.down = false;
            bench.pass(sec(2));
        }
        Happens::UpgradeAsked => bench.tell(Event::UpgradeAsked),
        Happens::UpgradeFailed => bench.tell(Event::UpgradeFailed),
        Happens::Doubled => {
            let reply = bench.answer(&crate::model::Exchange::default());
            let number = bench.number.saturating_sub(1);
            bench.tell(Event::Exchanged { database: DatabaseId(0), number, result: Ok(reply) });
        }
        Happens::FailedOver => {
            bench.runs.clear();
            for row in bench.rows.values_mut() {
                row.value = RowValue::Needed;
            }
            bench.pass(sec(11));
        }
        Happens::Thawed => {
            bench.now = bench.now + sec(100);
            bench.tell(Event::Tick);
        }
        Happens::Ended => bench.tell(ended("a", Exit::Code(0), false)),
        Happens::EndedWithGroupLeft => bench.tell(ended("a", Exit::Code(0), true)),
        Happens::Answered | Happens::Locked => match place(bench, what == Happens::Locked) {
            Some(place) => bench.answer_at(place),
            // Late or doubled.
            None if what == Happens::Locked => {
                bench.tell(Event::Locked { won: vec![name("a")], held: Vec::new(), slots: 1 });
            }
            None => {
                let reply = bench.answer(&crate::model::Exchange::default());
                bench.answered(Ok(reply));
            }
        },
    }
}

/// Everything gets well and all children end: a stop must lead to an exit with everything recorded.
fn conclude(mut bench: Bench, what: &str) {
    let mut asked = false;
    bench.down = false;
    bench.slow_start = false;
    bench.release();
    for _ in 0..60 {
        if bench.exit.is_some() {
            break;
        }
        for tenant in ["a", "b"] {
            let starts = bench.started.iter().filter(|one| *one == tenant).count();
            let closes = bench.closed.iter().filter(|closing| closing.tenant.as_str() == tenant).count();
            if starts > closes {
                bench.tell(lives(tenant));
                bench.tell(ended(tenant, Exit::Code(0), false));
                bench.tell(Event::GroupEmptied { tenant: name(tenant) });
            }
        }
        if bench.exit.is_none() && !std::mem::replace(&mut asked, true) {
            bench.tell(Event::UpgradeFailed);
            bench.tell(Event::StopAsked);
        }
        if bench.exit.is_none() {
            bench.pass(sec(2));
        }
    }
    assert_eq!(bench.exit, Some(ExitReason::Done), "{what}");
    assert_eq!(bench.slots, 1_000, "{what}: slots are left");
    assert_eq!(bench.started.len(), bench.closed.len(), "{what}");
    assert!(bench.runs.is_empty(), "{what}: open runs are left: {:?}", bench.runs);
}

#[test]
fn every_pair_in_every_state_ends_properly() {
    for (state, lease) in STATES.into_iter().flat_map(|state| [None, Some(sec(70))].map(|lease| (state, lease))) {
        for (first, second) in HAPPENS.into_iter().flat_map(|first| HAPPENS.map(|second| (first, second))) {
            let what = format!("{state:?}, lease {lease:?}, {first:?}, {second:?}");
            let mut bench = bring_to(state, lease);
            for happens in [first, second] {
                if bench.exit.is_none() {
                    happen(&mut bench, happens);
                }
            }
            if bench.exit.is_none() {
                conclude(bench, &what);
            }
        }
    }
}
