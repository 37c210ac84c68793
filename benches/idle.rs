//! What a supervisor costs that has nothing to do, over the same minute: one with 10,000 tenants in a shared database,
//! all done, and one with 1,000 tenants that have a database each. Polls and listings are the defaults. CPU of the
//! supervisor and of its server, rows that the server read for it; of the many databases, how evenly the polls
//! come and how many connections are open at most, by the server's own log of every session.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench ends where the world is not as it should be, and measures by the host's clock"
)]

mod support;

use postgres::Client;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use support::fine;
use support::kit::cluster::{Cluster, TestDatabase};
use support::kit::configuration::Configuration;
use support::kit::daemon::Supervisor;
use support::kit::proc;
use support::kit::wait::{eventually, millis, secs};

const SHARED: usize = 10_000;
const APART: usize = 1_000;
const CONNECTIONS: i64 = 8;
const MINUTE: Duration = secs(60);
const AIM: f64 = 0.05;

fn main() {
    if !support::is_measuring() {
        return;
    }
    let server = |settings: &[(&str, &str)]| -> &'static Cluster { support::durable_cluster(settings) };
    let (one, many) = (server(&[]), server(&[("log_connections", "on"), ("log_disconnections", "on")]));
    let what = format!(
        "a minute of {SHARED} tenants in a shared database, all done, and of {APART} with a database each (every = \"20min\"), default polls and listings"
    );
    support::conditions(one, &what);
    let mut apart = apart(many);
    let (mut shared, database) = shared(one);
    let (mut client, mut observer) = (database.connect(), many.named("postgres").connect());
    // Rows that are read are told to the statistics by each session, at most some seconds late.
    std::thread::sleep(secs(3));
    let look = |client: &mut Client, observer: &mut Client| {
        let ours = [shared.pid(), apart.pid()].map(|pid| fine::own(pid) + fine::buried(pid));
        (ours, fine::server(one, client), fine::server(many, observer), rows_read(client))
    };
    let before = look(&mut client, &mut observer);
    let (from, began) = (support::epoch(), Instant::now());
    std::thread::sleep(MINUTE);
    let after = look(&mut client, &mut observer);
    let (to, minutes) = (support::epoch(), began.elapsed().as_secs_f64() / 60.0);
    let a_minute = |after: f64, before: f64| (after - before) / minutes;
    println!("\n| what | figure | aim | of the aim |\n| --- | --- | --- | --- |");
    let row = |what: &str, figure: f64, aim: f64, digits: usize| {
        println!("| {what} | {figure:.digits$} | {aim} | {:.2} |", figure / aim);
    };
    row("shared: CPU s a minute, supervisor with its listing", a_minute(after.0[0], before.0[0]), AIM, 3);
    row("shared: CPU s a minute, server", a_minute(after.1, before.1), AIM, 3);
    row("shared: CPU s a minute, that server with nobody", with_nobody(one, &mut shared, &mut client), AIM, 3);
    println!("| shared: rows read a minute by 6 polls | {:.0} | 0 | |", a_minute(after.3, before.3));
    row("apart: CPU of the supervisor, % of a core", a_minute(after.0[1], before.0[1]) / 0.6, 1.0, 2);
    println!("| apart: CPU of the server, % of a core | {:.2} | | |", a_minute(after.2, before.2) / 0.6);
    sessions(many, from, to);
    apart.stop();
    support::end(one);
    support::end(many);
}

/// Everything by default but what keeps runs away from the minute.
fn quiet(configuration: Configuration) -> Configuration {
    configuration
        .unset("database.poll")
        .unset("tenants.refresh")
        .set("job.command", vec!["/bin/true".to_owned()])
        .set("workers", 8)
        .set("log.level", "warn")
}

/// The rows are put there by SQL.
fn shared(cluster: &'static Cluster) -> (Supervisor, TestDatabase) {
    let database = cluster.database();
    let configuration = quiet(Supervisor::builder()).set("database.url", database.socket_url());
    let mut supervisor = configuration.set("tenants.directory", "/").set("schedule.every", "365d").prepare();
    let folder = supervisor.folder().join("tenants");
    (1..=SHARED).for_each(|number| {
        std::fs::create_dir_all(folder.join(format!("tenant-{number:05}"))).expect("a tenant's folder");
    });
    supervisor
        .reconfigure(|configuration| configuration.set("tenants.directory", folder.to_str().expect("an ASCII path")));
    let migrated = supervisor.command(&["migrate"]);
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    let mut client = database.connect();
    let rows = format!(
        "INSERT INTO tenantcron_status (key, value, updated_at)
         SELECT 'tenant-' || lpad(n::text, 5, '0'), 'done', now() FROM generate_series(1, {SHARED}) n
         ON CONFLICT (key) DO UPDATE SET value = 'done', updated_at = now()"
    );
    for sql in [rows.as_str(), "VACUUM ANALYZE tenantcron_status"] {
        client.batch_execute(sql).expect("rows");
    }
    supervisor.start();
    // The first look is a whole one; the next ones are what is measured.
    eventually(secs(20), "the first look", || rows_read(&mut client) >= SHARED as f64);
    std::thread::sleep(secs(12));
    (supervisor, database)
}

/// Rows are made and every tenant runs once, as on the first night of a host.
fn apart(cluster: &'static Cluster) -> Supervisor {
    let template = cluster.database();
    let mut supervisor = quiet(Supervisor::builder())
        .set("database.url", cluster.socket_url_of("{tenant}"))
        .set("database.connections", CONNECTIONS)
        .set("tenants.list", vec![template.name.clone()])
        .set("schedule.every", "20min")
        // The slot has just begun: the next one is twenty minutes away.
        .set("schedule.offset", format!("{}s", support::epoch() as u64 % 1_200))
        .prepare();
    let migrated = supervisor.command(&["migrate"]);
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    let databases = cluster.databases_like(&template, APART, "apart");
    let names: Vec<&str> = databases.iter().map(|database| database.name.as_str()).collect();
    supervisor.reconfigure(|configuration| configuration.tenants(&names));
    supervisor.start();
    let logs = supervisor.folder().join("logs");
    eventually(secs(60), "every tenant has run once", || {
        std::thread::sleep(millis(200));
        let begun = std::fs::read_dir(&logs).map_or(0, Iterator::count);
        let is_over = proc::children(supervisor.pid()).is_empty();
        if begun >= APART && is_over { Ok(()) } else { Err(format!("{begun} have begun")) }
    });
    // They go with the server, all at once.
    databases.into_iter().for_each(std::mem::forget);
    supervisor
}

/// What checkpoints and autovacuum cost of themselves.
fn with_nobody(cluster: &Cluster, supervisor: &mut Supervisor, client: &mut Client) -> f64 {
    supervisor.stop();
    std::thread::sleep(secs(1));
    let before = fine::server(cluster, client);
    std::thread::sleep(secs(10));
    (fine::server(cluster, client) - before) * 6.0
}

fn rows_read(client: &mut Client) -> f64 {
    let sql = "SELECT coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0)::float8 FROM pg_stat_user_tables";
    client.batch_execute("SELECT pg_stat_clear_snapshot()").expect("SELECT");
    client.query_one(sql, &[]).expect("SELECT").get(0)
}

/// Sessions by the log: how many began in each second, and how many were open at most.
fn sessions(cluster: &Cluster, from: f64, to: f64) {
    let log = cluster.log();
    let (mut open, mut most, mut begun) = (0_i64, 0_i64, BTreeMap::new());
    for line in log.lines().filter(|line| line.contains(" tenantcron apart") || line.contains("database=apart")) {
        let at = time_of(line);
        if line.contains("connection authorized:") {
            open += 1;
            if (from..to).contains(&at) {
                *begun.entry(at as u64).or_insert(0) += 1;
            }
        } else if line.contains("disconnection:") {
            open -= 1;
        }
        most = most.max(open);
    }
    let seconds: Vec<i64> =
        (from as u64 + 1..to as u64).map(|second| begun.get(&second).copied().unwrap_or(0)).collect();
    let all: i64 = begun.values().sum();
    assert!(
        all >= APART as i64 * 9 / 10,
        "only {all} polls in a minute:\n{}",
        log.lines().rev().take(5).collect::<Vec<_>>().join("\n")
    );
    let mean = all as f64 / (to - from);
    let fives: Vec<f64> = seconds.windows(5).map(|five| five.iter().sum::<i64>() as f64 / 5.0 / mean).collect();
    let worst = fives.iter().copied().fold(0.0, f64::max);
    let least = fives.iter().copied().fold(f64::MAX, f64::min);
    println!(
        "| apart: polls a second | {mean:.1} ({}–{} in single seconds) | {:.1} | {:.2} |",
        seconds.iter().min().expect("seconds"),
        seconds.iter().max().expect("seconds"),
        APART as f64 / 60.0,
        mean * 60.0 / APART as f64
    );
    println!("| apart: polls of any five seconds, of the mean | {least:.2}–{worst:.2} | 1 | |");
    println!(
        "| apart: connections open at most, its first night included | {most} | {CONNECTIONS} | {:.2} |",
        most as f64 / CONNECTIONS as f64
    );
    assert!(most <= CONNECTIONS, "more connections than allowed");
}

/// Seconds since the epoch: the server writes UTC.
fn time_of(line: &str) -> f64 {
    let clock = line.split_whitespace().nth(1).unwrap_or_default();
    let parts: Vec<f64> = clock.split(':').filter_map(|part| part.parse().ok()).collect();
    let [hours, minutes, seconds] = parts[..] else { return 0.0 };
    let of_day = hours * 3_600.0 + minutes * 60.0 + seconds;
    let today = (support::epoch() / 86_400.0).floor() * 86_400.0;
    // A line of just before midnight.
    if today + of_day > support::epoch() + 60.0 { today + of_day - 86_400.0 } else { today + of_day }
}
