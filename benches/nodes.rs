//! Four supervisors on one shared database beside one, with the same work in turn, the workers shared out among
//! the four (two each), and the same configuration on each of the four (eight each):
//! statements per run (all that they send, by `pg_stat_statements`), runs per second, and what the server
//! thinks of their meeting: deadlocks, serialisation failures, errors. Each run must be there exactly once.
//! One supervisor of two workers stands beside them: what its small batches cost without any neighbour.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench ends where the world is not as it should be, and measures by the host's clock"
)]

mod support;

use postgres::Client;
use std::time::Duration;
use support::figures::{ratios, spread};
use support::kit::cluster::{Cluster, TestDatabase};
use support::kit::daemon::Supervisor;
use support::kit::wait::{eventually, millis, secs};

const TENANTS: usize = 2_000;
const REPEATS: usize = 3;
/// Who does the work: nodes, and workers of each.
const FLEETS: [(usize, u32); 4] = [(1, 8), (4, 2), (1, 2), (4, 8)];
/// Which of them are compared.
const COMPARED: [(usize, usize); 3] = [(1, 0), (3, 0), (1, 2)];

fn main() {
    if !support::is_measuring() {
        return;
    }
    let cluster = support::durable_cluster(&[
        ("shared_preload_libraries", "'pg_stat_statements'"),
        ("pg_stat_statements.max", "10000"),
        ("pg_stat_statements.track", "top"),
    ]);
    // What the supervisors say is told from what the bench says by their user.
    cluster.admin("CREATE ROLE supervisor SUPERUSER LOGIN");
    support::conditions(cluster, "Four nodes beside one, one shared database");
    println!("{TENANTS} tenants, /bin/true; {REPEATS} rounds each, in turn; medians, the range behind them");
    let mut fleets: Vec<Fleet> =
        FLEETS.into_iter().map(|(nodes, workers)| Fleet::start(cluster, nodes, workers)).collect();
    for _ in 0..REPEATS {
        for fleet in &mut fleets {
            let round = fleet.round();
            fleet.rounds.push(round);
        }
    }
    let log = cluster.log();
    let troubles: Vec<&str> = log.lines().filter(|line| is_trouble(line)).collect();
    assert!(troubles.is_empty(), "the server complains: {troubles:#?}");
    tell(&fleets);
    fleets.iter_mut().for_each(Fleet::tell_statements);
    fleets.into_iter().for_each(Fleet::stop);
    support::end(cluster);
}

fn is_trouble(line: &str) -> bool {
    ["ERROR:", "FATAL:", "PANIC:"].iter().any(|word| line.contains(word))
}

/// Supervisors with a database of their own, and what was seen of them.
struct Fleet {
    nodes: usize,
    workers: u32,
    database: TestDatabase,
    supervisors: Vec<Supervisor>,
    client: Client,
    rounds: Vec<Round>,
}

/// One round of all tenants.
struct Round {
    rate: f64,
    statements: f64,
    commits: f64,
    /// The smallest part that a node had, in percent of an even one.
    least: f64,
}

impl Fleet {
    fn start(cluster: &'static Cluster, nodes: usize, workers: u32) -> Self {
        let database = cluster.database();
        let mut client = database.connect();
        client.batch_execute("CREATE EXTENSION pg_stat_statements").expect("pg_stat_statements");
        let names: Vec<String> = (0..TENANTS).map(|number| format!("tenant-{number:04}")).collect();
        let url = database.socket_url().replace("postgres@", "supervisor@");
        let configuration = Supervisor::builder()
            .tenants(&names)
            .set("job.command", vec!["/bin/true".to_owned()])
            .set("workers", i64::from(workers))
            .set("schedule.every", "1d")
            .set("tenants.refresh", "1min")
            .set("log.level", "warn")
            .set("database.url", url)
            .unset("database.poll");
        let output = configuration.clone().prepare().command(&["migrate"]);
        assert!(output.status.success(), "migrate: {}", String::from_utf8_lossy(&output.stderr));
        let node = |number| configuration.clone().set("node", format!("node{number}")).start();
        let supervisors = (1..=nodes).map(node).collect();
        let mut fleet = Self { nodes, workers, database, supervisors, client, rounds: Vec::new() };
        // The first round makes the logs, and fills the server's caches.
        fleet.wait_done();
        fleet
    }

    fn name(&self) -> String {
        let nodes = if self.nodes == 1 { "node" } else { "nodes" };
        format!("{} {nodes}, {} workers each", self.nodes, self.workers)
    }

    fn wait_done(&mut self) {
        eventually(secs(60), "every tenant is done", || {
            // Seldom: the question itself costs the server something.
            std::thread::sleep(millis(100));
            let left = "SELECT count(*) FROM tenantcron_status WHERE value <> 'done'";
            let left: i64 = self.client.query_one(left, &[]).expect("SELECT").get(0);
            if left == 0 { Ok(()) } else { Err(format!("{left} are not done")) }
        });
    }

    /// From the commit that makes every row needed to the last recorded end.
    fn round(&mut self) -> Round {
        let before = self.commits_and_deadlocks();
        self.client
            .batch_execute(
                "SELECT pg_stat_statements_reset(0, oid, 0) FROM pg_database WHERE datname = current_database()",
            )
            .expect("reset");
        let make_needed = "WITH u AS (UPDATE tenantcron_status SET value = 'needed' RETURNING 1) \
                           SELECT count(*), extract(epoch FROM clock_timestamp())::float8 FROM u";
        let began: f64 = self.client.query_one(make_needed, &[]).expect("UPDATE").get(1);
        self.client.batch_execute("NOTIFY tenantcron").expect("NOTIFY");
        self.wait_done();
        let statements: f64 = self.statements().iter().map(|(_, calls)| *calls as f64).sum();
        let after = self.commits_and_deadlocks();
        assert_eq!(before.1, after.1, "deadlocks");
        let row = self.client.query_one(
            "SELECT extract(epoch FROM max(finished_at))::float8, count(*), count(DISTINCT key), \
             count(*) FILTER (WHERE outcome = 'ok'), count(DISTINCT node) FROM tenantcron_run \
             WHERE started_at > to_timestamp($1)",
            &[&began],
        );
        let row = row.expect("SELECT");
        let counts: Vec<i64> = (1..=4).map(|at| row.get(at)).collect();
        let all = TENANTS as i64;
        assert_eq!(counts, [all, all, all, self.nodes as i64], "runs, their tenants, good ones, nodes");
        let least = "SELECT min(runs) FROM (SELECT count(*) AS runs FROM tenantcron_run \
                     WHERE started_at > to_timestamp($1) GROUP BY node) AS n";
        let least: i64 = self.client.query_one(least, &[&began]).expect("SELECT").get(0);
        let runs = TENANTS as f64;
        Round {
            rate: runs / (row.get::<_, f64>(0) - began),
            statements: statements / runs,
            commits: (after.0 - before.0) as f64 / runs,
            least: least as f64 * self.nodes as f64 / runs * 100.0,
        }
    }

    /// The statements of this database's supervisors since the last reset, the most frequent first.
    fn statements(&mut self) -> Vec<(String, i64)> {
        let sql = "SELECT s.query, sum(s.calls)::int8 FROM pg_stat_statements s \
                   JOIN pg_roles r ON r.oid = s.userid JOIN pg_database d ON d.oid = s.dbid \
                   WHERE r.rolname = 'supervisor' AND d.datname = current_database() GROUP BY 1 ORDER BY 2 DESC";
        self.client.query(sql, &[]).expect("SELECT").iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    /// A session tells the server's statistics of itself only now and then: its last second may be missing.
    fn commits_and_deadlocks(&mut self) -> (i64, i64) {
        std::thread::sleep(Duration::from_millis(1_100));
        let sql = "SELECT xact_commit, deadlocks FROM pg_stat_database WHERE datname = current_database()";
        let row = self.client.query_one(sql, &[]).expect("SELECT");
        (row.get(0), row.get(1))
    }

    fn figures(&self, figure: impl Fn(&Round) -> f64) -> Vec<f64> {
        self.rounds.iter().map(figure).collect()
    }

    /// What the statements of the last round were.
    fn tell_statements(&mut self) {
        println!("\n{}, last round, {}:", self.name(), self.database.name);
        for (query, calls) in self.statements().into_iter().filter(|(_, calls)| *calls > 1) {
            let line = query.lines().next().unwrap_or_default();
            println!("  {:.3} a run: {line}", calls as f64 / TENANTS as f64);
        }
    }

    fn stop(mut self) {
        self.supervisors.iter_mut().for_each(|supervisor| {
            supervisor.stop();
        });
    }
}

fn tell(fleets: &[Fleet]) {
    println!("\n| who | runs/s | statements a run | commits a run | least share of a node |");
    println!("| --- | --- | --- | --- | --- |");
    for fleet in fleets {
        println!(
            "| {} | {} | {} | {} | {} % |",
            fleet.name(),
            spread(&fleet.figures(|round| round.rate), 0),
            spread(&fleet.figures(|round| round.statements), 2),
            spread(&fleet.figures(|round| round.commits), 2),
            spread(&fleet.figures(|round| round.least), 0)
        );
    }
    for (many, one) in COMPARED.map(|(many, one)| (&fleets[many], &fleets[one])) {
        let ratio = |figure: fn(&Round) -> f64| spread(&ratios(&many.figures(figure), &one.figures(figure)), 2);
        println!(
            "| {} / {} | {} | {} | {} | |",
            many.name(),
            one.name(),
            ratio(|round| round.rate),
            ratio(|round| round.statements),
            ratio(|round| round.commits)
        );
    }
}
