//! Two supervisors and a third party on the same rows: never a tenant twice at once, none forgotten.

use crate::rows::Rows;
use crate::support::cluster::{TestDatabase, cluster};
use crate::support::daemon::Supervisor;
use crate::support::journal::Journal;
use crate::support::wait::{eventually, secs, throughout};
use crate::support::world::world;
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// From nothing to nearly two seconds.
const RANDOM_LENGTH: &str = "r=$(od -An -N1 -tu1 /dev/urandom); sleep $((r / 128)).$((r % 10))";

/// An application that claims rows by hand, as the contract lets it, and does the same work.
struct ByHand {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<usize>>,
}

impl ByHand {
    fn start(database: &TestDatabase, journal: &Journal, keys: Vec<String>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, mut client, job) = (stop.clone(), database.connect(), journal.job());
        let thread = std::thread::spawn(move || {
            let mut claims = 0;
            while !stopped.load(Ordering::SeqCst) {
                let key = fastrand::choice(&keys).unwrap();
                let mut claim = client.transaction().unwrap();
                let row = claim.query_one("SELECT value FROM tenantcron_status WHERE key = $1 FOR UPDATE", &[key]);
                if row.unwrap().get::<_, &str>(0) != "needed" {
                    drop(claim);
                    std::thread::sleep(std::time::Duration::from_millis(10));
                    continue;
                }
                let take = "UPDATE tenantcron_status SET value = 'running', updated_at = now() WHERE key = $1";
                claim.execute(take, &[key]).unwrap();
                claim.commit().unwrap();
                claims += 1;
                let mut work = world().command(&job, None);
                work.env("TENANTCRON_TENANT", key).env("TENANTCRON_NODE", "by-hand");
                work.env("TENANTCRON_RUN_ID", format!("-{claims}"));
                assert!(work.status().unwrap().success());
                let done = "UPDATE tenantcron_status SET value = 'done', updated_at = now() WHERE key = $1 AND value = 'running'";
                assert_eq!(client.execute(done, &[key]).unwrap(), 1, "somebody changed the row of {key} that was ours");
            }
            claims
        });
        Self { stop, thread: Some(thread) }
    }

    /// Ends it after its work under way; how many rows it claimed.
    fn stop(&mut self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().expect("a third party that was not stopped").join().unwrap()
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

#[test]
fn two_nodes_and_a_third_party_share_the_work_and_never_a_tenant() {
    let database = cluster().database();
    let tenants: Vec<String> = (1..=12).map(|number| format!("t{number:02}")).collect();
    let both = Supervisor::builder().database(&database).tenants(&tenants).plan_for_all(RANDOM_LENGTH);
    let mut one = both.clone().prepare();
    assert!(one.command(&["migrate"]).status.success());
    one.start();
    let mut two = both.set("node", "node2").start();
    let mut hand = ByHand::start(&database, one.journal(), tenants.clone());
    throughout(secs(30), "no tenant runs twice at once, both nodes live", || {
        assert!(one.ended().is_none() && two.ended().is_none());
        let overlaps = one.journal().read().overlaps();
        if overlaps.is_empty() { Ok(()) } else { Err(overlaps.join("; ")) }
    });
    let claims = hand.stop();
    for node in [&one, &two] {
        node.signal(Signal::SIGQUIT);
    }
    assert!(one.wait_exit(secs(30)).success() && two.wait_exit(secs(30)).success());

    let record = one.journal().read();
    assert_eq!(record.overlaps(), [""; 0]);
    assert_eq!(record.nodes(), BTreeSet::from(["by-hand", "node1", "node2"]));
    for name in &tenants {
        let runs = record.runs_of(name);
        let gaps = runs.windows(2).map(|pair| (pair[1].begin - pair[0].begin) / 1_000_000_000);
        let longest = gaps.max().unwrap_or(i64::MAX);
        assert!(runs.len() >= 4 && longest <= 12, "{name} was forgotten: {} runs, {longest} s apart", runs.len());
    }
    for node in ["node1", "node2", "by-hand"] {
        let share = record.runs.iter().filter(|run| run.node == node).count();
        assert!(share >= 5, "{node} did {share} of {}", record.runs.len());
    }
    // What the rows tell is what the jobs told.
    let mut rows = Rows::of(&database);
    let told: i64 = rows.one("SELECT count(*) FROM tenantcron_run WHERE outcome = 'ok' AND exit_code = 0", &[]);
    assert_eq!(told as usize + claims, record.runs.len());
    assert_eq!(rows.one::<i64>("SELECT count(*) FROM tenantcron_run WHERE outcome IS DISTINCT FROM 'ok'", &[]), 0);
    assert_eq!(rows.count("running"), 0);
}

#[test]
fn a_row_that_an_application_claims_or_holds_locked_is_left_alone_and_holds_up_nobody() {
    let database = cluster().database();
    let mut supervisor = Supervisor::builder().database(&database).tenants(&["a", "b", "c"]).prepare();
    assert!(supervisor.command(&["migrate"]).status.success());
    let mut rows = Rows::of(&database);
    rows.run("UPDATE tenantcron_status SET value = 'running', updated_at = now() WHERE key = 'a'");
    let mut holder = database.connect();
    let mut held = holder.transaction().unwrap();
    held.execute("SELECT FROM tenantcron_status WHERE key = 'b' FOR UPDATE", &[]).unwrap();
    supervisor.start();
    eventually(secs(30), "c has run at three slots", || supervisor.journal().read().ended("c") >= 3);
    assert_eq!(supervisor.journal().read().tenants(), BTreeSet::from(["c"]));
    assert_eq!(rows.value("a").as_deref(), Some("running"));
    held.rollback().unwrap();
    rows.run("UPDATE tenantcron_status SET value = 'done', updated_at = now() WHERE key = 'a'");
    eventually(secs(30), "a and b run too", || supervisor.journal().read().tenants().len() == 3);
}
