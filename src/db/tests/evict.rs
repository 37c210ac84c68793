//! Whose session makes way where databases are more than connections.

use super::bench::{Bench, claim, poll, settings, url};
use super::cluster::cluster;
use crate::db::{Answer, Settings};
use crate::model::*;
use std::time::Duration;

const A: usize = 0;
const B: usize = 1;
const C: usize = 2;

/// Three databases and two connections.
struct Ground {
    bench: Bench,
    databases: Vec<String>,
}

impl Ground {
    fn new() -> Self {
        let bench = Bench::start(Settings { connections: 2, ..settings("n1") });
        let ground = Self { bench, databases: (0..3).map(|_| cluster().new_database()).collect() };
        for at in [A, B, C] {
            ground.bench.engine().database(id(at), Some(url(&cluster().url(&ground.databases[at]))));
            ground.exchange(at, poll(&["a"]));
        }
        ground
    }

    fn say(&self, at: usize, said: Exchange) {
        self.bench.engine().exchange(id(at), said);
    }

    fn hear(&self) -> (DatabaseId, Reply) {
        match self.bench.answers.recv_timeout(Duration::from_secs(5)).expect("no answer") {
            Answer::Exchanged { database, result, .. } => (database, result.unwrap()),
            other => panic!("{other:?}"),
        }
    }

    fn exchange(&self, at: usize, said: Exchange) -> Reply {
        self.say(at, said);
        self.hear().1
    }

    /// A run of the database lives from here on.
    fn claim(&self, at: usize) -> Exchange {
        let claimed = self.exchange(at, claiming()).claimed;
        Exchange { finish: vec![self.bench.end(&claimed[0], Outcome::Ok, Becomes::Done)], ..Exchange::default() }
    }

    /// The server's process of the session with a database.
    fn session(&self, at: usize) -> Option<i32> {
        let sql = "SELECT pid FROM pg_stat_activity WHERE datname = $1 AND application_name = 'tenantcron'";
        let row = cluster().client("postgres").query_opt(sql, &[&self.databases[at]]).unwrap();
        row.map(|row| row.get(0))
    }
}

fn id(at: usize) -> DatabaseId {
    DatabaseId(u32::try_from(at).unwrap())
}

fn claiming() -> Exchange {
    Exchange { claim: Some(claim(&["a"], 1)), ..Exchange::default() }
}

#[test]
fn the_session_of_a_database_with_a_live_run_stays_while_another_can_go() {
    let ground = Ground::new();
    ground.claim(A);
    let session = ground.session(A).unwrap();
    for at in [B, C, B, C] {
        ground.exchange(at, poll(&["a"]));
        assert_eq!(ground.session(A), Some(session));
    }
}

#[test]
fn after_the_end_of_its_run_a_session_goes_like_any_other() {
    let ground = Ground::new();
    let finish = ground.claim(A);
    ground.exchange(A, finish);
    ground.exchange(B, poll(&["a"]));
    ground.exchange(C, poll(&["a"]));
    assert_eq!(ground.session(A), None);
}

#[test]
fn where_a_run_lives_in_every_database_the_longest_unused_session_goes() {
    let ground = Ground::new();
    let finish = ground.claim(A);
    ground.claim(B);
    let session = ground.session(B);
    ground.exchange(C, poll(&["a"]));
    assert_eq!((ground.session(A), ground.session(B)), (None, session));
    let recorded = ground.exchange(A, finish).finished;
    assert!(matches!(recorded[..], [Finished::Recorded { .. }]), "{recorded:?}");
}

#[test]
fn a_claim_waits_for_an_end_that_is_being_recorded_rather_than_close_the_session_of_a_live_run() {
    let ground = Ground::new();
    ground.claim(A);
    let finish = ground.claim(B);
    let session = ground.session(A);
    ground.say(B, finish);
    ground.say(C, claiming());
    assert_eq!(ground.hear().0, id(B));
    assert_eq!(ground.hear().1.claimed.len(), 1);
    assert_eq!((ground.session(A), ground.session(B)), (session, None));
}

#[test]
fn a_claim_waits_for_an_end_that_hangs_only_a_moment() {
    let ground = Ground::new();
    ground.claim(A);
    let finish = ground.claim(B);
    let mut client = cluster().client(&ground.databases[B]);
    let mut held = client.transaction().unwrap();
    held.batch_execute("LOCK TABLE tenantcron_status IN ACCESS EXCLUSIVE MODE").unwrap();
    ground.say(B, finish);
    ground.say(C, claiming());
    assert_eq!(ground.hear().0, id(C));
    assert_eq!(ground.session(A), None);
    held.rollback().unwrap();
    assert_eq!(ground.hear().0, id(B));
}
