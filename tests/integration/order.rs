//! The order in which needed tenants run, what a reset leaves as it was, and who is told to be late.

use crate::rows::Rows;
use crate::support::cluster::cluster;
use crate::support::configuration::Configuration;
use crate::support::daemon::Supervisor;
use crate::support::wait::{eventually, secs};

/// A table of the application's own, in which `updated_at` may be NULL.
const FOREIGN_TABLE: &str = "CREATE TABLE tenantcron_status (key text PRIMARY KEY, value text, updated_at timestamptz)";

/// One worker, and no slot that comes while a test runs.
fn one_worker() -> Configuration {
    Supervisor::builder().set("workers", 1).set("schedule.every", "1h").set("schedule.offset", far_slot())
}

/// An offset whose newest slot is some ten minutes ago, whatever the time.
fn far_slot() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    format!("{}s", (now + 3000) % 3600)
}

fn began(supervisor: &Supervisor) -> Vec<String> {
    supervisor.journal().read().runs.into_iter().map(|run| run.tenant).collect()
}

#[test]
fn who_finished_longest_ago_goes_first_never_run_before_all_and_ties_by_name() {
    let database = cluster().database();
    let mut rows = Rows::of(&database);
    rows.run(FOREIGN_TABLE);
    rows.run(
        "INSERT INTO tenantcron_status VALUES
         ('old', 'needed', now() - interval '4 hours'), ('middle', 'needed', now() - interval '3 hours'),
         ('recent', 'needed', now() - interval '1 hour'), ('due', 'done', now() - interval '3 hours 30 minutes'),
         ('null-b', 'needed', NULL), ('null-a', 'needed', NULL), ('epoch', 'needed', 'epoch'),
         ('before', 'needed', '1969-01-01'), ('asked', 'needed', now() - interval '2 minutes'),
         ('fresh', 'done', now() - interval '1 minute')",
    );
    let names = ["recent", "middle", "old", "due", "null-b", "null-a", "epoch", "before", "asked", "fresh", "missing"];
    let mut supervisor = one_worker().database(&database).tenants(&names).prepare();
    let asked = supervisor.command(&["request", "asked"]);
    assert!(asked.status.success(), "{asked:?}");
    supervisor.start();
    eventually(secs(30), "all that are needed have run", || rows.count("done") == 11);
    let expected = ["asked", "before", "epoch", "missing", "null-a", "null-b", "old", "due", "middle", "recent"]
        .map(str::to_owned);
    assert_eq!(began(&supervisor), expected);
    assert_eq!(supervisor.journal().read().most_at_once(), 1);
}

#[test]
fn a_row_that_becomes_needed_keeps_its_updated_at_to_the_microsecond() {
    let database = cluster().database();
    let mut supervisor = Supervisor::builder().database(&database).tenants(&["a", "b", "c"]).prepare();
    assert!(supervisor.command(&["migrate"]).status.success());
    let mut rows = Rows::of(&database);
    rows.audit();
    supervisor.start();
    eventually(secs(30), "every tenant had two slots", || {
        let record = supervisor.journal().read();
        ["a", "b", "c"].iter().all(|name| record.ended(name) >= 3)
    });
    assert!(supervisor.stop().success());

    eventually(secs(5), "all are done", || rows.count("done") == 3);
    let before = rows.updated_at("b");
    assert!(supervisor.command(&["request", "b"]).status.success());
    assert_eq!((rows.value("b").as_deref(), rows.updated_at("b")), (Some("needed"), before));
    let resets = rows.resets();
    assert!(resets.iter().map(|reset| reset.rows).sum::<i64>() >= 7, "{resets:?}");
    assert!(resets.iter().all(|reset| reset.moved == 0), "a reset moved updated_at: {resets:?}");
}

#[test]
fn a_requested_tenant_goes_before_those_that_wait_longer() {
    let database = cluster().database();
    let names = ["a", "b", "c", "d", "e"];
    let mut supervisor =
        one_worker().database(&database).tenants(&names).plan_for_all("sleep 0.2").plan("a", &gate("gate")).prepare();
    assert!(supervisor.command(&["migrate"]).status.success());
    let mut rows = Rows::of(&database);
    for (name, ago) in names.iter().zip(["9 hours", "8 hours", "7 hours", "6 hours", "5 hours"]) {
        rows.put(name, "needed", ago);
    }
    rows.put("d", "done", "1 minute");
    supervisor.start();
    eventually(secs(20), "a runs", || began(&supervisor) == ["a"]);
    for name in ["d", "e"] {
        assert!(supervisor.command(&["request", name]).status.success());
    }
    std::fs::write(supervisor.folder().join("gate"), "").unwrap();
    eventually(secs(20), "all have run", || rows.count("done") == 5);
    // Among those asked for the older goes first.
    assert_eq!(began(&supervisor), ["a", "e", "d", "b", "c"]);

    assert!(supervisor.command(&["request", "b"]).status.success());
    eventually(secs(20), "b runs again", || began(&supervisor).len() == 6);
    eventually(secs(20), "all are done", || rows.count("done") == 5);
    let stale_wish = "SELECT count(*) FROM tenantcron_flag f JOIN tenantcron_status s USING (key) WHERE f.requested_at > s.updated_at";
    assert_eq!(rows.one::<i64>(stale_wish, &[]), 0, "a request outlives its run");
}

/// A plan that waits for a file in the supervisor's folder, which is where children run.
fn gate(name: &str) -> String {
    format!("while [ ! -e {name} ]; do sleep 0.05; done")
}

fn lines(supervisor: &Supervisor, text: &str) -> Vec<String> {
    supervisor.log().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

#[test]
fn a_tenant_that_waits_for_a_whole_interval_is_late_once_a_slot() {
    let database = cluster().database();
    let mut supervisor = Supervisor::builder()
        .set("workers", 1)
        .database(&database)
        .tenants(&["a", "b", "c"])
        .plan("a", &gate("gate"))
        .prepare();
    assert!(supervisor.command(&["migrate"]).status.success());
    let mut rows = Rows::of(&database);
    [("a", "9 hours"), ("b", "8 hours"), ("c", "7 hours")].iter().for_each(|(name, ago)| rows.put(name, "needed", ago));
    let begun = std::time::Instant::now();
    supervisor.start();
    eventually(secs(20), "a runs", || began(&supervisor) == ["a"]);
    supervisor.wait_for_log("b: late", secs(40));
    assert!(begun.elapsed() >= secs(2), "late before a whole interval was over");
    eventually(secs(40), "b was late at three slots", || lines(&supervisor, "b: late").len() >= 3);
    // Those whole, and the two of which only a part has passed.
    let slots = begun.elapsed().as_secs() as usize / 2 + 2;
    for name in ["b", "c"] {
        let told = lines(&supervisor, &format!("{name}: late"));
        assert!(told.len() <= slots, "{slots} slots, told {} times: {told:?}", told.len());
        assert!(told.iter().all(|line| line.contains(" warn ") && line.contains("1 of 1 workers busy")), "{told:?}");
    }
    assert_eq!(lines(&supervisor, "a: late"), [""; 0], "one that runs is not late");
    std::fs::write(supervisor.folder().join("gate"), "").unwrap();
    eventually(secs(20), "all run again", || supervisor.journal().read().tenants().len() == 3);
}

#[test]
fn many_late_tenants_make_one_line() {
    let database = cluster().database();
    let names: Vec<String> = (1..=25).map(|number| format!("t{number:02}")).collect();
    let mut supervisor =
        Supervisor::builder().set("workers", 1).database(&database).tenants(&names).plan("t01", "sleep 60").start();
    let line = supervisor.wait_for_log("tenants are late", secs(30));
    assert!(line.contains(" warn ") && line.contains("24 tenants are late"), "{line}");
    assert!(line.contains("1 of 1 workers busy"), "{line}");
    assert_eq!(lines(&supervisor, ": late: "), [""; 0], "told one by one too");
    assert!(supervisor.stop().success());
}
