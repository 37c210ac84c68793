//! Many databases and few connections: never more than `connections`, whatever fails, and what fails
//! delays nobody else for long.

use super::number;
use crate::support::cluster::Cluster;
use crate::support::daemon::Supervisor;
use crate::support::journal::Record;
use crate::support::proc;
use crate::support::silent::{RefusingPort, SilentServer};
use crate::support::wait::{eventually, millis, secs};
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const TENANTS: usize = 200;
const CONNECTIONS: i64 = 4;
const EVERY: Duration = secs(15);
const POLL: Duration = secs(5);

/// TCP connections of a process that are open or being opened, whoever is at the other end.
fn lines_of(pid: i32) -> usize {
    let sockets: HashSet<String> = proc::open_files(pid)
        .into_iter()
        .filter_map(|(_, file)| Some(file.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
    table
        .lines()
        .skip(1)
        .filter(|line| line.split_whitespace().nth(9).is_some_and(|inode| sockets.contains(inode)))
        .count()
}

/// From the supervisor's start to each tenant's first run.
fn first_waits(record: &Record, started: i64, tenants: &[String]) -> BTreeMap<String, Duration> {
    let wait = |tenant: &String| {
        let first = record.runs_of(tenant).first().map(|run| run.begin)?;
        Some((tenant.clone(), Duration::from_nanos((first - started).max(0) as u64)))
    };
    tenants.iter().filter_map(wait).collect()
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64
}

/// FNV-1a 64 of a name modulo `every`: the documented offset `spread`.
fn offset_of(name: &str, every: Duration) -> i64 {
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (hash % every.as_millis() as u64) as i64 * 1_000_000
}

/// How late each run began after its slot, the first one of each tenant aside.
fn latenesses(record: &Record, tenants: &[String]) -> Vec<Duration> {
    let every = EVERY.as_nanos() as i64;
    let late = |tenant: &String| {
        let offset = offset_of(tenant, EVERY);
        record
            .runs_of(tenant)
            .into_iter()
            .skip(1)
            .map(move |run| (run.begin - offset).rem_euclid(every))
            .collect::<Vec<_>>()
    };
    tenants.iter().flat_map(late).map(|nanos| Duration::from_nanos(nanos as u64)).collect()
}

/// Lets all run twice; answers with the waits for the first run, and how late later runs were.
fn watch(
    cluster: &Cluster,
    tenants: &[String],
    broken: &[(String, u16)],
) -> (BTreeMap<String, Duration>, Vec<Duration>) {
    let mut lines: Vec<String> = tenants.iter().map(|name| format!("{name} group={}", cluster.port())).collect();
    // The broken ones first: names that sort before, lines that come before.
    lines.splice(0..0, broken.iter().map(|(name, port)| format!("{name} group={port}")));
    let mut supervisor = Supervisor::builder()
        .set("workers", 8)
        .set("schedule.every", humantime(EVERY))
        .set("schedule.offset", "spread")
        .set("database.poll", humantime(POLL))
        .set("database.connections", CONNECTIONS)
        .set("database.url", "postgresql://few@127.0.0.1:{group}/{tenant}")
        .set("tenants.command", vec!["printf".to_owned(), format!("{}\\n", lines.join("\n"))])
        .prepare();
    let over = AtomicBool::new(false);
    let started = now();
    supervisor.start();
    let pid = supervisor.pid();
    let (most_sessions, most_lines) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut client = cluster.named("postgres").connect();
            let (mut sessions, mut lines) = (0, 0);
            while !over.load(Ordering::SeqCst) {
                let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tenantcron'";
                sessions = sessions.max(number(&mut client, sql));
                lines = lines.max(lines_of(pid));
                std::thread::sleep(millis(10));
            }
            (sessions, lines)
        });
        let journal = supervisor.journal();
        let waited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually(secs(120), "all have run twice", || {
                let record = journal.read();
                let slow: Vec<_> = tenants.iter().filter(|tenant| record.runs_of(tenant).len() < 2).collect();
                if slow.is_empty() { Ok(()) } else { Err(format!("{} have not, {:?} …", slow.len(), slow.first())) }
            });
        }));
        over.store(true, Ordering::SeqCst);
        let seen = watcher.join().unwrap();
        waited.map(|()| seen).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    let record = supervisor.journal().read();
    assert_eq!(record.overlaps(), [""; 0]);
    assert!(most_sessions <= CONNECTIONS, "{most_sessions} sessions at once");
    assert!(most_lines as i64 <= CONNECTIONS, "{most_lines} connections at once, those that fail included");
    assert!(most_sessions > 1, "nobody was seen at work");
    // What the server itself would have refused: nobody may hold more than four at any instant.
    assert!(!cluster.log().contains("too many connections"), "{}", cluster.log());
    for (name, _) in broken {
        supervisor.wait_for_log(&format!("/{name} is down"), secs(30));
        assert_eq!(supervisor.log().matches(&format!("/{name} is down")).count(), 1, "told once");
    }
    assert!(supervisor.stop().success());
    (first_waits(&record, started, tenants), latenesses(&record, tenants))
}

fn humantime(time: Duration) -> String {
    format!("{}s", time.as_secs())
}

#[test]
fn two_hundred_databases_share_four_connections_and_ten_that_fail_delay_nobody_for_long() {
    let cluster = Cluster::start_own(&[]);
    cluster.admin(&format!("CREATE ROLE few LOGIN CONNECTION LIMIT {CONNECTIONS}"));
    let databases = cluster.own_databases(TENANTS, "many");
    for database in &databases {
        cluster.admin(&format!("ALTER DATABASE \"{}\" OWNER TO few", database.name));
    }
    let tenants: Vec<String> = databases.iter().map(|database| database.name.clone()).collect();
    let (refusing, silent) = (RefusingPort::take(), SilentServer::start());
    let mut broken: Vec<(String, u16)> = (1..=5).map(|at| (format!("closed{at}"), refusing.port())).collect();
    broken.extend((1..=5).map(|at| (format!("hung{at}"), silent.port())));

    let (calm, calm_late) = watch(&cluster, &tenants, &[]);
    for database in &databases {
        database.connect().batch_execute("DROP TABLE tenantcron_status, tenantcron_run, tenantcron_flag").unwrap();
    }
    let (troubled, troubled_late) = watch(&cluster, &tenants, &broken);

    let most = |waits: &BTreeMap<String, Duration>| waits.values().max().copied().unwrap_or_default();
    let latest = |late: &[Duration]| late.iter().max().copied().unwrap_or_default();
    let delay = |tenant: &String| troubled[tenant].saturating_sub(calm[tenant]);
    let longest = tenants.iter().map(delay).max().unwrap_or_default();
    println!(
        "first runs within {:?} where all is well, {:?} with ten that fail; the most that one tenant was delayed: {longest:?}; \
         later runs at most {:?} and {:?} after their slots",
        most(&calm),
        most(&troubled),
        latest(&calm_late),
        latest(&troubled_late)
    );
    assert!(silent.accepted() >= 5, "the silent server was never asked");
    // Twelve seconds, and as much again as this machine, which runs other tests too, needs for them all.
    assert!(longest <= secs(12) + most(&calm), "a tenant waited {longest:?} longer for its first run");
    let bound = POLL + latest(&calm_late).max(secs(5));
    assert!(latest(&troubled_late) <= bound, "a run began {:?} after its slot", latest(&troubled_late));
}
