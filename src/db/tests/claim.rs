//! Claims.

use super::bench::{Bench, Way, both_ways, claim, keys_of, settings};
use super::cluster::cluster;
use crate::model::*;

both_ways!(
    a_claim_takes_needed_rows_in_queue_order_and_opens_their_runs,
    a_done_row_is_claimed_only_when_asked_for,
    a_row_that_an_application_holds_is_passed_over_without_waiting,
);

fn a_claim_takes_needed_rows_in_queue_order_and_opens_their_runs(way: Way) {
    let bench = Bench::by(way, &cluster().new_database(), settings("n1"));
    let polled = bench.poll(&["a", "b", "c", "d"]);
    assert_eq!(polled.rows.len(), 4);
    assert!(
        polled.rows.iter().all(|row| row.value == RowValue::Needed && row.updated_at == DbTime::EPOCH),
        "{polled:?}"
    );
    assert!(polled.rows.iter().all(|row| row.created_at.is_some() && !row.paused && row.requested_at.is_none()));

    let claimed = bench.claim(&["c", "a", "d", "nobody"], 2);
    assert_eq!(keys_of(&claimed), ["a", "c"]);
    let polled = bench.poll(&["a", "b", "c", "d"]);
    let running: Vec<_> = polled.rows.iter().filter(|row| row.value == RowValue::Running).collect();
    assert_eq!(running.len(), 2);
    for claimed in &claimed {
        let run = polled.runs.iter().find(|run| run.identity.id == claimed.id).unwrap();
        assert_eq!(run.identity, bench.run(claimed));
        assert_eq!(run.alive_at, claimed.started_at);
        assert!(running.iter().any(|row| row.key == claimed.key && row.updated_at == claimed.started_at));
    }
    assert!(bench.claim(&["a", "c"], 2).is_empty(), "a running row is not claimed again");
}

fn a_done_row_is_claimed_only_when_asked_for(way: Way) {
    let bench = Bench::by(way, &cluster().new_database(), settings("n1"));
    bench.poll(&["a"]);
    let claimed = bench.claim(&["a"], 1);
    bench.finish(bench.end(claimed.first().unwrap(), Outcome::Ok, Becomes::Done));
    assert!(bench.claim(&["a"], 1).is_empty());
    let claim = Some(Claim { done_too: true, ..claim(&["a"], 1) });
    assert_eq!(bench.exchange(Exchange { claim, ..Exchange::default() }).claimed.len(), 1);
}

fn a_row_that_an_application_holds_is_passed_over_without_waiting(way: Way) {
    let database = cluster().new_database();
    let bench = Bench::by(way, &database, settings("n1"));
    bench.poll(&["a", "b", "c"]);
    let mut other = cluster().client(&database);
    let mut held = other.transaction().unwrap();
    held.execute("SELECT FROM tenantcron_status WHERE key = 'a' FOR UPDATE", &[]).unwrap();
    assert_eq!(keys_of(&bench.claim(&["a", "b", "c"], 2)), ["b", "c"]);
    held.rollback().unwrap();
    assert_eq!(keys_of(&bench.claim(&["a", "b", "c"], 2)), ["a"]);
}
