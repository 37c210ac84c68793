//! Upgrade in place: coming to rest, and what the next program begins with.

use super::bench::{Bench, ended, name, rules, sec, tenant};
use crate::model::{DatabaseId, Outcome};
use crate::scheduler::{Action, AllEnds, Event, Exit, ExitReason, Force, Listed, Rules, Scheduler};

fn upgrades(bench: &Bench) -> usize {
    bench.others.iter().filter(|action| matches!(action, Action::Upgrade)).count()
}

/// A program that goes on in the place of this one, with the same rows.
fn replace(bench: &mut Bench, rules: Rules, listed: &Listed) {
    let runs = bench.core.carried_runs();
    bench.core = Scheduler::new(rules);
    for (_, run) in runs {
        bench.tell(Event::Carried { listed: Box::new(listed.clone()), run: Box::new(run) });
    }
}

#[test]
fn what_is_in_flight_is_waited_for_and_nothing_new_is_said() {
    let mut bench = Bench::with_rows(rules(), &[("a", "needed", -900), ("b", "needed", -800)]);
    bench.hold = true;
    bench.list([tenant("a"), tenant("b")]);
    bench.tell(Event::UpgradeAsked);
    assert_eq!(upgrades(&bench), 0);
    bench.release();
    assert_eq!((upgrades(&bench), bench.started.len()), (1, 0));
    bench.pass(sec(60));
    assert_eq!((upgrades(&bench), bench.started.len()), (1, 0), "at rest until it is answered");
    bench.tell(Event::UpgradeFailed);
    assert_eq!(bench.started, ["a"], "and goes on");
}

#[test]
fn a_claim_in_flight_is_started_before_the_rest() {
    let mut bench = Bench::with_rows(rules(), &[("a", "needed", -900)]);
    bench.hold = true;
    bench.list([tenant("a")]);
    bench.answer_one();
    bench.answer_one();
    bench.tell(Event::UpgradeAsked);
    bench.release();
    assert_eq!((bench.started.len(), upgrades(&bench)), (1, 1));
    assert_eq!(bench.core.carried_runs().len(), 1);
}

#[test]
fn the_next_program_goes_on_with_its_run() {
    let mut bench = Bench::with_rows(rules(), &[("a", "needed", -900)]);
    let listed = Listed { timeout: Some(sec(100)), ..tenant("a") };
    bench.list([listed.clone()]);
    bench.pass(sec(50));
    bench.tell(Event::UpgradeAsked);
    replace(&mut bench, rules(), &listed);
    bench.list([listed]);
    assert!(!bench.others.iter().any(|action| matches!(action, Action::Examine(_))), "it is known");
    bench.pass(sec(51));
    assert_eq!(bench.signals, [("a".into(), Force::Term)], "its timeout counts on");
    bench.ends("a", Exit::Signal(15));
    assert_eq!(bench.finished[0].outcome, Outcome::Timeout);
    assert_eq!((bench.closed.len(), bench.slots), (1, 1_000), "its slot is free");
}

#[test]
fn what_is_left_of_a_group_and_a_stop_that_was_asked_of_it_go_along() {
    let mut bench = Bench::started(rules(), &[("a", "needed", -900)]);
    bench.tell(ended("a", Exit::Code(4), true));
    bench.tell(Event::UpgradeAsked);
    replace(&mut bench, rules(), &tenant("a"));
    bench.pass(sec(1));
    bench.tell(Event::GroupEmptied { tenant: name("a") });
    assert_eq!((bench.finished[0].outcome, bench.finished[0].exit_code), (Outcome::Failed, Some(4)));
}

#[test]
fn an_end_that_is_not_recorded_is_kept_not_carried() {
    let mut bench = Bench::started(rules(), &[("a", "needed", -900)]);
    bench.down = true;
    bench.ends("a", Exit::Code(0));
    bench.tell(Event::UpgradeAsked);
    assert_eq!(upgrades(&bench), 1, "a database that is down is not waited for");
    assert!(bench.core.carried_runs().is_empty());
    assert_eq!(bench.core.unrecorded_ends(AllEnds::Yes).len(), 1);
}

#[test]
fn a_stop_outweighs_an_upgrade() {
    let mut bench = Bench::started(rules(), &[("a", "needed", -900)]);
    bench.hold = true;
    bench.pass(sec(11));
    bench.tell(Event::UpgradeAsked);
    bench.tell(Event::StopAsked);
    bench.tell(Event::UpgradeAsked);
    bench.release();
    bench.ends("a", Exit::Signal(15));
    bench.pass(sec(1));
    assert_eq!((upgrades(&bench), bench.exit), (0, Some(ExitReason::Done)));
}

#[test]
fn a_lease_does_not_wait_for_a_database_that_hangs_while_all_comes_to_rest() {
    let rules = Rules { workers: 2, shared: false, lease: Some(sec(60)), ..rules() };
    let elsewhere = |key: &str, database| Listed { database: DatabaseId(database), ..tenant(key) };
    let mut bench = Bench::with_rows(rules, &[("a", "needed", -900), ("b", "needed", -800)]);
    bench.list([elsewhere("a", 0), elsewhere("b", 1)]);
    bench.pass(sec(5));
    assert_eq!(bench.started.len(), 2);
    bench.hold = true;
    bench.pass(sec(6));
    // b's exchange hangs, a's are answered.
    let of_a = |action: &Action| matches!(action, Action::Exchange { database, .. } if database.0 == 0);
    while let Some(place) = bench.waiting.iter().position(of_a) {
        bench.answer_at(place);
    }
    assert!(!std::mem::take(&mut bench.waiting).is_empty());
    bench.hold = false;
    bench.tell(Event::UpgradeAsked);
    bench.pass(sec(25));
    assert_eq!(bench.signals, [("b".into(), Force::Term)]);
    assert_eq!(upgrades(&bench), 0);
}
