//! What a regular look costs, and that it finds what nobody tells: rows changed by a hand, without a word.

use super::{drain, number, texts};
use crate::support::cluster::{Cluster, TestDatabase, cluster};
use crate::support::configuration::Configuration;
use crate::support::daemon::Supervisor;
use crate::support::wait::{eventually, secs};
use postgres::Client;

/// Who has run once runs again only if asked.
fn quiet(database: &TestDatabase, tenants: &[String]) -> Configuration {
    Supervisor::builder()
        .tenants(tenants)
        .database(database)
        .set("schedule.every", "1000h")
        .set("database.poll", "300ms")
        .plan_for_all("exit 0")
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("t{number:02}")).collect()
}

fn all_done(supervisor: &Supervisor, client: &mut Client, count: i64) {
    eventually(secs(60), "all have run", || supervisor.journal().read().runs.len() as i64 >= count);
    eventually(secs(60), "all are done", || {
        let done = texts(client, "SELECT count(*)::text FROM tenantcron_status WHERE value = 'done'");
        if done == [count.to_string()] { Ok(()) } else { Err(format!("{done:?}\n{}", supervisor.log())) }
    });
}

#[test]
fn while_nothing_changes_no_row_is_read() {
    // Its statistics are its own, and nobody else writes to it.
    let own: &'static Cluster = Box::leak(Box::new(Cluster::start_own(&[("autovacuum", "off")])));
    let database = own.database();
    let mut supervisor = quiet(&database, &names(40)).start();
    let mut client = database.connect();
    all_done(&supervisor, &mut client, 40);
    let sum = "FROM pg_stat_user_tables WHERE relname IN ('tenantcron_status', 'tenantcron_flag')";
    let read = format!("SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::int8 {sum}");
    let scans = format!("SELECT sum(seq_scan)::int8 {sum}");
    let looks = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()";
    // What was done is counted a second later, and once more after a rest.
    let still = |client: &mut Client, what: &str| {
        eventually(secs(60), what, || {
            let before = (number(client, &read), number(client, &scans), number(client, looks));
            std::thread::park_timeout(secs(4));
            let after = (number(client, &read), number(client, &scans), number(client, looks));
            if after.2 > before.2 + 8 && (after.0, after.1) == (before.0, before.1) {
                Ok(())
            } else {
                Err(format!("rows, scans, transactions: {before:?}, then {after:?}"))
            }
        });
    };
    still(&mut client, "a look reads no row");
    client.batch_execute("UPDATE tenantcron_status SET value = 'needed' WHERE key = 't07'").unwrap();
    eventually(secs(30), "what a hand made needed runs", || supervisor.journal().read().ended("t07") == 2);
    all_done(&supervisor, &mut client, 40);
    still(&mut client, "a look reads no row again");
    drain(&mut supervisor);
    drop((client, database));
    own.stop_fast();
}

#[test]
fn what_a_hand_changes_without_a_word_is_found_by_the_next_look() {
    let database = cluster().database();
    let mut supervisor = quiet(&database, &names(5)).start();
    let mut client = database.connect();
    all_done(&supervisor, &mut client, 5);
    let ended = |supervisor: &Supervisor, tenant: &str| supervisor.journal().read().ended(tenant);
    let pause = "INSERT INTO tenantcron_flag (key, paused_at) VALUES ('t01', now()), ('t02', now())
                 ON CONFLICT (key) DO UPDATE SET paused_at = now()";
    client.batch_execute(pause).unwrap();
    let needed = "UPDATE tenantcron_status SET value = 'needed' WHERE key IN ('t00', 't01', 't02')";
    client.batch_execute(needed).unwrap();
    eventually(secs(30), "the one who is not paused runs", || ended(&supervisor, "t00") == 2);
    client.batch_execute("UPDATE tenantcron_flag SET paused_at = NULL WHERE key = 't01'").unwrap();
    eventually(secs(30), "the one resumed runs", || ended(&supervisor, "t01") == 2);
    client.batch_execute("DELETE FROM tenantcron_status WHERE key = 't02'; DELETE FROM tenantcron_flag").unwrap();
    eventually(secs(30), "a row that is gone is made anew, as needed", || ended(&supervisor, "t02") == 2);
    // Another program's claim, which lasts.
    client
        .batch_execute("UPDATE tenantcron_status SET value = 'running', updated_at = now() WHERE key = 't03'")
        .unwrap();
    eventually(secs(30), "it is shown", || {
        let status = supervisor.command(&["status", "t03"]);
        String::from_utf8_lossy(&status.stdout).contains("running")
    });
    client.batch_execute("UPDATE tenantcron_status SET value = 'needed' WHERE key = 't03'").unwrap();
    eventually(secs(30), "given back, it runs", || ended(&supervisor, "t03") == 2);
    assert_eq!(ended(&supervisor, "t04"), 1);
    drain(&mut supervisor);
    assert_eq!(supervisor.journal().read().overlaps(), [""; 0]);
}
