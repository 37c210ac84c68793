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

#[test]
fn ends_wait_a_quarter_of_an_exchange_for_a_run_that_has_just_begun() {
    let mut bench = begun(ms(6));
    let from = bench.exchanges.len();
    bench.ends("b", Exit::Code(0));
    bench.pass(ms(1));
    bench.ends("c", Exit::Code(0));
    assert_eq!(said(&bench, from), []);
    bench.pass(ms(1));
    assert_eq!(said(&bench, from), [(vec!["b", "c"], 2)]);
    assert_eq!(bench.started[4..], ["e", "f"]);
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
fn they_wait_for_no_run_that_is_older_than_an_exchange() {
    let mut bench = begun(ms(6));
    bench.pass(ms(7));
    let from = bench.exchanges.len();
    bench.ends("b", Exit::Code(0));
    assert_eq!(said(&bench, from), [(vec!["b"], 1)]);
}

#[test]
fn they_do_not_wait_where_exchanges_are_quick_or_were_slow_once() {
    let mut quick = begun(ms(1));
    let mut once = begun(ms(1));
    once.took = ms(100);
    once.pass(sec(40));
    once.took = ms(1);
    once.ends("c", Exit::Code(0));
    for bench in [&mut quick, &mut once] {
        let from = bench.exchanges.len();
        bench.ends("b", Exit::Code(0));
        assert_eq!(said(bench, from), [(vec!["b"], 1)]);
    }
}

#[test]
fn however_slow_the_database_they_wait_ten_milliseconds() {
    let mut bench = begun(sec(10));
    let from = bench.exchanges.len();
    bench.ends("b", Exit::Code(0));
    bench.pass(ms(9));
    assert_eq!(said(&bench, from), []);
    bench.pass(ms(2));
    assert_eq!(said(&bench, from), [(vec!["b"], 1)]);
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
