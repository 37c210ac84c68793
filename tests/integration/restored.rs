//! A database restored from a backup under living children, and rows that a hand set back: no second start, and the
//! rows say again what lives.

use crate::support::cluster::{TestDatabase, binaries, cluster};
use crate::support::configuration::Configuration;
use crate::support::daemon::Supervisor;
use crate::support::proc;
use crate::support::rows::{self, RunRow};
use crate::support::wait::{eventually, secs, throughout};
use crate::support::world::world;
use postgres::Client;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

const TENANTS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// Each run goes on until a file that is named by how many of its tenant there were: `a.1`, `a.2`.
fn waiting(database: &TestDatabase, tenants: &[&str]) -> (Configuration, PathBuf) {
    let folder = world().folder("go");
    let configuration = Supervisor::builder()
        .database(database)
        .tenants(tenants)
        .set("workers", tenants.len() as i64)
        .set("schedule.every", "365d")
        .set("job.directory", folder.display().to_string())
        .plan_for_all(
            "echo x >>$tenant.count; n=$(wc -l <$tenant.count); while [ ! -e $tenant.$n ]; do sleep 0.05; done",
        );
    (configuration, folder)
}

fn let_go(folder: &Path, tenants: &[&str], nth: usize) {
    tenants.iter().for_each(|tenant| fs::write(folder.join(format!("{tenant}.{nth}")), "").unwrap());
}

fn begun(supervisor: &Supervisor, count: usize) {
    eventually(secs(20), &format!("{count} jobs have begun"), || {
        let begun = supervisor.journal().read().runs.len();
        if begun == count { Ok(()) } else { Err(format!("{begun}\n{}", supervisor.log())) }
    });
}

fn open_runs(client: &mut Client) -> Vec<RunRow> {
    rows::runs(client).into_iter().filter(|run| run.finished_at.is_none()).collect()
}

/// Dump and restore by PostgreSQL's own programs.
fn dump(database: &TestDatabase, file: &Path) {
    let mut command = world().command(binaries().join("pg_dump"), None);
    assert!(command.arg("-Fc").arg("-f").arg(file).arg(database.url()).status().unwrap().success());
}

fn restore(database: &TestDatabase, file: &Path) {
    cluster().admin(&format!("DROP DATABASE \"{}\" WITH (FORCE)", database.name));
    cluster().admin(&format!("CREATE DATABASE \"{}\"", database.name));
    // Whole or not at all, so that nobody finds half a restore and makes the other half.
    let mut command = world().command(binaries().join("pg_restore"), None);
    command.args(["--single-transaction", "--exit-on-error", "-d", database.url()]).arg(file);
    let output = command.stdout(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_backup_restored_under_eight_living_children_starts_nothing_twice() {
    let database = cluster().database();
    let (configuration, go) = waiting(&database, &TENANTS);
    assert!(configuration.clone().prepare().command(&["migrate"]).status.success());
    // It may find an empty database in the moment of the restore: then it must not fill it.
    let mut supervisor = configuration.set("database.migrate", "manual").start();
    begun(&supervisor, 8);
    // At the backup two run and six are done.
    let_go(&go, &TENANTS[2..], 1);
    eventually(secs(20), "six are recorded", || rows::finished(&mut database.connect()) == 6);
    let backup = world().folder("backup").join("dump");
    dump(&database, &backup);
    let_go(&go, &TENANTS[..2], 1);
    eventually(secs(20), "all are recorded", || rows::finished(&mut database.connect()) == 8);
    for tenant in TENANTS {
        rows::ask(&mut database.connect(), tenant);
    }
    begun(&supervisor, 16);
    let living: Vec<i32> = proc::living_children(supervisor.pid());
    assert_eq!(living.len(), 8);

    restore(&database, &backup);
    let mut client = database.connect();
    eventually(secs(40), "every living child has its open run and its row", || {
        let open = open_runs(&mut client);
        let running = TENANTS.iter().filter(|tenant| rows::status(&mut client, tenant).unwrap().0 == "running").count();
        let mut pids: Vec<_> = open.iter().filter_map(|run| run.pid).collect();
        pids.sort_unstable();
        let mut expected = living.clone();
        expected.sort_unstable();
        if running == 8 && pids == expected { Ok(()) } else { Err(format!("{running} {open:?}\n{}", supervisor.log())) }
    });
    // The two that the backup holds as open ended long ago.
    let lost: Vec<_> =
        rows::runs(&mut client).into_iter().filter(|run| run.outcome.as_deref() == Some("lost")).collect();
    assert_eq!(lost.len(), 2, "{lost:?}");
    assert_eq!(supervisor.log().matches("nothing is started twice").count(), 8);
    throughout(secs(3), "nothing is started twice", || supervisor.journal().read().runs.len() == 16);
    assert_eq!(proc::living_children(supervisor.pid()).len(), 8);
    let_go(&go, &TENANTS, 2);
    eventually(secs(20), "their ends are recorded", || {
        let done = rows::runs(&mut client).iter().filter(|run| run.how() == ("ok", Some(0), None)).count();
        if done == 6 + 8 { Ok(()) } else { Err(format!("{done}")) }
    });
    assert_eq!(supervisor.journal().read().overlaps(), [""; 0]);
    assert!(TENANTS.iter().all(|tenant| rows::status(&mut client, tenant).unwrap().0 == "done"));
    assert!(supervisor.stop().success());
}

#[test]
fn a_row_that_a_hand_sets_back_is_running_again() {
    let database = cluster().database();
    let (configuration, go) = waiting(&database, &["a"]);
    let supervisor = configuration.start();
    begun(&supervisor, 1);
    let mut client = database.connect();
    for value in ["needed", "done"] {
        client.execute("UPDATE tenantcron_status SET value = $1", &[&value]).unwrap();
        eventually(secs(10), "the row is running again", || rows::status(&mut client, "a").unwrap().0 == "running");
    }
    client.execute("DELETE FROM tenantcron_run", &[]).unwrap();
    eventually(secs(20), "it has a run again", || open_runs(&mut client).len() == 1);
    assert_eq!(supervisor.journal().read().runs.len(), 1);
    let_go(&go, &["a"], 1);
    eventually(secs(10), "its end is recorded", || rows::finished(&mut client) == 1);
    assert_eq!(rows::runs(&mut client)[0].how(), ("ok", Some(0), None));
}

#[test]
fn a_run_of_another_node_ends_ours_and_stays() {
    let database = cluster().database();
    let (configuration, _go) = waiting(&database, &["a"]);
    let supervisor = configuration.start();
    begun(&supervisor, 1);
    let mut client = database.connect();
    // As after a failover that lost our claim, when another node was faster.
    let mut transaction = client.transaction().unwrap();
    transaction.execute("DELETE FROM tenantcron_run", &[]).unwrap();
    transaction
        .execute(
            "INSERT INTO tenantcron_run (key, instance, node, host, started_at, alive_at) \
             VALUES ('a', 'test', 'there', 'boot/1', now(), now())",
            &[],
        )
        .unwrap();
    transaction.commit().unwrap();
    supervisor.wait_for_log("of node there is open: ours is ended, theirs stays", secs(40));
    eventually(secs(10), "our child has ended", || proc::living_children(supervisor.pid()).is_empty());
    throughout(secs(3), "theirs stays open and its row running", || {
        open_runs(&mut client).len() == 1 && rows::status(&mut client, "a").unwrap().0 == "running"
    });
    assert_eq!(supervisor.journal().read().runs.len(), 1);
}
