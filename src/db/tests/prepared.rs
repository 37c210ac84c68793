//! Statements prepared on a session that an echo has shown to be real: they are used, and a table that changes
//! its shape under them costs nothing but a second try.

use super::bench::{Bench, D, claim, settings};
use super::cluster::cluster;
use crate::db::Answer;
use crate::model::*;
use std::time::Duration;

/// Claims, finishes, and makes the row needed again, so many times.
fn rounds(bench: &Bench, client: &mut postgres::Client, number: u32) {
    for _ in 0..number {
        let claimed = bench.claim(&["a"], 1);
        assert_eq!(claimed.len(), 1);
        let end = bench.end(&claimed[0], Outcome::Ok, Becomes::Done);
        assert!(matches!(bench.finish(end), Finished::Recorded { row: Some(_) }));
        client.batch_execute("UPDATE tenantcron_status SET value = 'needed'").unwrap();
    }
}

#[test]
fn prepared_statements_outlive_a_change_of_the_tables() {
    let database = cluster().new_database();
    let bench = Bench::on(&database, settings("n1"));
    bench.poll(&["a"]);
    bench.engine().listen(D);
    let mut client = cluster().client(&database);
    // The echo has come once words are heard.
    let heard = (0..300).any(|_| {
        client.batch_execute("NOTIFY tenantcron, 'a'").unwrap();
        matches!(bench.answers.recv_timeout(Duration::from_millis(100)), Ok(Answer::Notified { .. }))
    });
    assert!(heard, "no word of ours is heard");
    while bench.answers.recv_timeout(Duration::from_millis(300)).is_ok() {}
    rounds(&bench, &mut client, 10);
    for change in [
        "ALTER TABLE tenantcron_run ALTER COLUMN key TYPE varchar",
        "ALTER TABLE tenantcron_run ADD COLUMN theirs int",
        "ALTER TABLE tenantcron_status ADD COLUMN theirs int",
    ] {
        client.batch_execute(change).unwrap();
        rounds(&bench, &mut client, 6);
    }
    let exchange = Exchange { claim: Some(claim(&["a"], 1)), ..Exchange::default() };
    client.batch_execute("DROP TABLE tenantcron_run").unwrap();
    assert_eq!(bench.exchange(exchange).claimed.len(), 1, "made anew by the exchange that missed it");
}
