//! The night from its calm beginning to its calm end: start, faults, healing, settling, draining, judgement.

use super::driver::Driver;
use super::judge::{Evidence, Promises};
use super::nodes::{Footprint, Node};
use super::report::Reporter;
use super::schedule::{NODES, Night};
use super::tenants::{self, LEASE, Tenant};
use super::timeline::{Nanos, nanos, now};
use super::watch::{rows_astray, watch};
use super::{CLUSTER, TAKEOVER, UNRECORDED, UPGRADES, WORKERS};
use crate::support::cluster::Cluster;
use crate::support::configuration::Configuration;
use crate::support::daemon::Supervisor;
use crate::support::proc;
use crate::support::relay::Relay;
use crate::support::rows;
use crate::support::wait::{eventually, millis, secs};
use crate::support::world::marked;
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// After the faults: the longest delay between two tries, an exchange's deadline and a connect's, and some work.
const SETTLES: Duration = secs(120);
/// A run that is open for so long, when all jobs end at once, is nobody's.
const FRESH: Nanos = nanos(secs(15));

/// Two ways to spend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    Plain,
    Takeover,
}

/// Spends a night.
pub fn night(variant: Variant) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let number = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let usual = if variant == Variant::Takeover { 1.0 } else { 2.0 };
    let minutes: f64 = number("CHAOS_MINUTES").map_or(usual, |text| text.parse().expect("CHAOS_MINUTES"));
    let seed: u64 =
        number("CHAOS_SEED").map_or_else(|| fastrand::u64(..1_000_000), |text| text.parse().expect("CHAOS_SEED"));
    println!("{variant:?}: CHAOS_SEED={seed} CHAOS_MINUTES={minutes}");
    let tenants = tenants::tenants();
    let takeover = variant == Variant::Takeover;
    let length = Duration::from_secs_f64(minutes * 60.0);
    let steps = Night { length, tenants: tenants.len(), upgrades: UPGRADES, takeover }.schedule(seed);
    let promises = Promises { unrecorded: UNRECORDED, takeover: takeover && TAKEOVER };

    let mut reporter = Reporter { driver: begin(&tenants, variant), seed, variant };
    let driver = &mut reporter.driver;
    let before = calm(driver, now());
    tenants::at_work(&tenants, &driver.journal, if takeover { secs(40) } else { secs(12) });
    driver.run(&steps, length, |driver| watch(driver, promises));
    driver.heal();
    tenants::quick(&tenants, &driver.journal);
    settle(driver, now(), promises);
    let after = calm(driver, now());
    flat(driver, &before, &after);
    drain(driver);
    judge(driver, promises);
    println!("{}", reporter.summary());
}

/// Server, relays, supervisors.
fn begin(tenants: &[Tenant], variant: Variant) -> Driver {
    let cluster = Cluster::start_own(&[]);
    let database = cluster.own_databases(1, "chaos").remove(0);
    let common = configuration(tenants, variant);
    let nodes = (1..=NODES).map(|number| {
        let name = format!("n{number}");
        let relay = Relay::start(cluster.port());
        let own = common.clone().set("node", name.as_str()).set("database.url", relay.url(&database.name));
        Node::begin(&name, own.prepare(), relay)
    });
    let nodes = nodes.collect();
    Driver::new(cluster, database, nodes, tenants.to_vec())
}

fn configuration(tenants: &[Tenant], variant: Variant) -> Configuration {
    let plain = Supervisor::builder()
        .set("workers", WORKERS)
        .set("limits.cluster", CLUSTER as u32)
        .set("schedule.every", "5s")
        .set("schedule.offset", "spread")
        .set("job.kill_after", "1s")
        .set("database.poll", "2s")
        .set("log.level", "debug");
    let plain = tenants::configured(plain, tenants);
    match variant {
        Variant::Plain => plain,
        Variant::Takeover => plain.set("cluster.takeover_after", format!("{}s", LEASE.as_secs())),
    }
}

/// Everybody works and nothing is wrong: every tenant has run, on every node something has; then what each holds.
fn calm(driver: &mut Driver, since: Nanos) -> Vec<Footprint> {
    eventually(SETTLES, "every tenant has run, and every node has run something", || {
        driver.tend();
        let record = driver.journal.read();
        let recent: Vec<_> = record.runs.iter().filter(|run| run.begin > since && run.end.is_some()).collect();
        let ran: BTreeSet<_> = recent.iter().map(|run| run.tenant.as_str()).collect();
        let nodes: BTreeSet<_> = recent.iter().map(|run| run.node.as_str()).collect();
        let idle: Vec<_> =
            driver.tenants.iter().map(|tenant| tenant.name.as_str()).filter(|name| !ran.contains(name)).collect();
        if idle.is_empty() && nodes.len() == NODES { Ok(()) } else { Err(format!("only {nodes:?} ran, not {idle:?}")) }
    });
    for node in &driver.nodes {
        let pid = node.supervisor.pid();
        eventually(secs(10), "ended children are collected", || proc::zombies(pid).is_empty());
    }
    driver.nodes.iter().map(|node| node.footprint(secs(2))).collect()
}

/// Nothing that the faults left is open any more.
fn settle(driver: &mut Driver, since: Nanos, promises: Promises) {
    let begun = Instant::now();
    eventually(SETTLES, "what the faults left is over", || {
        driver.tend();
        watch(driver, promises);
        let rows = rows::runs(driver.client().expect("a server"));
        let old: Vec<_> = rows
            .into_iter()
            .filter(|row| {
                row.finished_at.is_none() && (row.started_at * 1000 < since || now() - row.started_at * 1000 > FRESH)
            })
            .collect();
        std::thread::sleep(millis(200));
        if old.is_empty() { Ok(()) } else { Err(format!("open: {old:?}")) }
    });
    println!("settled after {:?}", begun.elapsed());
}

/// Descriptors, connections and memory are what they were.
fn flat(driver: &Driver, before: &[Footprint], after: &[Footprint]) {
    for ((node, before), after) in driver.nodes.iter().zip(before).zip(after) {
        println!("{}: {before:?} -> {after:?}", node.line.name);
        let open = || proc::open_files(node.supervisor.pid());
        assert!(after.files <= before.files + 2, "descriptors were left open: {:?}", open());
        assert!(after.sockets <= before.sockets + 8, "connections were left open: {:?}", open());
        assert!(after.resident_kb <= before.resident_kb + (16 << 10), "memory grows");
    }
}

/// All supervisors leave after their last runs, and nothing of them is left.
fn drain(driver: &mut Driver) {
    for node in &driver.nodes {
        node.signal(Signal::SIGQUIT);
    }
    for node in &mut driver.nodes {
        let status = node.retire();
        assert!(status.success(), "{} was drained: {status}", node.line.name);
    }
    for node in &driver.nodes {
        eventually(secs(30), "no process is left", || {
            let left: Vec<_> = marked(node.supervisor.mark()).into_iter().map(proc::command_line).collect();
            if left.is_empty() { Ok(()) } else { Err(left.join("; ")) }
        });
    }
}

fn judge(driver: &mut Driver, promises: Promises) {
    let (record, lines) = (driver.journal.read(), driver.lines());
    let client = driver.client().expect("a server");
    let rows = rows::runs(client);
    let astray = rows_astray(client);
    let mut found = Evidence {
        record: &record,
        rows: &rows,
        lines: &lines,
        kills: &driver.kills,
        tenants: &driver.tenants,
        promises,
    }
    .judge();
    found.extend(astray);
    if !promises.takeover {
        for line in &lines {
            let mut own = record.clone();
            own.runs.retain(|run| run.node == line.name);
            let most = own.most_at_once();
            found.extend((most > WORKERS as usize).then(|| format!("{} ran {most} at once", line.name)));
        }
        let most = record.most_at_once();
        found.extend((most > CLUSTER).then(|| format!("all nodes ran {most} at once")));
    }
    assert!(found.is_empty(), "{} accusations:\n{}", found.len(), found.join("\n"));
}
