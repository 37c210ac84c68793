//! Statements prepared on a session that an echo has shown to be real: they are used, and a table that changes
//! its shape under them costs nothing but a second try.

use super::bench::{Bench, Way, claim, keys_of, settings};
use super::cluster::cluster;
use crate::model::*;

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
    let bench = Bench::by(Way::Prepared, &database, settings("n1"));
    bench.poll(&["a"]);
    let mut client = cluster().client(&database);
    rounds(&bench, &mut client, 10);
    let said = "SELECT count(*) FROM pg_stat_activity \
                WHERE datname = current_database() AND application_name = 'tenantcron' AND query LIKE '-- What finish.sql and claim.sql say%'";
    assert_eq!(client.query_one(said, &[]).unwrap().get::<_, i64>(0), 1, "what was prepared is not used");
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

/// By the server's log, which names what is executed: prepared statements are `s0` and so on.
#[test]
fn a_look_at_single_rows_and_a_reset_are_prepared_until_the_tables_change() {
    let database = cluster().new_database();
    let mut client = cluster().client(&database);
    client.batch_execute(&format!("ALTER DATABASE \"{database}\" SET log_statement = 'all'")).unwrap();
    let bench = Bench::by(Way::Prepared, &database, settings("n1"));
    let prepared = |what: &str| {
        let log = std::fs::read_to_string(cluster().folder.join("log")).unwrap();
        log.lines().filter(|line| line.contains("execute s") && line.contains(what)).count()
    };
    let reset = || {
        let slot = Reset { key: "a".into(), slot: DbTime(1) };
        assert_eq!(bench.exchange(Exchange { reset: vec![slot], ..Exchange::default() }).reset, ["a"]);
    };
    let again = "UPDATE tenantcron_status SET value = 'done', updated_at = 'epoch'";
    bench.poll(&["a"]);
    rounds(&bench, &mut client, 1);
    client.batch_execute(again).unwrap();
    let (looks, resets) = (prepared("-- Reads the rows asked for"), prepared("-- Makes done rows"));
    assert_eq!(bench.poll(&["a"]).rows[0].value, RowValue::Done);
    reset();
    assert_eq!((prepared("-- Reads the rows asked for"), prepared("-- Makes done rows")), (looks + 1, resets + 1));

    // A look's answer would have another type: refused once, said again in plain words, and so from then on.
    client.batch_execute("ALTER TABLE tenantcron_run ALTER COLUMN key TYPE varchar").unwrap();
    for _ in 0..3 {
        client.batch_execute(again).unwrap();
        assert_eq!(bench.poll(&["a"]).rows[0].value, RowValue::Done);
        reset();
    }
    assert_eq!(prepared("-- Makes done rows"), resets + 1, "nothing prepared is used any more");
    assert!(prepared("-- Reads the rows asked for") <= looks + 2, "and the refused look was tried once");
}

#[test]
fn a_turn_records_what_it_can_and_claims_beside_it() {
    let database = cluster().new_database();
    let bench = Bench::by(Way::Prepared, &database, settings("n1"));
    bench.poll(&["a", "b", "c", "d", "e"]);
    let runs = bench.claim(&["a", "b"], 2);
    let mut client = cluster().client(&database);
    // Another's open run, whose row a hand has set back.
    let open = "INSERT INTO tenantcron_run (key, instance, node, host, started_at, alive_at) VALUES ('c', 'wcs', 'n2', 'h', now(), now())";
    client.batch_execute(open).unwrap();
    let mut held = client.transaction().unwrap();
    held.execute("SELECT FROM tenantcron_status WHERE key IN ('b', 'd') FOR UPDATE", &[]).unwrap();
    let finish = runs.iter().map(|run| bench.end(run, Outcome::Ok, Becomes::Done)).collect();
    let claim = Some(claim(&["c", "d", "e"], 2));
    let reply = bench.exchange(Exchange { finish, claim, ..Exchange::default() });
    held.rollback().unwrap();
    for (run, answer) in runs.iter().zip(&reply.finished) {
        match run.key.as_str() {
            "a" => assert!(matches!(answer, Finished::Recorded { row: Some(_) }), "{answer:?}"),
            _ => assert_eq!(*answer, Finished::NotNow, "its row is held"),
        }
    }
    assert_eq!(keys_of(&reply.claimed), ["e"], "c has an open run and d is held: neither fails the claim");
    let mut values: Vec<_> =
        bench.poll(&["a", "b", "e"]).rows.iter().map(|row| format!("{} {}", row.key, row.value.as_str())).collect();
    values.sort();
    assert_eq!(values, ["a done", "b running", "e running"]);
}
