//! What a tenant costs that does not run: a shared database with 1,000 and with 100,000 tenants, side by side on
//! one server. The same work in both (the same number of needed tenants, 8 at a time, `/bin/true`): CPU per run
//! of supervisor, children and server; CPU of an idle poll and of a listing; the supervisor's memory; and how
//! long after its exec a supervisor of so many makes its first claim. The tenants come by `tenants.command`.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::type_complexity,
    reason = "a bench ends where the world is not as it should be, and measures by the host's clock"
)]

mod support;

use postgres::Client;
use std::time::Duration;
use support::figures::{median, ratios, spread};
use support::fine;
use support::kit::cluster::{Cluster, TestDatabase};
use support::kit::daemon::Supervisor;
use support::kit::proc;
use support::kit::wait::{eventually, millis, secs};

const SIZES: [usize; 2] = [1_000, 100_000];
const NEEDED: usize = 1_000;
const REPEATS: usize = 4;
const STARTS: usize = 3;

/// A database of so many tenants, and its supervisor.
struct Site {
    tenants: usize,
    // Before its database, which it is connected to.
    supervisor: Supervisor,
    client: Client,
    _database: TestDatabase,
}

/// CPU milliseconds per run.
struct Cost {
    supervisor: f64,
    children: f64,
    server: f64,
}

fn main() {
    if !support::is_measuring() {
        return;
    }
    let cluster = support::durable_cluster(&[]);
    support::conditions(
        cluster,
        &format!("{NEEDED} needed tenants of 1,000 and of 100,000, 8 at a time, /bin/true, one shared database each"),
    );
    let mut sites = SIZES.map(|tenants| Site::make(cluster, tenants));
    println!("\n| what | at 1,000 tenants | at 100,000 tenants | ratio | aim |\n| --- | --- | --- | --- | --- |");
    starts(&mut sites);
    runs(cluster, &mut sites);
    idle(cluster, &mut sites);
    memory(&sites);
    for mut site in sites {
        site.supervisor.stop();
    }
    support::end(cluster);
}

/// From exec to the claim of the one tenant that is needed, and to READY.
fn starts(sites: &mut [Site; 2]) {
    let (mut claims, mut ready) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for turn in 0..STARTS {
        for (at, site) in sites.iter_mut().enumerate() {
            if turn > 0 {
                site.supervisor.stop();
            }
            site.client
                .batch_execute("UPDATE tenantcron_status SET value = 'needed' WHERE key = 'tenant-000500'")
                .expect("UPDATE");
            let before = last_run(&mut site.client);
            let began = support::epoch();
            site.supervisor.spawn(&[]);
            eventually(secs(20), "READY", || site.supervisor.notify().count("READY=1") > 0);
            ready[at].push(support::epoch() - began);
            wait_finished(&mut site.client, before, 1);
            let sql = "SELECT extract(epoch FROM min(started_at))::float8 FROM tenantcron_run WHERE id > $1";
            claims[at].push(site.client.query_one(sql, &[&before]).expect("SELECT").get::<_, f64>(0) - began);
        }
    }
    row("from exec to READY, s", [&ready[0], &ready[1]], 3, "");
    row("from exec to the first claim, s", [&claims[0], &claims[1]], 2, "2 s at 100,000");
}

fn runs(cluster: &Cluster, sites: &mut [Site; 2]) {
    let mut costs = [Vec::new(), Vec::new()];
    for turn in 0..=REPEATS {
        for (at, site) in sites.iter_mut().enumerate() {
            let cost = site.round(cluster);
            // The first opens logs and lock files for the first time.
            if turn > 0 {
                costs[at].push(cost);
            }
        }
    }
    let parts: [(&str, fn(&Cost) -> f64); 4] = [
        ("CPU ms a run, supervisor", |cost| cost.supervisor),
        ("CPU ms a run, child", |cost| cost.children),
        ("CPU ms a run, server", |cost| cost.server),
        ("CPU ms a run, all", |cost| cost.supervisor + cost.children + cost.server),
    ];
    for (what, part) in parts {
        let [few, many] = costs.each_ref().map(|costs| costs.iter().map(part).collect::<Vec<_>>());
        row(what, [&few, &many], 3, if what.ends_with("all") { "1.3" } else { "" });
    }
}

fn idle(cluster: &Cluster, sites: &mut [Site; 2]) {
    let (mut polls, mut servers, mut read) = ([vec![], vec![]], [vec![], vec![]], [vec![], vec![]]);
    let mut listings = [vec![], vec![]];
    for (at, site) in sites.iter_mut().enumerate() {
        for _ in 0..2 {
            let quiet = site.idle(cluster, "1h", "1h", 3);
            let polled = site.idle(cluster, "1s", "1h", 6);
            polls[at].push((polled.0 - quiet.0) * 1000.0);
            servers[at].push((polled.1 - quiet.1) * 1000.0);
            read[at].push(polled.2);
            let listed = site.idle(cluster, "1h", "1s", 4);
            listings[at].push((listed.0 - quiet.0) * 1000.0);
        }
    }
    let both: [Vec<f64>; 2] =
        [0, 1].map(|at: usize| polls[at].iter().zip(&servers[at]).map(|(ours, theirs)| ours + theirs).collect());
    row("CPU ms an idle poll, supervisor", [&polls[0], &polls[1]], 2, "");
    row("CPU ms an idle poll, server", [&servers[0], &servers[1]], 2, "");
    row("CPU ms an idle poll, both", [&both[0], &both[1]], 2, "1.3");
    row("rows read by an idle poll", [&read[0], &read[1]], 0, "0");
    row("CPU ms a listing (once a minute), supervisor and command", [&listings[0], &listings[1]], 1, "");
}

fn memory(sites: &[Site; 2]) {
    for (what, kb) in [("memory at rest, MB", proc::resident_kb as fn(i32) -> u64), ("peak memory, MB", proc::peak_kb)]
    {
        let [few, many] = sites.each_ref().map(|site| kb(site.supervisor.pid()) as f64 * 1024.0);
        let [aim_few, aim_many] = SIZES.map(|tenants| 10e6 + 400.0 * tenants as f64);
        println!(
            "| {what} | {:.1} ({:.2} of 10 MB + 400 B a tenant) | {:.1} ({:.2} of it) | {:.0} B a tenant more | 1 |",
            few / 1e6,
            few / aim_few,
            many / 1e6,
            many / aim_many,
            (many - few) / (SIZES[1] - SIZES[0]) as f64
        );
    }
}

impl Site {
    /// Tables by `migrate`, rows by SQL, all done; no supervisor yet.
    fn make(cluster: &'static Cluster, tenants: usize) -> Self {
        let database = cluster.database();
        let supervisor = Supervisor::builder()
            .set("database.url", database.socket_url())
            .set("tenants.command", vec!["/bin/cat".to_owned(), "tenants".to_owned()])
            .set("tenants.refresh", "1h")
            .set("workers", 8)
            .set("job.command", vec!["/bin/true".to_owned()])
            .set("schedule.every", "365d")
            .set("database.poll", "1h")
            .set("log.level", "warn")
            .prepare();
        let names: String = (1..=tenants).map(|number| format!("tenant-{number:06}\n")).collect();
        std::fs::write(supervisor.folder().join("tenants"), names).expect("the list of tenants");
        let migrated = supervisor.command(&["migrate"]);
        assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
        let mut client = database.connect();
        let rows = format!(
            "INSERT INTO tenantcron_status (key, value, updated_at)
             SELECT 'tenant-' || lpad(n::text, 6, '0'), 'done', now() FROM generate_series(1, {tenants}) n
             ON CONFLICT (key) DO UPDATE SET value = 'done', updated_at = now();
             VACUUM ANALYZE tenantcron_status"
        );
        for sql in rows.split(';') {
            client.batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        }
        Self { tenants, supervisor, client, _database: database }
    }

    /// The needed ones twice, so many in all; spread over the table.
    fn round(&mut self, cluster: &Cluster) -> Cost {
        let pid = self.supervisor.pid();
        let before = (fine::own(pid), fine::buried(pid), fine::server(cluster, &mut self.client));
        for _ in 0..2 {
            let last = last_run(&mut self.client);
            let step = (self.tenants / NEEDED) as i32;
            let sql = "UPDATE tenantcron_status SET value = 'needed' WHERE key = ANY
                       (SELECT 'tenant-' || lpad((n * $1::int4)::text, 6, '0') FROM generate_series(1, $2::int4) n)";
            let needed = self.client.execute(sql, &[&step, &(NEEDED as i32)]).expect("UPDATE");
            assert_eq!(needed, NEEDED as u64);
            self.client.batch_execute("NOTIFY tenantcron").expect("NOTIFY");
            wait_finished(&mut self.client, last, NEEDED);
        }
        let after = (fine::own(pid), fine::buried(pid), fine::server(cluster, &mut self.client));
        let a_run = |seconds: f64| seconds * 1000.0 / (2 * NEEDED) as f64;
        Cost {
            supervisor: a_run(after.0 - before.0),
            children: a_run(after.1 - before.1),
            server: a_run(after.2 - before.2),
        }
    }

    /// CPU seconds a second of the supervisor (with the commands that it ran) and of the server, and rows read a second.
    fn idle(&mut self, cluster: &Cluster, poll: &'static str, refresh: &'static str, seconds: u64) -> (f64, f64, f64) {
        self.supervisor
            .reconfigure(|configuration| configuration.set("database.poll", poll).set("tenants.refresh", refresh));
        let reloaded = self.supervisor.notify().count("READY=1");
        self.supervisor.signal(nix::sys::signal::Signal::SIGHUP);
        eventually(secs(10), "it has reloaded", || self.supervisor.notify().count("READY=1") > reloaded);
        // What a reload itself costs, the listing above all, is over then.
        std::thread::sleep(millis(2_500));
        let pid = self.supervisor.pid();
        let mut look = || {
            (fine::own(pid) + fine::buried(pid), fine::server(cluster, &mut self.client), rows_read(&mut self.client))
        };
        let before = look();
        std::thread::sleep(Duration::from_secs(seconds));
        let after = look();
        let a_second = |figure: f64| figure / seconds as f64;
        (a_second(after.0 - before.0), a_second(after.1 - before.1), a_second(after.2 - before.2))
    }
}

fn last_run(client: &mut Client) -> i64 {
    client.query_one("SELECT coalesce(max(id), 0) FROM tenantcron_run", &[]).expect("SELECT").get(0)
}

/// Every run since `last` has ended well, and so many there are.
fn wait_finished(client: &mut Client, last: i64, wanted: usize) {
    let sql = "SELECT count(*), count(*) FILTER (WHERE outcome <> 'ok') FROM tenantcron_run WHERE id > $1 AND finished_at IS NOT NULL";
    eventually(secs(60), "every needed tenant has run", || {
        // Seldom: the question itself costs the server something.
        std::thread::sleep(millis(30));
        let row = client.query_one(sql, &[&last]).expect("SELECT");
        let (done, failed): (i64, i64) = (row.get(0), row.get(1));
        assert_eq!(failed, 0, "some runs failed");
        if done == wanted as i64 { Ok(()) } else { Err(format!("{done} done")) }
    });
}

/// Of the tables, by whatever way.
fn rows_read(client: &mut Client) -> f64 {
    let sql = "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::float8 FROM pg_stat_user_tables";
    client.batch_execute("SELECT pg_stat_clear_snapshot()").expect("SELECT");
    client.query_one(sql, &[]).expect("SELECT").get(0)
}

fn row(what: &str, [few, many]: [&Vec<f64>; 2], digits: usize, aim: &str) {
    let ratio = if median(few) > 0.0 { spread(&ratios(many, few), 2) } else { "–".to_owned() };
    println!("| {what} | {} | {} | {ratio} | {aim} |", spread(few, digits), spread(many, digits));
}
