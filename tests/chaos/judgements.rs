//! The judge judged: what may happen passes, what may not is found, each by a small made-up night.

use super::judge::{Evidence, Promises};
use super::tenants::{Kind, Tenant};
use super::timeline::{How, Kills, Life, Nanos, NodeLine, Span};
use crate::support::journal::{JobRun, Record};
use crate::support::rows::RunRow;

const S: Nanos = 1_000_000_000;
const KEPT: Promises = Promises { unrecorded: true, takeover: false };

/// A night of one node whose supervisor starts at 0, with one run from 1000 s to 1001 s.
struct Made {
    record: Record,
    row: RunRow,
    line: NodeLine,
    kills: Kills,
    kind: Kind,
    promises: Promises,
}

fn life(from: Nanos, asked: Option<Nanos>, ended: Option<(Nanos, How)>) -> Life {
    Life { from: from * S, asked_to_stop: asked.map(|at| at * S), ended: ended.map(|(at, how)| (at * S, how)) }
}

fn span(from: Nanos, to: Nanos) -> Span {
    Span { from: from * S, to: to * S }
}

fn made(outcome: &str, exit: Option<i32>) -> Made {
    let job = JobRun {
        tenant: "t".to_owned(),
        run: 7,
        node: "n1".to_owned(),
        pid: 70,
        begin: 1000 * S,
        end: exit.map(|_| 1001 * S),
        exit,
    };
    let row = RunRow {
        id: 7,
        key: "t".to_owned(),
        node: "n1".to_owned(),
        pid: Some(70),
        started_at: 1_000_000_000,
        finished_at: Some(1_001_000_100),
        outcome: Some(outcome.to_owned()),
        exit_code: exit.filter(|_| ["ok", "failed"].contains(&outcome)),
        signal: (outcome == "killed").then_some(9),
        cpu_seconds: None,
        max_rss_kb: None,
    };
    Made {
        record: Record { runs: vec![job], locked_out: Vec::new() },
        row,
        line: NodeLine { name: "n1".to_owned(), lives: vec![life(0, None, None)], ..NodeLine::default() },
        kills: Kills::default(),
        kind: Kind::Short,
        promises: KEPT,
    }
}

impl Made {
    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Its supervisor was killed then and there is a next one.
    fn died(self, at: Nanos) -> Self {
        self.with(|it| it.line.lives = vec![life(0, None, Some((at, How::Killed))), life(at, None, None)])
    }

    fn found(&self) -> Vec<String> {
        let tenants = [Tenant { name: "t".to_owned(), kind: self.kind }];
        let Self { record, row, line, kills, promises, .. } = self;
        let (rows, lines) = ([row.clone()], [line.clone()]);
        Evidence { record, rows: &rows, lines: &lines, kills, tenants: &tenants, promises: *promises }.judge()
    }

    #[track_caller]
    fn passes(self) {
        assert_eq!(self.found(), [""; 0]);
    }

    #[track_caller]
    fn fails(self, why: &str) {
        let found = self.found();
        assert!(found.len() == 1 && found[0].contains(why), "{found:?}");
    }
}

#[test]
fn an_exit_status_must_be_the_jobs_own() {
    made("ok", Some(0)).passes();
    made("failed", Some(3)).passes();
    made("ok", Some(3)).fails("belies");
    made("failed", Some(3)).with(|it| it.row.exit_code = Some(4)).fails("another exit status");
    made("ok", None).fails("came to no end");
    made("ok", Some(0)).with(|it| it.record.runs.clear()).fails("came to no end");
    made("failed", Some(143)).fails("SIGTERM");
    made("ok", Some(0)).with(|it| it.row.pid = Some(71)).fails("another process");
    made("ok", Some(0)).with(|it| it.row.finished_at = None).fails("open although");
}

#[test]
fn an_end_is_neither_told_before_nor_long_after_it_was() {
    made("ok", Some(0)).with(|it| it.row.finished_at = Some(1_000_900_000)).fails("while its process lived");
    let late = |it: &mut Made| it.row.finished_at = Some(1_020_000_000);
    made("ok", Some(0)).with(late).fails("later than it was");
    made("ok", Some(0)).with(late).with(|it| it.line.frozen.push(span(1000, 1019))).passes();
    made("ok", Some(0)).with(late).with(|it| it.line.late.push(span(1000, 1019))).passes();
    made("ok", Some(0)).with(late).with(|it| it.line.broken.push(span(1000, 1019))).fails("later than it was");
}

#[test]
fn killed_stopped_and_timeout_have_somebody_who_did_it() {
    made("killed", None).fails("nobody killed it");
    made("killed", None).with(|it| it.kills.0.push((7, 1000 * S))).passes();
    made("killed", None).with(|it| it.kind = Kind::Dies).passes();
    made("killed", None).with(|it| it.kind = Kind::Dies).with(|it| it.row.signal = Some(15)).fails("nobody sent");
    made("stopped", Some(143)).fails("asked its supervisor to stop");
    let asked = |at| move |it: &mut Made| it.line.lives = vec![life(0, Some(at), Some((1005, How::Left(0))))];
    made("stopped", Some(143)).with(asked(1001)).passes();
    made("stopped", Some(143)).with(asked(1004)).fails("asked its supervisor to stop");
    made("timeout", Some(143)).fails("has no timeout");
    made("timeout", Some(143)).with(|it| it.kind = Kind::Overruns).passes();
    let early = |it: &mut Made| {
        it.kind = Kind::Overruns;
        it.row.finished_at = Some(1_000_500_000);
        it.record.runs[0].end = Some(1000 * S + S / 2);
    };
    made("timeout", Some(143)).with(early).fails("before its time");
}

#[test]
fn adopted_and_lost_take_a_dead_supervisor_that_did_not_see_the_end() {
    for outcome in ["adopted", "lost"] {
        made(outcome, Some(0)).fails("supervisor lived");
        made(outcome, Some(0)).died(1000).passes();
    }
    made("adopted", Some(0)).died(1010).fails("supervisor lived");
    let recorded_late = |it: &mut Made| it.row.finished_at = Some(1_011_000_000);
    made("adopted", Some(0)).died(1010).with(recorded_late).fails("forgotten");
    made("lost", Some(0)).died(1010).with(recorded_late).fails("forgotten");
    let outage = |it: &mut Made| it.line.broken.push(span(990, 1010));
    made("lost", Some(0)).died(1010).with(recorded_late).with(outage).fails("forgotten");
    let forgets = |it: &mut Made| it.promises.unrecorded = false;
    made("lost", Some(0)).died(1010).with(recorded_late).with(outage).with(forgets).passes();
    // The process outlived the verdict.
    made("lost", Some(0)).died(1000).with(|it| it.record.runs[0].end = Some(1002 * S)).fails("while its process lived");
    // The next supervisor had all the time that it needed.
    let long = |it: &mut Made| {
        it.record.runs[0].end = Some(1030 * S);
        it.row.finished_at = Some(1_031_000_000);
    };
    made("lost", Some(0)).died(1002).with(long).fails("must have adopted");
    made("adopted", Some(0)).died(1002).with(long).passes();
}

#[test]
fn a_claim_without_a_job_is_lost_for_a_reason() {
    let unbegun = |it: &mut Made| it.record.runs.clear();
    made("lost", None).with(unbegun).fails("although all was well");
    made("lost", None).with(unbegun).with(|it| it.line.late.push(span(990, 995))).fails("although all was well");
    made("lost", None).with(unbegun).with(|it| it.line.late.push(span(980, 1000))).passes();
    made("lost", None).with(unbegun).died(1000).passes();
    let unknown = |it: &mut Made| it.row.id = 8;
    let found = made("ok", Some(0)).with(unknown).found();
    assert!(found[0].contains("no row knows of"), "{found:?}");
}

#[test]
fn two_at_once_are_found_by_their_times_and_by_the_lock_and_excused_only_by_a_lease() {
    let second = |it: &mut Made| {
        let job = JobRun { run: 6, pid: 60, begin: 999 * S, end: Some(1000 * S + S / 2), ..it.record.runs[0].clone() };
        it.record.runs.insert(0, job);
    };
    let overlaps = |made: Made| made.found().into_iter().filter(|why| why.contains("two at once")).count();
    assert_eq!(overlaps(made("ok", Some(0))), 0);
    assert_eq!(overlaps(made("ok", Some(0)).with(second)), 1);
    let killed = |it: &mut Made| {
        it.record.runs[0].end = None;
        it.record.locked_out.push(("t".to_owned(), 7));
    };
    assert_eq!(overlaps(made("ok", Some(0)).with(second).with(killed)), 1);
    let leased = |it: &mut Made| it.promises.takeover = true;
    let frozen = |it: &mut Made| it.line.frozen.push(span(990, 1000));
    assert_eq!(overlaps(made("ok", Some(0)).with(second).with(leased)), 1);
    assert_eq!(overlaps(made("ok", Some(0)).with(second).with(frozen)), 1);
    assert_eq!(overlaps(made("ok", Some(0)).with(second).with(frozen).with(leased)), 0);
    let thawed = |it: &mut Made| it.line.frozen.push(span(970, 992));
    assert_eq!(overlaps(made("ok", Some(0)).with(second).with(thawed).with(leased)), 1);
    let twice = |it: &mut Made| it.record.runs[0].run = 7;
    let found = made("ok", Some(0)).with(second).with(twice).found();
    assert!(found.iter().any(|why| why.contains("started twice")), "{found:?}");
}

#[test]
fn a_supervisor_that_was_stopped_leaves_with_0_unless_its_database_was_in_trouble() {
    let left = |code| move |it: &mut Made| it.line.lives = vec![life(0, Some(1100), Some((1121, How::Left(code))))];
    made("ok", Some(0)).with(left(0)).passes();
    made("ok", Some(0)).with(left(1)).fails("exited with 1");
    made("ok", Some(0)).with(left(1)).with(|it| it.line.broken.push(span(1090, 1120))).passes();
    made("ok", Some(0)).with(left(101)).with(|it| it.line.broken.push(span(1090, 1120))).fails("exited with 101");
}
