//! Open runs that nobody here knows.

use super::bench::{Bench, at, name, open_run, rules, sec, tenant, trouble};
use crate::model::{Becomes, OpenRun, Outcome, RunId, TroubleKind};
use crate::scheduler::{Action, Event, Exit, Force, Listed, Notice, Rules, Verdict};

/// A row that runs by an open run of this node and host, since 100 s.
fn orphan(run: OpenRun) -> Bench {
    let mut bench = Bench::with_rows(rules(), &[("a", "running", -100)]);
    bench.runs.push(run);
    bench.list([Listed { timeout: Some(sec(500)), ..tenant("a") }]);
    bench
}

fn ours() -> OpenRun {
    open_run("a", 9, at(-100))
}

fn examined(bench: &Bench) -> usize {
    bench.others.iter().filter(|action| matches!(action, Action::Examine(_))).count()
}

fn verdict(bench: &mut Bench, verdict: Verdict) {
    bench.tell(Event::Examined { tenant: name("a"), run: RunId(9), verdict });
}

const ALIVE: Verdict = Verdict::Adopted { pid: 31, pid_start: 310 };

#[test]
fn an_unknown_open_run_is_examined_at_every_look() {
    let mut bench = orphan(ours());
    assert_eq!(examined(&bench), 1);
    verdict(&mut bench, Verdict::Undecided);
    bench.pass(sec(10));
    verdict(&mut bench, Verdict::Supervised);
    bench.pass(sec(10));
    assert_eq!(examined(&bench), 3);
    assert!(bench.started.is_empty() && bench.finished.is_empty());
}

#[test]
fn a_dead_one_is_lost_and_its_row_needed() {
    let mut bench = orphan(ours());
    verdict(&mut bench, Verdict::Dead);
    let finish = &bench.finished[0];
    assert_eq!((finish.outcome, finish.becomes, finish.run.id), (Outcome::Lost, Becomes::Needed, RunId(9)));
    assert_eq!(bench.started, ["a"]);
    assert_eq!(bench.take(|notice| matches!(notice, Notice::Lost { .. })), 1);
}

#[test]
fn a_living_one_is_adopted_confirmed_at_once_and_its_end_recorded_as_adopted() {
    let mut bench = orphan(ours());
    verdict(&mut bench, ALIVE);
    let refresh = &bench.last_exchange().refresh[0];
    assert_eq!((refresh.run.id, refresh.pid, refresh.pid_start), (RunId(9), Some(31), Some(310)));
    assert_eq!(bench.core.running(), 1);
    bench.pass(sec(20));
    assert_eq!(examined(&bench), 1, "it is known now");
    bench.ends("a", Exit::Unknown);
    let finish = &bench.finished[0];
    assert_eq!(
        (finish.outcome, finish.becomes, finish.exit_code, finish.signal),
        (Outcome::Adopted, Becomes::Done, None, None)
    );
    assert_eq!(bench.closed[0].elapsed, sec(120));
}

#[test]
fn an_adopted_run_holds_a_slot_and_keeps_its_timeout() {
    let mut bench = orphan(ours());
    verdict(&mut bench, ALIVE);
    bench.row("b", "needed", -50);
    bench.list([Listed { timeout: Some(sec(500)), ..tenant("a") }, tenant("b")]);
    assert!(bench.started.is_empty());
    bench.pass(sec(398));
    assert!(bench.signals.is_empty());
    bench.pass(sec(4));
    assert_eq!(bench.signals, [("a".into(), Force::Term)]);
    bench.ends("a", Exit::Unknown);
    assert_eq!((bench.finished[0].outcome, bench.started.as_slice()), (Outcome::Timeout, ["b".to_owned()].as_slice()));
}

#[test]
fn an_adopted_run_is_stopped_with_the_others() {
    let mut bench = orphan(ours());
    verdict(&mut bench, ALIVE);
    bench.tell(Event::StopAsked);
    assert_eq!(bench.signals, [("a".into(), Force::Term)]);
    bench.ends("a", Exit::Unknown);
    assert_eq!((bench.finished[0].outcome, bench.finished[0].becomes), (Outcome::Stopped, Becomes::Needed));
    assert!(bench.exit.is_some());
}

#[test]
fn a_verdict_that_comes_too_late_is_not_heard() {
    let mut bench = orphan(ours());
    bench.runs.clear();
    bench.row("a", "done", -1);
    bench.pass(sec(11));
    verdict(&mut bench, Verdict::Dead);
    bench.tell(Event::Examined { tenant: name("a"), run: RunId(8), verdict: Verdict::Dead });
    assert!(bench.finished.is_empty());
}

#[test]
fn a_run_of_an_earlier_boot_is_examined_once_it_is_silent_for_75_seconds() {
    let mut before = ours();
    before.identity.host = "earlier/1".into();
    before.alive_at = at(-20);
    let slow = Rules { poll: sec(600), ..rules() };
    let mut bench = Bench::with_rows(slow, &[("a", "running", -100), ("b", "needed", -50)]);
    bench.runs.push(before);
    bench.list(["a", "b"].map(tenant));
    assert_eq!(bench.started, ["b"], "others start meanwhile");
    bench.pass(sec(54));
    assert_eq!(examined(&bench), 0);
    bench.pass(sec(2));
    assert_eq!(examined(&bench), 1, "looked at again in time, whatever poll says");
}

#[test]
fn a_run_of_an_earlier_boot_that_moves_is_never_examined() {
    let mut before = ours();
    before.identity.host = "earlier/1".into();
    let mut bench = orphan(before);
    for second in 0..60 {
        bench.runs[0].alive_at = at(second * 10);
        bench.pass(sec(10));
    }
    // The first look saw one that was silent for long; no later one did.
    assert!(examined(&bench) <= 1);
}

#[test]
fn runs_of_other_nodes_are_left_alone() {
    let mut other = ours();
    other.identity.node = "elsewhere".into();
    let mut bench = orphan(other);
    bench.pass(sec(1_000));
    assert_eq!((examined(&bench), bench.started.len()), (0, 0));
}

#[test]
fn a_needed_row_with_an_open_run_is_told_once_an_hour_and_not_offered() {
    let mut other = ours();
    other.identity.node = "elsewhere".into();
    let mut bench = Bench::with_rows(rules(), &[("a", "needed", -100)]);
    bench.runs.push(other);
    bench.list([tenant("a")]);
    bench.pass(sec(3_000));
    assert!(bench.claims().is_empty());
    assert_eq!(bench.take(|notice| matches!(notice, Notice::OpenRunInTheWay { .. })), 1);
    bench.pass(sec(1_000));
    assert_eq!(bench.take(|notice| matches!(notice, Notice::OpenRunInTheWay { .. })), 1);
}

#[test]
fn a_claim_whose_answer_was_lost_is_found_by_the_next_look() {
    let mut bench = Bench::with_rows(rules(), &[("a", "needed", -10)]);
    bench.hold = true;
    bench.list([tenant("a")]);
    bench.answer_one();
    bench.answer_one();
    let Some(Action::Exchange { database, exchange }) = bench.waiting.pop_front() else { panic!("no claim") };
    bench.answer(&exchange);
    bench.release();
    let started = bench.started.len();
    bench.tell(Event::Exchanged { database, number: exchange.number, result: Err(trouble(TroubleKind::Interrupted)) });
    assert_eq!((bench.started.len(), bench.slots), (started, 1_000), "lock and slot are let go");
    bench.pass(sec(2));
    assert_eq!(examined(&bench), 1);
    let run = bench.runs[0].identity.id;
    bench.tell(Event::Examined { tenant: name("a"), run, verdict: Verdict::Dead });
    assert_eq!((bench.finished.last().unwrap().outcome, bench.started.len()), (Outcome::Lost, started + 1));
}

#[test]
fn a_process_of_a_tenant_that_vanished_is_looked_after_in_a_database_that_has_no_other() {
    let mut bench = Bench::with_rows(rules(), &[("a", "running", -100)]);
    bench.runs.push(ours());
    bench.down = true;
    bench.list([]);
    bench.tell(Event::UnlistedFound(Box::new(tenant("a"))));
    bench.pass(sec(3));
    bench.down = false;
    bench.pass(sec(30));
    assert!(examined(&bench) >= 2, "at every poll");
    verdict(&mut bench, ALIVE);
    bench.ends("a", Exit::Unknown);
    assert_eq!((bench.finished[0].outcome, bench.started.len()), (Outcome::Adopted, 0));
    bench.pass(sec(100));
    assert!(bench.started.is_empty());
}

#[test]
fn a_run_of_an_earlier_boot_is_judged_by_when_it_was_read_and_not_by_when_the_answer_came() {
    let mut before = ours();
    before.identity.host = "earlier/1".into();
    before.alive_at = at(-20);
    let mut bench = Bench::with_rows(rules(), &[("a", "running", -100)]);
    bench.runs.push(before);
    bench.list([tenant("a")]);
    bench.hold = true;
    bench.pass(sec(11));
    let Some(Action::Exchange { exchange, .. }) = bench.waiting.pop_front() else { panic!("no look") };
    let reply = bench.answer(&exchange);
    bench.now = bench.now + sec(60);
    bench.answered(Ok(reply));
    assert_eq!(examined(&bench), 0, "silent for half a minute when it was read; it may have been confirmed since");
}
