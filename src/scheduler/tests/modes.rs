//! The modes that end by themselves.

use super::bench::{Bench, name, open_run, rules, sec, tenant};
use crate::model::DatabaseId;
use crate::scheduler::{Event, Exit, ExitReason, Listed, Mode, NotStarted, Notice, Rules};

fn once() -> Rules {
    Rules { mode: Mode::Once, ..rules() }
}

fn named(force: bool) -> Rules {
    Rules { mode: Mode::Named { force }, ..rules() }
}

fn refused(bench: &Bench) -> Vec<String> {
    let told = bench.notices.iter().filter_map(|notice| match notice {
        Notice::Refused { tenant, .. } => Some(tenant.to_string()),
        _ => None,
    });
    told.collect()
}

#[test]
fn once_runs_what_is_needed_and_due_and_exits() {
    let mut bench = Bench::started(once(), &[("a", "needed", -900), ("b", "done", -60), ("c", "done", 5)]);
    assert_eq!(bench.started, ["a"]);
    bench.pass(sec(5));
    bench.ends("a", Exit::Code(0));
    assert_eq!(bench.started, ["a", "b"]);
    assert_eq!(bench.exit, None);
    bench.ends("b", Exit::Code(1));
    assert_eq!((bench.exit, bench.finished.len()), (Some(ExitReason::Done), 2));
}

#[test]
fn once_looks_once_what_becomes_due_later_is_not_its_own() {
    let mut bench = Bench::started(once(), &[("a", "needed", -900), ("b", "done", 0)]);
    bench.pass(sec(3_000));
    assert!(bench.resets().is_empty());
    bench.ends("a", Exit::Code(0));
    assert_eq!((bench.exit, bench.started.len()), (Some(ExitReason::Done), 1));
}

#[test]
fn once_with_nothing_to_do_exits_at_once() {
    assert_eq!(Bench::started(once(), &[("a", "done", 5)]).exit, Some(ExitReason::Done));
    assert_eq!(Bench::started(once(), &[]).exit, Some(ExitReason::Done));
    let standby = Rules { enabled: false, ..once() };
    assert_eq!(Bench::started(standby, &[("a", "needed", -900)]).exit, Some(ExitReason::Done));
}

#[test]
fn once_exits_when_slots_locks_or_limits_let_it_start_nobody() {
    let mut bench = Bench::with_rows(once(), &[("a", "needed", -900)]);
    bench.slots = 0;
    bench.list([tenant("a")]);
    assert_eq!(bench.exit, Some(ExitReason::Done), "slots");

    let mut bench = Bench::with_rows(once(), &[("a", "needed", -900)]);
    bench.held = vec![name("a")];
    bench.list([tenant("a")]);
    assert_eq!(bench.exit, Some(ExitReason::Done), "lock");

    let limited = Rules { cluster_limit: 1, ..once() };
    let bench = Bench::started(limited, &[("a", "needed", -900), ("b", "running", -10)]);
    assert_eq!(bench.exit, Some(ExitReason::Done), "limit");
}

#[test]
fn once_goes_on_in_its_own_slot_although_the_others_are_taken() {
    let workers = Rules { workers: 2, ..once() };
    let mut bench = Bench::with_rows(workers, &[("a", "needed", -900), ("b", "needed", -800), ("c", "needed", -700)]);
    // The other slot is another process's, as it hears when it asks.
    bench.slots = 1;
    bench.list(["a", "b", "c"].map(tenant));
    bench.ends("a", Exit::Code(0));
    bench.ends("b", Exit::Code(0));
    assert_eq!((bench.started.clone(), bench.exit), (["a", "b", "c"].map(str::to_owned).to_vec(), None));
    bench.ends("c", Exit::Code(0));
    assert_eq!(bench.exit, Some(ExitReason::Done));
}

#[test]
fn once_without_any_database_says_so_and_with_one_of_two_it_goes_on() {
    let mut bench = Bench::with_rows(once(), &[("a", "needed", -900)]);
    bench.down = true;
    bench.list([tenant("a")]);
    assert_eq!(bench.exit, Some(ExitReason::NoDatabase));

    let mut bench =
        Bench::with_rows(Rules { shared: false, ..once() }, &[("a", "needed", -900), ("b", "needed", -900)]);
    bench.hold = true;
    bench.list([tenant("a"), Listed { database: DatabaseId(1), ..tenant("b") }]);
    bench.down = true;
    bench.answer_one();
    bench.down = false;
    assert_eq!(bench.exit, None, "the other has not been tried");
    bench.release();
    bench.ends("b", Exit::Code(0));
    assert_eq!((bench.exit, bench.started.as_slice()), (Some(ExitReason::Done), ["b".to_owned()].as_slice()));
}

#[test]
fn named_runs_needed_and_done_whatever_slots_schedule_limits_and_enabled_say() {
    let strict = Rules { enabled: false, cluster_limit: 1, workers: 1, ..named(false) };
    let mut bench = Bench::with_rows(strict, &[("a", "needed", -900), ("b", "done", 5), ("c", "done", 5)]);
    bench.slots = 0;
    bench.list([tenant("a"), Listed { enabled: false, ..tenant("b") }, tenant("c")]);
    assert_eq!(bench.started, ["a", "b", "c"]);
    assert_eq!(bench.slots, 0, "it takes none");
    for tenant in ["a", "b", "c"] {
        assert_eq!(bench.exit, None);
        bench.slots = 0;
        bench.ends(tenant, Exit::Code(4));
    }
    assert_eq!((bench.exit, bench.finished.len()), (Some(ExitReason::Done), 3));
}

#[test]
fn named_refuses_what_runs_what_is_paused_and_what_is_locked() {
    let mut bench = Bench::with_rows(
        named(false),
        &[("a", "running", -9), ("b", "running", -9), ("c", "needed", -9), ("d", "needed", -9), ("e", "done", -9)],
    );
    let mut other = open_run("b", 99, super::bench::at(-9));
    other.identity.node = "elsewhere".into();
    bench.runs.push(other);
    bench.rows.get_mut("c").unwrap().paused = true;
    bench.held = vec![name("d")];
    bench.list(["a", "b", "c", "d", "e"].map(tenant));
    assert_eq!(bench.started, ["e"]);
    bench.ends("e", Exit::Code(0));
    let mut told = refused(&bench);
    told.sort_unstable();
    assert_eq!((told, bench.exit), (["a", "b", "c", "d"].map(String::from).to_vec(), Some(ExitReason::Refused)));
}

#[test]
fn named_runs_paused_ones_by_force() {
    let mut bench = Bench::with_rows(named(true), &[("a", "needed", -9)]);
    bench.rows.get_mut("a").unwrap().paused = true;
    bench.list([tenant("a")]);
    assert_eq!(bench.started, ["a"]);
}

#[test]
fn named_runs_each_once_and_a_spawn_that_fails_is_refused() {
    let mut bench = Bench::with_rows(named(false), &[("a", "needed", -9)]);
    bench.slow_start = true;
    bench.list([tenant("a")]);
    bench.tell(Event::NotStarted { tenant: name("a"), why: NotStarted::NoResources { text: "EAGAIN".into() } });
    bench.pass(sec(100));
    assert_eq!((bench.exit, bench.started.len(), bench.undone.len()), (Some(ExitReason::Refused), 1, 1));
}

#[test]
fn dry_run_says_what_it_would_do_and_writes_nothing() {
    let dry = Rules { mode: Mode::DryRun, ..rules() };
    let mut bench = Bench::with_rows(
        dry,
        &[("a", "needed", -900), ("b", "done", -60), ("c", "done", 5), ("d", "needed", -800), ("e", "needed", 0)],
    );
    bench.rows.get_mut("e").unwrap().paused = true;
    bench.list(["a", "b", "c", "d", "e", "new"].map(tenant));
    assert_eq!(bench.exit, Some(ExitReason::Done));
    let would: Vec<_> = bench
        .notices
        .iter()
        .filter_map(|notice| match notice {
            Notice::Would { tenant, what } => Some((tenant.to_string(), what.clone())),
            _ => None,
        })
        .collect();
    let said = |key: &str| would.iter().find(|(tenant, _)| tenant == key).map_or("", |(_, what)| what.as_str());
    assert!(said("a").starts_with("start now"), "{would:?}");
    assert!(said("d").contains("place 2"), "{would:?}");
    assert!(said("b").starts_with("make it needed") && said("c").contains("next due"), "{would:?}");
    assert!(said("e").contains("paused") && said("new").contains("never run"), "{would:?}");
    let looks =
        |exchange: &crate::model::Exchange| crate::model::Exchange { poll: None, ..exchange.clone() }.is_empty();
    assert!(bench.exchanges.iter().all(|(_, exchange)| looks(exchange)) && bench.started.is_empty());
}
