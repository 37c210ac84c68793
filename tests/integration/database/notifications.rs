//! A word from an application starts its tenant at once; where words cannot be heard the polls do.

use super::{drain, number, texts};
use crate::support::cluster::{TestDatabase, cluster};
use crate::support::configuration::Configuration;
use crate::support::daemon::{Supervisor, output_within};
use crate::support::wait::{eventually, secs, throughout};
use crate::support::world::world;
use postgres::Client;
use std::fs;
use std::net::TcpListener;
use std::process::{Child, Stdio};

/// Nothing runs by itself, and a poll comes once an hour.
fn idle(database: &TestDatabase) -> Configuration {
    Supervisor::builder()
        .tenants(&["a", "b"])
        .database(database)
        .set("schedule.every", "1000h")
        .set("database.poll", "1h")
}

fn ended(supervisor: &Supervisor, tenant: &str) -> usize {
    supervisor.journal().read().ended(tenant)
}

/// Both have run once and are done.
fn all_done(supervisor: &Supervisor, client: &mut Client) {
    eventually(secs(60), "all have run", || ["a", "b"].iter().all(|tenant| ended(supervisor, tenant) == 1));
    rows_done(supervisor, client);
}

fn rows_done(supervisor: &Supervisor, client: &mut Client) {
    eventually(secs(20), "all rows are done", || {
        let open = texts(client, "SELECT key || ' ' || value FROM tenantcron_status WHERE value <> 'done'");
        if open.is_empty() { Ok(()) } else { Err(format!("{open:?}\n{}", supervisor.log())) }
    });
}

fn listeners(client: &mut Client) -> i64 {
    let sql =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tenantcron'
               AND query LIKE '%LISTEN%'";
    number(client, sql)
}

#[test]
fn an_application_that_asks_and_notifies_is_served_long_before_the_poll() {
    let database = cluster().database();
    let mut supervisor = idle(&database).start();
    let mut client = database.connect();
    all_done(&supervisor, &mut client);
    eventually(secs(30), "it listens", || listeners(&mut client) == 1);

    let ask = "UPDATE tenantcron_status SET value = 'needed' WHERE key = 'a' AND value = 'done'";
    client.batch_execute(&format!("{ask}; NOTIFY tenantcron, 'a'")).unwrap();
    eventually(secs(30), "the one named runs", || ended(&supervisor, "a") == 2);
    assert_eq!(ended(&supervisor, "b"), 1);
    rows_done(&supervisor, &mut client);

    client
        .batch_execute("UPDATE tenantcron_status SET value = 'needed' WHERE value = 'done'; NOTIFY tenantcron")
        .unwrap();
    eventually(secs(30), "an empty word is for all", || (ended(&supervisor, "a"), ended(&supervisor, "b")) == (3, 2));
    // A word that says nothing of ours, or too much, harms nothing.
    client.batch_execute("NOTIFY tenantcron, 'who is that'; NOTIFY tenantcron, ''';drop'; NOTIFY other, 'a'").unwrap();

    // The session that listens is ended: words go unheard until the next one listens, and are not lost for good.
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = 'tenantcron' AND query LIKE '%LISTEN%'";
    rows_done(&supervisor, &mut client);
    assert_eq!(number(&mut client, end), 1);
    client.batch_execute(&format!("{ask}; NOTIFY tenantcron, 'a'")).unwrap();
    eventually(secs(40), "it listens again and looks at what it missed", || ended(&supervisor, "a") == 4);
    drain(&mut supervisor);
    assert_eq!(supervisor.journal().read().overlaps(), [""; 0]);
}

#[test]
fn one_connection_is_enough_and_then_nothing_listens() {
    let database = cluster().database();
    let mut client = database.connect();
    let mut supervisor =
        Supervisor::builder().tenants(&["a", "b"]).database(&database).set("database.connections", 1).start();
    let sessions =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tenantcron'";
    eventually(secs(60), "both run round by round", || {
        assert!(number(&mut client, sessions) <= 1, "more than one connection");
        ended(&supervisor, "a") >= 3 && ended(&supervisor, "b") >= 3
    });
    assert_eq!(listeners(&mut client), 0);
    drain(&mut supervisor);
}

/// PgBouncer in transaction mode before the shared server; ended with the test.
struct Bouncer {
    child: Child,
    port: u16,
}

impl Bouncer {
    fn start() -> Self {
        let folder = world().folder("bouncer");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 3\nmax_client_conn = 50\n\
             ignore_startup_parameters = extra_float_digits\n",
            cluster().port()
        )
        .replace("* = host=127.0.0.1", "* = user=postgres host=127.0.0.1");
        fs::write(folder.join("ini"), text).unwrap();
        let program =
            ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].into_iter().find(|path| fs::exists(path).unwrap_or(false));
        let mut command = world().command(program.expect("pgbouncer is not installed: run `make deps`"), None);
        if nix::unistd::geteuid().is_root() {
            command.args(["-u", "nobody"]); // it refuses to run as root
        }
        command.arg(folder.join("ini")).stdout(Stdio::null()).stderr(Stdio::null());
        let bouncer = Self { child: command.spawn().expect("starting pgbouncer"), port };
        eventually(secs(10), "pgbouncer answers", || {
            let mut psql = world().command("psql", None);
            psql.env("PGCONNECT_TIMEOUT", "3").args(["-X", "-c", "SELECT 1", "-d", &bouncer.url("postgres")]);
            output_within(psql, secs(10)).status.success()
        });
        bouncer
    }

    fn url(&self, database: &str) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn everything_works_through_pgbouncer_in_transaction_mode_and_listening_is_given_up() {
    let bouncer = Bouncer::start();
    let database = cluster().database();
    let tenants = ["a", "b", "c", "d", "e"];
    let configuration = Supervisor::builder()
        .tenants(&tenants)
        .set("database.url", bouncer.url(&database.name))
        .set("limits.cluster", 3)
        .plan("c", "exit 3");
    // Two nodes, so that their statements change places on the server's sessions.
    let mut nodes = ["n1", "n2"].map(|node| configuration.clone().set("node", node).start());
    let record = || nodes[0].journal().read();
    eventually(secs(90), "all run round by round", || tenants.iter().all(|tenant| record().ended(tenant) >= 3));
    for node in &nodes {
        let told = node.wait_for_log("no echo of our own NOTIFY", secs(30));
        assert!(told.contains("PgBouncer"), "{told}");
        assert!(node.command(&["status"]).status.success());
    }
    throughout(secs(1), "no database counts as down", || nodes.iter().all(|node| !node.log().contains(" is down")));
    let asked = nodes[0].command(&["request", "--wait", "a"]);
    assert!(asked.status.success(), "{asked:?}");
    nodes.iter_mut().for_each(drain);
    assert_eq!(nodes[0].journal().read().overlaps(), [""; 0]);
    let mut client = database.connect();
    assert_eq!(
        texts(&mut client, "SELECT DISTINCT key || ' ' || outcome FROM tenantcron_run ORDER BY 1"),
        ["a ok", "b ok", "c failed", "d ok", "e ok"]
    );
    // What a session would keep: nothing prepared, no lock, no setting of ours.
    let left = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    assert_eq!(number(&mut client, left), 0);
    let mut through = postgres::Client::connect(&bouncer.url(&database.name), postgres::NoTls).unwrap();
    let rows = through.simple_query("SELECT count(*) FROM pg_prepared_statements; SHOW lock_timeout").unwrap();
    let seen: Vec<_> = rows
        .iter()
        .filter_map(|row| if let postgres::SimpleQueryMessage::Row(row) = row { row.get(0) } else { None })
        .collect();
    assert_eq!(seen, ["0", "0"]);
}
