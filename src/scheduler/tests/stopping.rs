//! Stop, drain, and the patience at the end.

use super::bench::{Bench, ended, lives, name, rules, sec, tenant};
use crate::model::{Becomes, Outcome};
use crate::scheduler::{Action, Event, Exit, ExitReason, Force, Notice, Rules};

fn two() -> Bench {
    Bench::started(rules(), &[("a", "needed", -900), ("b", "needed", -800)])
}

#[test]
fn without_children_a_stop_is_an_exit() {
    for event in [Event::StopAsked, Event::DrainAsked] {
        let mut bench = Bench::started(rules(), &[("a", "done", 0)]);
        bench.tell(event);
        assert_eq!(bench.exit, Some(ExitReason::Done));
    }
}

#[test]
fn a_stop_asks_then_kills_records_and_exits() {
    let mut bench = two();
    bench.tell(Event::StopAsked);
    assert_eq!(bench.signals, [("a".into(), Force::Term)]);
    bench.pass(sec(29));
    assert_eq!(bench.signals.len(), 1);
    bench.pass(sec(2));
    assert_eq!(bench.signals.last(), Some(&("a".into(), Force::Kill)));
    assert_eq!(bench.exit, None);
    bench.ends("a", Exit::Signal(9));
    assert_eq!((bench.finished[0].outcome, bench.finished[0].becomes), (Outcome::Stopped, Becomes::Needed));
    assert_eq!((bench.exit, bench.started.len()), (Some(ExitReason::Done), 1));
}

#[test]
fn a_second_stop_kills_at_once_also_what_is_just_starting() {
    let mut bench = two();
    bench.tell(Event::StopAsked);
    bench.tell(Event::StopAsked);
    assert_eq!(bench.signals, [("a".into(), Force::Term), ("a".into(), Force::Kill)]);

    let mut bench = Bench::with_rows(rules(), &[("a", "needed", -900)]);
    bench.slow_start = true;
    bench.list([tenant("a")]);
    bench.tell(Event::StopAsked);
    bench.tell(Event::StopAsked);
    assert!(bench.signals.is_empty(), "there is nobody to signal");
    bench.tell(lives("a"));
    assert_eq!(bench.signals, [("a".into(), Force::Term), ("a".into(), Force::Kill)]);
}

#[test]
fn a_second_stop_kills_what_is_left_of_a_group() {
    let mut bench = two();
    bench.tell(ended("a", Exit::Code(0), true));
    bench.tell(Event::StopAsked);
    bench.tell(Event::StopAsked);
    assert_eq!(bench.signals.last(), Some(&("a".into(), Force::Kill)));
    bench.tell(Event::GroupEmptied { tenant: name("a") });
    assert_eq!(bench.finished[0].outcome, Outcome::Ok, "its end was seen before the stop");
    assert_eq!(bench.exit, Some(ExitReason::Done));
}

#[test]
fn a_drain_waits_for_the_children_and_a_stop_after_it_does_not() {
    let mut bench = two();
    bench.tell(Event::DrainAsked);
    bench.pass(sec(5_000));
    assert!(bench.signals.is_empty() && bench.exit.is_none());
    let mut stopped = two();
    bench.ends("a", Exit::Code(0));
    assert_eq!((bench.exit, bench.finished[0].outcome, bench.started.len()), (Some(ExitReason::Done), Outcome::Ok, 1));
    stopped.tell(Event::DrainAsked);
    stopped.tell(Event::StopAsked);
    stopped.tell(Event::DrainAsked);
    assert_eq!(stopped.signals, [("a".into(), Force::Term)]);
    assert_eq!(stopped.take(|notice| matches!(notice, Notice::Stopping { .. })), 2);
}

#[test]
fn a_claim_that_is_answered_after_the_stop_is_given_back() {
    for event in [Event::StopAsked, Event::DrainAsked] {
        let mut bench = Bench::with_rows(rules(), &[("a", "needed", -900)]);
        bench.hold = true;
        bench.list([tenant("a")]);
        bench.answer_one();
        bench.answer_one();
        assert!(matches!(bench.waiting.front(), Some(Action::Exchange { exchange, .. }) if exchange.claim.is_some()));
        bench.tell(event);
        assert_eq!(bench.exit, None);
        bench.release();
        assert_eq!((bench.exit, bench.started.len()), (Some(ExitReason::Done), 0));
        assert_eq!((bench.undone.len(), bench.slots), (1, 1_000));
    }
}

#[test]
fn with_the_database_down_it_waits_twenty_seconds_and_says_how_many_ends_are_left() {
    let mut bench = Bench::started(Rules { workers: 2, ..rules() }, &[("a", "needed", -900), ("b", "needed", -800)]);
    bench.down = true;
    bench.tell(Event::StopAsked);
    bench.pass(sec(3));
    bench.ends("a", Exit::Signal(15));
    bench.pass(sec(10));
    bench.ends("b", Exit::Signal(15));
    bench.pass(sec(19));
    assert_eq!(bench.exit, None);
    bench.pass(sec(2));
    assert_eq!(bench.exit, Some(ExitReason::Unrecorded(2)));
}

#[test]
fn a_database_that_returns_in_time_gets_the_ends_however_long_it_was_down() {
    let mut bench = two();
    bench.down = true;
    bench.pass(sec(3_000));
    bench.tell(Event::StopAsked);
    bench.ends("a", Exit::Signal(15));
    bench.pass(sec(14));
    bench.down = false;
    bench.pass(sec(5));
    assert_eq!((bench.exit, bench.finished[0].outcome), (Some(ExitReason::Done), Outcome::Stopped));
    assert_eq!(bench.finished.len(), 1);
}

#[test]
fn a_database_that_hangs_with_a_mere_look_is_not_waited_for() {
    let mut bench = Bench::started(rules(), &[("a", "done", 0)]);
    bench.hold = true;
    bench.pass(sec(11));
    assert_eq!(bench.waiting.len(), 1);
    bench.tell(Event::StopAsked);
    assert_eq!(bench.exit, Some(ExitReason::Done));
}
