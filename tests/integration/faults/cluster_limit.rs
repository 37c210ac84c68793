//! Limits over three nodes on one database, watched from outside in single snapshots: reached, never exceeded, nobody
//! starves, no deadlock, nobody waits for a row, and no lock on a table that would hold up others.

use crate::rows::Rows;
use crate::support::cluster::{Cluster, TestDatabase};
use crate::support::configuration::Configuration;
use crate::support::daemon::Supervisor;
use crate::support::journal::Record;
use crate::support::wait::{eventually, millis, secs};
use nix::sys::signal::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const NODES: [&str; 3] = ["node1", "node2", "node3"];
/// So long there is always more work than room.
const MIX: Duration = secs(15);
/// And then so long all of it comes at once, every second.
const BURSTS: Duration = secs(10);
/// In the mix each could run every four seconds, did nothing else use this machine.
const NOBODY_WAITS_LONGER: i64 = 15;

/// What was seen of one class of tenants (by the letters of their names), over all snapshots.
#[derive(Debug, Default)]
struct Class {
    most_running: i64,
    most_open: i64,
    /// Snapshots of the mix with work left undone, and those of them with the limit reached.
    wanted: usize,
    full: usize,
}

/// What was seen from outside.
#[derive(Debug, Default)]
struct Seen {
    snapshots: usize,
    classes: BTreeMap<String, Class>,
    most_in_all: i64,
    /// Locks that our sessions held on our tables as wholes.
    modes: BTreeSet<String>,
}

/// Looks every 20 ms until `over`.
fn watch(database: &TestDatabase, limit: i64, mixed: &AtomicBool, over: &AtomicBool) -> Seen {
    let mut client = database.connect();
    let snapshot = "SELECT rtrim(s.key, '0123456789'), count(*) FILTER (WHERE s.value = 'running'), count(r.id),
                           count(*) FILTER (WHERE s.value = 'needed')
                    FROM tenantcron_status s LEFT JOIN tenantcron_run r ON r.key = s.key AND r.finished_at IS NULL
                    GROUP BY 1";
    let locks = "SELECT DISTINCT l.mode FROM pg_locks l JOIN pg_stat_activity a USING (pid)
                 WHERE a.application_name = 'tenantcron' AND l.locktype = 'relation'
                   AND l.relation IN ('tenantcron_status'::regclass, 'tenantcron_run'::regclass)";
    let (snapshot, locks) = (client.prepare(snapshot).unwrap(), client.prepare(locks).unwrap());
    let mut seen = Seen::default();
    while !over.load(Ordering::SeqCst) {
        seen.snapshots += 1;
        let (mut in_all, mixed) = (0, mixed.load(Ordering::SeqCst));
        for row in client.query(&snapshot, &[]).unwrap() {
            let (running, open, needed): (i64, i64, i64) = (row.get(1), row.get(2), row.get(3));
            let class = seen.classes.entry(row.get(0)).or_default();
            class.most_running = class.most_running.max(running);
            class.most_open = class.most_open.max(open);
            class.wanted += usize::from(mixed && needed > 0);
            class.full += usize::from(mixed && needed > 0 && running == limit);
            in_all += running;
        }
        seen.most_in_all = seen.most_in_all.max(in_all);
        seen.modes.extend(client.query(&locks, &[]).unwrap().iter().map(|row| row.get::<_, String>(0)));
        std::thread::sleep(millis(20));
    }
    seen
}

/// A server that tells of every wait for a lock, and whose commits last as long as on a disk, so that claims meet.
fn server() -> Cluster {
    Cluster::start_own(&[
        ("log_lock_waits", "on"),
        ("deadlock_timeout", "'100ms'"),
        ("fsync", "on"),
        ("commit_delay", "5000"),
        ("commit_siblings", "0"),
    ])
}

/// Three nodes for a while, each with a state folder of its own; what was seen, and what the jobs told.
fn a_mix_on_three_nodes(
    own: &Cluster,
    database: &TestDatabase,
    configuration: &Configuration,
    limit: i64,
) -> (Seen, Record) {
    let configuration = configuration
        .clone()
        .database(database)
        .set("workers", 4)
        .set("schedule.every", "1s")
        .plan_for_all("sleep 0.$((TENANTCRON_RUN_ID % 4 * 2 + 3))");
    assert!(configuration.clone().prepare().command(&["migrate"]).status.success());
    let (mixed, over) = (AtomicBool::new(true), AtomicBool::new(false));
    let (seen, record) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(database, limit, &mixed, &over));
        let mut nodes = NODES.map(|node| configuration.clone().set("node", node).start());
        std::thread::sleep(MIX);
        mixed.store(false, Ordering::SeqCst);
        // All are done before the next slot: then all nodes see all of the room free at the same moment.
        nodes[0].journal().plan_for_all("sleep 0.05");
        std::thread::sleep(BURSTS);
        over.store(true, Ordering::SeqCst);
        let seen = watcher.join().unwrap();
        let journal = nodes[0].journal().clone();
        let runs = |at: usize| journal.read().runs.iter().filter(|run| run.node == NODES[at]).count();
        // Whoever holds a place takes it again as a run of its own ends, so shares are uneven. Who had least gets
        // something at the latest when the others are gone.
        let mut order = [0, 1, 2];
        order.sort_by_key(|at| std::cmp::Reverse(runs(*at)));
        for at in order {
            eventually(secs(20), &format!("{} starts something", NODES[at]), || runs(at) > 0);
            nodes[at].signal(Signal::SIGQUIT);
            assert!(nodes[at].wait_exit(secs(45)).success(), "{}", nodes[at].log());
        }
        (seen, journal.read())
    });
    assert_eq!(record.overlaps(), [""; 0]);
    assert!(seen.snapshots > 200, "{seen:?}");

    let shares = NODES.map(|node| record.runs.iter().filter(|run| run.node == node).count());
    let longest = record.tenants().into_iter().map(|tenant| (longest_wait(&record, tenant), tenant)).max().unwrap();
    println!("{} runs, by node {shares:?}; longest from start to start {longest:?} s; {seen:#?}", record.runs.len());
    assert!(longest.0 <= NOBODY_WAITS_LONGER, "{longest:?}");

    // AccessShare and RowShare are weaker; what is stronger would hold up writers of the application.
    let allowed = ["AccessShareLock", "RowShareLock", "RowExclusiveLock"];
    assert!(seen.modes.contains("RowExclusiveLock"), "no claim was ever seen at work: {:?}", seen.modes);
    assert!(seen.modes.iter().all(|mode| allowed.contains(&mode.as_str())), "{:?}", seen.modes);
    let mut rows = Rows::of(database);
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(rows.one::<i64>(deadlocks, &[]), 0);
    let log = own.log();
    let bad = |line: &&str| {
        let waits = line.contains("still waiting for") && !line.contains("advisory lock");
        waits || ["ERROR", "FATAL", "PANIC", "deadlock", "could not serialize"].iter().any(|word| line.contains(word))
    };
    // pg_ctl's own question whether the server is up comes too early now and then.
    let bad: Vec<_> =
        log.lines().filter(bad).filter(|line| !line.contains("the database system is starting up")).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    (seen, record)
}

/// Seconds from one begin to the next, the end of the mix included.
fn longest_wait(record: &Record, tenant: &str) -> i64 {
    let last = record.runs.last().map_or(0, |run| run.begin);
    let mut begins: Vec<i64> = record.runs_of(tenant).iter().map(|run| run.begin).collect();
    begins.push(last);
    begins.windows(2).map(|pair| (pair[1] - pair[0]) / 1_000_000_000).max().unwrap_or(i64::MAX)
}

#[test]
fn five_in_the_cluster_are_five_over_three_nodes_of_four() {
    let own = server();
    let database = own.own_databases(1, "limit").remove(0);
    let tenants: Vec<String> = (10..40).map(|number| format!("t{number}")).collect();
    let configuration = Supervisor::builder().tenants(&tenants).set("limits.cluster", 5);
    let (seen, record) = a_mix_on_three_nodes(&own, &database, &configuration, 5);
    assert_eq!(record.tenants().len(), tenants.len());
    let class = &seen.classes["t"];
    assert_eq!((class.most_running, class.most_open), (5, 5));
    assert_eq!(record.most_at_once(), 5);
    assert!(class.full * 2 > class.wanted, "reached in {} of {} snapshots with work left", class.full, class.wanted);
}

#[test]
fn two_of_a_group_are_two_over_three_nodes_of_four() {
    let own = server();
    let database = own.own_databases(1, "limit").remove(0);
    let lines: String = (10..20).map(|at| format!("red{at} group=red\\nblue{at} group=blue\\nplain{at}\\n")).collect();
    let configuration =
        Supervisor::builder().set("tenants.command", vec!["printf".to_owned(), lines]).set("limits.group", 2);
    let (seen, record) = a_mix_on_three_nodes(&own, &database, &configuration, 2);
    assert_eq!(record.tenants().len(), 30);
    for colour in ["red", "blue"] {
        let class = &seen.classes[colour];
        assert_eq!((class.most_running, class.most_open), (2, 2), "{colour}");
        assert!(class.full * 2 > class.wanted, "{colour}: {} of {} snapshots", class.full, class.wanted);
    }
    assert!(
        seen.classes["plain"].most_running > 2 && seen.most_in_all > 5,
        "those of no group share one limit: {seen:?}"
    );
}
