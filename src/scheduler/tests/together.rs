//! Where the database takes its time, ends wait for those that may come soon, and for nobody else.

use super::bench::{Bench, rules, sec, tenant};
use crate::scheduler::{Event, Exit, Rules};
use std::time::Duration;

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Exchanges take so long; b and c have run for a minute, d has just begun, e to g are needed.
fn begun(took: Duration) -> Bench {
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    let rows: Vec<_> = (0..).zip(names).map(|(number, name)| (name, "needed", number - 900)).collect();
    let mut bench = Bench::with_rows(Rules { workers: 3, ..rules() }, &rows);
    bench.took = took;
    bench.list(names.map(tenant));
    bench.pass(sec(60));
    bench.ends("a", Exit::Code(0));
    assert_eq!(bench.started, ["a", "b", "c", "d"], "an end goes at once while nobody is young");
    bench
}

fn said(bench: &Bench, from: usize) -> Vec<(Vec<&str>, u32)> {
    let said = bench.exchanges[from..].iter().filter(|(_, said)| !said.finish.is_empty());
    said.map(|(_, said)| {
        let ends = said.finish.iter().map(|end| end.run.key.as_str()).collect();
        (ends, said.claim.as_ref().map_or(0, |claim| claim.limit))
    })
    .collect()
}

/// How long the end of b waits, in steps of half a millisecond; that of c, if it comes meanwhile, goes along.
fn waited(bench: &mut Bench) -> Duration {
    let (from, began) = (bench.exchanges.len(), bench.now);
    bench.ends("b", Exit::Code(0));
    if !said(bench, from).is_empty() {
        assert_eq!(said(bench, from), [(vec!["b"], 1)]);
        return Duration::ZERO;
    }
    bench.ends("c", Exit::Code(0));
    while said(bench, from).is_empty() && bench.now.since(began) < sec(1) {
        bench.pass(Duration::from_micros(500));
    }
    assert_eq!(said(bench, from), [(vec!["b", "c"], 2)]);
    bench.now.since(began)
}

#[test]
fn ends_wait_a_quarter_of_an_exchange_for_a_run_that_has_just_begun() {
    for (took, wait) in [(ms(1), 0), (ms(2), 500), (ms(6), 1_500), (ms(30), 7_500), (sec(10), 10_000)] {
        assert_eq!(waited(&mut begun(took)), Duration::from_micros(wait), "exchanges take {took:?}");
    }
}

#[test]
fn they_wait_for_no_run_that_is_older_than_an_exchange() {
    let mut bench = begun(ms(6));
    bench.pass(ms(7));
    assert_eq!(waited(&mut bench), ms(0));
}

#[test]
fn one_slow_exchange_makes_nobody_wait_and_neither_do_slow_looks_and_refreshes() {
    let mut bench = begun(ms(1));
    bench.took = ms(100);
    bench.pass(sec(100));
    assert!(bench.exchanges.iter().filter(|(_, said)| !said.refresh.is_empty()).count() >= 2);
    bench.ends("d", Exit::Code(0));
    assert_eq!(bench.started[4..], ["e"]);
    assert_eq!(waited(&mut bench), ms(0));
}

#[test]
fn they_go_with_the_end_of_that_run() {
    let mut bench = begun(ms(6));
    let from = bench.exchanges.len();
    bench.ends("b", Exit::Code(0));
    bench.ends("d", Exit::Code(0));
    assert_eq!(said(&bench, from), [(vec!["b", "d"], 2)]);
}

#[test]
fn who_vanishes_meanwhile_is_not_offered_and_a_stop_waits_for_nothing() {
    let mut bench = begun(ms(6));
    let from = bench.exchanges.len();
    bench.ends("b", Exit::Code(0));
    bench.list(["a", "b", "c", "d", "f", "g"].map(tenant));
    bench.pass(ms(2));
    assert_eq!(said(&bench, from), [(vec!["b"], 1)]);
    assert_eq!(bench.claims().last().unwrap().0, ["f"]);
    let from = bench.exchanges.len();
    bench.ends("c", Exit::Code(0));
    assert_eq!(said(&bench, from), []);
    bench.tell(Event::StopAsked);
    assert_eq!(said(&bench, from), [(vec!["c"], 0)]);
}
