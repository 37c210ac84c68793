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
