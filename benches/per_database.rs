//! Whole rounds with a database per tenant and few connections, beside a C loop that opens its connections as we
//! must, and the algorithm that we replace, which asks every database from every worker. All rows are needed
//! and known before: the supervisor was a standby node until then, and a round lasts from the signal that
//! enables it (or the start of the peer's process) to the last recorded end (or the peer's). CPU time counts the
//! program, its children and the server.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench ends where the world is not as it should be, and looks seldom"
)]

mod support;

use nix::sys::signal::Signal;
use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use support::cpu;
use support::figures::{median, ratios, spread};
use support::kit::cluster::{Cluster, TestDatabase};
use support::kit::configuration::Configuration;
use support::kit::daemon::Supervisor;
use support::kit::proc;
use support::kit::wait::{eventually, millis, secs};
use support::kit::world::world;
use support::peer;

const TENANTS: usize = 200;
const WORKERS: i64 = 8;
const CONNECTIONS: i64 = 8;
const REPEATS: usize = 5;
/// So long nothing moves before a round is believed to be over.
const AT_REST: Duration = millis(300);

struct Round {
    rate: f64,
    /// Milliseconds a run: program, children, server.
    cpu: f64,
    peak_mb: f64,
}

struct Ground {
    cluster: &'static Cluster,
    databases: Vec<TestDatabase>,
    configuration: Configuration,
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
            "{TENANTS} tenants with a database each, /bin/true, {WORKERS} at a time, {CONNECTIONS} connections; \
             {REPEATS} rounds each, in turn, the replaced algorithm once; the median, the range behind it"
        ),
    );
    let (mut theirs, mut keeping, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..REPEATS {
        theirs.push(ground.peer_round(ground.c_loop(&[]), true));
        keeping.push(ground.peer_round(ground.c_loop(&["keep"]), true));
        ours.push(ground.our_round());
    }
    let replaced = vec![ground.peer_round(ground.replaced(), false)];
    println!("\n| who | runs/s | tenantcron / it | CPU ms a run | peak memory MB |");
    println!("| --- | --- | --- | --- | --- |");
    let rates = |rounds: &[Round]| rounds.iter().map(|round| round.rate).collect::<Vec<_>>();
    let line = |name: &str, rounds: &[Round], ratio: String| {
        println!(
            "| {name} | {} | {ratio} | {} | {:.1} |",
            spread(&rates(rounds), 0),
            spread(&rounds.iter().map(|round| round.cpu).collect::<Vec<_>>(), 1),
            rounds.iter().map(|round| round.peak_mb).fold(0.0, f64::max)
        );
    };
    for (name, rounds) in
        [("C, the longest unused makes way", &theirs), ("C, who comes back keeps its connection", &keeping)]
    {
        line(name, rounds, spread(&ratios(&rates(&ours), &rates(rounds)), 2));
    }
    let ratio = median(&rates(&ours)) / median(&rates(&replaced));
    line("the algorithm replaced", &replaced, format!("{ratio:.1}"));
    line("tenantcron", &ours, String::new());
    support::end(cluster);
}

impl Ground {
    fn lay(cluster: &'static Cluster) -> Self {
        let template = cluster.database();
        let maker = Supervisor::builder().tenants(&[&template.name]).set("database.url", template.socket_url());
        let made = maker.prepare().command(&["migrate"]);
        assert!(made.status.success(), "{made:?}");
        template.connect().batch_execute("DELETE FROM tenantcron_status").expect("DELETE");
        let databases = cluster.databases_like(&template, TENANTS, "each");
        let names: Vec<&str> = databases.iter().map(|database| database.name.as_str()).collect();
        let list = world().folder("list").join("names");
        std::fs::write(&list, names.join("\n")).expect("the list of names");
        let configuration = Supervisor::builder()
            .tenants(&names)
            .set("database.url", cluster.socket_url_of("{tenant}"))
            .set("database.connections", CONNECTIONS)
            .set("database.poll", "1h")
            .set("workers", WORKERS)
            .set("job.command", vec!["/bin/true".to_owned()])
            .set("schedule.every", "1d")
            .set("log.level", "warn");
        let ground = Self { cluster, databases, configuration, list };
        ground.in_each(|client, name| {
            let sql = "INSERT INTO tenantcron_status (key, value) VALUES ($1, 'done')";
            client.execute(sql, &[&name]).expect("a row");
            0.0
        });
        ground
    }

    /// Makes every row needed, and the runs of the round before go.
    fn make_needed(&self) {
        self.in_each(|client, _| {
            let sql = "DELETE FROM tenantcron_run; UPDATE tenantcron_status SET value = 'needed', updated_at = now()";
            client.batch_execute(sql).expect("asking for a run");
            0.0
        });
    }

    /// Fails unless each tenant ran once and well; returns the last recorded end, seconds since the epoch.
    fn expect_record(&self, keeps_runs: bool) -> f64 {
        self.in_each(|client, name| {
            let sql = "SELECT value, (SELECT count(*) FROM tenantcron_run), \
                       (SELECT count(*) FROM tenantcron_run WHERE outcome = 'ok'), \
                       (SELECT extract(epoch FROM max(finished_at))::float8 FROM tenantcron_run) FROM tenantcron_status";
            let row = client.query_one(sql, &[]).expect("SELECT");
            let (value, runs, well): (&str, i64, i64) = (row.get(0), row.get(1), row.get(2));
            let wanted = i64::from(keeps_runs);
            assert_eq!((value, runs, well), ("done", wanted, wanted), "{name}: value, runs, those that went well");
            row.get::<_, Option<f64>>(3).unwrap_or_default()
        })
    }

    /// Does something in each database, a few at a time; the greatest of the answers.
    fn in_each(&self, work: impl Fn(&mut postgres::Client, &str) -> f64 + Sync) -> f64 {
        std::thread::scope(|scope| {
            let part = |databases| {
                let work = &work;
                scope.spawn(move || one_by_one(databases, work))
            };
            let threads: Vec<_> = self.databases.chunks(TENANTS.div_ceil(4)).map(part).collect();
            threads.into_iter().map(|thread| thread.join().expect("a visit")).fold(0.0, f64::max)
        })
    }

    fn peer_round(&self, command: Command, keeps_runs: bool) -> Round {
        self.make_needed();
        let server = cpu::server(self.cluster);
        let report = peer::run(command);
        report.expect_runs(TENANTS);
        let cpu = report.cpu + cpu::server(self.cluster) - server;
        self.expect_record(keeps_runs);
        Round { rate: TENANTS as f64 / report.seconds, cpu: cpu * 1000.0 / TENANTS as f64, peak_mb: report.peak_mb() }
    }

    fn our_round(&self) -> Round {
        self.make_needed();
        let mut supervisor = self.configuration.clone().set("enabled", false).start();
        self.at_rest(&supervisor);
        let pid = supervisor.pid();
        supervisor.reconfigure(|configuration| configuration.set("enabled", true));
        let before = self.used(pid);
        let began = support::epoch();
        supervisor.signal(Signal::SIGHUP);
        self.at_rest(&supervisor);
        let used = self.used(pid) - before;
        let ended = self.expect_record(true);
        let peak_mb = proc::peak_kb(pid) as f64 / 1024.0;
        supervisor.stop();
        Round { rate: TENANTS as f64 / (ended - began), cpu: used * 1000.0 / TENANTS as f64, peak_mb }
    }

    fn used(&self, supervisor: i32) -> f64 {
        cpu::server(self.cluster) + cpu::with_children(supervisor)
    }

    /// Waits until neither the supervisor nor the server does anything: asking the databases would disturb.
    fn at_rest(&self, supervisor: &Supervisor) {
        eventually(secs(60), "the supervisor is at rest", || {
            let before = self.used(supervisor.pid());
            std::thread::sleep(AT_REST);
            // One tick may be for whatever else the server does.
            let used = self.used(supervisor.pid()) - before;
            let children = proc::children(supervisor.pid()).len();
            if used < 0.015 && children == 0 { Ok(()) } else { Err(format!("{used} s used, {children} children")) }
        });
    }

    fn c_loop(&self, more: &[&str]) -> Command {
        let url = self.cluster.socket_url_of("@");
        let (before, after) = url.rsplit_once('@').expect("a place for the name");
        let mut command = peer::command(peer::compiled("per_database"));
        command.args([before, after, &WORKERS.to_string(), &CONNECTIONS.to_string()]).args(more);
        command.stdin(File::open(&self.list).expect("the list of names"));
        command
    }

    fn replaced(&self) -> Command {
        let mut command = peer::command(peer::python());
        command.arg(peer::source("replaced.py"));
        command.args([&WORKERS.to_string(), &self.cluster.socket_url_of("{tenant}")]);
        command.stdin(File::open(&self.list).expect("the list of names"));
        command
    }
}

fn one_by_one(databases: &[TestDatabase], work: &(impl Fn(&mut postgres::Client, &str) -> f64 + Sync)) -> f64 {
    databases.iter().map(|database| work(&mut database.connect(), &database.name)).fold(0.0, f64::max)
}
