//! Those who wait too long are told.

use super::bench::{Bench, at, name, rules, sec, tenant};
use crate::scheduler::{Exit, Notice};

fn late(notices: &[Notice]) -> Vec<(usize, u32, u32)> {
    let told = notices.iter().filter_map(|notice| match notice {
        Notice::Late { tenants, busy, workers } => Some((tenants.len(), *busy, *workers)),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_tenant_that_could_have_started_for_a_whole_interval_is_told_once_per_slot() {
    let mut bench = Bench::started(rules(), &[("a", "needed", -900), ("b", "needed", -800)]);
    bench.pass(sec(1_199));
    assert!(late(&bench.notices).is_empty());
    bench.pass(sec(2));
    assert_eq!(late(&bench.notices), [(1, 1, 1)]);
    let Some(Notice::Late { tenants, .. }) = bench.notices.last() else { panic!("{:?}", bench.notices) };
    assert_eq!(tenants, &[name("b")]);
    bench.notices.clear();
    bench.pass(sec(1_190));
    assert!(late(&bench.notices).is_empty());
    bench.pass(sec(10));
    assert_eq!(late(&bench.notices).len(), 1, "the next slot");
    bench.ends("a", Exit::Code(0));
    bench.notices.clear();
    bench.pass(sec(1_000));
    assert!(late(&bench.notices).is_empty(), "b runs");
}

#[test]
fn lateness_counts_from_the_newest_of_slot_request_making_and_first_sight() {
    for (requested, created, want) in
        [(None, None, 1_200), (Some(500), None, 1_700), (None, Some(300), 1_500), (Some(500), Some(700), 1_900)]
    {
        let mut bench = Bench::with_rows(rules(), &[("a", "needed", -900), ("b", "needed", -800)]);
        let row = bench.rows.get_mut("b").unwrap();
        row.requested_at = requested.map(at);
        row.created_at = created.map(at);
        row.paused = requested.is_some();
        bench.list(["a", "b"].map(tenant));
        // A request moves it before a, who is running by then.
        bench.rows.get_mut("b").unwrap().paused = false;
        bench.pass(sec(want - 20));
        assert!(late(&bench.notices).is_empty(), "{requested:?} {created:?}");
        bench.pass(sec(40));
        assert_eq!(late(&bench.notices).len(), 1, "{requested:?} {created:?}");
    }
}

#[test]
fn more_than_twenty_at_once_make_one_line() {
    for (many, want) in [(20, 20), (22, 1)] {
        let mut bench = Bench::new(rules());
        let keys: Vec<_> = (0..=many).map(|n| format!("t{n:02}")).collect();
        for key in &keys {
            bench.row(key, "needed", -900);
        }
        bench.list(keys.iter().map(|key| tenant(key)));
        bench.pass(sec(1_201));
        assert_eq!(late(&bench.notices).len(), want, "{many} late");
        assert_eq!(late(&bench.notices).iter().map(|(tenants, ..)| tenants).sum::<usize>(), many);
    }
}

#[test]
fn who_cannot_start_is_not_late() {
    let mut bench = Bench::with_rows(rules(), &[("a", "needed", -900), ("b", "needed", -800)]);
    bench.rows.get_mut("b").unwrap().paused = true;
    bench.list(["a", "b"].map(tenant));
    bench.pass(sec(5_000));
    assert!(late(&bench.notices).is_empty());
}
