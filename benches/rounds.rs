//! Whole rounds of 2,000 tenants beside `xargs -P` with the same child, in one run: runs per second, the
//! ratio, the supervisor's CPU time and peak memory. The child is `/bin/true`, the database is shared and
//! keeps PostgreSQL's default durability on the disk of `TC_TEST_BASE` (default /tmp by `make bench`).
//! `xargs` keeps no record at all: it is the ceiling of what users would take instead.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench ends where the world is not as it should be, and measures by the host's clock"
)]

mod support;

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::cpu;
use support::figures::spread;
use support::kit::cluster::Cluster;
use support::kit::daemon::Supervisor;
use support::kit::proc;
use support::kit::wait::{eventually, secs};

const TENANTS: usize = 2_000;
const REPEATS: usize = 3;

/// One round: how fast, and what the supervisor itself used.
struct Round {
    seconds: f64,
    cpu: f64,
}

fn main() {
    if !support::is_measuring() {
        return;
    }
    let names: Vec<String> = (0..TENANTS).map(|number| format!("tenant-{number:04}")).collect();
    let cluster = support::durable_cluster(&[]);
    support::conditions(
        cluster,
        &format!("{TENANTS} tenants, /bin/true, one shared database; {REPEATS} rounds each, in turn; median (range)"),
    );
    println!(
        "\n| at a time | xargs -P, runs/s | tenantcron, runs/s | ratio | CPU ms a run, supervisor only | peak memory |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    for workers in [2, 8] {
        measure(cluster, &names, workers);
    }
    support::end(cluster);
}

fn measure(cluster: &'static Cluster, names: &[String], workers: u32) {
    let database = cluster.database();
    let mut supervisor = Supervisor::builder()
        .tenants(names)
        .database(&database)
        .set("workers", i64::from(workers))
        .set("job.command", vec!["/bin/true".to_owned()])
        .set("schedule.every", "1d")
        .set("database.poll", "10s")
        .set("database.url", database.socket_url())
        .set("log.level", "warn")
        .start();
    let mut client = database.connect();
    // The first round makes tables, rows and logs.
    wait_done(&mut client, TENANTS);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..REPEATS {
        theirs.push(xargs(names, workers));
        ours.push(round(&mut client, supervisor.pid()));
    }
    let ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(ours, theirs)| theirs / ours.seconds).collect();
    let rate = |seconds: f64| TENANTS as f64 / seconds;
    let cpu: Vec<f64> = ours.iter().map(|round| round.cpu * 1000.0 / TENANTS as f64).collect();
    println!(
        "| {workers} | {} | {} | {} | {} | {:.1} MB |",
        spread(&theirs.iter().map(|seconds| rate(*seconds)).collect::<Vec<_>>(), 0),
        spread(&ours.iter().map(|round| rate(round.seconds)).collect::<Vec<_>>(), 0),
        spread(&ratios, 2),
        spread(&cpu, 2),
        proc::peak_kb(supervisor.pid()) as f64 / 1024.0
    );
    std::io::stdout().flush().expect("stdout");
    supervisor.stop();
}

/// From the commit that makes every row needed to the last recorded end.
fn round(client: &mut postgres::Client, supervisor: i32) -> Round {
    let cpu = cpu::own(supervisor);
    let row = client.query_one("WITH u AS (UPDATE tenantcron_status SET value = 'needed' RETURNING 1) SELECT count(*), extract(epoch FROM clock_timestamp())::float8 FROM u", &[]);
    let began: f64 = row.expect("UPDATE").get(1);
    client.batch_execute("NOTIFY tenantcron").expect("NOTIFY");
    wait_done(client, TENANTS);
    let row = client.query_one("SELECT extract(epoch FROM max(finished_at))::float8, count(*) FILTER (WHERE outcome <> 'ok') FROM tenantcron_run", &[]);
    let row = row.expect("SELECT");
    assert_eq!(row.get::<_, i64>(1), 0, "some runs failed");
    Round { seconds: row.get::<_, f64>(0) - began, cpu: cpu::own(supervisor) - cpu }
}

fn wait_done(client: &mut postgres::Client, wanted: usize) {
    eventually(secs(120), "every tenant is done", || {
        // Seldom: the question itself costs the server something.
        std::thread::sleep(Duration::from_millis(100));
        let row =
            client.query_one("SELECT count(*) FROM pg_class WHERE relname = 'tenantcron_status'", &[]).expect("SELECT");
        if row.get::<_, i64>(0) == 0 {
            return Err("no table yet".to_owned());
        }
        let row = client.query_one("SELECT count(*) FROM tenantcron_status WHERE value = 'done'", &[]).expect("SELECT");
        let done: i64 = row.get(0);
        if done == wanted as i64 { Ok(()) } else { Err(format!("{done} done")) }
    });
}

fn xargs(names: &[String], workers: u32) -> f64 {
    let began = Instant::now();
    let mut xargs = Command::new("xargs")
        .args(["-P", &workers.to_string(), "-n", "1", "/bin/true"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("xargs");
    xargs.stdin.take().expect("its input").write_all(names.join("\n").as_bytes()).expect("its input");
    assert!(xargs.wait().expect("xargs").success());
    began.elapsed().as_secs_f64()
}
