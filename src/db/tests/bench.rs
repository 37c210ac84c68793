//! An engine under test, and short words to say and hear exchanges.

use super::cluster::cluster;
use crate::db::{Access, Answer, DatabaseUrl, Deadlines, Engine, Environment, Migrate, Settings};
use crate::model::*;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// What tests set.
pub(crate) fn settings(node: &str) -> Settings {
    Settings {
        identity: Identity { instance: "wcs".into(), node: node.into(), host: format!("boot-{node}/4026531836") },
        status_table: "tenantcron_status".into(),
        run_table: "tenantcron_run".into(),
        key_pattern: "%".into(),
        migrate: Migrate::Auto,
        access: Access::ReadWrite,
        connections: 4,
        keep_runs: Duration::from_secs(30 * 86400),
        deadlines: Deadlines::default(),
    }
}

pub(crate) fn environment() -> Environment {
    Environment { user: Some("postgres".into()), ..Environment::default() }
}

pub(crate) fn url(url: &str) -> Arc<DatabaseUrl> {
    Arc::new(DatabaseUrl::parse(url, &environment()).unwrap())
}

/// How ends and claims are said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// finish.sql and claim.sql.
    Plain,
    /// turn.sql.
    Prepared,
}

/// Makes a test of each function, both ways: turn.sql must do what finish.sql and claim.sql do.
macro_rules! both_ways {
    ($($test:ident),+ $(,)?) => {
        mod plain { $(#[test] fn $test() { super::$test(super::Way::Plain) })+ }
        mod prepared { $(#[test] fn $test() { super::$test(super::Way::Prepared) })+ }
    };
}
pub(crate) use both_ways;

/// An engine and what it answers.
pub(crate) struct Bench {
    pub engine: Option<Engine>,
    pub answers: Receiver<Answer>,
    pub settings: Settings,
}

pub(crate) const D: DatabaseId = DatabaseId(0);

impl Bench {
    pub fn start(settings: Settings) -> Self {
        let (tell, answers) = channel();
        let engine = Engine::start(
            settings.clone(),
            Box::new(move |answer| {
                let _ = tell.send(answer);
            }),
        )
        .unwrap();
        Self { engine: Some(engine), answers, settings }
    }

    /// On a database of the cluster.
    pub fn on(database: &str, settings: Settings) -> Self {
        let bench = Self::start(settings);
        bench.engine().database(D, Some(url(&cluster().url(database))));
        bench
    }

    /// The same, by statements of its own or by what is prepared on a session that an echo has shown to be real.
    pub fn by(way: Way, database: &str, settings: Settings) -> Self {
        let bench = Self::on(database, settings);
        if way == Way::Prepared {
            // It is listened to once it has answered.
            bench.poll(&[]);
            bench.engine().listen(D);
            let mut client = cluster().client(database);
            // The echo has come once words are heard.
            let heard = (0..300).any(|_| {
                client.batch_execute("NOTIFY tenantcron").unwrap();
                matches!(bench.answers.recv_timeout(Duration::from_millis(100)), Ok(Answer::Notified { .. }))
            });
            assert!(heard, "no word of ours is heard");
            while bench.answers.recv_timeout(Duration::from_millis(300)).is_ok() {}
        }
        bench
    }

    pub fn engine(&self) -> &Engine {
        self.engine.as_ref().unwrap()
    }

    /// The next answer, within 40 seconds.
    pub fn next(&self) -> Answer {
        self.answers.recv_timeout(Duration::from_secs(40)).expect("no answer")
    }

    pub fn try_exchange(&self, exchange: Exchange) -> Result<Reply, Trouble> {
        self.engine().exchange(D, exchange);
        match self.next() {
            Answer::Exchanged { result, .. } => result,
            other => panic!("{other:?}"),
        }
    }

    pub fn exchange(&self, exchange: Exchange) -> Reply {
        self.try_exchange(exchange).unwrap()
    }

    pub fn poll(&self, keys: &[&str]) -> Polled {
        *self.exchange(poll(keys)).polled.unwrap()
    }

    pub fn claim(&self, keys: &[&str], limit: u32) -> Vec<Claimed> {
        self.exchange(Exchange { claim: Some(claim(keys, limit)), ..Exchange::default() }).claimed
    }

    pub fn finish(&self, end: Finish) -> Finished {
        *self.exchange(Exchange { finish: vec![end], ..Exchange::default() }).finished.first().unwrap()
    }

    /// Whose run a claim of this bench opened.
    pub fn run(&self, claimed: &Claimed) -> RunIdentity {
        let Identity { instance, node, host } = self.settings.identity.clone();
        RunIdentity { id: claimed.id, key: claimed.key.clone(), instance, node, host, started_at: claimed.started_at }
    }

    pub fn end(&self, claimed: &Claimed, outcome: Outcome, becomes: Becomes) -> Finish {
        end(self.run(claimed), outcome, becomes)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.stop(Duration::ZERO);
        }
    }
}

pub(crate) fn end(run: RunIdentity, outcome: Outcome, becomes: Becomes) -> Finish {
    Finish {
        run,
        group: None,
        outcome,
        becomes,
        exit_code: (outcome == Outcome::Ok).then_some(0),
        signal: None,
        cpu_seconds: Some(0.5),
        max_rss_kb: Some(1024),
        pid: Some(77),
        pid_start: Some(88),
        ended_ago: Duration::from_millis(1),
    }
}

pub(crate) fn poll(keys: &[&str]) -> Exchange {
    let keys: Vec<std::sync::Arc<str>> = keys.iter().map(|key| (*key).into()).collect();
    Exchange { poll: Some(Poll::Keys(keys.into())), ..Exchange::default() }
}

pub(crate) fn claim(keys: &[&str], limit: u32) -> Claim {
    Claim {
        offers: keys.iter().map(|key| Offer { key: (*key).to_owned(), group: None }).collect(),
        limit,
        done_too: false,
        cluster_limit: 0,
        group_limit: 0,
        foreign_in_group: Vec::new(),
        lease: None,
    }
}

pub(crate) fn keys_of(claimed: &[Claimed]) -> Vec<&str> {
    let mut keys: Vec<&str> = claimed.iter().map(|claimed| claimed.key.as_str()).collect();
    keys.sort_unstable();
    keys
}
