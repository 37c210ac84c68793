//! The delay from the COMMIT of `UPDATE … SET value = 'needed'` with NOTIFY to the child's first
//! instruction, supervisor idle, one shared database; beside the least that C can do (`listener.c`: listen,
//! claim, spawn), asked in turn. Then the same with no NOTIFY: what a bare poll of one second gives.
//! Both clocks are CLOCK_MONOTONIC of one host: the child's is read by its first instruction (`stamp.c`).

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench ends where the world is not as it should be, and measures by the host's clock"
)]

mod support;

use nix::time::{ClockId, clock_gettime};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use support::figures::{median, percentile, ratios, spread};
use support::kit::cluster::{Cluster, TestDatabase};
use support::kit::configuration::Configuration;
use support::kit::daemon::Supervisor;
use support::kit::wait::{eventually, secs};
use support::kit::world::world;
use support::{child, peer};

const TENANTS: usize = 100;
const SAMPLES: usize = 500;
/// Between two questions to the same side: half of it after each side's.
const PAUSE_MS: std::ops::Range<u64> = 20..200;
const POLL: Duration = secs(1);
const POLLED: usize = 200;
const POLLED_OVER: Duration = secs(8);

fn main() {
    if !support::is_measuring() {
        return;
    }
    let cluster = support::durable_cluster(&[]);
    let stamp = child::compile("stamp", &["-nostartfiles", "-fno-stack-protector"]);
    support::conditions(
        cluster,
        "From needed to the child's first instruction: ms, supervisor idle, one shared database",
    );
    println!(
        "{TENANTS} tenants, one asked at a time, {SAMPLES} questions to each side in turn, {}–{} ms apart; \
         nothing else runs; the COMMIT is a round trip of its own",
        PAUSE_MS.start, PAUSE_MS.end
    );
    notified(cluster, &stamp);
    polled(cluster, &stamp);
    support::end(cluster);
}

/// The product's tables and rows, everybody done, by the product's own hand.
fn prepare(database: &TestDatabase, stamp: &Path, count: usize) -> Configuration {
    let names: Vec<String> = (0..count).map(tenant).collect();
    let configuration = Supervisor::builder()
        .tenants(&names)
        .set("workers", 8)
        .set("job.command", vec![stamp.display().to_string()])
        .set("schedule.every", "1d")
        .set("tenants.refresh", "1min")
        .set("database.url", database.socket_url())
        .unset("database.poll");
    let output = configuration.clone().prepare().command(&["migrate"]);
    assert!(output.status.success(), "migrate: {}", String::from_utf8_lossy(&output.stderr));
    let done = "UPDATE tenantcron_status SET value = 'done', updated_at = now()";
    assert_eq!(database.connect().execute(done, &[]).expect("UPDATE"), count as u64, "rows of all tenants");
    configuration
}

fn tenant(number: usize) -> String {
    format!("tenant-{number:03}")
}

/// Whoever is asked, as the application sees it: a database, and the logs of the children.
struct Side {
    client: postgres::Client,
    logs: PathBuf,
    stamps: Vec<usize>,
}

/// When the COMMIT was sent, and when its answer was here; nanoseconds.
#[derive(Clone, Copy)]
struct Asked {
    sent: i64,
    returned: i64,
}

/// Milliseconds to the child's first instruction from both.
#[derive(Default)]
struct Delays {
    from_sent: Vec<f64>,
    from_returned: Vec<f64>,
}

impl Side {
    fn new(database: &TestDatabase, logs: PathBuf, count: usize) -> Self {
        Self { client: database.connect(), logs, stamps: vec![0; count] }
    }

    /// Makes a row needed as an application does; `told`: with NOTIFY in the same transaction.
    fn ask(&mut self, number: usize, told: bool) -> Asked {
        let key = tenant(number);
        let update = "UPDATE tenantcron_status SET value = 'needed' WHERE key = $1 AND value = 'done'";
        let mut transaction = self.client.transaction().expect("BEGIN");
        assert_eq!(transaction.execute(update, &[&key]).expect("UPDATE"), 1, "{key} is not done yet");
        if told {
            transaction.batch_execute(&format!("NOTIFY tenantcron, '{key}'")).expect("NOTIFY");
        }
        let sent = now();
        transaction.commit().expect("COMMIT");
        Asked { sent, returned: now() }
    }

    /// What its child has written since the last look, once it has.
    fn first_instruction(&mut self, number: usize) -> i64 {
        let file = self.logs.join(format!("{}.log", tenant(number)));
        let stamps: Vec<i64> = eventually(secs(15), "the child has told its time", || {
            let text = std::fs::read_to_string(&file).map_err(|error| error.to_string())?;
            let lines = text.lines().filter_map(|line| line.strip_prefix("stamp "));
            let stamps: Vec<i64> = lines.map(|told| told.parse().expect("nanoseconds")).collect();
            if stamps.len() > self.stamps[number] { Ok(stamps) } else { Err(text) }
        });
        self.stamps[number] += 1;
        assert_eq!(stamps.len(), self.stamps[number], "{} ran more than once", tenant(number));
        stamps[stamps.len() - 1]
    }

    fn wait_done(&mut self) {
        eventually(secs(15), "every row is done", || {
            let left = "SELECT count(*) FROM tenantcron_status WHERE value <> 'done'";
            self.client.query_one(left, &[]).expect("SELECT").get::<_, i64>(0) == 0
        });
    }

    /// Every question is one good run, and there is no other.
    fn expect_runs(&mut self, wanted: usize) {
        self.wait_done();
        let runs = "SELECT count(*), count(*) FILTER (WHERE outcome = 'ok') FROM tenantcron_run";
        let row = self.client.query_one(runs, &[]).expect("SELECT");
        assert_eq!((row.get(0), row.get(1)), (wanted as i64, wanted as i64), "runs, and good ones");
    }
}

impl Delays {
    fn add(&mut self, asked: Asked, first: i64) {
        self.from_sent.push((first - asked.sent) as f64 / 1e6);
        self.from_returned.push((first - asked.returned) as f64 / 1e6);
    }
}

fn now() -> i64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("the monotonic clock");
    time.tv_sec() * 1_000_000_000 + time.tv_nsec()
}

fn notified(cluster: &'static Cluster, stamp: &Path) {
    let (database, other) = (cluster.database(), cluster.database());
    let mut supervisor = prepare(&database, stamp, TENANTS).start();
    prepare(&other, stamp, TENANTS);
    let mut ours = Side::new(&database, supervisor.folder().join("logs"), TENANTS);
    let mut theirs = Side::new(&other, world().folder("listener"), TENANTS);
    let mut listener = listener(&other, stamp, &theirs.logs);
    wait_until_it_listens(&mut ours);
    let (mut our_delays, mut their_delays) = (Delays::default(), Delays::default());
    let mut random = fastrand::Rng::with_seed(4);
    for _ in 0..SAMPLES {
        for (side, delays) in [(&mut theirs, &mut their_delays), (&mut ours, &mut our_delays)] {
            let number = random.usize(..TENANTS);
            let asked = side.ask(number, true);
            // Nobody looks while it happens.
            std::thread::sleep(Duration::from_millis(random.u64(PAUSE_MS) / 2));
            delays.add(asked, side.first_instruction(number));
            side.wait_done();
        }
    }
    ours.expect_runs(SAMPLES);
    theirs.expect_runs(SAMPLES);
    drop(listener.stdin.take());
    assert!(listener.wait().expect("the listener").success(), "the listener failed");
    supervisor.stop();
    println!("\n| with NOTIFY, from | who | p50 | p99 | most |");
    println!("| --- | --- | --- | --- | --- |");
    for (from, ours, theirs) in [
        ("COMMIT returned", &our_delays.from_returned, &their_delays.from_returned),
        ("COMMIT sent", &our_delays.from_sent, &their_delays.from_sent),
    ] {
        println!("| {from} | C, listen, claim, spawn | {} |", quantiles(theirs));
        println!("| {from} | tenantcron | {} |", quantiles(ours));
        let pairs = ratios(ours, theirs);
        println!(
            "| {from} | ratio | {:.2} | {:.2} | (pair by pair: {}) |",
            median(ours) / median(theirs),
            percentile(ours, 99.0) / percentile(theirs, 99.0),
            spread(&pairs, 2)
        );
    }
}

/// The first words are lost until the supervisor's own session listens; those runs are not counted.
fn wait_until_it_listens(ours: &mut Side) {
    let listening = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                     AND application_name = 'tenantcron' AND state = 'idle' AND query ILIKE '%LISTEN%'";
    eventually(secs(15), "the supervisor listens", || {
        ours.client.query_one(listening, &[]).expect("SELECT").get::<_, i64>(0) > 0
    });
    std::thread::sleep(secs(1));
}

fn listener(database: &TestDatabase, stamp: &Path, logs: &Path) -> Child {
    let mut command = peer::command(peer::compiled("listener"));
    command.arg(database.socket_url()).arg(stamp).arg(logs).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the listener");
    let mut line = String::new();
    let output = child.stdout.take().expect("its output");
    BufReader::new(output).read_line(&mut line).expect("its output");
    assert_eq!(line, "ready\n", "the listener does not listen");
    child
}

fn quantiles(delays: &[f64]) -> String {
    let at = |percent| percentile(delays, percent);
    format!("{:.2} | {:.2} | {:.2}", at(50.0), at(99.0), at(100.0))
}

/// Every tenant is asked once, at a moment of its own; nobody is told.
fn polled(cluster: &'static Cluster, stamp: &Path) {
    let database = cluster.database();
    let poll = format!("{}s", POLL.as_secs());
    let mut supervisor = prepare(&database, stamp, POLLED).set("database.poll", poll.as_str()).start();
    let mut side = Side::new(&database, supervisor.folder().join("logs"), POLLED);
    std::thread::sleep(2 * POLL);
    let mut random = fastrand::Rng::with_seed(5);
    let mut moments: Vec<Duration> = (0..POLLED).map(|_| POLLED_OVER.mul_f64(random.f64())).collect();
    moments.sort_unstable();
    let began = Instant::now();
    let mut asked = Vec::new();
    for (number, moment) in moments.into_iter().enumerate() {
        std::thread::sleep((began + moment).saturating_duration_since(Instant::now()));
        asked.push(side.ask(number, false));
    }
    let mut delays = Delays::default();
    for (number, asked) in asked.into_iter().enumerate() {
        let first = side.first_instruction(number);
        delays.add(asked, first);
    }
    side.expect_runs(POLLED);
    supervisor.stop();
    println!(
        "\n| a poll of {poll} alone, {POLLED} tenants once each within {POLLED_OVER:?}, from | p50 | p99 | most | p99 less the poll |"
    );
    println!("| --- | --- | --- | --- | --- |");
    for (from, delays) in [("COMMIT returned", &delays.from_returned), ("COMMIT sent", &delays.from_sent)] {
        let beyond = percentile(delays, 99.0) - POLL.as_secs_f64() * 1000.0;
        println!("| {from} | {} | {beyond:.2} |", quantiles(delays));
    }
}
