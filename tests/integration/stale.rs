//! Rows that run too long: told on a real syslog daemon, again and again; ended by their owner; released where the
//! operator chose so, and never while this host can see the process alive.

use crate::support::cluster::{TestDatabase, cluster};
use crate::support::configuration::Configuration;
use crate::support::daemon::Supervisor;
use crate::support::proc;
use crate::support::syslogd::{Message, Syslogd};
use crate::support::wait::{eventually, millis, secs, throughout};
use crate::support::world::world;
use nix::sys::signal::Signal;
use postgres::Client;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Rows made as `tenantcron migrate` makes them, before any supervisor runs.
fn migrated(configuration: Configuration) -> Supervisor {
    let supervisor = configuration.prepare();
    let done = supervisor.command(&["migrate"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    supervisor
}

/// A supervisor that finds out for itself and starts nothing, so that a released row stays to be seen.
fn standby(database: &TestDatabase, tenants: &[&str]) -> Configuration {
    Supervisor::builder().database(database).tenants(tenants).set("enabled", false)
}

/// A claim as another program makes it: the row says running, and no run of ours is open.
fn claim_by_hand(client: &mut Client, key: &str, ago: &str) {
    let sql =
        "INSERT INTO tenantcron_status (key, value, updated_at) VALUES ($1, 'running', now() - $2::text::interval)
               ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at";
    client.execute(sql, &[&key, &ago]).unwrap();
}

/// What a claim of another supervisor leaves in the run table.
struct OpenRun<'a> {
    node: &'a str,
    host: &'a str,
    pid: i32,
    pid_start: i64,
    alive: &'a str,
}

fn claim_by_node(client: &mut Client, key: &str, ago: &str, run: &OpenRun<'_>) {
    claim_by_hand(client, key, ago);
    let sql = "INSERT INTO tenantcron_run (key, instance, node, host, pid, pid_start, started_at, alive_at)
               SELECT key, 'test', $2, $3, $4, $5, updated_at, now() - $6::text::interval FROM tenantcron_status WHERE key = $1";
    client.execute(sql, &[&key, &run.node, &run.host, &run.pid, &run.pid_start, &run.alive]).unwrap();
}

fn value(client: &mut Client, key: &str) -> String {
    client.query_one("SELECT value FROM tenantcron_status WHERE key = $1", &[&key]).unwrap().get(0)
}

/// The outcomes of a key's runs, oldest first; `-` for an open one.
fn outcomes(client: &mut Client, key: &str) -> Vec<String> {
    let sql = "SELECT coalesce(outcome, '-') FROM tenantcron_run WHERE key = $1 ORDER BY started_at, id";
    client.query(sql, &[&key]).unwrap().iter().map(|row| row.get(0)).collect()
}

fn this_host() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    format!("{}/{}", boot.trim(), std::fs::metadata("/proc/self/ns/pid").unwrap().ino())
}

fn stale_alerts(syslogd: &Syslogd, tenant: &str) -> Vec<Message> {
    let about = |message: &Message| message.text.starts_with(&format!("{tenant}: ")) && message.text.contains("stale");
    syslogd.messages().into_iter().filter(about).collect()
}

fn alerts_of(supervisor: &Supervisor, tenant: &str) -> usize {
    supervisor.log().lines().filter(|line| line.contains(&format!("ALERT {tenant}: stale"))).count()
}

#[test]
fn a_row_running_since_25_hours_is_alerted_on_syslog_and_again_after_repeat() {
    let (database, syslogd) = (cluster().database(), Syslogd::start());
    let mut supervisor = migrated(
        standby(&database, &["foreign", "elsewhere", "fresh"])
            .set("stale.repeat", "2s")
            .set("log.target", "syslog")
            .set("log.socket", syslogd.socket().display().to_string()),
    );
    let mut client = database.connect();
    claim_by_hand(&mut client, "foreign", "25 hours");
    claim_by_hand(&mut client, "fresh", "23 hours");
    let run = OpenRun { node: "node9", host: "another-boot/1", pid: 4242, pid_start: 1, alive: "0" };
    claim_by_node(&mut client, "elsewhere", "25 hours", &run);
    let begun = Instant::now();
    supervisor.start();
    for tenant in ["foreign", "elsewhere"] {
        eventually(secs(30), "the alert and two repetitions", || {
            let seen = stale_alerts(&syslogd, tenant);
            if seen.len() >= 3 { Ok(()) } else { Err(format!("{seen:?}")) }
        });
    }
    for (tenant, owner, pid) in [("foreign", "another program", "pid not known"), ("elsewhere", "node9", "pid 4242")] {
        let seen = stale_alerts(&syslogd, tenant);
        let most = begun.elapsed().as_secs() / 2 + 1;
        assert!(seen.len() as u64 <= most, "more than one every two seconds: {seen:?}");
        let sql = "SELECT to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')
                   FROM tenantcron_status WHERE key = $1";
        let since: String = client.query_one(sql, &[&tenant]).unwrap().get(0);
        for message in seen {
            assert_eq!((message.facility.as_str(), message.severity.as_str()), ("cron", "alert"));
            for word in ["stale", owner, pid, &since, "1day 1h"] {
                assert!(message.text.contains(word), "{word:?} is not in {:?}", message.text);
            }
        }
        assert_eq!(value(&mut client, tenant), "running", "an alert changes nothing");
    }
    assert_eq!(stale_alerts(&syslogd, "fresh"), []);
    assert!(supervisor.stop().success());
}

#[test]
fn a_single_look_from_a_crontab_tells_a_stale_row_too() {
    let database = cluster().database();
    let supervisor = migrated(standby(&database, &["a"]));
    claim_by_hand(&mut database.connect(), "a", "25 hours");
    let look = supervisor.command(&["run", "--once"]);
    assert!(look.status.success(), "{look:?}");
    assert!(String::from_utf8_lossy(&look.stderr).contains("ALERT a: stale"), "{look:?}");
}

#[test]
fn a_long_run_of_ones_own_is_alerted_with_its_pid_and_the_next_one_is_judged_anew() {
    let database = cluster().database();
    let configuration = Supervisor::builder()
        .database(&database)
        .tenants(&["a"])
        .set("schedule.every", "1s")
        .set("stale.after", "4s")
        .set("stale.repeat", "1s");
    let go = configuration.journal().job() + ".go";
    let supervisor = configuration.plan_for_all(&format!("until [ -e {go} ]; do sleep 0.1; done; sleep 0.5")).start();
    let line = supervisor.wait_for_log("a: stale", secs(30));
    let first = supervisor.journal().read().runs_of("a")[0].clone();
    assert!(line.contains("node node1") && line.contains(&format!("pid {}", first.pid)), "{line}");
    eventually(secs(15), "the alert again", || alerts_of(&supervisor, "a") >= 3);
    assert!(proc::is_alive(first.pid), "it runs on");
    assert_eq!(value(&mut database.connect(), "a"), "running");

    std::fs::write(go, "").unwrap();
    eventually(secs(30), "five more runs", || supervisor.journal().read().ended("a") >= 6);
    let log = supervisor.log();
    let after = log.split_once("ok after").map(|(_, after)| after).unwrap();
    // Where the machine is so busy that half a second takes four, an alert would be right.
    let record = supervisor.journal().read();
    let long = |run: &&_| matches!(run, crate::support::journal::JobRun { begin, end: Some(end), .. } if end - begin > 3_000_000_000);
    if !record.runs.iter().skip(1).any(|run| long(&run)) {
        assert!(!after.contains("a: stale"), "a new run is not stale because the last one was:\n{after}");
    }
    assert!(supervisor_is_calm(&supervisor));
}

fn supervisor_is_calm(supervisor: &Supervisor) -> bool {
    supervisor.journal().read().overlaps().is_empty()
}

#[test]
fn kill_ends_the_owners_run_as_a_timeout_and_the_row_is_needed_again() {
    let database = cluster().database();
    let mut supervisor = migrated(
        Supervisor::builder()
            .database(&database)
            .tenants(&["own", "foreign"])
            .plan_for_all("exec sleep 300")
            .set("schedule.every", "1d")
            .set("stale.after", "2s")
            .set("stale.action", "kill"),
    );
    let mut client = database.connect();
    claim_by_hand(&mut client, "foreign", "25 hours");
    supervisor.start();
    // It would be due in a day: only a needed row makes it run again.
    eventually(secs(30), "a second run after the first was ended", || {
        let record = supervisor.journal().read();
        if record.runs_of("own").len() >= 2 { Ok(()) } else { Err(supervisor.log()) }
    });
    assert_eq!(outcomes(&mut client, "own")[0], "timeout");
    let ended = client.query_one("SELECT signal FROM tenantcron_run WHERE key = 'own' ORDER BY id LIMIT 1", &[]);
    assert_eq!(ended.unwrap().get::<_, Option<i32>>(0), Some(Signal::SIGTERM as i32));
    supervisor.wait_for_log("ALERT own: stale", secs(1));
    supervisor.wait_for_log("ALERT foreign: stale", secs(5));
    assert_eq!(value(&mut client, "foreign"), "running", "another program's claim is not ours to end");
}

#[test]
fn release_gives_another_programs_claim_back_to_the_queue() {
    let database = cluster().database();
    let mut supervisor = migrated(
        Supervisor::builder()
            .database(&database)
            .tenants(&["old", "young"])
            .set("schedule.every", "1d")
            .set("stale.action", "release"),
    );
    let mut client = database.connect();
    claim_by_hand(&mut client, "old", "25 hours");
    claim_by_hand(&mut client, "young", "23 hours");
    supervisor.start();
    eventually(secs(20), "it runs", || supervisor.journal().read().ended("old") == 1);
    supervisor.wait_for_log("ALERT old: stale", secs(1));
    supervisor.wait_for_log("ALERT old: stale row released", secs(1));
    assert_eq!(value(&mut client, "young"), "running");
    assert_eq!(supervisor.journal().read().runs_of("young"), Vec::<&_>::new());
}

#[test]
fn a_released_row_keeps_the_time_of_its_claim() {
    let database = cluster().database();
    let mut supervisor = migrated(standby(&database, &["a"]).set("stale.action", "release"));
    let mut client = database.connect();
    claim_by_hand(&mut client, "a", "25 hours");
    let time = "SELECT updated_at::text FROM tenantcron_status WHERE key = 'a'";
    let before: String = client.query_one(time, &[]).unwrap().get(0);
    supervisor.start();
    eventually(secs(20), "it is needed", || value(&mut client, "a") == "needed");
    assert_eq!(client.query_one(time, &[]).unwrap().get::<_, String>(0), before);
}

#[test]
fn release_takes_another_nodes_run_only_once_that_is_silent_for_as_long() {
    let database = cluster().database();
    let mut supervisor = migrated(
        standby(&database, &["silent", "refreshed"])
            .set("stale.after", "3s")
            .set("stale.repeat", "1s")
            .set("stale.action", "release"),
    );
    let mut client = database.connect();
    let run = |alive| OpenRun { node: "node9", host: "another-boot/1", pid: 4242, pid_start: 1, alive };
    claim_by_node(&mut client, "silent", "25 hours", &run("1 hour"));
    claim_by_node(&mut client, "refreshed", "25 hours", &run("0"));
    // Refreshed far more often than it must be, in case this machine stands still for a moment.
    let mut refresh = database.connect();
    let refreshing = std::sync::atomic::AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while refreshing.load(std::sync::atomic::Ordering::SeqCst) {
                refresh.execute("UPDATE tenantcron_run SET alive_at = now() WHERE key = 'refreshed'", &[]).unwrap();
                std::thread::sleep(millis(50));
            }
        });
        supervisor.start();
        eventually(secs(20), "the silent one is needed", || value(&mut client, "silent") == "needed");
        assert_eq!(outcomes(&mut client, "silent"), ["lost"]);
        eventually(secs(20), "six alerts for the other", || alerts_of(&supervisor, "refreshed") >= 6);
        let still = (value(&mut client, "refreshed"), outcomes(&mut client, "refreshed"));
        refreshing.store(false, std::sync::atomic::Ordering::SeqCst);
        assert_eq!(still, ("running".to_owned(), vec!["-".to_owned()]));
    });
    // Now it falls silent, and is found out at a later look than its alert.
    eventually(secs(30), "it is needed too", || value(&mut client, "refreshed") == "needed");
    assert_eq!(outcomes(&mut client, "refreshed"), ["lost"]);
}

#[test]
fn what_became_stale_silently_is_released_without_waiting_for_the_next_alert() {
    let database = cluster().database();
    let mut supervisor = migrated(
        standby(&database, &["a"]).set("stale.after", "3s").set("stale.repeat", "1d").set("stale.action", "release"),
    );
    let mut client = database.connect();
    let run = OpenRun { node: "node9", host: "another-boot/1", pid: 4242, pid_start: 1, alive: "0" };
    claim_by_node(&mut client, "a", "25 hours", &run);
    client.execute("UPDATE tenantcron_run SET alive_at = now() + interval '3 seconds'", &[]).unwrap();
    supervisor.start();
    supervisor.wait_for_log("ALERT a: stale", secs(20));
    eventually(secs(30), "it is needed", || value(&mut client, "a") == "needed");
    // The row speaks before the log does.
    supervisor.wait_for_log("ALERT a: stale row released", secs(20));
    assert_eq!(alerts_of(&supervisor, "a"), 2, "the alert and the release");
}

#[test]
fn a_process_that_this_host_sees_alive_keeps_its_row() {
    let database = cluster().database();
    let mut supervisor = migrated(
        Supervisor::builder()
            .database(&database)
            .tenants(&["own", "byhand", "neighbour"])
            .plan_for_all("exec sleep 300")
            .set("schedule.every", "1d")
            .set("stale.after", "3s")
            .set("stale.repeat", "1s")
            .set("stale.action", "release"),
    );
    let mut client = database.connect();
    // Watched by another process of this host.
    let mut by_hand = supervisor.plain_command();
    by_hand.args(["run", "byhand", "--config"]).arg(supervisor.config_path());
    let _by_hand = Killed(by_hand.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    eventually(secs(15), "it runs by hand", || supervisor.journal().read().runs_of("byhand").len() == 1);
    // Of another node of this very host, whose supervisor is silent for an hour.
    let mut sleep = Killed(world().command("sleep", None).arg("300").spawn().unwrap());
    let pid = sleep.0.id() as i32;
    let pid_start = proc::stat(pid).unwrap().started as i64;
    let run = OpenRun { node: "node9", host: &this_host(), pid, pid_start, alive: "1 hour" };
    claim_by_node(&mut client, "neighbour", "25 hours", &run);
    supervisor.start();
    for tenant in ["own", "byhand", "neighbour"] {
        eventually(secs(30), "three alerts", || {
            if alerts_of(&supervisor, tenant) >= 3 { Ok(()) } else { Err(supervisor.log()) }
        });
        assert_eq!(value(&mut client, tenant), "running", "{tenant}");
        assert_eq!(outcomes(&mut client, tenant), ["-"], "{tenant}");
    }
    assert_eq!(supervisor.journal().read().runs.len(), 2, "each of our own began once");
    // The neighbour's process dies: now nothing stands in the way.
    sleep.0.kill().unwrap();
    sleep.0.wait().unwrap();
    eventually(secs(20), "it runs here", || supervisor.journal().read().runs_of("neighbour").len() == 1);
    assert_eq!(outcomes(&mut client, "neighbour"), ["lost", "-"]);
}

/// A process that must not outlive the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn a_claim_that_ends_before_it_is_old_is_never_alerted() {
    let database = cluster().database();
    let mut supervisor = migrated(standby(&database, &["a"]).set("stale.after", "3s").set("stale.action", "release"));
    let mut client = database.connect();
    supervisor.start();
    let begun = Instant::now();
    let mut longest = Duration::ZERO;
    // Another program at work: each claim short, all together much longer than stale.after.
    throughout(secs(5), "no alert", || {
        let claimed = Instant::now();
        claim_by_hand(&mut client, "a", "0");
        std::thread::sleep(millis(500));
        longest = longest.max(claimed.elapsed());
        if alerts_of(&supervisor, "a") == 0 { Ok(()) } else { Err(supervisor.log()) }
    });
    assert!(begun.elapsed() > secs(5) && longest < secs(3), "this machine stood still");
}
