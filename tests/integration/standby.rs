//! `enabled = false`: a standby node resets and starts nothing, alerts what is stale, and finishes what runs.

use crate::support::cluster::cluster;
use crate::support::daemon::Supervisor;
use crate::support::proc;
use crate::support::wait::{eventually, secs};
use nix::sys::signal::Signal;
use postgres::Client;

fn row(client: &mut Client, key: &str) -> (String, String) {
    let sql = "SELECT value, updated_at::text FROM tenantcron_status WHERE key = $1";
    let row = client.query_one(sql, &[&key]).unwrap();
    (row.get(0), row.get(1))
}

#[test]
fn a_standby_node_resets_and_starts_nothing_and_alerts_all_the_same() {
    let database = cluster().database();
    let mut supervisor =
        Supervisor::builder().database(&database).tenants(&["due", "needed", "stale"]).set("enabled", false).prepare();
    assert!(supervisor.command(&["migrate"]).status.success());
    let mut client = database.connect();
    client
        .batch_execute(
            "INSERT INTO tenantcron_status (key, value, updated_at) VALUES
                 ('due', 'done', now() - interval '1 hour'), ('needed', 'needed', now() - interval '1 hour'),
                 ('stale', 'running', now() - interval '25 hours')
             ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at",
        )
        .unwrap();
    let before = ["due", "needed", "stale"].map(|key| row(&mut client, key));
    supervisor.start();
    supervisor.wait_for_log("ALERT stale: stale", secs(20));
    // Three slots later, and three looks made by hand.
    for _ in 0..3 {
        supervisor.signal(Signal::SIGUSR1);
        std::thread::sleep(secs(2));
    }
    assert_eq!(["due", "needed", "stale"].map(|key| row(&mut client, key)), before);
    assert_eq!(supervisor.journal().read().runs.len(), 0);
    let title = proc::command_line(supervisor.pid());
    assert_eq!(title, "tenantcron: test 0/2 running");
    let status = supervisor.command(&["status"]);
    let table = String::from_utf8_lossy(&status.stdout).into_owned();
    let line = table.lines().find(|line| line.starts_with("needed ")).unwrap_or_else(|| panic!("{table}"));
    assert!(line.contains("disabled"), "{line}");

    // A look from a crontab holds to it, and a named run does not.
    assert!(supervisor.command(&["run", "--once"]).status.success());
    assert_eq!(supervisor.journal().read().runs.len(), 0);
    assert!(supervisor.command(&["run", "due"]).status.success());
    assert_eq!(supervisor.journal().read().ended("due"), 1);

    supervisor.reconfigure(|it| it.set("enabled", true));
    supervisor.signal(Signal::SIGHUP);
    eventually(secs(20), "enabled again it takes up the work", || {
        let record = supervisor.journal().read();
        record.ended("due") > 1 && record.ended("needed") > 0
    });
    assert!(supervisor.stop().success());
}

#[test]
fn a_node_that_becomes_a_standby_finishes_and_records_what_runs() {
    let database = cluster().database();
    let configuration = Supervisor::builder().database(&database).tenants(&["a"]).set("schedule.every", "1s");
    let go = configuration.journal().job() + ".go";
    let mut supervisor = configuration.plan_for_all(&format!("until [ -e {go} ]; do sleep 0.05; done")).start();
    eventually(secs(20), "it runs", || supervisor.journal().read().runs.len() == 1);
    supervisor.reconfigure(|it| it.set("enabled", false));
    supervisor.signal(Signal::SIGHUP);
    supervisor.wait_for_log("configuration reloaded", secs(10));
    assert_eq!(supervisor.journal().read().runs[0].end, None, "it runs on");
    std::fs::write(go, "").unwrap();
    let mut client = database.connect();
    eventually(secs(20), "its end is recorded", || row(&mut client, "a").0 == "done");
    let outcome: String = client.query_one("SELECT outcome FROM tenantcron_run", &[]).unwrap().get(0);
    assert_eq!(outcome, "ok");
    // Two slots later.
    std::thread::sleep(secs(2));
    assert_eq!((row(&mut client, "a").0.as_str(), supervisor.journal().read().runs.len()), ("done", 1));
    assert!(supervisor.stop().success());
}
