//! Ends that a dead supervisor left in its file, and those that this one leaves.

use super::bench::{Bench, at, name, open_run, rules, sec, tenant};
use crate::model::{Becomes, DatabaseId, Finish, Outcome, Reply};
use crate::scheduler::{Action, AllEnds, Event, Exit, ExitReason, FoundEnd, Mode, Notice, Rules};
use std::time::Duration;

fn end(id: i64) -> FoundEnd {
    let run = open_run("a", id, at(-100)).identity;
    let finish = Finish {
        run,
        group: None,
        outcome: Outcome::Failed,
        becomes: Becomes::Done,
        exit_code: Some(3),
        signal: None,
        cpu_seconds: None,
        max_rss_kb: None,
        pid: Some(5),
        pid_start: Some(50),
        ended_ago: Duration::ZERO,
    };
    FoundEnd { database: DatabaseId(0), tenant: name("a"), finish, ended_at: at(-40) }
}

fn open() -> Bench {
    let mut bench = Bench::with_rows(rules(), &[("a", "running", -100)]);
    bench.runs.push(open_run("a", 9, at(-100)));
    bench
}

fn forgotten(bench: &Bench) -> bool {
    bench.others.iter().any(|action| matches!(action, Action::Forget { file: 1 }))
}

#[test]
fn it_is_recorded_truly_and_its_run_is_never_examined() {
    let mut bench = open();
    bench.tell(Event::EndsFound { file: 1, ends: vec![end(9)] });
    bench.list([tenant("a")]);
    bench.pass(sec(1));
    let finish = &bench.finished[0];
    assert_eq!((finish.outcome, finish.exit_code, finish.ended_ago.as_secs()), (Outcome::Failed, Some(3), 40));
    assert!(forgotten(&bench));
    assert!(!bench.others.iter().any(|action| matches!(action, Action::Examine(_))));
    assert_eq!(bench.take(|notice| matches!(notice, Notice::EndRecovered { .. })), 1);
    assert_eq!(bench.rows["a"].value.as_str(), "done");
}

#[test]
fn it_is_recorded_where_nobody_lists_its_tenant() {
    let mut bench = open();
    bench.tell(Event::EndsFound { file: 1, ends: vec![end(9)] });
    bench.pass(sec(1));
    assert_eq!(bench.finished.len(), 1);
    assert!(forgotten(&bench));
}

#[test]
fn a_file_that_is_found_again_says_nothing_new_and_an_empty_one_goes() {
    let mut bench = open();
    bench.down = true;
    for _ in 0..3 {
        bench.tell(Event::EndsFound { file: 1, ends: vec![end(9)] });
    }
    assert!(!forgotten(&bench));
    bench.down = false;
    bench.pass(sec(60));
    assert_eq!(bench.finished.len(), 1);
    bench.others.clear();
    bench.tell(Event::EndsFound { file: 1, ends: Vec::new() });
    assert!(forgotten(&bench));
}

#[test]
fn a_locked_row_keeps_it_waiting() {
    let mut bench = open();
    bench.locked = vec!["a".into()];
    bench.tell(Event::EndsFound { file: 1, ends: vec![end(9)] });
    bench.list([tenant("a")]);
    bench.pass(sec(5));
    assert!(bench.finished.is_empty() && !forgotten(&bench));
    bench.locked.clear();
    bench.pass(sec(10));
    assert!(bench.finished.len() == 1 && forgotten(&bench));
}

#[test]
fn a_single_look_waits_for_it() {
    let mut bench = open();
    bench.core = crate::scheduler::Scheduler::new(Rules { mode: Mode::Once, ..rules() });
    bench.tell(Event::EndsFound { file: 1, ends: vec![end(9)] });
    bench.list([tenant("a")]);
    bench.pass(sec(1));
    assert_eq!((bench.finished.len(), bench.exit), (1, Some(ExitReason::Done)));
}

#[test]
fn what_the_database_did_not_take_is_kept_with_the_time_of_its_end() {
    let mut bench = Bench::started(rules(), &[("a", "needed", -900)]);
    bench.pass(sec(5));
    assert_eq!((bench.core.unrecorded_ends(AllEnds::Yes).len(), bench.core.unrecorded_version()), (0, 0));
    bench.down = true;
    bench.ends("a", Exit::Code(7));
    let version = bench.core.unrecorded_version();
    assert!(version > 0);
    bench.pass(sec(100));
    let kept = bench.core.unrecorded_ends(AllEnds::No);
    assert_eq!((kept.len(), kept[0].finish.exit_code, kept[0].ended_at), (1, Some(7), at(5)));
    bench.down = false;
    bench.pass(sec(31));
    assert_eq!(bench.finished.len(), 1);
    assert!(bench.core.unrecorded_version() > version);
    assert!(bench.core.unrecorded_ends(AllEnds::Yes).is_empty());
}

#[test]
fn one_that_is_just_being_recorded_is_kept_only_by_a_process_that_leaves() {
    let mut bench = Bench::started(rules(), &[("a", "needed", -900)]);
    bench.hold = true;
    bench.ends("a", Exit::Code(0));
    assert_eq!(bench.core.unrecorded_ends(AllEnds::No).len(), 0);
    assert_eq!(bench.core.unrecorded_ends(AllEnds::Yes).len(), 1);
}

#[test]
fn an_end_is_known_under_the_number_that_a_repair_gave_its_claim() {
    let mut bench = Bench::with_rows(rules(), &[("a", "running", -100)]);
    bench.runs.push(open_run("a", 1_009, at(-100)));
    bench.down = true;
    bench.tell(Event::EndsFound { file: 1, ends: vec![end(9)] });
    bench.list([tenant("a")]);
    bench.pass(sec(3));
    bench.down = false;
    bench.pass(sec(10));
    assert_eq!(bench.finished[0].outcome, Outcome::Failed);
    assert!(!bench.others.iter().any(|action| matches!(action, Action::Examine(_))));
}

#[test]
fn an_end_that_hangs_in_its_exchange_is_kept_after_a_second() {
    let mut bench = Bench::started(rules(), &[("a", "needed", -900)]);
    bench.hold = true;
    bench.ends("a", Exit::Code(5));
    assert_eq!(bench.core.unrecorded_ends(AllEnds::No).len(), 0);
    bench.pass(sec(2));
    assert_eq!(bench.core.unrecorded_ends(AllEnds::No).len(), 1);
    bench.release();
    assert_eq!((bench.core.unrecorded_ends(AllEnds::No).len(), bench.finished.len()), (0, 1));
}

#[test]
fn an_answer_that_was_held_back_does_not_set_the_time_of_an_end_back() {
    let mut bench = Bench::started(rules(), &[("a", "needed", -900)]);
    bench.pass(sec(5));
    bench.hold = true;
    bench.pass(sec(7));
    // Asked at 10 s and told then, heard at 12 s.
    bench.waiting.clear();
    bench.answered(Ok(Reply { now: Some(at(10)), ..Reply::default() }));
    bench.hold = false;
    bench.down = true;
    bench.ends("a", Exit::Code(0));
    assert_eq!(bench.core.unrecorded_ends(AllEnds::Yes)[0].ended_at, at(12));
}
