//! The rows forget a child that lives: after a failover, with a restored backup, by a hand.

use super::{drain, number, texts};
use crate::support::cluster::cluster;
use crate::support::daemon::Supervisor;
use crate::support::proc;
use crate::support::wait::{eventually, secs};

/// One tenant whose child runs until the file `go` is there; and its pid, once the database knows it.
fn one_that_runs(supervisor: &mut Supervisor, client: &mut postgres::Client) -> i32 {
    let folder = supervisor.folder().display().to_string();
    supervisor.journal().plan("a", &format!("while [ ! -e {folder}/go ]; do sleep 0.05; done"));
    supervisor.start();
    eventually(secs(30), "its pid is in its run", || {
        let known = "SELECT count(*) FROM tenantcron_run WHERE pid IS NOT NULL AND finished_at IS NULL";
        supervisor.journal().read().runs.len() == 1 && number(client, known) == 1
    });
    supervisor.journal().read().runs[0].pid
}

/// It ends well, is recorded once and as what it was, and runs once more only then.
#[track_caller]
fn ends_well(supervisor: &mut Supervisor, client: &mut postgres::Client, pid: i32) {
    assert!(proc::is_alive(pid), "{}", supervisor.log());
    assert_eq!(supervisor.journal().read().runs.len(), 1);
    std::fs::write(supervisor.folder().join("go"), "").unwrap();
    eventually(secs(30), "its end is recorded", || {
        if number(client, "SELECT count(*) FROM tenantcron_run WHERE outcome = 'ok'") == 1 {
            Ok(())
        } else {
            Err(supervisor.log())
        }
    });
    assert_eq!(texts(client, "SELECT value FROM tenantcron_status"), ["done"]);
    let told = format!("SELECT count(*) FROM tenantcron_run WHERE pid = {pid} AND outcome = 'ok'");
    assert_eq!(number(client, &told), 1);
    assert_eq!(supervisor.journal().read().overlaps(), [""; 0]);
    drain(supervisor);
}

#[test]
fn a_child_whose_claim_a_failover_lost_lives_on_under_a_new_run_and_is_started_once() {
    let database = cluster().database();
    let mut supervisor = Supervisor::builder()
        .tenants(&["a"])
        .database(&database)
        .set("schedule.every", "1h")
        .set("database.poll", "1s")
        .prepare();
    let mut client = database.connect();
    let pid = one_that_runs(&mut supervisor, &mut client);
    client
        .batch_execute(
            "BEGIN; DELETE FROM tenantcron_run;
             UPDATE tenantcron_status SET value = 'needed', updated_at = now() - interval '1 day'; COMMIT",
        )
        .unwrap();
    let told = supervisor.wait_for_log("the row is running again", secs(30));
    assert!(told.contains("ALERT"), "{told}");
    assert_eq!(texts(&mut client, "SELECT value FROM tenantcron_status"), ["running"]);
    ends_well(&mut supervisor, &mut client, pid);
}

#[test]
fn a_child_whose_run_bears_another_number_is_known_by_its_claim() {
    let database = cluster().database();
    let mut supervisor = Supervisor::builder()
        .tenants(&["a"])
        .database(&database)
        .set("schedule.every", "1h")
        .set("database.poll", "1s")
        .prepare();
    let mut client = database.connect();
    let pid = one_that_runs(&mut supervisor, &mut client);
    // As after a repair whose answer was lost.
    client.batch_execute("UPDATE tenantcron_run SET id = DEFAULT").unwrap();
    supervisor.wait_for_log("the row is running again", secs(30));
    ends_well(&mut supervisor, &mut client, pid);
}
