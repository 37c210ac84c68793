//! Who goes first.

use super::bench::{Bench, at, rules, sec, tenant};
use crate::scheduler::{Event, Exit, Rules};

/// Ends whatever runs until nothing is started any more; the order of the starts.
fn run_all(bench: &mut Bench) -> Vec<String> {
    let mut seen = 0;
    while let Some(tenant) = bench.started.get(seen).cloned() {
        seen += 1;
        bench.pass(sec(1));
        bench.ends(&tenant, Exit::Code(0));
    }
    bench.started.clone()
}

#[test]
fn who_finished_longest_ago_goes_first_and_ties_go_by_name() {
    for (rows, want) in [
        (vec![("a", "needed", -300), ("b", "needed", -500), ("c", "needed", -400)], vec!["b", "c", "a"]),
        (vec![("b", "needed", -300), ("a", "needed", -300), ("c", "needed", -300)], vec!["a", "b", "c"]),
        (vec![("a", "needed", -300), ("b", "needed", -1_200_000_000)], vec!["b", "a"]),
        (vec![("a", "done", 5), ("b", "needed", -200), ("c", "running", -900)], vec!["b"]),
    ] {
        let mut bench = Bench::started(rules(), &rows);
        assert_eq!(run_all(&mut bench), want, "{rows:?}");
    }
}

#[test]
fn a_requested_tenant_goes_before_all_others() {
    let mut bench = Bench::with_rows(rules(), &[("a", "needed", -500), ("b", "needed", -100), ("c", "needed", -300)]);
    bench.rows.get_mut("b").unwrap().requested_at = Some(at(-50));
    // An old request has had its run.
    bench.rows.get_mut("c").unwrap().requested_at = Some(at(-400));
    bench.list(["a", "b", "c"].map(tenant));
    assert_eq!(run_all(&mut bench), ["b", "a", "c"]);
}

#[test]
fn paused_and_disabled_tenants_and_unknown_values_are_passed_over() {
    let mut bench = Bench::with_rows(
        rules(),
        &[("a", "needed", -500), ("b", "needed", -400), ("c", "odd", -300), ("d", "needed", -100)],
    );
    bench.rows.get_mut("a").unwrap().paused = true;
    let disabled = crate::scheduler::Listed { enabled: false, ..tenant("b") };
    bench.list([tenant("a"), disabled, tenant("c"), tenant("d")]);
    assert_eq!(run_all(&mut bench), ["d"]);
    // Resumed: seen by the next look.
    bench.rows.get_mut("a").unwrap().paused = false;
    bench.pass(sec(11));
    assert_eq!(bench.started, ["d", "a"]);
}

#[test]
fn a_standby_node_starts_and_resets_nothing() {
    let standby = Rules { enabled: false, ..rules() };
    let mut bench = Bench::started(standby, &[("a", "needed", -500), ("b", "done", -5_000)]);
    bench.pass(sec(5_000));
    assert!(bench.started.is_empty() && bench.resets().is_empty());
    bench.tell(Event::Reloaded(Box::new(rules())));
    assert_eq!(bench.started, ["a"]);
}

#[test]
fn a_claim_offers_as_many_as_it_may_take_in_the_queue_s_order_and_twice_as_many_beside_others_who_claim() {
    let rows: Vec<_> =
        (0..9).map(|n| (["a", "b", "c", "d", "e", "f", "g", "h", "i"][n], "needed", -900 + n as i64)).collect();
    let mut bench = Bench::with_rows(Rules { workers: 2, ..rules() }, &rows);
    bench.locked = vec!["a".into()];
    bench.list(["a", "b", "c", "d", "e", "f", "g", "h", "i"].map(tenant));
    assert_eq!(bench.claims(), [(vec!["a", "b"], 2), (vec!["c", "d"], 1)], "another has a");
    bench.ends("b", Exit::Code(0));
    bench.pass(sec(30));
    bench.locked.clear();
    bench.pass(sec(90));
    bench.ends("c", Exit::Code(0));
    assert_eq!(bench.claims().last().unwrap().0.len(), 1, "nobody else has claimed for a while");
    assert_eq!(bench.started[..2], ["b", "c"]);
}

#[test]
fn a_place_taken_by_another_goes_to_the_next() {
    let mut bench = Bench::with_rows(rules(), &[("a", "needed", -500), ("b", "needed", -400)]);
    bench.locked = vec!["a".into()];
    bench.list(["a", "b"].map(tenant));
    assert_eq!(bench.started, ["b"]);
}

#[test]
fn a_tenant_that_vanishes_is_not_started_again_and_its_run_ends_normally() {
    let mut bench = Bench::started(rules(), &[("a", "needed", -500), ("b", "needed", -400)]);
    bench.list([]);
    bench.ends("a", Exit::Code(0));
    bench.pass(sec(3_000));
    assert_eq!((bench.started.len(), bench.finished.len()), (1, 1));
    bench.list([tenant("a"), tenant("b")]);
    bench.pass(sec(1));
    assert_eq!(bench.started.last().unwrap(), "b");
}
