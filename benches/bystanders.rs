//! Claims and finishes while another session holds an old snapshot open all the time, so that no dead row can be
//! removed: the rate of 2,000 tenants' rounds in windows over 50,000 runs, beside the same without that session. Every
//! round is begun by one UPDATE of all rows, as an application would: it leaves dead rows too.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench ends where the world is not as it should be, and measures by the host's clock"
)]

mod support;

use postgres::Client;
use support::figures::median;
use support::kit::cluster::{Cluster, TestDatabase};
use support::kit::daemon::Supervisor;
use support::kit::wait::{eventually, millis, secs};

const TENANTS: usize = 2_000;
const ROUNDS: usize = 25;
/// Rounds in a window.
const WINDOW: usize = 5;
const AIM: f64 = 0.8;

/// A supervisor that runs such rounds.
struct Site {
    // Before its database, which it is connected to.
    supervisor: Supervisor,
    client: Client,
    old: Option<Client>,
    database: TestDatabase,
    rates: Vec<f64>,
}

fn main() {
    if !support::is_measuring() {
        return;
    }
    // What a server of one's own has; the kit's never gets so far.
    let cluster = support::durable_cluster(&[("autovacuum_naptime", "'1min'")]);
    let what = format!(
        "{ROUNDS} rounds of {TENANTS} tenants, 8 at a time, /bin/true, in a shared database; with an old snapshot and without, in turn"
    );
    support::conditions(cluster, &what);
    let mut sites = [Site::make(cluster, true), Site::make(cluster, false)];
    for _ in 0..ROUNDS {
        sites.iter_mut().for_each(Site::round);
    }
    println!("\n| runs | rate with an old snapshot | of its start | without | of its start | with / without |");
    println!("| --- | --- | --- | --- | --- | --- |");
    let windows = sites.each_ref().map(|site| site.rates.chunks(WINDOW).map(median).collect::<Vec<_>>());
    for (at, (with, without)) in windows[0].iter().zip(&windows[1]).enumerate() {
        println!(
            "| {}–{} | {with:.0} | {:.2} | {without:.0} | {:.2} | {:.2} |",
            at * WINDOW * TENANTS,
            (at + 1) * WINDOW * TENANTS,
            with / windows[0][0],
            without / windows[1][0],
            with / without
        );
    }
    let last = windows[0].last().expect("windows") / windows[0][0];
    println!(
        "\nrate after {} runs, of that at the start: {last:.2}; aim {AIM}; of the aim {:.2}",
        ROUNDS * TENANTS,
        last / AIM
    );
    for (site, what) in sites.iter_mut().zip(["with an old snapshot", "without"]) {
        println!("{what}: {}", site.dead_rows());
        site.supervisor.stop();
    }
    drop(sites);
    support::end(cluster);
}

impl Site {
    fn make(cluster: &'static Cluster, snapshot: bool) -> Self {
        let database = cluster.database();
        let names: Vec<String> = (0..TENANTS).map(|number| format!("tenant-{number:04}")).collect();
        let supervisor = Supervisor::builder()
            .tenants(&names)
            .set("workers", 8)
            .set("job.command", vec!["/bin/true".to_owned()])
            .set("schedule.every", "365d")
            .set("database.poll", "10s")
            .set("database.url", database.socket_url())
            .set("log.level", "warn")
            .start();
        let mut client = database.connect();
        let made = "SELECT to_regclass('tenantcron_status') IS NOT NULL AND to_regclass('tenantcron_run') IS NOT NULL";
        eventually(secs(20), "the tables", || client.query_one(made, &[]).expect("SELECT").get::<_, bool>(0));
        let mut site = Self { supervisor, client, old: None, database, rates: Vec::new() };
        // The first round makes rows, logs and lock files.
        site.wait_finished(0);
        if snapshot {
            let mut old = site.database.connect();
            old.batch_execute("SET statement_timeout = 0; BEGIN ISOLATION LEVEL REPEATABLE READ").expect("BEGIN");
            old.query_one("SELECT count(*) FROM tenantcron_status", &[]).expect("SELECT");
            site.old = Some(old);
        }
        site
    }

    fn round(&mut self) {
        let last: i64 = self.client.query_one("SELECT max(id) FROM tenantcron_run", &[]).expect("SELECT").get(0);
        let began = self.client.query_one(
            "WITH u AS (UPDATE tenantcron_status SET value = 'needed' RETURNING 1) SELECT count(*), extract(epoch FROM clock_timestamp())::float8 FROM u",
            &[],
        );
        let began = began.expect("UPDATE");
        assert_eq!(began.get::<_, i64>(0), TENANTS as i64);
        self.client.batch_execute("NOTIFY tenantcron").expect("NOTIFY");
        self.wait_finished(last);
        let sql = "SELECT extract(epoch FROM max(finished_at))::float8 FROM tenantcron_run WHERE id > $1";
        let ended: f64 = self.client.query_one(sql, &[&last]).expect("SELECT").get(0);
        self.rates.push(TENANTS as f64 / (ended - began.get::<_, f64>(1)));
    }

    fn wait_finished(&mut self, last: i64) {
        let sql = "SELECT count(*), count(*) FILTER (WHERE outcome <> 'ok') FROM tenantcron_run WHERE id > $1 AND finished_at IS NOT NULL";
        eventually(secs(60), "every tenant has run", || {
            // Seldom: the question itself costs the server something.
            std::thread::sleep(millis(80));
            let row = self.client.query_one(sql, &[&last]).expect("SELECT");
            let (done, failed): (i64, i64) = (row.get(0), row.get(1));
            assert_eq!(failed, 0, "some runs failed");
            if done == TENANTS as i64 { Ok(()) } else { Err(format!("{done} done")) }
        });
    }

    fn dead_rows(&mut self) -> String {
        let sql = "SELECT relname::text, n_dead_tup, pg_total_relation_size(relid), n_tup_hot_upd::float8 / greatest(n_tup_upd, 1), autovacuum_count
                   FROM pg_stat_user_tables WHERE relname IN ('tenantcron_status', 'tenantcron_run') ORDER BY 1";
        let rows = self.client.query(sql, &[]).expect("SELECT");
        let told = rows.iter().map(|row| {
            let (name, dead, size): (String, i64, i64) = (row.get(0), row.get(1), row.get(2));
            let (hot, vacuums): (f64, i64) = (row.get(3), row.get(4));
            format!(
                "{name} {dead} dead rows, {:.1} MB, {:.0} % of updates in place, {vacuums} autovacuums",
                size as f64 / 1e6,
                hot * 100.0
            )
        });
        told.collect::<Vec<_>>().join("; ")
    }
}
