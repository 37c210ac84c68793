//! How databases fare: outages, looks, refreshes, rows that are locked.

use super::bench::{Bench, at, name, rules, sec, tenant, trouble};
use crate::model::{DatabaseId, Exchange, Finished, Outcome, Refreshed, Reply, RowValue, TroubleKind};
use crate::scheduler::{Action, Event, Exit, Force, Listed, Notice, Reason, Rules};

fn down(notice: &Notice) -> bool {
    matches!(notice, Notice::DatabaseDown { .. })
}

fn up(notice: &Notice) -> bool {
    matches!(notice, Notice::DatabaseUp { .. })
}

fn polls(bench: &Bench) -> usize {
    bench.exchanges.iter().filter(|(_, exchange)| exchange.poll.is_some()).count()
}

#[test]
fn an_outage_is_told_once_when_it_begins_and_once_when_it_ends() {
    let mut bench = Bench::started(rules(), &[("a", "needed", -900)]);
    bench.down = true;
    bench.pass(sec(1_000));
    assert_eq!(bench.notices.iter().filter(|notice| down(notice)).count(), 1);
    assert_eq!(bench.take(up), 0);
    bench.down = false;
    bench.pass(sec(31));
    let for_long = |notice: &Notice| matches!(notice, Notice::DatabaseUp { down_for, .. } if *down_for > sec(980));
    assert_eq!(bench.take(for_long), 1);
}

#[test]
fn it_is_asked_again_later_and_later_up_to_thirty_seconds() {
    let mut bench = Bench::with_rows(rules(), &[("a", "needed", -900)]);
    bench.down = true;
    bench.list([tenant("a")]);
    bench.pass(sec(10));
    assert!((3..=6).contains(&bench.exchanges.len()), "{} tries in 10 s", bench.exchanges.len());
    bench.pass(sec(90));
    let before = bench.exchanges.len();
    bench.pass(sec(600));
    assert!(
        (20..=41).contains(&(bench.exchanges.len() - before)),
        "{} tries in 10 min",
        bench.exchanges.len() - before
    );
    assert!(bench.core.reasons().contains(&(name("a"), Reason::DatabaseDown)));
}

#[test]
fn ends_are_kept_and_recorded_when_it_returns() {
    let mut bench = Bench::started(Rules { workers: 2, ..rules() }, &[("a", "needed", -900), ("b", "needed", -800)]);
    bench.down = true;
    bench.pass(sec(50));
    bench.ends("a", Exit::Code(3));
    bench.ends("b", Exit::Signal(11));
    assert_eq!(bench.closed.len(), 2, "slots are free at once");
    bench.pass(sec(500));
    assert!(bench.finished.is_empty());
    bench.down = false;
    bench.pass(sec(31));
    let ends: Vec<_> = bench.finished.iter().map(|finish| (finish.run.key.as_str(), finish.outcome)).collect();
    assert_eq!(ends, [("a", Outcome::Failed), ("b", Outcome::Killed)]);
    assert!(bench.finished.iter().all(|finish| finish.ended_ago >= sec(500)));
    assert!(bench.exchanges.iter().filter(|(_, exchange)| exchange.finish.len() == 2).count() > 0);
}

#[test]
fn a_record_whose_answer_was_lost_is_said_again() {
    let mut bench = Bench::started(rules(), &[("a", "needed", -900)]);
    bench.hold = true;
    bench.ends("a", Exit::Code(0));
    bench.waiting.clear();
    bench.hold = false;
    bench.answered(Err(trouble(TroubleKind::Interrupted)));
    bench.pass(sec(2));
    assert_eq!(bench.finished.len(), 1);
    bench.pass(sec(100));
    assert_eq!(bench.finished.len(), 1, "acknowledged once, said no more");
}

#[test]
fn a_record_kept_from_a_locked_row_goes_with_the_next_exchange() {
    let mut bench = Bench::started(rules(), &[("a", "needed", -900)]);
    bench.locked = vec!["a".into()];
    bench.ends("a", Exit::Code(0));
    bench.pass(sec(2));
    assert!(bench.finished.is_empty());
    let tries = bench.exchanges.iter().filter(|(_, exchange)| !exchange.finish.is_empty()).count();
    assert!((3..=12).contains(&tries), "{tries} tries in 2 s");
    bench.locked.clear();
    bench.pass(sec(1));
    assert_eq!(bench.finished.len(), 1);
}

#[test]
fn a_run_closed_by_another_keeps_their_outcome() {
    let mut bench = Bench::started(rules(), &[("a", "needed", -900)]);
    bench.hold = true;
    bench.ends("a", Exit::Code(0));
    bench.waiting.clear();
    bench.hold = false;
    bench.row("a", "needed", -900);
    bench.runs.clear();
    let reply = Reply { now: Some(at(1)), finished: vec![Finished::ClosedByAnother], ..Reply::default() };
    bench.answered(Ok(reply));
    assert_eq!(bench.take(|notice| matches!(notice, Notice::ClosedByAnother { .. })), 1);
    bench.pass(sec(1));
    assert_eq!(bench.started, ["a", "a"], "looked at again before it was started");
}

#[test]
fn lives_are_confirmed_after_two_seconds_and_then_every_thirty() {
    let mut bench = Bench::started(rules(), &[("a", "needed", -900)]);
    let refreshes = |bench: &Bench| bench.exchanges.iter().filter(|(_, exchange)| !exchange.refresh.is_empty()).count();
    bench.pass(sec(1));
    assert_eq!(refreshes(&bench), 0);
    bench.pass(sec(1) + sec(1) / 2);
    assert_eq!(refreshes(&bench), 1);
    assert_eq!(bench.last_exchange().refresh[0].pid, Some(900));
    bench.pass(sec(60));
    assert_eq!(refreshes(&bench), 3);
    bench.ends("a", Exit::Code(0));
    bench.pass(sec(100));
    assert_eq!(refreshes(&bench), 3);
}

#[test]
fn a_run_that_others_closed_is_ended() {
    let mut bench = Bench::started(rules(), &[("a", "needed", -900)]);
    bench.hold = true;
    bench.pass(sec(3));
    bench.waiting.clear();
    bench.hold = false;
    let reply = Reply { now: Some(at(3)), refreshed: vec![Refreshed::Closed], ..Reply::default() };
    bench.answered(Ok(reply));
    assert_eq!(bench.signals, [("a".into(), Force::Term)]);
}

#[test]
fn a_claim_that_got_nothing_is_followed_by_a_look() {
    let mut bench = Bench::with_rows(rules(), &[("a", "needed", -900)]);
    bench.locked = vec!["a".into()];
    bench.list([tenant("a")]);
    let before = polls(&bench);
    assert_eq!(bench.claims().len(), 1);
    bench.pass(sec(1) / 2);
    assert_eq!((bench.claims().len(), polls(&bench)), (1, before), "not at once again");
    bench.pass(sec(1));
    assert_eq!((bench.claims().len(), polls(&bench)), (2, before + 1));
    // Another node took it meanwhile.
    bench.row("a", "running", 1);
    bench.pass(sec(10));
    assert_eq!(bench.claims().len(), 2);
}

#[test]
fn a_look_comes_every_poll_and_at_once_when_somebody_tells_of_a_change() {
    let mut bench = Bench::started(rules(), &[("a", "done", 0)]);
    assert_eq!(polls(&bench), 1);
    bench.pass(sec(9));
    assert_eq!(polls(&bench), 1);
    bench.pass(sec(2));
    assert_eq!(polls(&bench), 2);
    bench.rows.get_mut("a").unwrap().value = RowValue::Needed;
    bench.tell(Event::Notified { database: DatabaseId(0), key: Some("of-another-instance".into()) });
    assert_eq!(polls(&bench), 2);
    bench.tell(Event::Notified { database: DatabaseId(0), key: Some("a".into()) });
    assert_eq!((polls(&bench), bench.started.len()), (3, 1));
    bench.tell(Event::Notified { database: DatabaseId(0), key: None });
    bench.tell(Event::Woken(Vec::new()));
    bench.tell(Event::Woken(vec![name("a")]));
    assert_eq!(polls(&bench), 6);
}

#[test]
fn tenants_without_a_row_are_told_once_an_hour() {
    let mut bench = Bench::new(rules());
    bench.list([tenant("a")]);
    bench.pass(sec(3_000));
    assert_eq!(bench.take(|notice| matches!(notice, Notice::NoRow { .. })), 1);
    bench.row("a", "odd", 0);
    bench.pass(sec(1_000));
    assert_eq!(bench.take(|notice| matches!(notice, Notice::UnknownValue { .. })), 1);
}

#[test]
fn a_tenant_listed_while_a_look_is_under_way_has_a_row_all_the_same() {
    let mut bench = Bench::with_rows(rules(), &[("a", "done", 0), ("b", "needed", 0)]);
    bench.hold = true;
    bench.list([tenant("a")]);
    bench.list([tenant("a"), tenant("b")]);
    bench.release();
    assert_eq!(bench.take(|notice| matches!(notice, Notice::NoRow { .. })), 0);
    assert_eq!(bench.started, ["b"]);
}

#[test]
fn a_tenant_that_moves_to_another_database_takes_its_pending_reset_along() {
    let mut bench = Bench::with_rows(Rules { shared: false, ..rules() }, &[("a", "done", -60), ("b", "done", 5)]);
    bench.hold = true;
    bench.list([tenant("a")]);
    bench.answer_one();
    assert!(bench.waiting.iter().any(resets), "the reset is under way");
    // a leaves, b takes its place in another database; the answer comes.
    bench.list([Listed { database: DatabaseId(1), ..tenant("b") }]);
    bench.release();
    bench.pass(sec(5));
    assert!(bench.exchanges.iter().all(|(database, exchange)| database.0 == 0 || exchange.reset.is_empty()));
    assert!(bench.started.is_empty());
}

fn resets(action: &Action) -> bool {
    matches!(action, Action::Exchange { exchange: Exchange { reset, .. }, .. } if !reset.is_empty())
}

#[test]
fn what_gathers_while_an_exchange_is_under_way_goes_together_in_the_next() {
    let rows = [("a", "needed", -900), ("b", "needed", -800), ("c", "needed", -700), ("d", "needed", -600)];
    let mut bench = Bench::started(Rules { workers: 3, ..rules() }, &rows);
    bench.hold = true;
    bench.ends("a", Exit::Code(0));
    bench.ends("b", Exit::Code(0));
    bench.ends("c", Exit::Code(0));
    bench.release();
    let finishes: Vec<_> =
        bench.exchanges.iter().map(|(_, exchange)| exchange.finish.len()).filter(|many| *many > 0).collect();
    assert!(finishes.len() <= 2 && finishes.iter().sum::<usize>() == 3, "{finishes:?}");
}
