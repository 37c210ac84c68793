//! Taking claims back whose child could not be started.

use super::bench::{Bench, claim, poll, settings};
use super::cluster::cluster;
use crate::model::*;

fn claimed(keys: &[&str]) -> (String, Bench, Vec<Claimed>) {
    let database = cluster().new_database();
    let bench = Bench::on(&database, settings("n1"));
    bench.poll(keys);
    let claimed = bench.claim(keys, u32::try_from(keys.len()).unwrap());
    (database, bench, claimed)
}

fn undo(bench: &Bench, runs: &[RunIdentity]) -> Vec<Finished> {
    bench.exchange(Exchange { undo: runs.to_vec(), ..Exchange::default() }).undone
}

fn runs(database: &str) -> i64 {
    cluster().client(database).query_one("SELECT count(*) FROM tenantcron_run", &[]).unwrap().get(0)
}

#[test]
fn the_run_goes_and_the_row_is_needed_at_the_time_of_its_claim() {
    let (database, bench, claimed) = claimed(&["a", "b"]);
    let said = Exchange {
        undo: claimed.iter().map(|one| bench.run(one)).collect(),
        poll: poll(&["a", "b"]).poll,
        ..Exchange::default()
    };
    let reply = bench.exchange(said);
    let back = |one: &Claimed| Finished::Recorded { row: Some(one.started_at) };
    assert_eq!(reply.undone, claimed.iter().map(back).collect::<Vec<_>>());
    let polled = reply.polled.unwrap();
    assert_eq!((polled.runs.len(), runs(&database)), (0, 0));
    for row in &polled.rows {
        assert_eq!((&row.value, row.updated_at), (&RowValue::Needed, claimed[0].started_at));
    }
    // Said again after a lost answer it counts as recorded; a later claim is another run.
    assert_eq!(undo(&bench, &[bench.run(&claimed[0])]), [Finished::Recorded { row: None }]);
    let again = bench.exchange(Exchange { claim: Some(claim(&["a"], 1)), ..Exchange::default() }).claimed;
    assert_ne!(again[0].id, claimed[0].id);
    assert_eq!(undo(&bench, &[bench.run(&claimed[0])]), [Finished::Recorded { row: None }]);
    assert_eq!((runs(&database), bench.poll(&["a"]).rows[0].value.clone()), (1, RowValue::Running));
}

#[test]
fn a_locked_row_or_run_is_for_later_and_holds_up_no_other() {
    let (database, bench, claimed) = claimed(&["a", "b"]);
    let both: Vec<_> = claimed.iter().map(|one| bench.run(one)).collect();
    let mut other = cluster().client(&database);
    for table in ["tenantcron_status", "tenantcron_run"] {
        let mut held = other.transaction().unwrap();
        held.execute(&format!("SELECT FROM {table} WHERE key = 'a' FOR UPDATE"), &[]).unwrap();
        let answers = undo(&bench, &both);
        assert_eq!(answers[0], Finished::NotNow, "{table}");
        assert!(matches!(answers[1], Finished::Recorded { .. }), "{table}");
        held.rollback().unwrap();
    }
    assert_eq!(bench.poll(&["a"]).rows[0].value, RowValue::Running);
    assert_eq!(undo(&bench, &both[..1]), [Finished::Recorded { row: Some(claimed[0].started_at) }]);
}

#[test]
fn a_run_that_somebody_closed_stays_and_so_does_its_row() {
    let (database, bench, claimed) = claimed(&["a"]);
    let sql =
        "UPDATE tenantcron_run SET finished_at = now(), outcome = 'lost'; UPDATE tenantcron_status SET value = 'done'";
    cluster().client(&database).batch_execute(sql).unwrap();
    assert_eq!(undo(&bench, &[bench.run(&claimed[0])]), [Finished::Recorded { row: None }]);
    assert_eq!((runs(&database), bench.poll(&["a"]).rows[0].value.clone()), (1, RowValue::Done));
}

#[test]
fn without_its_row_the_run_goes_all_the_same_and_a_strangers_stays() {
    let (database, bench, claimed) = claimed(&["a"]);
    cluster().client(&database).execute("DELETE FROM tenantcron_status", &[]).unwrap();
    let ours = bench.run(&claimed[0]);
    let stranger = RunIdentity { host: "another/1".into(), ..ours.clone() };
    assert_eq!(undo(&bench, &[stranger]), [Finished::Recorded { row: None }]);
    assert_eq!(runs(&database), 1);
    assert_eq!(undo(&bench, &[ours]), [Finished::Recorded { row: None }]);
    assert_eq!(runs(&database), 0);
}
