//! When done rows become needed.

use super::bench::{Bench, MIN, at, rules, sec, tenant};
use crate::scheduler::{Exit, Listed, Rounds, Rules};

#[test]
fn rolling_makes_each_needed_at_its_own_slot() {
    let mut bench = Bench::with_rows(rules(), &[("a", "done", -60), ("b", "done", -60)]);
    bench.list([tenant("a"), Listed { offset: 5 * MIN, ..tenant("b") }]);
    bench.pass(sec(4 * 60));
    // a's slot is at the beginning, after its end a minute before.
    assert_eq!(bench.resets(), [("a", at(0))]);
    bench.ends("a", Exit::Code(0));
    bench.pass(sec(2 * 60));
    assert_eq!(bench.resets(), [("a", at(0)), ("b", at(300))]);
}

#[test]
fn missed_slots_collapse_into_one() {
    let mut bench = Bench::started(rules(), &[("a", "done", -9_000)]);
    bench.pass(sec(10));
    bench.ends("a", Exit::Code(0));
    bench.pass(sec(1_000));
    assert_eq!(bench.resets(), [("a", at(0))]);
    bench.pass(sec(200));
    assert_eq!(bench.resets(), [("a", at(0)), ("a", at(1_200))]);
}

#[test]
fn a_run_over_several_slots_is_followed_by_one() {
    let mut bench = Bench::started(rules(), &[("a", "done", -60)]);
    bench.pass(sec(3_000));
    assert_eq!(bench.started, ["a"]);
    bench.ends("a", Exit::Code(0));
    bench.pass(sec(599));
    assert_eq!(bench.started, ["a"]);
    bench.pass(sec(2));
    assert_eq!((bench.started.len(), bench.resets().last().unwrap().1), (2, at(3_600)));
}

#[test]
fn a_row_that_ended_at_its_slot_waits_for_the_next() {
    let mut bench = Bench::started(rules(), &[("a", "done", 0)]);
    bench.pass(sec(1_199));
    assert!(bench.resets().is_empty());
    bench.pass(sec(2));
    assert_eq!(bench.resets(), [("a", at(1_200))]);
}

/// Two workers; a is done and due, b is long, c short.
fn three(rounds: Rounds) -> Bench {
    let rules = Rules { rounds, workers: 2, ..rules() };
    let mut bench = Bench::started(rules, &[("a", "done", -60), ("b", "needed", -700), ("c", "needed", -600)]);
    bench.pass(sec(2));
    assert_eq!(bench.started, ["b", "c"]);
    bench
}

#[test]
fn rolling_does_not_wait_for_the_round_to_end() {
    let mut bench = three(Rounds::Rolling);
    bench.ends("c", Exit::Code(0));
    assert_eq!(bench.started, ["b", "c", "a"]);
}

#[test]
fn refill_waits_until_nobody_is_needed_and_a_slot_is_free() {
    let mut bench = three(Rounds::Refill);
    bench.pass(sec(100));
    assert!(bench.resets().is_empty(), "all slots are taken");
    bench.ends("c", Exit::Code(0));
    assert_eq!(bench.started, ["b", "c", "a"]);
    bench.ends("a", Exit::Code(0));
    bench.pass(sec(1_200));
    // The slots of a and c have come, b runs on.
    assert_eq!(bench.started.len(), 4);
    assert_eq!(bench.resets().len(), 3);
}

#[test]
fn refill_does_not_begin_while_a_tenant_is_needed() {
    let rules = Rules { rounds: Rounds::Refill, workers: 1, ..rules() };
    let mut bench = Bench::started(rules, &[("a", "done", -60), ("b", "needed", -700), ("c", "needed", -600)]);
    bench.ends("b", Exit::Code(0));
    assert_eq!(bench.started, ["b", "c"]);
    assert!(bench.resets().is_empty());
    bench.ends("c", Exit::Code(0));
    assert_eq!(bench.started, ["b", "c", "a"]);
}

#[test]
fn barrier_waits_until_nothing_runs() {
    let mut bench = three(Rounds::Barrier);
    bench.ends("c", Exit::Code(0));
    bench.pass(sec(1_500));
    assert!(bench.resets().is_empty(), "b runs");
    bench.ends("b", Exit::Code(0));
    let mut reset: Vec<_> = bench.resets().into_iter().map(|(key, _)| key).collect();
    reset.sort_unstable();
    assert_eq!(reset, ["a", "c"], "b has just ended, after the newest slot");
}

#[test]
fn barrier_waits_for_another_program_too_but_not_for_ever() {
    let rules = Rules { rounds: Rounds::Barrier, stale_after: sec(4_000), ..rules() };
    let mut bench = Bench::started(rules, &[("a", "done", -60), ("b", "running", -100)]);
    bench.pass(sec(3_000));
    assert!(bench.resets().is_empty());
    bench.pass(sec(1_000));
    assert_eq!(bench.started, ["a"], "b is stale");
}

#[test]
fn refill_and_barrier_do_not_wait_for_those_who_cannot_start() {
    for rounds in [Rounds::Refill, Rounds::Barrier] {
        let mut bench = Bench::with_rows(
            Rules { rounds, ..rules() },
            &[("a", "done", -60), ("b", "needed", -100), ("c", "odd", -100)],
        );
        bench.rows.get_mut("b").unwrap().paused = true;
        bench.list(["a", "b", "c"].map(tenant));
        bench.pass(sec(1));
        assert_eq!(bench.started, ["a"], "{rounds:?}");
    }
}

#[test]
fn a_reset_never_changes_updated_at_and_what_is_locked_is_said_again() {
    let mut bench = Bench::with_rows(rules(), &[("a", "done", -60)]);
    bench.locked = vec!["a".into()];
    bench.list([tenant("a")]);
    bench.pass(sec(5));
    assert!(bench.started.is_empty());
    let tries = bench.resets().len();
    assert!((2..=8).contains(&tries), "{tries} tries in 5 s");
    bench.locked.clear();
    bench.pass(sec(2));
    assert_eq!(bench.started, ["a"]);
}

#[test]
fn of_many_who_are_due_at_once_some_become_needed_first_and_are_claimed_before_the_others() {
    let names: Vec<String> = (0..500).map(|number| format!("t{number:03}")).collect();
    // The last by name ended first, and goes first.
    let rows: Vec<(&str, &str, i64)> =
        (1..).zip(&names).map(|(number, name)| (name.as_str(), "done", -60 - number)).collect();
    let mut bench = Bench::with_rows(Rules { workers: 8, ..rules() }, &rows);
    bench.list(names.iter().map(|name| tenant(name)));
    bench.pass(sec(1));
    let said: Vec<_> = bench.exchanges.iter().map(|(_, said)| (said.reset.len(), said.claim.is_some())).collect();
    assert_eq!(said[1..5], [(32, false), (0, true), (64, false), (64, false)]);
    assert_eq!(said.iter().map(|(resets, _)| resets).sum::<usize>(), 500);
    let first: Vec<_> = bench.resets().iter().take(32).map(|(key, _)| (*key).to_owned()).collect();
    assert_eq!(first, names.iter().rev().take(32).cloned().collect::<Vec<_>>());
    assert_eq!(bench.started, first[..8]);
    let before = bench.exchanges.len();
    for name in &first[..8] {
        bench.ends(name, Exit::Code(0));
    }
    bench.pass(sec(1));
    assert!(bench.exchanges[before..].iter().all(|(_, said)| said.reset.is_empty()), "each once");
    assert_eq!(bench.started[8..], first[8..16]);
}

#[test]
fn resets_and_claims_go_in_turn() {
    let rows =
        [("a", "needed", -900), ("b", "needed", -800), ("c", "needed", -700), ("d", "needed", -600), ("e", "done", 0)];
    let mut bench = Bench::started(Rules { workers: 2, ..rules() }, &rows);
    bench.pass(20 * MIN - sec(6));
    assert_eq!(bench.started, ["a", "b"]);
    bench.hold = true;
    bench.ends("a", Exit::Code(0));
    bench.pass(sec(10));
    let before = bench.exchanges.len();
    bench.answer_one(); // the locks
    bench.ends("b", Exit::Code(0));
    bench.release();
    let said: Vec<_> =
        bench.exchanges[before..].iter().map(|(_, said)| (said.reset.len(), said.claim.is_some())).collect();
    assert_eq!(said[..2], [(0, true), (1, false)], "{said:?}");
    assert_eq!(bench.started, ["a", "b", "c", "d"]);
}

#[test]
fn what_a_failure_left_unsent_of_many_resets_is_found_anew() {
    let names: Vec<String> = (0..500).map(|number| format!("t{number:03}")).collect();
    let rows: Vec<(&str, &str, i64)> = names.iter().map(|name| (name.as_str(), "done", 60)).collect();
    let mut bench = Bench::started(Rules { workers: 8, rounds: Rounds::Barrier, ..rules() }, &rows);
    bench.pass(20 * MIN - sec(6));
    bench.down = true;
    bench.pass(sec(8));
    let begun = bench.resets().len();
    assert!((1..500).contains(&begun), "{begun} were sent");
    assert!(
        bench.core.databases.iter().all(|database| database.resets.is_empty()),
        "no round begins elsewhere meanwhile"
    );
    bench.down = false;
    bench.pass(5 * MIN);
    let mut reset: Vec<_> = bench.resets().into_iter().map(|(key, _)| key.to_owned()).collect();
    reset.sort_unstable();
    reset.dedup();
    assert_eq!(reset.len(), 500);
}

#[test]
fn an_end_that_must_wait_for_a_locked_row_holds_up_no_reset() {
    let mut bench = Bench::started(Rules { workers: 2, ..rules() }, &[("a", "needed", -900), ("b", "done", 0)]);
    bench.pass(20 * MIN - sec(6));
    bench.locked = vec!["a".into()];
    bench.ends("a", Exit::Code(0));
    bench.pass(sec(7));
    assert_eq!(bench.started, ["a", "b"]);
}
