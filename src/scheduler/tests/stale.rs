//! Rows that run too long.

use super::bench::{Bench, at, name, open_run, rules, sec, tenant};
use crate::model::{Becomes, OpenRun, Outcome};
use crate::scheduler::{Exit, Force, Notice, Rules, StaleAction};

fn stale(notice: &Notice) -> bool {
    matches!(notice, Notice::Stale { .. })
}

fn impatient(stale_action: StaleAction) -> Rules {
    Rules { stale_after: sec(1_000), stale_repeat: sec(100), stale_action, ..rules() }
}

fn elsewhere(alive_at: i64) -> OpenRun {
    let mut run = open_run("a", 99, at(-500));
    (run.identity.node, run.identity.host) = ("elsewhere".into(), "other/1".into());
    OpenRun { alive_at: at(alive_at), pid: Some(5), ..run }
}

#[test]
fn an_own_run_is_told_when_it_is_stale_and_again_every_repeat() {
    let mut bench = Bench::started(impatient(StaleAction::Alert), &[("a", "needed", -900)]);
    bench.pass(sec(999));
    assert_eq!(bench.take(stale), 0);
    bench.pass(sec(2));
    let told = bench.notices.iter().find(|notice| stale(notice)).cloned();
    assert!(
        matches!(told, Some(Notice::Stale { node: Some(node), pid: Some(900), since, .. }) if node == "here" && since == at(0))
    );
    assert_eq!(bench.take(stale), 1);
    bench.pass(sec(300));
    assert_eq!(bench.take(stale), 3);
    assert!(bench.signals.is_empty());
    bench.ends("a", Exit::Code(0));
    bench.pass(sec(500));
    assert_eq!(bench.take(stale), 0);
}

#[test]
fn claims_of_other_programs_and_other_nodes_are_told_too() {
    for run in [None, Some(elsewhere(0))] {
        let mut bench = Bench::with_rows(impatient(StaleAction::Kill), &[("a", "running", -500)]);
        bench.runs.extend(run.clone());
        bench.list([tenant("a")]);
        bench.pass(sec(499));
        assert_eq!(bench.take(stale), 0);
        bench.pass(sec(2));
        let node = run.map(|run| run.identity.node);
        assert!(bench.notices.iter().any(|notice| matches!(notice, Notice::Stale { node: told, .. } if *told == node)));
        assert!(bench.signals.is_empty(), "only the owner ends a run");
    }
}

#[test]
fn kill_ends_the_own_run_and_its_row_is_needed_again() {
    let mut bench = Bench::started(impatient(StaleAction::Kill), &[("a", "needed", -900)]);
    bench.pass(sec(1_001));
    assert_eq!(bench.signals, [("a".into(), Force::Term)]);
    bench.pass(sec(30));
    assert_eq!(bench.signals.last(), Some(&("a".into(), Force::Kill)));
    bench.ends("a", Exit::Signal(9));
    let finish = &bench.finished[0];
    assert_eq!((finish.outcome, finish.becomes, finish.signal), (Outcome::Timeout, Becomes::Needed, Some(9)));
}

#[test]
fn a_new_run_is_judged_by_its_own_age() {
    let mut bench = Bench::started(impatient(StaleAction::Kill), &[("a", "needed", -900)]);
    bench.pass(sec(1_001));
    bench.ends("a", Exit::Signal(15));
    assert_eq!(bench.started, ["a", "a"]);
    bench.take(stale);
    bench.pass(sec(900));
    assert_eq!((bench.take(stale), bench.signals.len()), (0, 1));
}

#[test]
fn release_frees_a_foreign_claim() {
    let mut bench = Bench::started(impatient(StaleAction::Release), &[("a", "running", -500)]);
    bench.pass(sec(502));
    assert_eq!(bench.started, ["a"]);
    assert_eq!(bench.take(|notice| matches!(notice, Notice::Released { .. })), 1);
}

#[test]
fn release_frees_no_claim_whose_lock_a_process_of_this_host_holds() {
    let mut bench = Bench::started(impatient(StaleAction::Release), &[("a", "running", -500)]);
    bench.held = vec![name("a")];
    bench.pass(sec(900));
    assert!(bench.exchanges.iter().all(|(_, exchange)| exchange.release.is_empty()));
}

#[test]
fn release_frees_another_node_s_run_only_once_it_is_silent_as_long() {
    for (alive_at, released) in [(-500, true), (400, false)] {
        let mut bench = Bench::with_rows(impatient(StaleAction::Release), &[("a", "running", -500)]);
        bench.runs.push(elsewhere(alive_at));
        bench.list([tenant("a")]);
        bench.pass(sec(520));
        let asked = bench.exchanges.iter().flat_map(|(_, exchange)| &exchange.release).next();
        assert_eq!(asked.is_some(), released, "alive at {alive_at}");
        if let Some(release) = asked {
            assert_eq!(release.run.as_ref().map(|run| run.id.0), Some(99));
            assert_eq!((release.silent_for, release.updated_at), (sec(1_000), at(-500)));
        }
    }
}

#[test]
fn release_never_frees_an_own_run() {
    let mut bench = Bench::started(impatient(StaleAction::Release), &[("a", "needed", -900)]);
    bench.pass(sec(5_000));
    assert!(bench.take(stale) > 1);
    assert!(bench.exchanges.iter().all(|(_, exchange)| exchange.release.is_empty()));
    assert!(bench.signals.is_empty());
}
