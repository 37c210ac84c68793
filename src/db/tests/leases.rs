//! Runs with a lease must be confirmed in time whatever hangs beside them.

use super::bench::{Bench, D, claim, poll, settings, url};
use super::cluster::cluster;
use crate::db::{Answer, Deadlines, Settings};
use crate::model::*;
use std::net::TcpListener;
use std::time::{Duration, Instant};

/// What a refresh may take: with the shortest lease a run would be ended after ten seconds.
const SOON: Duration = Duration::from_secs(5);

#[expect(clippy::disallowed_methods, reason = "how long it took is what is tested")]
fn now() -> Instant {
    Instant::now()
}

/// With so many connections, and a run with a lease in the database [`D`].
fn leased(connections: u32, deadlines: Deadlines) -> (Bench, String, RunIdentity) {
    let database = cluster().new_database();
    let bench = Bench::on(&database, Settings { connections, deadlines, ..settings("n1") });
    bench.poll(&["a"]);
    let claim = Claim { lease: Some(Duration::from_secs(60)), ..claim(&["a"], 1) };
    let claimed = bench.exchange(Exchange { claim: Some(claim), ..Exchange::default() }).claimed;
    let run = bench.run(&claimed[0]);
    (bench, database, run)
}

/// The next answer of a database, those of others passed over.
fn answer_of(bench: &Bench, id: DatabaseId) -> Result<Reply, Trouble> {
    loop {
        match bench.next() {
            Answer::Exchanged { database, result, .. } if database == id => return result,
            Answer::Exchanged { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

/// How long a refresh takes.
fn refresh(bench: &Bench, run: &RunIdentity) -> Duration {
    let begun = now();
    let refresh = vec![Refresh { run: run.clone(), pid: None, pid_start: None }];
    bench.engine().exchange(D, Exchange { refresh, ..Exchange::default() });
    assert_eq!(answer_of(bench, D).unwrap().refreshed, [Refreshed::Confirmed]);
    begun.elapsed()
}

fn ids(count: u32) -> impl Iterator<Item = DatabaseId> {
    (1..=count).map(DatabaseId)
}

#[test]
fn work_that_hangs_in_every_place_makes_way_for_a_refresh() {
    for connections in [1, 2, 8] {
        let (bench, _, run) = leased(connections, Deadlines::default());
        let others: Vec<String> = ids(connections).map(|_| cluster().new_database()).collect();
        for (id, database) in ids(connections).zip(&others) {
            bench.engine().database(id, Some(url(&cluster().url(database))));
            bench.engine().exchange(id, poll(&["b"]));
            answer_of(&bench, id).unwrap();
        }
        let mut clients: Vec<_> = others.iter().map(|database| cluster().client(database)).collect();
        let held: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                let mut held = client.transaction().unwrap();
                held.batch_execute("LOCK TABLE tenantcron_status IN ACCESS EXCLUSIVE MODE").unwrap();
                held
            })
            .collect();
        for id in ids(connections) {
            bench.engine().exchange(id, Exchange { claim: Some(claim(&["b"], 1)), ..Exchange::default() });
        }
        let first = refresh(&bench, &run);
        assert!(first < SOON, "{connections} connections: {first:?}");
        let second = refresh(&bench, &run);
        assert!(second < SOON, "{connections} connections, again: {second:?}");
        println!("{connections} connections: {first:?}, {second:?}");
        drop(held);
    }
}

#[test]
fn a_silent_server_with_many_databases_delays_a_refresh_once_and_not_once_for_each() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let (bench, database, run) = leased(1, Deadlines::default());
    // The only place is taken from it.
    let beside = DatabaseId(100);
    bench.engine().database(beside, Some(url(&cluster().url(&cluster().new_database()))));
    bench.engine().exchange(beside, poll(&["b"]));
    answer_of(&bench, beside).unwrap();
    for id in ids(30) {
        bench.engine().database(id, Some(url(&format!("postgresql://p@127.0.0.1:{port}/{database}{}", id.0))));
        bench.engine().exchange(id, Exchange { claim: Some(claim(&["b"], 1)), ..Exchange::default() });
    }
    for time in 0..3 {
        let took = refresh(&bench, &run);
        assert!(took < SOON, "the refresh {time} took {took:?}");
        println!("{took:?}");
    }
}

#[test]
fn a_database_that_is_back_does_not_queue_behind_all_those_of_a_silent_server() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let connect = Duration::from_secs(3);
    let (bench, database, run) = leased(4, Deadlines { connect, ..Deadlines::default() });
    let mut client = cluster().client("postgres");
    client.batch_execute(&format!("ALTER DATABASE {database} ALLOW_CONNECTIONS false")).unwrap();
    let kill = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'");
    client.batch_execute(&kill).unwrap();
    while bench.try_exchange(poll(&["a"])).is_ok() {}
    let ask = |id| bench.engine().exchange(id, Exchange { claim: Some(claim(&["b"], 1)), ..Exchange::default() });
    for id in ids(20) {
        bench.engine().database(id, Some(url(&format!("postgresql://p@127.0.0.1:{port}/{database}{}", id.0))));
        ask(id);
    }
    let mut failed = 0;
    while failed < 20 {
        let Answer::Exchanged { result: Err(trouble), .. } = bench.next() else { panic!("a silent server answered") };
        assert!(trouble.whole_server && trouble.text.contains("no answer within"), "{}", trouble.text);
        failed += 1;
    }
    ids(20).for_each(ask);
    client.batch_execute(&format!("ALTER DATABASE {database} ALLOW_CONNECTIONS true")).unwrap();
    let took = refresh(&bench, &run);
    assert!(took < connect + SOON, "behind others that fail it took {took:?}");
    println!("{took:?}");
}
