//! Rows that disagree with a living child: a failover, a restored backup, a hand.

use super::bench::{Bench, at, open_run, rules, sec};
use crate::model::{Becomes, OpenRun, Outcome, RunId, RunIdentity};
use crate::scheduler::{Action, Event, Exit, Force, Notice, Verdict};

fn at_work() -> Bench {
    let mut bench = Bench::started(rules(), &[("a", "needed", -900)]);
    bench.pass(sec(3));
    assert_eq!((bench.started.len(), bench.runs.len()), (1, 1));
    bench
}

#[test]
fn a_row_that_was_set_back_is_running_again() {
    for value in ["done", "needed"] {
        let mut bench = at_work();
        bench.row("a", value, -900);
        bench.pass(sec(10));
        assert_eq!((bench.repaired.len(), bench.started.len()), (1, 1), "{value}");
        assert_eq!(bench.rows["a"].value.as_str(), "running");
        assert_eq!(bench.take(|notice| matches!(notice, Notice::Repaired { .. })), 1);
        bench.pass(sec(60));
        assert_eq!(bench.repaired.len(), 1, "once");
    }
}

#[test]
fn an_unknown_value_is_left_alone() {
    let mut bench = at_work();
    bench.row("a", "halted", -900);
    bench.pass(sec(30));
    assert!(bench.repaired.is_empty());
}

#[test]
fn a_run_that_is_gone_gets_a_new_one_and_its_end_goes_there() {
    let mut bench = at_work();
    let before = bench.runs[0].identity.clone();
    bench.runs.clear();
    bench.row("a", "needed", -900);
    bench.pass(sec(10));
    let new = bench.runs[0].identity.clone();
    assert_ne!(new.id, before.id);
    assert!(bench.others.iter().any(|action| matches!(action, Action::Renumber { run, .. } if *run == new.id)));
    bench.ends("a", Exit::Code(3));
    let finish = &bench.finished[0];
    assert_eq!((&finish.run, finish.outcome), (&new, Outcome::Failed));
    assert_eq!(bench.started, ["a"], "nothing was started twice");
}

#[test]
fn another_node_s_open_run_ends_ours_and_stays() {
    let mut bench = at_work();
    let run = open_run("a", 77, at(1));
    bench.runs =
        vec![OpenRun { identity: RunIdentity { node: "there".into(), host: "boot/2".into(), ..run.identity }, ..run }];
    bench.pass(sec(10));
    assert_eq!(bench.signals, [("a".into(), Force::Term)]);
    assert_eq!(bench.take(|notice| matches!(notice, Notice::AnotherRunOpen { .. })), 1);
    bench.pass(sec(15));
    assert_eq!(bench.take(|notice| matches!(notice, Notice::AnotherRunOpen { .. })), 0, "told once");
    assert!(bench.repaired.is_empty());
}

#[test]
fn an_old_run_of_this_node_that_a_backup_brought_back_is_lost_and_the_row_kept() {
    let mut bench = at_work();
    bench.runs = vec![open_run("a", 77, at(-600))];
    bench.row("a", "running", -600);
    bench.pass(sec(10));
    let Some(Action::Examine(unknown)) = bench.others.last() else { panic!("not examined") };
    assert_eq!((unknown.run.identity.id, unknown.may_adopt), (RunId(77), false));
    bench.tell(Event::Examined { tenant: super::bench::name("a"), run: RunId(77), verdict: Verdict::Dead });
    let exchange = bench.last_exchange();
    assert_eq!((exchange.finish[0].outcome, exchange.finish[0].becomes), (Outcome::Lost, Becomes::Needed));
    assert_eq!(exchange.repair.len(), 1, "in one transaction: the row is never anybody's");
    assert_eq!((bench.rows["a"].value.as_str(), bench.signals.len()), ("running", 0));
    bench.pass(sec(20));
    assert_eq!((bench.repaired.len(), bench.started.len()), (1, 1));
}

#[test]
fn one_that_two_looks_saw_before_it_was_recorded_is_lost_once() {
    let mut bench = at_work();
    bench.runs = vec![open_run("a", 77, at(-600))];
    bench.row("a", "running", -600);
    bench.hold = true;
    bench.pass(sec(10));
    bench.answer_one();
    bench.tell(Event::Woken(vec![super::bench::name("a")]));
    bench.tell(Event::Examined { tenant: super::bench::name("a"), run: RunId(77), verdict: Verdict::Dead });
    // The second look was sent before the verdict came, and is answered after it.
    bench.answer_one();
    bench.tell(Event::Examined { tenant: super::bench::name("a"), run: RunId(77), verdict: Verdict::Dead });
    bench.release();
    bench.pass(sec(20));
    assert_eq!(bench.take(|notice| matches!(notice, Notice::Lost { .. })), 1);
    assert_eq!((bench.repaired.len(), bench.started.len()), (1, 1));
}

#[test]
fn one_of_before_a_reboot_is_lost_when_it_was_silent_long_enough() {
    let mut bench = at_work();
    let run = open_run("a", 77, at(-600));
    let identity = RunIdentity { host: "boot/0".into(), ..run.identity };
    bench.runs = vec![OpenRun { identity, alive_at: at(-30), ..run }];
    bench.pass(sec(30));
    assert!(bench.finished.is_empty());
    bench.pass(sec(20));
    assert_eq!((bench.finished[0].outcome, bench.repaired.len()), (Outcome::Lost, 1));
}

#[test]
fn a_locked_row_is_repaired_later() {
    let mut bench = at_work();
    bench.row("a", "needed", -900);
    bench.hold = true;
    bench.pass(sec(10));
    // The poll, then the repair, which finds the row locked.
    bench.answer_one();
    bench.waiting.clear();
    bench.hold = false;
    let reply = crate::model::Reply {
        now: Some(at(14)),
        repaired: vec![crate::model::Repaired::NotNow],
        ..crate::model::Reply::default()
    };
    bench.answered(Ok(reply));
    bench.pass(sec(2));
    assert_eq!(bench.repaired.len(), 1);
}

#[test]
fn a_stray_that_is_recorded_late_is_recorded_beside_the_repair() {
    let mut bench = at_work();
    bench.runs = vec![open_run("a", 77, at(-600))];
    bench.row("a", "running", -600);
    bench.pass(sec(10));
    bench.locked = vec!["a".into()];
    bench.tell(Event::Examined { tenant: super::bench::name("a"), run: RunId(77), verdict: Verdict::Dead });
    let before = bench.exchanges.len();
    bench.pass(std::time::Duration::from_millis(150));
    bench.locked.clear();
    bench.pass(sec(3));
    let later: Vec<_> = bench.exchanges[before..].iter().map(|(_, exchange)| exchange).collect();
    assert!(later.iter().any(|exchange| !exchange.finish.is_empty()));
    assert!(later.iter().all(|exchange| exchange.finish.is_empty() || !exchange.repair.is_empty()));
}
