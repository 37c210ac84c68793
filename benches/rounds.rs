//! Whole rounds in one shared database, beside what nothing can beat (children in C without a record), what
//! an ideal supervisor in C could do with the same record, `xargs -P`, and the algorithm that we replace: all
//! in turn in one run, with the default durability on the disk of `TC_TEST_BASE` (default /tmp by `make bench`)
//! and once more with every flush 5 ms slower. A round lasts from the commit that makes the rows needed, or the
//! start of the peer's process, to the last recorded end, or the peer's. CPU time counts the program, its children and
//! the server.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench ends where the world is not as it should be, and looks seldom"
)]

mod support;

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use support::cpu;
use support::figures::{ratios, spread};
use support::kit::cluster::{Cluster, TestDatabase};
use support::kit::configuration::Configuration;
use support::kit::daemon::Supervisor;
use support::kit::proc;
use support::kit::wait::{eventually, millis, secs};
use support::kit::world::world;
use support::peer;

const TENANTS: usize = 2_000;
/// Where a round is slow, this many of the tenants do.
const FEWER: usize = 500;
const REPEATS: usize = 5;
/// Runs of each tenant that were before: a table that was never analysed makes other plans.
const HISTORY: i32 = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Ceiling,
    Batched,
    Each,
    Xargs,
    Replaced,
    Ours,
}

/// One round of one of them.
struct Round {
    rate: f64,
    /// Milliseconds a run: program, children, server.
    cpu: f64,
    peak_mb: f64,
}

/// Where they all do the same.
struct Ground {
    cluster: &'static Cluster,
    /// The product's own database, and a copy with the same tables and rows for the peers.
    ours: TestDatabase,
    theirs: TestDatabase,
    configuration: Configuration,
    names: Vec<String>,
    /// The names, a line each.
    list: PathBuf,
}

fn main() {
    if !support::is_measuring() {
        return;
    }
    let cluster = support::durable_cluster(&[]);
    let ground = Ground::lay(cluster);
    support::conditions(
        cluster,
        &format!(
            "{TENANTS} tenants, each with {HISTORY} runs before, /bin/true, one shared database; {REPEATS} rounds each, in turn; the median, the range behind it; \
             the replaced algorithm, and whatever the slow flush slows, with {FEWER} of the tenants; memory without the server"
        ),
    );
    use Who::{Batched, Ceiling, Each, Ours, Replaced, Xargs};
    for workers in [2, 8] {
        ground.measure(workers, &[Ceiling, Batched, Xargs, Replaced, Ours], |who| match who {
            Replaced => FEWER,
            _ => TENANTS,
        });
    }
    for setting in ["commit_delay = 5000", "commit_siblings = 0"] {
        cluster.admin(&format!("ALTER SYSTEM SET {setting}"));
    }
    cluster.admin("SELECT pg_reload_conf()");
    println!("\nEvery flush 5 ms slower (commit_delay 5000, commit_siblings 0), {FEWER} tenants a round:");
    ground.measure(8, &[Batched, Each, Ours], |_| FEWER);
    drop(ground);
    support::end(cluster);
}

impl Ground {
    fn lay(cluster: &'static Cluster) -> Self {
        let names: Vec<String> = (0..TENANTS).map(|number| format!("tenant-{number:04}")).collect();
        let list = world().folder("list").join("names");
        std::fs::write(&list, names.join("\n")).expect("the list of names");
        let ours = cluster.database();
        let configuration = Supervisor::builder()
            .tenants(&names)
            .set("database.url", ours.socket_url())
            .set("job.command", vec!["/bin/true".to_owned()])
            .set("schedule.every", "1d")
            .set("database.poll", "10s")
            .set("log.level", "warn");
        let made = configuration.clone().prepare().command(&["migrate"]);
        assert!(made.status.success(), "{made:?}");
        let done = ours.connect().execute("UPDATE tenantcron_status SET value = 'done', updated_at = now()", &[]);
        assert_eq!(done.expect("UPDATE"), TENANTS as u64, "rows that migrate should have made");
        let history = "INSERT INTO tenantcron_run (key, instance, node, host, started_at, alive_at, finished_at, outcome, exit_code) \
                       SELECT key, 'test', 'node1', 'host', at, at, at, 'ok', 0 FROM tenantcron_status, \
                       generate_series(1, $1) ago, LATERAL (SELECT now() - ago * interval '20 min') t (at) ORDER BY at";
        ours.connect().execute(history, &[&HISTORY]).expect("runs that were before");
        let theirs = cluster.databases_like(&ours, 1, "peers").pop().expect("a copy");
        Self { cluster, ours, theirs, configuration, names, list }
    }

    fn measure(&self, workers: usize, who: &[Who], tenants: impl Fn(Who) -> usize) {
        let supervisor = self.configuration.clone().set("workers", workers as i64).start();
        // Logs are made, files are read from the disk, prepared statements are planned.
        self.round(Who::Ours, workers, TENANTS, &supervisor);
        let mut rounds: Vec<Vec<Round>> = who.iter().map(|_| Vec::new()).collect();
        for turn in 0..REPEATS {
            for place in 0..who.len() {
                // Nobody always comes after the same one.
                let at = (place + turn) % who.len();
                rounds[at].push(self.round(who[at], workers, tenants(who[at]), &supervisor));
            }
        }
        let rates = |at: usize| rounds[at].iter().map(|round| round.rate).collect::<Vec<_>>();
        let ours = rates(who.iter().position(|one| *one == Who::Ours).expect("ours is among them"));
        println!("\n| {workers} at a time | runs/s | tenantcron / it | CPU ms a run | peak memory MB |");
        println!("| --- | --- | --- | --- | --- |");
        for (at, one) in who.iter().enumerate() {
            let ratio = if *one == Who::Ours { String::new() } else { spread(&ratios(&ours, &rates(at)), 2) };
            println!(
                "| {} | {} | {ratio} | {} | {:.1} |",
                one.name(),
                spread(&rates(at), 0),
                spread(&rounds[at].iter().map(|round| round.cpu).collect::<Vec<_>>(), 2),
                rounds[at].iter().map(|round| round.peak_mb).fold(0.0, f64::max)
            );
        }
    }

    fn round(&self, who: Who, workers: usize, tenants: usize, supervisor: &Supervisor) -> Round {
        if who == Who::Ours {
            return self.our_round(tenants, supervisor);
        }
        let asked = who.keeps_a_record().then(|| self.make_needed(&self.theirs, tenants, ""));
        let server = cpu::server(self.cluster);
        let before = asked.map(|asked| asked.commit().1);
        let report = peer::run(self.command(who, workers, tenants));
        if who != Who::Xargs {
            report.expect_runs(tenants);
        }
        let mut cpu = report.cpu;
        if let Some(before) = before {
            cpu += cpu::server(self.cluster) - server;
            self.expect_record(&self.theirs, who, tenants, before);
        }
        Round { rate: tenants as f64 / report.seconds, cpu: cpu * 1000.0 / tenants as f64, peak_mb: report.peak_mb() }
    }

    fn our_round(&self, tenants: usize, supervisor: &Supervisor) -> Round {
        let cpu = || cpu::server(self.cluster) + cpu::with_children(supervisor.pid());
        let asked = self.make_needed(&self.ours, tenants, "NOTIFY tenantcron");
        let used = cpu();
        let began = support::epoch();
        let (mut client, before) = asked.commit();
        eventually(secs(60), "every tenant is done", || {
            // Seldom: the question itself costs the server something.
            std::thread::sleep(millis(100));
            let row = client.query_one("SELECT count(*) FROM tenantcron_status WHERE value <> 'done'", &[]);
            match row.expect("SELECT").get::<_, i64>(0) {
                0 => Ok(()),
                left => Err(format!("{left} are left")),
            }
        });
        let used = cpu() - used;
        let ended = self.expect_record(&self.ours, Who::Ours, tenants, before);
        Round {
            rate: tenants as f64 / (ended - began),
            cpu: used * 1000.0 / tenants as f64,
            peak_mb: proc::peak_kb(supervisor.pid()) as f64 / 1024.0,
        }
    }

    /// The first `tenants` rows needed, not committed yet, on tables as autovacuum leaves them.
    fn make_needed(&self, database: &TestDatabase, tenants: usize, then: &str) -> Asked {
        let mut client = database.connect();
        for table in ["tenantcron_run", "tenantcron_status"] {
            client.batch_execute(&format!("VACUUM (ANALYZE) {table}")).expect("VACUUM");
        }
        let last = client.query_one("SELECT max(id) FROM tenantcron_run", &[]).expect("SELECT").get(0);
        client.batch_execute("BEGIN").expect("BEGIN");
        let names = &self.names[..tenants];
        let updated = client.execute(
            "UPDATE tenantcron_status SET value = 'needed' WHERE value = 'done' AND key = ANY ($1)",
            &[&names],
        );
        assert_eq!(updated.expect("UPDATE"), tenants as u64, "a row was not done");
        client.batch_execute(then).expect("NOTIFY");
        Asked { client, last }
    }

    /// Fails unless each tenant ran once and well after run `before`; returns the last recorded end, seconds since the epoch.
    fn expect_record(&self, database: &TestDatabase, who: Who, tenants: usize, before: i64) -> f64 {
        let mut client = database.connect();
        let left = client.query_one("SELECT count(*) FROM tenantcron_status WHERE value <> 'done'", &[]);
        assert_eq!(left.expect("SELECT").get::<_, i64>(0), 0, "{who:?}: rows are not done");
        let sql = "SELECT count(DISTINCT key), count(*), count(*) FILTER (WHERE outcome IS DISTINCT FROM 'ok'), \
                   extract(epoch FROM max(finished_at))::float8 FROM tenantcron_run WHERE id > $1";
        let row = client.query_one(sql, &[&before]).expect("SELECT");
        let (keys, runs, bad): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
        // The original keeps no row per run.
        let wanted = if who == Who::Replaced { 0 } else { tenants as i64 };
        assert_eq!((keys, runs, bad), (wanted, wanted, 0), "{who:?}: keys, runs, bad ones");
        row.get::<_, Option<f64>>(3).unwrap_or_default()
    }

    fn command(&self, who: Who, workers: usize, tenants: usize) -> Command {
        let workers = workers.to_string();
        let url = self.theirs.socket_url();
        let names = File::open(self.list_of(tenants)).expect("the list of names");
        let mut command = match who {
            Who::Ceiling => {
                let mut command = peer::command(peer::compiled("ceiling"));
                command.arg(tenants.to_string()).arg(&workers);
                command
            }
            Who::Batched | Who::Each => {
                let mut command = peer::command(peer::compiled(if who == Who::Each { "each" } else { "batched" }));
                command.args([url, &workers]);
                command
            }
            Who::Xargs => {
                let mut command = peer::command("xargs");
                command.args(["-P", &workers, "-n", "1", "/bin/true"]);
                command
            }
            Who::Replaced => {
                let mut command = peer::command(peer::python());
                command.arg(peer::source("replaced.py")).args([&workers, url]);
                command
            }
            Who::Ours => unreachable!("is not started for a round"),
        };
        command.stdin(names);
        command
    }

    fn list_of(&self, tenants: usize) -> PathBuf {
        if tenants == TENANTS {
            return self.list.clone();
        }
        let file = self.list.with_file_name(format!("{tenants}"));
        std::fs::write(&file, self.names[..tenants].join("\n")).expect("the list of names");
        file
    }
}

/// Rows made needed in a transaction that is still open.
struct Asked {
    client: postgres::Client,
    /// The last run before.
    last: i64,
}

impl Asked {
    fn commit(mut self) -> (postgres::Client, i64) {
        self.client.batch_execute("COMMIT").expect("COMMIT");
        (self.client, self.last)
    }
}

impl Who {
    fn name(self) -> &'static str {
        match self {
            Self::Ceiling => "C, no record: the ceiling",
            Self::Batched => "C, batched as many as are ready",
            Self::Each => "C, one commit per claim and finish",
            Self::Xargs => "xargs -P, no record",
            Self::Replaced => "the algorithm replaced",
            Self::Ours => "tenantcron",
        }
    }

    fn keeps_a_record(self) -> bool {
        matches!(self, Self::Batched | Self::Each | Self::Replaced | Self::Ours)
    }
}
