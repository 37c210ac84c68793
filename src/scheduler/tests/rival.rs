//! Two machines that bear one node's name.

use super::bench::{Bench, at, open_run, rules, sec};
use crate::model::{OpenRun, RunIdentity};
use crate::scheduler::{Exit, ExitReason, Notice};

/// An open run of this node on another host, confirmed last at -5 s.
fn with_other_host() -> Bench {
    let mut bench = Bench::with_rows(rules(), &[("a", "needed", -900), ("b", "running", -50)]);
    let run = open_run("b", 99, at(-50));
    bench.runs.push(OpenRun {
        identity: RunIdentity { host: "boot/9".into(), ..run.identity },
        alive_at: at(-5),
        ..run
    });
    bench
}

fn told(bench: &mut Bench, leaves: bool) -> usize {
    bench.take(
        |notice| matches!(notice, Notice::Rival { leaves: told, host, .. } if *told == leaves && host == "boot/9"),
    )
}

#[test]
fn the_newcomer_starts_nothing_more_waits_for_its_children_and_leaves() {
    let mut bench = with_other_host();
    bench.list(["a", "b"].map(super::bench::tenant));
    assert_eq!(bench.started, ["a"]);
    bench.pass(sec(20));
    assert_eq!(told(&mut bench, true), 0);
    bench.runs.iter_mut().find(|run| run.identity.key == "b").unwrap().alive_at = bench.db_now();
    bench.row("c", "needed", -100);
    bench.pass(sec(11));
    assert_eq!(told(&mut bench, true), 1);
    bench.pass(sec(600));
    assert!(bench.signals.is_empty() && bench.exit.is_none(), "its child is waited for");
    bench.ends("a", Exit::Code(0));
    bench.pass(sec(1));
    assert_eq!(bench.exit, Some(ExitReason::Rival));
    assert_eq!(bench.finished.len(), 1, "nothing of the other's was touched");
}

#[test]
fn who_was_there_before_goes_on_and_says_so_every_hour() {
    let mut bench = Bench::started(rules(), &[("a", "done", 60), ("b", "running", -50)]);
    bench.pass(sec(100));
    let run = open_run("b", 99, bench.db_now());
    bench.runs.push(OpenRun { identity: RunIdentity { host: "boot/9".into(), ..run.identity }, ..run });
    for _ in 0..(3_600 + 200) / 30 {
        bench.pass(sec(30));
        bench.runs[0].alive_at = bench.db_now();
    }
    assert_eq!(told(&mut bench, false), 2);
    assert_eq!((bench.exit, bench.finished.len()), (None, 0));
}

#[test]
fn a_run_of_before_a_reboot_does_not_move_and_is_no_rival() {
    let mut bench = with_other_host();
    bench.list(["a", "b"].map(super::bench::tenant));
    bench.pass(sec(100));
    assert_eq!(told(&mut bench, true) + told(&mut bench, false), 0);
    assert!(bench.others.iter().any(|action| matches!(action, crate::scheduler::Action::Examine(_))));
}
