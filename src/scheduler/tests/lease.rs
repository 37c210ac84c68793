//! Leases: a run is over before others may take it, and is taken once its lease is.

use super::bench::{Bench, at, name, open_run, rules, sec, tenant, trouble};
use crate::model::{Becomes, Identity, OpenRun, Outcome, Refreshed, Reply, RunIdentity, TroubleKind};
use crate::scheduler::{Action, Event, Exit, Force, Listed, Notice, Rules, Verdict};
use std::time::Duration;

/// A lease of 70 s and a `kill_after` of 30 s: asked to end 30 s after the last good refresh was sent, killed after 60 s.
fn leased() -> Rules {
    Rules { lease: Some(sec(70)), ..rules() }
}

fn at_work() -> Bench {
    let mut bench = Bench::started(leased(), &[("a", "needed", -900)]);
    assert_eq!(bench.started, ["a"]);
    bench.signals.clear();
    bench
}

#[test]
fn a_claim_carries_the_lease_and_lives_are_confirmed_three_times_within_it() {
    let mut bench = at_work();
    let claim = bench.exchanges.iter().find_map(|(_, exchange)| exchange.claim.clone()).unwrap();
    assert_eq!(claim.lease, Some(sec(70)));
    bench.pass(sec(62));
    let refreshes = bench.exchanges.iter().filter(|(_, exchange)| !exchange.refresh.is_empty()).count();
    // After 2 s, and then every 10 s.
    assert_eq!((refreshes, bench.signals.len()), (7, 0));
}

#[test]
fn a_run_that_cannot_be_confirmed_is_asked_then_killed_counted_from_the_last_good_refresh() {
    let mut bench = at_work();
    bench.pass(sec(3));
    bench.down = true;
    bench.pass(sec(28));
    assert!(bench.signals.is_empty(), "confirmed at 2 s, fenced at 32 s");
    bench.pass(sec(2));
    assert_eq!(bench.signals, [("a".into(), Force::Term)]);
    bench.pass(sec(28));
    assert_eq!(bench.signals.len(), 1);
    bench.pass(sec(2));
    assert_eq!(bench.signals[1], ("a".into(), Force::Kill));
    bench.ends("a", Exit::Signal(9));
    bench.down = false;
    bench.pass(sec(31));
    let finish = &bench.finished[0];
    assert_eq!((finish.outcome, finish.becomes), (Outcome::Stopped, Becomes::Needed));
}

#[test]
fn it_counts_from_when_the_refresh_was_sent_not_from_its_answer() {
    let mut bench = at_work();
    bench.hold = true;
    bench.pass(sec(25));
    // Sent at 2 s, answered at 25 s.
    bench.release();
    bench.down = true;
    bench.pass(sec(6));
    assert!(bench.signals.is_empty());
    bench.pass(sec(2));
    assert_eq!(bench.signals, [("a".into(), Force::Term)]);
}

#[test]
fn a_supervisor_that_thaws_beyond_its_lease_kills_at_once() {
    let mut bench = at_work();
    bench.pass(sec(3));
    bench.hold = true;
    bench.now = bench.now + sec(100);
    bench.tell(Event::Tick);
    assert_eq!(bench.signals, [("a".into(), Force::Term), ("a".into(), Force::Kill)]);
}

#[test]
fn a_claim_that_is_answered_too_late_starts_nothing() {
    let mut bench = Bench::with_rows(leased(), &[("a", "needed", -900)]);
    bench.hold = true;
    bench.list([tenant("a")]);
    bench.answer_one();
    bench.answer_one();
    bench.now = bench.now + sec(31);
    bench.release();
    // Given back, and claimed anew on a whole lease.
    assert_eq!((bench.undone.len(), bench.claims().len(), bench.started.len()), (1, 2, 1));
    assert_eq!(bench.runs[0].identity.id.0, 2);
}

#[test]
fn an_adopted_run_counts_from_its_last_refresh_by_the_other() {
    let mut bench = Bench::with_rows(rules(), &[("a", "running", -4)]);
    bench.runs.push(OpenRun { lease: Some(sec(70)), ..open_run("a", 9, at(-4)) });
    bench.list([tenant("a")]);
    bench.hold = true;
    bench.tell(Event::Examined {
        tenant: name("a"),
        run: crate::model::RunId(9),
        verdict: Verdict::Adopted { pid: 31, pid_start: 310 },
    });
    bench.pass(sec(25));
    assert!(bench.signals.is_empty());
    bench.pass(sec(2));
    assert_eq!(bench.signals, [("a".into(), Force::Term)]);
}

#[test]
fn an_adopted_run_that_nobody_took_goes_on_although_its_lease_is_long_over() {
    let adopted = |down| {
        let mut bench = Bench::with_rows(rules(), &[("a", "running", -600)]);
        bench.now = bench.now + sec(1_000);
        bench.runs.push(OpenRun { lease: Some(sec(70)), alive_at: at(400), ..open_run("a", 9, at(-600)) });
        bench.list([tenant("a")]);
        bench.down = down;
        let verdict = Verdict::Adopted { pid: 31, pid_start: 310 };
        bench.tell(Event::Examined { tenant: name("a"), run: crate::model::RunId(9), verdict });
        bench.pass(sec(6));
        bench.signals.len()
    };
    assert_eq!((adopted(false), adopted(true)), (0, 2), "asked and killed where no answer comes");
}

#[test]
fn an_outage_does_not_delay_the_next_try_beyond_a_refresh() {
    let mut bench = at_work();
    bench.pass(sec(3));
    bench.down = true;
    bench.pass(sec(20));
    let tries = bench.exchanges.len();
    bench.pass(sec(10) + Duration::from_millis(500));
    assert!(bench.exchanges.len() > tries);
}

/// Another node's run of `a`, confirmed last at -10 s.
fn theirs(host: &str) -> Bench {
    let mut bench = Bench::with_rows(Rules { workers: 1, ..rules() }, &[("a", "running", -100)]);
    let run = open_run("a", 9, at(-100));
    let identity = RunIdentity { node: "there".into(), host: host.into(), ..run.identity };
    bench.runs.push(OpenRun { identity, alive_at: at(-10), lease: Some(sec(70)), ..run });
    bench.list([tenant("a")]);
    bench
}

#[test]
fn another_node_s_run_is_taken_over_once_its_lease_is_over_and_not_before() {
    let mut bench = theirs("boot/2");
    bench.pass(sec(60));
    assert!(bench.exchanges.iter().all(|(_, exchange)| exchange.release.is_empty()));
    bench.pass(sec(1));
    let release = bench.exchanges.iter().find_map(|(_, exchange)| exchange.release.first().cloned()).unwrap();
    assert_eq!((release.silent_for, release.updated_at), (sec(70), at(-100)));
    assert_eq!(release.run.unwrap().node, "there");
    assert_eq!(bench.take(|notice| matches!(notice, Notice::TakenOver { .. })), 1);
    bench.runs.clear();
    bench.pass(sec(11));
    assert_eq!(bench.started, ["a"]);
}

#[test]
fn a_run_that_is_confirmed_is_never_taken() {
    let mut bench = theirs("boot/2");
    for _ in 0..20 {
        bench.pass(sec(30));
        bench.runs[0].alive_at = bench.db_now();
    }
    assert!(bench.exchanges.iter().all(|(_, exchange)| exchange.release.is_empty()));
}

#[test]
fn one_without_a_lease_is_left_alone() {
    let mut bench = theirs("boot/2");
    bench.runs[0].lease = None;
    bench.pass(sec(10));
    bench.pass(sec(600));
    assert!(bench.exchanges.iter().all(|(_, exchange)| exchange.release.is_empty()));
}

#[test]
fn on_this_very_host_the_kernel_is_asked_first() {
    let mut bench = theirs(&rules().identity.host);
    bench.pass(sec(62));
    assert!(matches!(bench.others.last(), Some(Action::Examine(unknown)) if !unknown.may_adopt));
    let run = bench.runs[0].identity.id;
    bench.tell(Event::Examined { tenant: name("a"), run, verdict: Verdict::Supervised });
    assert!(bench.exchanges.iter().all(|(_, exchange)| exchange.release.is_empty()));
    bench.tell(Event::Examined { tenant: name("a"), run, verdict: Verdict::Dead });
    assert_eq!(bench.exchanges.iter().filter(|(_, exchange)| !exchange.release.is_empty()).count(), 1);
}

#[test]
fn a_late_answer_of_a_run_that_was_taken_ends_the_child() {
    let mut bench = at_work();
    bench.hold = true;
    bench.pass(sec(3));
    bench.waiting.clear();
    bench.hold = false;
    let reply = Reply { now: Some(at(3)), refreshed: vec![Refreshed::Closed], ..Reply::default() };
    bench.answered(Ok(reply));
    assert_eq!(bench.signals, [("a".into(), Force::Term)]);
    bench.answered(Err(trouble(TroubleKind::Interrupted)));
    assert_eq!(bench.signals.len(), 1, "an answer that comes twice is none");
}

#[test]
fn what_the_timeout_asked_is_killed_when_the_lease_wants_it() {
    let mut bench = Bench::with_rows(Rules { kill_after: sec(45), ..leased() }, &[("a", "needed", -900)]);
    bench.list([Listed { timeout: Some(sec(12)), ..tenant("a") }]);
    bench.pass(sec(3));
    bench.hold = true;
    bench.pass(sec(10));
    assert_eq!(bench.signals, [("a".into(), Force::Term)]);
    bench.pass(sec(50));
    assert_eq!(bench.signals[1..], [("a".into(), Force::Kill)], "kill_after alone would give it until 57 s");
    let Identity { node, .. } = rules().identity;
    assert_eq!(node, "here");
}

#[test]
fn a_reload_that_raises_kill_after_ends_no_run_of_an_older_lease() {
    let old = Rules { lease: Some(sec(120)), ..rules() };
    let mut bench = Bench::started(old.clone(), &[("a", "needed", -900)]);
    bench.pass(sec(60));
    bench.tell(Event::Reloaded(Box::new(Rules { lease: Some(sec(1_200)), kill_after: sec(300), ..old })));
    bench.pass(sec(60));
    assert!(bench.signals.is_empty(), "{:?}", bench.signals);
}
