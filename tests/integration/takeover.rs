//! `cluster.takeover_after`: a run whose supervisor cannot confirm it ends before another node takes it, and a frozen
//! supervisor that thaws finds that it has been taken. Each node is a host of its own: a PID namespace.

use crate::support::cluster::{TestDatabase, cluster};
use crate::support::configuration::Configuration;
use crate::support::daemon::Supervisor;
use crate::support::proc;
use crate::support::relay::{Relay, Way};
use crate::support::rows;
use crate::support::wait::{eventually, secs, throughout};
use crate::support::world::world;
use nix::sys::signal::Signal;
use std::fs;
use std::path::{Path, PathBuf};

/// The shortest lease for a `kill_after` of 1 s: asked to end 11 s, killed 12 s after the last good refresh was sent.
const LEASE: &str = "22s";

/// Jobs of node1 go on until the file `node1` is there, and so on.
fn leased(tenants: &[&str]) -> (Configuration, PathBuf) {
    let folder = world().folder("go");
    let configuration = Supervisor::builder()
        .tenants(tenants)
        .set("schedule.every", "365d")
        .set("workers", 4)
        .set("job.directory", folder.display().to_string())
        .set("job.kill_after", "1s")
        .set("cluster.takeover_after", LEASE)
        .plan_for_all("while [ ! -e $TENANTCRON_NODE ]; do sleep 0.05; done")
        .elsewhere();
    (configuration, folder)
}

fn begun(node: &Supervisor, name: &str, count: usize) {
    eventually(secs(20), &format!("{count} jobs of {name} have begun"), || {
        let record = node.journal().read();
        let begun = record.runs.iter().filter(|run| run.node == name).count();
        if begun == count { Ok(()) } else { Err(format!("{begun}\n{}", node.log())) }
    });
}

fn let_go(folder: &Path, node: &str) {
    fs::write(folder.join(node), "").unwrap();
}

/// The runs of `tenant` as the database has them: node and outcome.
fn recorded(database: &TestDatabase, tenant: &str) -> Vec<(String, Option<String>)> {
    let sql = "SELECT node, outcome FROM tenantcron_run WHERE key = $1 ORDER BY id";
    let rows = database.connect().query(sql, &[&tenant]).unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

fn becomes(database: &TestDatabase, tenant: &str, wanted: &[(&str, Option<&str>)]) {
    eventually(secs(60), &format!("{tenant} is recorded as {wanted:?}"), || {
        let found = recorded(database, tenant);
        let same = found.iter().map(|(node, outcome)| (node.as_str(), outcome.as_deref())).eq(wanted.iter().copied());
        if same { Ok(()) } else { Err(format!("{found:?}")) }
    });
}

#[test]
fn a_frozen_supervisor_ends_its_child_at_once_after_the_thaw_and_the_other_s_run_stays() {
    let database = cluster().database();
    let (configuration, go) = leased(&["a"]);
    let configuration = configuration.database(&database);
    let mut frozen = configuration.clone().start();
    begun(&frozen, "node1", 1);
    let family = proc::descendants(frozen.pid());
    assert!(!family.is_empty());
    let second = configuration.set("node", "node2").start();
    eventually(secs(10), "its life is confirmed", || frozen_pid_is_known(&database));
    frozen.signal(Signal::SIGSTOP);
    becomes(&database, "a", &[("node1", Some("lost")), ("node2", None)]);
    second.wait_for_log("taken over", secs(5));
    begun(&second, "node2", 1);
    assert!(family.iter().any(|pid| proc::is_alive(*pid)), "nobody ended it while its supervisor was frozen");

    frozen.signal(Signal::SIGCONT);
    eventually(secs(3), "its child is ended at once", || family.iter().all(|pid| !proc::is_alive(*pid)));
    // Its own clock says so, unless what it was about to ask when it froze is answered before it looks at that.
    let reasons = ["could not be confirmed within its lease", "its run was closed by somebody else"];
    eventually(secs(5), &format!("the log says why: {reasons:?}"), || {
        let log = frozen.log();
        if reasons.iter().any(|reason| log.contains(reason)) { Ok(()) } else { Err(log) }
    });
    frozen.wait_for_log("closed by somebody else, their outcome stays", secs(20));
    assert_eq!(rows::status(&mut database.connect(), "a").unwrap().0, "running", "by the other's run");
    let_go(&go, "node2");
    becomes(&database, "a", &[("node1", Some("lost")), ("node2", Some("ok"))]);
    assert_eq!(rows::status(&mut database.connect(), "a").unwrap().0, "done");
    assert!(frozen.stop().success());
}

fn frozen_pid_is_known(database: &TestDatabase) -> bool {
    let sql = "SELECT count(*) FROM tenantcron_run WHERE pid IS NOT NULL";
    database.connect().query_one(sql, &[]).unwrap().get::<_, i64>(0) == 1
}

/// A node that the relay cuts off, or whose words it swallows, has ended its children before the other takes them.
fn cut_off(way: Way) {
    let database = cluster().database();
    let relay = Relay::start(cluster().port());
    let tenants = ["a", "b", "c"];
    let (configuration, go) = leased(&tenants);
    let one = configuration.clone().set("database.url", relay.url(&database.name)).start();
    begun(&one, "node1", 3);
    let two = configuration.set("node", "node2").database(&database).start();
    relay.go(way);
    let family = proc::descendants(one.pid());
    for tenant in tenants {
        becomes(&database, tenant, &[("node1", Some("lost")), ("node2", None)]);
    }
    begun(&two, "node2", 3);
    assert!(family.iter().all(|pid| !proc::is_alive(*pid)), "a child of the node that was cut off lives on");
    let record = two.journal().read();
    assert_eq!(record.overlaps(), [""; 0]);
    for tenant in tenants {
        let runs = record.runs_of(tenant);
        let (first, second) = (runs[0], runs[1]);
        // TERM, and not KILL: the end stands in the journal, ten seconds before the lease was over.
        let gap = second.begin - first.end.expect("the end of the job that was asked to end");
        assert!(gap > 5_000_000_000, "{tenant}: only {} ms between them", gap / 1_000_000);
    }
    relay.heal();
    one.wait_for_log("closed by somebody else, their outcome stays", secs(60));
    let_go(&go, "node2");
    for tenant in tenants {
        becomes(&database, tenant, &[("node1", Some("lost")), ("node2", Some("ok"))]);
    }
}

#[test]
fn a_node_that_is_cut_off_ends_its_children_before_the_other_takes_over() {
    cut_off(Way::Cut);
}

#[test]
fn a_node_whose_answers_are_held_back_does_so_too() {
    cut_off(Way::HoldsAnswers);
}

#[test]
fn while_lives_are_confirmed_nothing_is_taken_and_nothing_fenced() {
    let database = cluster().database();
    let (configuration, go) = leased(&["a"]);
    let configuration = configuration.database(&database);
    let one = configuration.clone().start();
    begun(&one, "node1", 1);
    let two = configuration.set("node", "node2").start();
    throughout(secs(30), "the run of node1 goes on", || {
        let found = recorded(&database, "a");
        if found == [("node1".to_owned(), None)] { Ok(()) } else { Err(format!("{found:?}\n{}", two.log())) }
    });
    let_go(&go, "node1");
    becomes(&database, "a", &[("node1", Some("ok"))]);
}

#[test]
fn a_lease_too_short_for_kill_after_is_a_configuration_error() {
    let database = cluster().database();
    let configuration = Supervisor::builder().database(&database).tenants(&["a"]).set("job.kill_after", "10s");
    let short = configuration.clone().set("cluster.takeover_after", "30s").prepare();
    let output = short.command_within(secs(20), &["run"]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("cluster.takeover_after: must be longer than job.kill_after + 20s, which is 30s"), "{told}");
    let long = configuration.set("cluster.takeover_after", "31s").prepare();
    assert!(long.command(&["config"]).status.success());
}
