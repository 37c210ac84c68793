//! What a run costs, counted and not timed: statements that PostgreSQL executes and system calls of the supervisor.
//! Both were seen to be the same on a machine with four busy loops beside.

use crate::support::cluster::{Cluster, TestDatabase, cluster};
use crate::support::configuration::Configuration;
use crate::support::daemon::Supervisor;
use crate::support::wait::{eventually, exit_within, secs};
use crate::support::world::signal;
use nix::sys::signal::Signal;
use postgres::Client;
use std::fs;
use std::process::Command;

const TENANTS: usize = 400;
/// Statements per run at 8 workers. An exchange is one statement for several runs (0.25 a run were seen); with BEGIN, finish,
/// claim and COMMIT apart it would be 5, and with an exchange for each run 1 at least.
const STATEMENTS_AT_8: f64 = 0.5;
/// At 1 worker an end and the next claim are one statement; apart, or in a transaction of their own, they are 2 to 5.
const STATEMENTS_AT_1: f64 = 1.5;
const ROUNDS: usize = 2;
/// System calls per run at 8 workers, of a debug build: 77 to 80 were seen.
const SYSTEM_CALLS: f64 = 100.0;

#[test]
fn runs_of_eight_workers_share_statements_and_those_of_one_need_one_each() {
    let slow_commits = [("fsync", "on"), ("commit_siblings", "0")];
    let counting = [("shared_preload_libraries", "'pg_stat_statements'")];
    let cluster = Cluster::start_own(&[counting.as_slice(), &slow_commits].concat());
    // By its role the supervisor's statements are known from the test's.
    cluster.admin("CREATE ROLE supervisor LOGIN SUPERUSER");
    // Where runs shall share, a commit takes at least 20 ms: ends gather meanwhile, however fast or busy the machine.
    for (workers, commit_delay, bound) in [(8, 20_000, STATEMENTS_AT_8), (1, 0, STATEMENTS_AT_1)] {
        cluster.admin(&format!("ALTER ROLE supervisor SET commit_delay = {commit_delay}"));
        let database = cluster.own_databases(1, "t").remove(0);
        let url = database.url().replace("postgres@", "supervisor@");
        let mut supervisor = runs_nothing(TENANTS).set("database.url", url).set("workers", workers).start();
        let mut client = database.connect();
        all_done(&mut client, TENANTS);
        client.batch_execute("CREATE EXTENSION pg_stat_statements; SELECT pg_stat_statements_reset()").unwrap();
        ask_all(&mut client, TENANTS);
        all_done(&mut client, 2 * TENANTS);
        let seen = "SELECT sum(calls)::int8, string_agg(calls || ' × ' || left(query, 60), E'\\n' ORDER BY calls DESC) \
                    FROM pg_stat_statements WHERE userid = 'supervisor'::regrole";
        let row = client.query_one(seen, &[]).unwrap();
        let (calls, which) = (row.get::<_, i64>(0), row.get::<_, &str>(1));
        let each = calls as f64 / TENANTS as f64;
        println!("{workers} workers: {each:.3} statements a run, at most {bound}");
        assert!(
            calls > 0 && each <= bound,
            "{workers} workers: {each:.3} statements a run, more than {bound}:\n{which}"
        );
        supervisor.stop();
    }
}

#[test]
fn a_thousand_runs_need_few_system_calls_each() {
    let (tenants, database) = (500, cluster().database());
    let supervisor = on(&database, tenants).set("workers", 8).start();
    let mut client = database.connect();
    all_done(&mut client, tenants);

    // Each thread by its number and no -f: children that are born under way are not followed.
    let pid = supervisor.pid();
    let counts = supervisor.folder().join("system-calls");
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let threads: Vec<String> = threads.map(|task| task.unwrap().file_name().into_string().unwrap()).collect();
    let mut command = Command::new("strace");
    command.args(["-c", "-q", "-o"]).arg(&counts).args(threads.iter().flat_map(|thread| ["-p", thread]));
    let mut tracer = command.spawn().unwrap();
    eventually(secs(20), "strace is at every thread", || threads.iter().all(|thread| is_traced(pid, thread)));

    for round in 1..=ROUNDS {
        ask_all(&mut client, tenants);
        all_done(&mut client, (1 + round) * tenants);
    }
    signal(tracer.id().cast_signed(), Signal::SIGINT);
    assert!(exit_within(&mut tracer, secs(20)).is_some(), "strace does not end");
    let table = fs::read_to_string(&counts).unwrap();
    let total = table.lines().find(|line| line.ends_with(" total")).unwrap_or_else(|| panic!("no total: {table}"));
    let calls: usize = total.split_whitespace().nth(3).and_then(|calls| calls.parse().ok()).unwrap();
    let runs = ROUNDS * tenants;
    let each = calls as f64 / runs as f64;
    println!("{each:.1} system calls a run, at most {SYSTEM_CALLS}\n{table}");
    // A run without a spawn, a wait and a write in it there is not.
    assert!(calls > 3 * runs, "not everything was counted: {table}");
    assert!(each <= SYSTEM_CALLS, "{each:.1} system calls a run, more than {SYSTEM_CALLS}:\n{table}");
}

fn is_traced(pid: i32, thread: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/task/{thread}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
}

/// Tenants that run when they are asked to, and then do nothing; with a word from the database, not by its poll.
fn runs_nothing(tenants: usize) -> Configuration {
    let names: Vec<String> = (1..=tenants).map(|number| format!("t{number}")).collect();
    Supervisor::builder()
        .tenants(&names)
        .set("schedule.every", "365d")
        .set("database.poll", "10s")
        .set("tenants.refresh", "1h")
        .set("job.command", vec!["/bin/true".to_owned()])
}

fn on(database: &TestDatabase, tenants: usize) -> Configuration {
    runs_nothing(tenants).database(database)
}

/// Makes every row needed, as an application does.
fn ask_all(client: &mut Client, tenants: usize) {
    let asked = client.execute("UPDATE tenantcron_status SET value = 'needed' WHERE value = 'done'", &[]).unwrap();
    assert_eq!(asked, tenants as u64, "not all were done");
    client.batch_execute("NOTIFY tenantcron").unwrap();
}

fn all_done(client: &mut Client, runs: usize) {
    // Not one that failed: those would cost less or more.
    let finished = "SELECT count(*) FROM tenantcron_run WHERE outcome = 'ok'";
    eventually(secs(120), "every run is done", || {
        // Before the supervisor's first look there is no table.
        let now = client.query_one(finished, &[]).map_or(-1, |row| row.get::<_, i64>(0));
        if now == runs as i64 { Ok(()) } else { Err(format!("{now} of {runs}")) }
    });
}
