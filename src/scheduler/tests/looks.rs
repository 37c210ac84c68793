//! Short looks: whatever changes in a row between two of them is seen, and what did not change costs nothing.

use super::bench::{Bench, MIN, at, name, open_run, rules, sec, tenant, trouble};
use crate::model::{DatabaseId, OpenRun, Poll, Reply, RowValue, TroubleKind};
use crate::scheduler::{Event, Exit, Force, Listed, Mode, Notice, Rules, StaleAction};

/// Three who are done, with no slot for twenty minutes.
fn at_rest() -> Bench {
    let mut bench = Bench::started(rules(), &[("a", "done", 0), ("b", "done", 0), ("c", "done", 0)]);
    bench.pass(sec(11));
    bench
}

fn word(poll: &Poll) -> String {
    match poll {
        Poll::Keys(keys) => keys.join(" "),
        Poll::NotDone { since: None } => "short".into(),
        Poll::NotDone { since: Some(_) } => "short since".into(),
    }
}

/// The looks that were sent from this exchange on.
fn looks(bench: &Bench, from: usize) -> Vec<String> {
    bench.exchanges[from..].iter().filter_map(|(_, exchange)| exchange.poll.as_ref()).map(word).collect()
}

fn other_node(key: &str, started_at: i64) -> OpenRun {
    let mut run = open_run(key, 77, at(started_at));
    (run.identity.node, run.identity.host) = ("there".into(), "boot/2".into());
    run
}

#[test]
fn the_first_look_is_whole_and_the_next_are_short_until_the_hour_is_over() {
    let far = |key: &str| Listed { every: 1_000 * MIN, ..tenant(key) };
    let mut bench = Bench::with_rows(rules(), &[("a", "done", 1), ("b", "done", 1)]);
    bench.list(["a", "b"].map(far));
    bench.pass(sec(3_599));
    let sent = looks(&bench, 0);
    assert_eq!(sent[..2], ["a b", "short"]);
    assert!(sent[2..].iter().all(|look| look == "short since"), "{sent:?}");
    let before = bench.exchanges.len();
    bench.pass(sec(22));
    assert_eq!(looks(&bench, before), ["a b", "short since", "short since"]);
}

#[test]
fn a_failure_a_reload_and_a_bare_signal_are_followed_by_a_whole_look_and_a_bare_word_by_a_short_one() {
    let mut bench = at_rest();
    let next = |bench: &mut Bench, what: &dyn Fn(&mut Bench)| {
        let before = bench.exchanges.len();
        what(bench);
        bench.pass(sec(15));
        looks(bench, before)[0].clone()
    };
    assert_eq!(next(&mut bench, &|_| {}), "short since");
    assert_eq!(next(&mut bench, &|bench| bench.tell(Event::Woken(Vec::new()))), "a b c");
    assert_eq!(next(&mut bench, &|bench| bench.tell(Event::Reloaded(Box::new(rules())))), "a b c");
    let told = |bench: &mut Bench| bench.tell(Event::Notified { database: DatabaseId(0), key: None });
    assert_eq!(next(&mut bench, &told), "short since");
    let fails = |bench: &mut Bench| {
        bench.hold = true;
        bench.pass(sec(10));
        bench.waiting.clear();
        bench.hold = false;
        bench.answered(Err(trouble(TroubleKind::Refused)));
    };
    let before = bench.exchanges.len();
    fails(&mut bench);
    bench.pass(sec(25));
    assert_eq!(looks(&bench, before)[..2], ["a b c", "short"], "the mark is forgotten too");
}

#[test]
fn a_whole_look_that_is_wanted_while_one_is_under_way_comes_after_it() {
    let mut bench = Bench::with_rows(rules(), &[("a", "done", 0), ("b", "done", 0)]);
    bench.hold = true;
    bench.list(["a", "b"].map(tenant));
    bench.tell(Event::Woken(Vec::new()));
    bench.release();
    assert_eq!(looks(&bench, 0), ["a b", "a b"]);
}

#[test]
fn modes_that_look_once_look_at_all() {
    for mode in [Mode::Once, Mode::DryRun, Mode::Named { force: false }] {
        let mut bench = Bench::with_rows(Rules { mode, ..rules() }, &[("a", "running", 0), ("b", "running", 0)]);
        bench.list(["a", "b"].map(tenant));
        bench.pass(sec(60));
        assert!(looks(&bench, 0).iter().all(|look| look == "a b"), "{mode:?}: {:?}", looks(&bench, 0));
    }
}

#[test]
fn a_single_tenant_s_row_is_always_read() {
    let mut bench = Bench::with_rows(Rules { shared: false, ..rules() }, &[("a", "done", 0)]);
    bench.list([Listed { database: DatabaseId(1), ..tenant("a") }]);
    bench.pass(sec(60));
    assert!(looks(&bench, 0).len() > 3 && looks(&bench, 0).iter().all(|look| look == "a"));
}

#[test]
fn a_row_made_needed_by_a_hand_without_a_word_is_found() {
    let mut bench = at_rest();
    bench.rows.get_mut("b").unwrap().value = RowValue::Needed;
    bench.pass(sec(11));
    assert_eq!(bench.started, ["b"]);
}

#[test]
fn the_mark_is_given_only_while_nobody_is_known_not_to_be_done() {
    let mut bench = at_rest();
    let from = bench.exchanges.len();
    bench.pass(sec(10));
    bench.rows.get_mut("b").unwrap().value = RowValue::Running;
    bench.pass(sec(25));
    assert_eq!(looks(&bench, from), ["short since", "short since", "short"]);
    bench.rows.get_mut("b").unwrap().value = RowValue::Done;
    bench.pass(sec(20));
    assert_eq!(looks(&bench, from)[3..], ["short", "b", "short since"]);
}

#[test]
fn who_is_done_at_rest_costs_a_look_nothing() {
    let keys: Vec<String> = (0..500).map(|number| format!("t{number}")).collect();
    let rows: Vec<_> = keys.iter().map(|key| (key.as_str(), "done", 0)).collect();
    let mut bench = Bench::started(rules(), &rows);
    let from = bench.exchanges.len();
    bench.pass(sec(61));
    assert_eq!(looks(&bench, from).len(), 6);
    assert!(bench.core.databases[0].not_done.is_empty());
    assert!(looks(&bench, from).iter().all(|look| look.starts_with("short")), "no key is sent");
}

#[test]
fn the_claim_of_another_program_is_seen_and_so_is_its_end() {
    let mut bench = Bench::started(
        Rules { stale_after: sec(100), stale_action: StaleAction::Alert, ..rules() },
        &[("a", "done", 0), ("b", "done", 0)],
    );
    bench.row("a", "running", 5);
    bench.pass(sec(50));
    let from = bench.exchanges.len();
    bench.row("a", "done", 50);
    bench.pass(sec(11));
    assert_eq!(looks(&bench, from)[..2], ["short", "a"], "looked at by its key, and nobody else");
    bench.pass(sec(100));
    assert_eq!(bench.take(|notice| matches!(notice, Notice::Stale { .. })), 0);
    bench.row("a", "running", 170);
    bench.pass(sec(120));
    assert_eq!(bench.take(|notice| matches!(notice, Notice::Stale { .. })), 1);
}

#[test]
fn the_run_of_another_node_is_seen_and_so_is_its_end() {
    let mut bench = at_rest();
    bench.row("a", "running", 12);
    bench.runs.push(other_node("a", 12));
    bench.pass(sec(11));
    bench.runs.clear();
    bench.row("a", "done", 30);
    bench.pass(sec(11));
    // Its next slot is known by the row that the other left.
    bench.row("b", "running", 33);
    bench.row("c", "running", 33);
    bench.pass(20 * MIN);
    assert_eq!(bench.started, ["a"]);
}

#[test]
fn a_done_row_with_an_open_run_is_left_alone_until_that_is_closed() {
    let mut bench = at_rest();
    bench.runs.push(other_node("a", 1));
    bench.pass(20 * MIN);
    assert!(!bench.started.contains(&"a".into()), "{:?}", bench.started);
    bench.runs.retain(|run| run.identity.node == "here");
    bench.pass(sec(11));
    bench.ends(&bench.started.last().unwrap().clone(), Exit::Code(0));
    bench.ends(&bench.started.last().unwrap().clone(), Exit::Code(0));
    assert!(bench.started.contains(&"a".into()), "{:?}", bench.started);
}

#[test]
fn a_row_set_done_by_a_hand_is_not_started() {
    let rows = [("a", "needed", -900), ("b", "needed", -800), ("c", "needed", -700)];
    let mut bench = Bench::started(rules(), &rows);
    assert_eq!(bench.started, ["a"]);
    bench.row("b", "done", 3);
    bench.pass(sec(11));
    bench.ends("a", Exit::Code(0));
    assert_eq!(bench.started, ["a", "c"]);
    assert!(bench.claims().iter().skip(1).all(|(keys, _)| !keys.contains(&"b")), "it is not even offered");
}

#[test]
fn a_row_that_was_done_and_is_needed_again_between_two_looks_waits_at_its_new_place() {
    let rows = [("a", "needed", -900), ("b", "needed", -800), ("c", "needed", -700)];
    let mut bench = Bench::started(rules(), &rows);
    bench.row("b", "needed", -10);
    bench.pass(sec(11));
    bench.ends("a", Exit::Code(0));
    assert_eq!(bench.started, ["a", "c"]);
}

#[test]
fn a_pause_is_seen_and_so_is_its_end() {
    let mut bench = at_rest();
    bench.rows.get_mut("a").unwrap().paused = true;
    bench.pass(30 * MIN);
    assert!(!bench.started.contains(&"a".into()) && bench.resets().iter().all(|(key, _)| *key != "a"));
    bench.rows.get_mut("a").unwrap().paused = false;
    let from = bench.exchanges.len();
    bench.pass(sec(11));
    assert!(looks(&bench, from).contains(&"a".into()), "{:?}", looks(&bench, from));
    assert!(bench.resets().iter().any(|(key, _)| *key == "a"));
}

#[test]
fn an_unknown_value_is_told_and_so_known_until_it_is_mended() {
    for value in ["halted", "", "Done", "DONE", "done "] {
        let mut bench = at_rest();
        bench.row("a", value, 0);
        bench.pass(sec(25));
        assert_eq!(bench.take(|notice| matches!(notice, Notice::UnknownValue { .. })), 1, "{value:?}");
        bench.row("a", "done", -1_300);
        bench.pass(sec(12));
        assert_eq!(bench.started, ["a"], "{value:?} was mended");
    }
}

#[test]
fn a_needed_row_that_is_deleted_is_looked_at_by_its_key() {
    let mut bench = Bench::started(rules(), &[("a", "needed", -900), ("b", "needed", -800)]);
    bench.rows.remove("b");
    let from = bench.exchanges.len();
    bench.pass(sec(11));
    assert_eq!(looks(&bench, from)[..2], ["short", "b"]);
    assert_eq!(bench.take(|notice| matches!(notice, Notice::NoRow { .. })), 1, "none was made");
}

#[test]
fn a_done_row_that_is_deleted_is_found_at_its_slot_and_within_the_hour() {
    let far = Listed { every: 1_000 * MIN, ..tenant("b") };
    let mut bench = Bench::with_rows(rules(), &[("a", "done", 1), ("b", "done", 1)]);
    bench.list([tenant("a"), far]);
    bench.rows.clear();
    let missing = |bench: &Bench, key: &str| {
        let told = |notice: &&Notice| matches!(notice, Notice::NoRow { tenant } if *tenant == name(key));
        bench.notices.iter().filter(told).count()
    };
    bench.pass(20 * MIN);
    bench.pass(sec(5));
    assert_eq!((missing(&bench, "a"), missing(&bench, "b")), (1, 0));
    bench.pass(40 * MIN);
    assert_eq!(missing(&bench, "b"), 1);
}

#[test]
fn the_row_of_our_own_child_is_repaired_whatever_became_of_it() {
    for value in ["done", "needed", ""] {
        let mut bench = Bench::started(rules(), &[("a", "needed", -900), ("b", "done", 0)]);
        bench.pass(sec(3));
        let from = bench.exchanges.len();
        if value.is_empty() {
            bench.rows.remove("a");
            bench.pass(sec(10));
            assert_eq!(looks(&bench, from), ["short", "a"], "which makes it anew, as needed");
            bench.row("a", "needed", -900);
            bench.pass(sec(10));
        } else {
            bench.row("a", value, -900);
            bench.pass(sec(10));
        }
        assert_eq!((bench.repaired.len(), bench.started.len()), (1, 1), "{value:?}");
        assert_eq!(bench.rows["a"].value, RowValue::Running);
    }
}

#[test]
fn an_open_run_of_ours_that_nobody_knows_is_examined_whatever_its_row_says() {
    for value in ["running", "needed", "done"] {
        let mut bench = at_rest();
        bench.row("a", value, 2);
        bench.runs.push(open_run("a", 9, at(2)));
        bench.pass(sec(11));
        assert!(!bench.others.is_empty(), "{value}");
        let verdict = crate::scheduler::Verdict::Adopted { pid: 31, pid_start: 310 };
        bench.tell(Event::Examined { tenant: name("a"), run: crate::model::RunId(9), verdict });
        bench.pass(sec(11));
        assert_eq!((bench.core.running(), bench.rows["a"].value.as_str()), (1, "running"), "{value}");
    }
}

#[test]
fn a_tenant_listed_while_a_short_look_is_under_way_is_looked_at_by_its_key() {
    let mut bench = at_rest();
    bench.hold = true;
    bench.pass(sec(10));
    let from = bench.exchanges.len();
    bench.row("d", "done", -1_300);
    bench.list(["a", "b", "c", "d"].map(tenant));
    bench.release();
    // The one under way, that of the new listing, and the key of which neither told.
    assert_eq!(looks(&bench, from), ["short since", "short", "d"]);
    assert_eq!(bench.take(|notice| matches!(notice, Notice::NoRow { .. })), 0);
    assert_eq!(bench.started, ["d"]);
}

#[test]
fn whoever_is_being_claimed_when_the_answer_comes_is_judged_by_the_claim() {
    let mut bench = at_rest();
    bench.hold = true;
    bench.pass(sec(10));
    bench.rows.get_mut("a").unwrap().value = RowValue::Needed;
    bench.answer_one();
    assert!(matches!(bench.waiting.front(), Some(crate::scheduler::Action::Lock { .. })), "{:?}", bench.waiting);
    bench.row("a", "done", 20);
    bench.tell(Event::Woken(vec![name("b")]));
    bench.release();
    bench.pass(sec(15));
    assert!(bench.started.is_empty());
}

#[test]
fn what_was_not_told_beside_what_was_said_is_looked_at_again() {
    for (ask, wanted) in [(vec![name("a")], "a"), (vec![], "a b c")] {
        let mut bench = at_rest();
        bench.hold = true;
        bench.tell(Event::Woken(ask));
        bench.waiting.clear();
        bench.hold = false;
        let from = bench.exchanges.len();
        bench.answered(Ok(Reply { now: Some(at(11)), ..Reply::default() }));
        bench.pass(sec(2));
        assert_eq!(looks(&bench, from), [wanted]);
    }
}

#[test]
fn rows_of_others_in_the_same_table_are_nobody_s() {
    let mut bench = at_rest();
    bench.row("of-another-instance", "needed", -5_000);
    bench.runs.push(other_node("of-a-third", 1));
    let from = bench.exchanges.len();
    bench.pass(sec(60));
    assert!(looks(&bench, from).iter().all(|look| look.starts_with("short")), "{:?}", looks(&bench, from));
    assert!(bench.started.is_empty() && bench.signals == [] as [(String, Force); 0]);
}

#[test]
fn a_long_whole_look_comes_in_pieces_and_claims_wait_for_its_last() {
    let rows = [("a", "needed", -10), ("b", "done", 0), ("c", "needed", -20), ("d", "done", 0), ("e", "needed", -30)];
    let mut bench = Bench::started(Rules { look_size: 2, ..rules() }, &rows);
    bench.pass(sec(11));
    let sent = looks(&bench, 0);
    assert_eq!(sent[..3], ["a b", "c d", "e"]);
    assert!(sent[3].starts_with("short"), "{sent:?}");
    assert_eq!(bench.started, ["e"], "who has waited longest stands in the last piece");
    let before = bench.exchanges.len();
    bench.tell(Event::Woken(Vec::new()));
    assert_eq!(looks(&bench, before), ["a b", "c d", "e"]);
}

#[test]
fn a_whole_look_that_breaks_off_begins_anew() {
    let rows = ["a", "b", "c", "d", "e"].map(|key| (key, "done", 0));
    let mut bench = Bench::started(Rules { look_size: 2, ..rules() }, &rows);
    bench.pass(sec(11));
    let before = bench.exchanges.len();
    bench.hold = true;
    bench.tell(Event::Woken(Vec::new()));
    bench.answer_one();
    bench.down = true;
    bench.release();
    bench.down = false;
    bench.pass(sec(5));
    assert_eq!(looks(&bench, before)[..5], ["a b", "c d", "a b", "c d", "e"]);
}

#[test]
fn a_reset_that_fits_no_row_is_followed_by_a_look_and_not_by_another_reset() {
    let mut bench = at_rest();
    // The other node made it needed and ran it a moment before our own slot.
    bench.row("a", "done", 1_201);
    bench.row("b", "done", 2_000);
    bench.row("c", "done", 2_000);
    let from = bench.exchanges.len();
    bench.pass(20 * MIN);
    assert_eq!(bench.resets().iter().filter(|(key, _)| *key == "a").count(), 1, "{:?}", bench.resets());
    assert!(looks(&bench, from).iter().any(|look| look.contains('a')), "{:?}", looks(&bench, from));
    bench.pass(20 * MIN);
    assert_eq!(bench.resets().iter().filter(|(key, _)| *key == "a").count(), 2, "at its next slot");
    assert!(bench.started.contains(&"a".into()));
}

#[test]
fn a_look_that_is_wanted_is_not_put_off() {
    let mut database = crate::scheduler::databases::Database::default();
    database.look_again("a".into(), at_moment(2_000));
    database.look_again("a".into(), at_moment(3_000));
    assert_eq!(database.look_later.get("a"), Some(&at_moment(2_000)));
    database.look_again("a".into(), at_moment(1_000));
    assert_eq!(database.look_later.get("a"), Some(&at_moment(1_000)));
}

fn at_moment(milliseconds: u64) -> crate::model::Moment {
    crate::model::Moment(milliseconds * 1_000)
}
