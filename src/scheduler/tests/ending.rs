//! How runs end, and what is recorded of them.

use super::bench::{Bench, ended, lives, name, rules, sec, tenant};
use crate::model::{Becomes, Outcome};
use crate::scheduler::{Action, Event, Exit, Force, Listed, NotStarted, Notice, Reason, Rules};

fn one() -> Bench {
    Bench::started(rules(), &[("a", "needed", -900)])
}

#[test]
fn the_table_of_outcomes() {
    for (exit, outcome, code, signal) in [
        (Exit::Code(0), Outcome::Ok, Some(0), None),
        (Exit::Code(3), Outcome::Failed, Some(3), None),
        (Exit::Signal(11), Outcome::Killed, None, Some(11)),
        (Exit::Signal(15), Outcome::Killed, None, Some(15)),
    ] {
        let mut bench = one();
        bench.pass(sec(7));
        bench.ends("a", exit);
        let [finish] = bench.finished.as_slice() else { panic!("{:?}", bench.finished) };
        assert_eq!((finish.outcome, finish.becomes), (outcome, Becomes::Done), "{exit:?}");
        assert_eq!((finish.exit_code, finish.signal, finish.pid, finish.pid_start), (code, signal, Some(900), Some(9)));
        assert_eq!((bench.closed[0].outcome, bench.closed[0].elapsed), (outcome, sec(7)));
        assert_eq!(bench.take(|notice| matches!(notice, Notice::Ended { .. })), 1);
        assert_eq!(bench.core.running(), 0);
    }
}

#[test]
fn what_cannot_be_executed_has_failed_with_the_code_of_a_shell() {
    for code in [126, 127] {
        let mut bench = Bench::with_rows(rules(), &[("a", "needed", -900)]);
        bench.slow_start = true;
        bench.list([tenant("a")]);
        let why = NotStarted::CannotExecute { code, text: "exec: /nowhere: no such file".into() };
        bench.tell(Event::NotStarted { tenant: name("a"), why });
        let finish = &bench.finished[0];
        assert_eq!((finish.outcome, finish.becomes, finish.exit_code), (Outcome::Failed, Becomes::Done, Some(code)));
        let told = |notice: &Notice| matches!(notice, Notice::Ended { detail, .. } if detail.contains("/nowhere"));
        assert_eq!(bench.take(told), 1);
    }
}

#[test]
fn a_spawn_without_resources_leaves_no_run_and_is_tried_again_later_and_later() {
    let mut bench = Bench::with_rows(rules(), &[("a", "needed", -900)]);
    bench.slow_start = true;
    bench.list([tenant("a")]);
    let mut waits = Vec::new();
    for _ in 0..8 {
        let starts = bench.started.len();
        bench.tell(Event::NotStarted { tenant: name("a"), why: NotStarted::NoResources { text: "EAGAIN".into() } });
        assert!(bench.core.reasons().contains(&(name("a"), Reason::BackingOff)));
        let before = bench.now;
        while bench.started.len() == starts {
            bench.pass(sec(1) / 4);
        }
        waits.push(bench.now.since(before));
    }
    assert_eq!((bench.undone.len(), bench.finished.len()), (8, 0));
    assert!(waits[0] <= sec(2) && waits[7] >= sec(29) && waits[7] <= sec(62), "{waits:?}");
    assert_eq!(bench.take(|notice| matches!(notice, Notice::SpawnFailed { .. })), 1, "alerted once");
    // It worked: the next failure waits shortly again.
    bench.tell(lives("a"));
    bench.ends("a", Exit::Code(0));
    assert_eq!(bench.finished.len(), 1);
}

#[test]
fn a_timeout_asks_and_then_kills() {
    let mut bench = Bench::with_rows(rules(), &[("a", "needed", -900)]);
    bench.list([Listed { timeout: Some(sec(100)), ..tenant("a") }]);
    bench.pass(sec(99));
    assert!(bench.signals.is_empty());
    bench.pass(sec(1));
    assert_eq!(bench.signals, [("a".into(), Force::Term)]);
    bench.pass(sec(29));
    assert_eq!(bench.signals.len(), 1);
    bench.pass(sec(1));
    assert_eq!(bench.signals, [("a".into(), Force::Term), ("a".into(), Force::Kill)]);
    bench.pass(sec(1_000));
    assert_eq!(bench.signals.len(), 2);
    bench.ends("a", Exit::Signal(9));
    let finish = &bench.finished[0];
    assert_eq!((finish.outcome, finish.becomes, finish.signal), (Outcome::Timeout, Becomes::Done, Some(9)));
}

#[test]
fn a_run_that_was_signalled_is_a_timeout_whatever_its_status() {
    let mut bench = Bench::with_rows(rules(), &[("a", "needed", -900)]);
    bench.list([Listed { timeout: Some(sec(100)), ..tenant("a") }]);
    bench.pass(sec(101));
    bench.ends("a", Exit::Code(0));
    assert_eq!((bench.finished[0].outcome, bench.finished[0].exit_code), (Outcome::Timeout, Some(0)));
}

#[test]
fn what_is_left_of_the_group_is_ended_and_the_status_is_the_main_process_s() {
    let mut bench = one();
    bench.tell(ended("a", Exit::Code(3), true));
    assert_eq!(bench.signals, [("a".into(), Force::Term)]);
    assert!(bench.closed.is_empty());
    bench.pass(sec(29));
    assert!(matches!(bench.others.last(), Some(Action::CheckGroup { .. })));
    bench.pass(sec(3));
    assert_eq!(bench.signals, [("a".into(), Force::Term), ("a".into(), Force::Kill)]);
    bench.tell(Event::GroupEmptied { tenant: name("a") });
    let finish = &bench.finished[0];
    assert_eq!((finish.outcome, finish.exit_code, finish.ended_ago), (Outcome::Failed, Some(3), sec(0)));
    assert_eq!(bench.take(|notice| matches!(notice, Notice::GroupLeft { .. })), 1);
}

#[test]
fn what_is_left_of_a_run_that_was_asked_to_end_is_killed_with_it() {
    let mut bench = Bench::with_rows(rules(), &[("a", "needed", -900)]);
    bench.list([Listed { timeout: Some(sec(100)), ..tenant("a") }]);
    bench.pass(sec(110));
    bench.tell(ended("a", Exit::Signal(15), true));
    assert_eq!(bench.signals.len(), 1, "the group was asked already");
    bench.pass(sec(22));
    assert_eq!(bench.signals.last(), Some(&("a".into(), Force::Kill)), "kill_after counts from the first signal");
    bench.tell(Event::GroupEmptied { tenant: name("a") });
    assert_eq!(bench.finished[0].outcome, Outcome::Timeout);
}

#[test]
fn late_and_doubled_facts_change_nothing() {
    let mut bench = one();
    bench.tell(lives("a"));
    bench.ends("a", Exit::Code(0));
    bench.ends("a", Exit::Code(1));
    bench.tell(Event::GroupEmptied { tenant: name("a") });
    bench.tell(Event::NotStarted { tenant: name("a"), why: NotStarted::NoResources { text: String::new() } });
    bench.tell(Event::Locked { won: vec![name("a")], held: Vec::new(), slots: 3 });
    bench.tell(lives("nobody"));
    assert_eq!((bench.finished.len(), bench.closed.len(), bench.started.len()), (1, 1, 1));
}

#[test]
fn kill_after_of_the_rules_in_force_counts() {
    let mut bench = Bench::with_rows(rules(), &[("a", "needed", -900)]);
    bench.list([Listed { timeout: Some(sec(100)), ..tenant("a") }]);
    bench.pass(sec(101));
    bench.tell(Event::Reloaded(Box::new(Rules { kill_after: sec(5), ..rules() })));
    bench.pass(sec(6));
    assert_eq!(bench.signals.last(), Some(&("a".into(), Force::Kill)));
}
