//! How done rows become needed: in which exchange, how many at a time, and what follows where one did not.

use super::bench::{Bench, MIN, rules, sec, tenant};
use crate::scheduler::{Exit, Listed, Rounds, Rules};
use std::time::Duration;

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
    let mut bench = Bench::with_rows(Rules { workers: 2, ..rules() }, &[("a", "needed", -900), ("b", "done", 10)]);
    bench.list(["a", "b"].map(|name| Listed { offset: sec(3), ..tenant(name) }));
    bench.pass(20 * MIN - sec(3));
    bench.locked = vec!["a".into()];
    bench.ends("a", Exit::Code(0));
    // b's slot comes after 6 s; the record is tried after 3 s and 6.2 s, and no look is due.
    bench.pass(Duration::from_millis(6_050));
    assert_eq!(bench.started, ["a", "b"]);
}

#[test]
fn who_was_made_needed_by_another_node_at_the_same_slot_is_soon_started_here_if_a_slot_is_free() {
    let two = Rules { workers: 2, ..rules() };
    let mut bench = Bench::with_rows(two, &[("a", "done", 10), ("b", "done", 10)]);
    bench.list(["a", "b"].map(|name| Listed { offset: sec(3), ..tenant(name) }));
    bench.pass(20 * MIN + sec(2));
    bench.row("a", "needed", 10);
    bench.locked = vec!["b".into()];
    bench.pass(Duration::from_millis(1_300));
    assert_eq!(bench.started, ["a"]);
    let tries = bench.resets().iter().filter(|(key, _)| *key == "b").count();
    assert_eq!(tries, 1, "who is locked is not asked for at every look");
    bench.locked.clear();
    bench.pass(sec(2));
    assert_eq!(bench.started, ["a", "b"]);
}
