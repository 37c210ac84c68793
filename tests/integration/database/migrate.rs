//! `tenantcron migrate`: what it creates, mends, names and refuses; and that without it nothing is created
//! or altered where that is not allowed.

use super::{drain, number, texts};
use crate::support::cluster::{TestDatabase, cluster};
use crate::support::configuration::Configuration;
use crate::support::daemon::Supervisor;
use crate::support::wait::{eventually, secs, throughout};
use postgres::Client;
use std::process::Output;

/// Every table, column, index and constraint of a database, and every row with its version.
fn all_of(client: &mut Client) -> Vec<String> {
    let tables = texts(
        client,
        "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1",
    );
    let mut all = texts(
        client,
        "SELECT concat_ws(' ', relname, relkind, relfilenode, attname, atttypid, attnotnull)
         FROM pg_class c LEFT JOIN pg_attribute a ON attrelid = c.oid
         WHERE relnamespace = 'public'::regnamespace ORDER BY relname, attnum",
    );
    for table in tables {
        all.extend(texts(
            client,
            &format!("SELECT concat_ws(' ', '{table}', ctid, xmin, xmax, row_to_json(t)) FROM {table} t ORDER BY ctid"),
        ));
    }
    all
}

fn out(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

fn foreign(database: &TestDatabase) -> Configuration {
    Supervisor::builder()
        .tenants(&["a", "b"])
        .database(database)
        .set("database.status_table", "meta")
        .set("database.key", "cron-status-{tenant}")
}

const META: &str =
    "CREATE TABLE meta (id serial, key varchar, value varchar, created_at timestamptz, updated_at timestamptz)";

#[test]
fn a_dry_run_prints_the_sql_and_changes_nothing_and_the_sql_is_what_migrate_runs() {
    let database = cluster().database();
    let mut client = database.connect();
    let supervisor = Supervisor::builder().tenants(&["a", "b"]).database(&database).prepare();
    let before = all_of(&mut client);
    let (code, sql, _) = out(&supervisor.command(&["migrate", "--dry-run"]));
    assert_eq!((code, all_of(&mut client)), (0, before));
    for table in ["tenantcron_status", "tenantcron_run", "tenantcron_flag"] {
        assert!(sql.contains("CREATE TABLE") && sql.contains(table), "{sql}");
    }
    let (code, again, _) = out(&supervisor.command(&["migrate", "--dry-run"]));
    assert_eq!((code, &again), (0, &sql), "a dry run changed what the next one says");

    let other = cluster().database();
    other.connect().batch_execute(&sql).expect("what it prints is SQL");
    let (code, done, error) = out(&supervisor.command(&["migrate"]));
    assert_eq!(code, 0, "{error}");
    let statements =
        |text: &str| text.lines().filter(|line| !line.starts_with("--")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(statements(&done), statements(&sql));
    let shape =
        "SELECT concat_ws(' ', c.relname, c.relkind, a.attname, a.atttypid, a.attnotnull, pg_get_indexdef(c.oid))
                 FROM pg_class c LEFT JOIN pg_attribute a ON attrelid = c.oid
                 WHERE relnamespace = 'public'::regnamespace ORDER BY 1";
    assert_eq!(texts(&mut other.connect(), shape), texts(&mut client, shape));
    assert_eq!(texts(&mut client, "SELECT key || value FROM tenantcron_status ORDER BY key"), ["aneeded", "bneeded"]);
}

#[test]
fn migrate_is_idempotent() {
    let database = cluster().database();
    let mut client = database.connect();
    let supervisor = Supervisor::builder().tenants(&["a", "b"]).database(&database).prepare();
    assert_eq!(out(&supervisor.command(&["migrate"])).0, 0);
    let before = all_of(&mut client);
    for args in [&["migrate"][..], &["migrate", "--dry-run"]] {
        let (code, text, _) = out(&supervisor.command(args));
        assert_eq!(code, 0);
        assert!(text.contains("nothing to do"), "{text}");
        assert_eq!(all_of(&mut client), before);
    }
}

#[test]
fn duplicates_are_named_and_nothing_is_changed() {
    let database = cluster().database();
    let mut client = database.connect();
    let rows = "INSERT INTO meta (key, value) VALUES ('cron-status-a', 'done'), ('cron-status-a', 'done'), ('x', '1'),
                ('y', '2'), ('y', '3'), ('y', '4'), (NULL, 'n'), (NULL, 'm')";
    client.batch_execute(&format!("{META}; {rows}")).unwrap();
    let supervisor = foreign(&database).prepare();
    let before = all_of(&mut client);
    for args in [&["migrate"][..], &["migrate", "--dry-run"]] {
        let (code, text, error) = out(&supervisor.command(args));
        assert_eq!(code, 1, "{text}{error}");
        assert!(error.contains("\"cron-status-a\" (2 times)") && error.contains("\"y\" (3 times)"), "{error}");
        assert!(error.contains(&database.name) && error.contains("meta") && !error.contains("\"x\""), "{error}");
        assert_eq!(all_of(&mut client), before);
    }
    client.batch_execute("DELETE FROM meta WHERE id IN (2, 5, 6)").unwrap();
    assert_eq!(out(&supervisor.command(&["migrate"])).0, 0);
    assert_eq!(number(&mut client, "SELECT count(*) FROM meta WHERE key IS NULL"), 2);
}

#[test]
fn a_database_without_a_unique_index_is_left_alone_and_told_and_the_others_go_on() {
    let [odd, good] = [cluster().database(), cluster().database()];
    let mut client = odd.connect();
    // Each of these looks like a unique index on the key and is none that one may count on.
    let near = "CREATE INDEX ON meta (key); CREATE UNIQUE INDEX ON meta (key) WHERE value <> 'x';
                CREATE UNIQUE INDEX ON meta (lower(key)); CREATE UNIQUE INDEX ON meta (key, id);
                ALTER TABLE meta ADD UNIQUE (key) DEFERRABLE";
    client
        .batch_execute(&format!("{META}; INSERT INTO meta (key, value) VALUES ('cron-status-a', 'needed'); {near}"))
        .unwrap();
    good.connect().batch_execute(&format!("{META}; CREATE UNIQUE INDEX ON meta (key)")).unwrap();
    let before = all_of(&mut client);
    let lines = format!("a database={}\nb database={}\\n", odd.name, good.name);
    let mut supervisor = foreign(&odd)
        .unset("tenants.list")
        .set("tenants.command", vec!["printf".to_owned(), lines])
        .set("database.url", cluster().url_of("{database}"))
        .start();
    let told = supervisor.wait_for_log("tenantcron migrate", secs(20));
    assert!(told.contains(&odd.name) && told.contains("unique index") && told.contains("meta"), "{told}");
    eventually(secs(30), "the other tenant runs on", || supervisor.journal().read().ended("b") >= 3);
    assert_eq!(supervisor.journal().read().ended("a"), 0);
    assert_eq!(all_of(&mut client), before);

    assert_eq!(out(&supervisor.command(&["migrate"])).0, 0);
    let plain = "SELECT count(*) FROM pg_index WHERE indrelid = 'meta'::regclass AND indisunique AND indisvalid AND indimmediate
                 AND indnkeyatts = 1 AND indpred IS NULL AND indexprs IS NULL";
    assert_eq!(number(&mut client, plain), 1);
    supervisor.signal(nix::sys::signal::Signal::SIGUSR1);
    eventually(secs(60), "the mended one runs too", || supervisor.journal().read().ended("a") >= 1);
    drain(&mut supervisor);
}

#[test]
fn where_an_operator_migrates_run_creates_nothing_and_says_so() {
    let database = cluster().database();
    let mut client = database.connect();
    let mut supervisor =
        Supervisor::builder().tenants(&["a"]).database(&database).set("database.migrate", "manual").start();
    let told = supervisor.wait_for_log("tenantcron migrate", secs(20));
    assert!(told.contains(&database.name), "{told}");
    throughout(secs(2), "no table appears", || all_of(&mut client).is_empty());

    assert_eq!(out(&supervisor.command(&["migrate"])).0, 0);
    supervisor.signal(nix::sys::signal::Signal::SIGUSR1);
    eventually(secs(60), "it runs once an operator has migrated", || supervisor.journal().read().ended("a") >= 1);
    // A tenant that is new has no row, and none is made.
    supervisor.reconfigure(|configuration| configuration.tenants(&["a", "late"]));
    supervisor.signal(nix::sys::signal::Signal::SIGHUP);
    let told = supervisor.wait_for_log("late: no status row", secs(20));
    assert!(told.contains("tenantcron migrate"), "{told}");
    assert_eq!(texts(&mut client, "SELECT key FROM tenantcron_status"), ["a"]);
    assert_eq!(out(&supervisor.command(&["migrate"])).0, 0);
    eventually(secs(60), "the new one runs after the next migration", || {
        supervisor.journal().read().ended("late") >= 1
    });
    drain(&mut supervisor);
}

#[test]
fn migrate_gives_way_to_whoever_holds_the_table_and_says_so() {
    let database = cluster().database();
    let mut client = database.connect();
    client.batch_execute(&format!("{META}; INSERT INTO meta (key, value) VALUES ('x', '1')")).unwrap();
    let supervisor = foreign(&database).prepare();
    let mut held = client.transaction().unwrap();
    held.batch_execute("UPDATE meta SET value = '2'").unwrap();
    let (code, _, error) = out(&supervisor.command(&["migrate"]));
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("in use") && error.contains("nothing was changed"), "{error}");
    held.commit().unwrap();
    assert_eq!(number(&mut client, "SELECT count(*) FROM pg_class WHERE relname LIKE 'tenantcron%'"), 0);
    assert_eq!(out(&supervisor.command(&["migrate"])).0, 0);
}
