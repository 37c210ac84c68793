//! A host reboots: its runs are of another boot, its processes and its state folder are gone. Imitated by rows of another
//! boot, written while no supervisor lives. Only when nobody has confirmed such a run for 75 s is it called lost: it could
//! be another machine's that bears the same name.

use crate::rows::Rows;
use crate::support::cluster::{TestDatabase, cluster};
use crate::support::daemon::Supervisor;
use crate::support::wait::{eventually, secs, throughout};
use crate::support::world::{kill_marked, signal, world};
use nix::sys::signal::Signal;
use std::fs;
use std::time::{Duration, Instant};

/// Two runs are under way when the host goes down, and a third tenant becomes needed meanwhile. The supervisor is not
/// started; both were confirmed last `silent` ago.
fn rebooted(database: &TestDatabase, poll: &str, silent: Duration) -> (Supervisor, Rows) {
    let mut supervisor = Supervisor::builder()
        .database(database)
        .tenants(&["left1", "left2", "other"])
        .set("schedule.every", "365d")
        .set("database.poll", poll)
        .set("workers", 3)
        .plan_for_all("sleep 600")
        .plan("other", "exit 0")
        .start();
    let mut rows = Rows::of(database);
    eventually(secs(20), "two are at work, one has run", || {
        rows.outcomes("other") == ["ok"] && supervisor.journal().read().runs.len() == 3
    });
    supervisor.kill9();
    kill_marked(supervisor.mark());
    fs::remove_dir_all(supervisor.state()).unwrap();
    supervisor.journal().plan_for_all("exit 0");
    rows.run(&format!(
        "UPDATE tenantcron_run SET host = '00000000-1111-2222-3333-444444444444/4026531836', started_at = now() - interval '1 hour',
                alive_at = now() - interval '{} s' WHERE finished_at IS NULL;
         UPDATE tenantcron_status SET value = 'needed' WHERE key = 'other'",
        silent.as_secs()
    ));
    (supervisor, rows)
}

/// How a row and its first run stand.
fn stands(rows: &mut Rows, tenant: &str) -> String {
    let sql = "SELECT concat_ws(' ', s.value, count(*), coalesce(min(r.outcome) FILTER (WHERE r.id = m.id), 'open'))
               FROM tenantcron_status s JOIN tenantcron_run r USING (key)
               CROSS JOIN LATERAL (SELECT min(id) AS id FROM tenantcron_run WHERE key = s.key) AS m
               WHERE key = $1 GROUP BY s.value";
    rows.one(sql, &[&tenant])
}

/// From the start to the record of what was left: what must happen when, whatever `database.poll` is.
fn is_lost_75_seconds_after_its_last_sign(silent: Duration) {
    let database = cluster().database();
    let (mut supervisor, mut rows) = rebooted(&database, "10min", silent);
    let begun = Instant::now();
    supervisor.start();
    eventually(secs(10), "the other tenant is started at once", || rows.outcomes("other") == ["ok", "ok"]);
    let rest = (secs(75) - silent).saturating_sub(begun.elapsed() + secs(2));
    throughout(rest, "what was left is left alone", || {
        let stand = ["left1", "left2"].map(|tenant| stands(&mut rows, tenant));
        if stand == ["running 1 open", "running 1 open"] { Ok(()) } else { Err(format!("{stand:?}")) }
    });
    eventually(secs(20), "what was left is lost, and runs again", || {
        let stand = ["left1", "left2"].map(|tenant| stands(&mut rows, tenant));
        if stand == ["done 2 lost", "done 2 lost"] { Ok(()) } else { Err(format!("{stand:?}\n{}", supervisor.log())) }
    });
    let sql =
        "SELECT extract(epoch FROM finished_at - alive_at)::float8::text FROM tenantcron_run WHERE outcome = 'lost'";
    let ages: Vec<f64> = rows.list(sql).iter().map(|age| age.parse().unwrap()).collect();
    println!("lost {ages:?} s after their last signs");
    assert!(ages.len() == 2 && ages.iter().all(|age| (75.0..76.0).contains(age)), "{ages:?}");
    for tenant in ["left1", "left2"] {
        let told = supervisor.log().matches(&format!("{tenant}: run ")).count();
        assert!(supervisor.log().contains(" is lost, ") && told >= 1, "{}", supervisor.log());
    }
    assert_eq!(supervisor.journal().read().overlaps(), [""; 0]);
    assert!(supervisor.stop().success());
}

#[test]
fn a_reboot_of_a_minute_costs_fifteen_seconds() {
    is_lost_75_seconds_after_its_last_sign(secs(60));
}

#[test]
fn a_reboot_in_no_time_costs_75_seconds() {
    is_lost_75_seconds_after_its_last_sign(Duration::ZERO);
}

#[test]
fn a_run_of_long_before_is_lost_at_the_first_look() {
    let database = cluster().database();
    let (mut supervisor, mut rows) = rebooted(&database, "10min", secs(3600));
    supervisor.start();
    eventually(secs(10), "all have run", || {
        ["left1", "left2"].iter().all(|tenant| stands(&mut rows, tenant) == "done 2 lost")
            && rows.outcomes("other").len() == 2
    });
    assert!(supervisor.stop().success());
}

#[test]
fn a_single_look_after_a_reboot_leaves_what_was_confirmed_lately_to_a_later_one() {
    let database = cluster().database();
    let (supervisor, mut rows) = rebooted(&database, "1s", secs(60));
    let look = supervisor.command(&["run", "--once"]);
    assert!(look.status.success(), "{look:?}");
    assert_eq!(rows.outcomes("other").len(), 2);
    assert_eq!(stands(&mut rows, "left1"), "running 1 open");
    rows.run("UPDATE tenantcron_run SET alive_at = alive_at - interval '16 s' WHERE finished_at IS NULL");
    let look = supervisor.command(&["run", "--once"]);
    assert!(look.status.success(), "{look:?}");
    assert_eq!(["left1", "left2"].map(|tenant| stands(&mut rows, tenant)), ["done 2 lost", "done 2 lost"]);
}

#[test]
fn a_held_lock_speaks_for_a_run_of_another_boot() {
    let database = cluster().database();
    let (mut supervisor, mut rows) = rebooted(&database, "1s", secs(3600));
    fs::create_dir_all(supervisor.state().join("tenants")).unwrap();
    let mut holder = world().command("flock", Some(supervisor.mark()));
    holder.arg(supervisor.state().join("tenants/left1.lock")).args(["sleep", "600"]);
    let mut holder = holder.spawn().unwrap();
    eventually(secs(10), "the lock is held", || super::is_held(&supervisor, "tenants/left1.lock"));
    supervisor.start();
    eventually(secs(10), "the one without a lock is lost", || stands(&mut rows, "left2") == "done 2 lost");
    throughout(secs(3), "the other is left alone", || stands(&mut rows, "left1") == "running 1 open");
    // The lock is the sleep's too.
    let family = crate::support::proc::descendants(holder.id() as i32);
    family.into_iter().chain([holder.id() as i32]).for_each(|pid| signal(pid, Signal::SIGKILL));
    holder.wait().unwrap();
    eventually(secs(20), "now it is lost", || stands(&mut rows, "left1") == "done 2 lost");
    assert!(supervisor.stop().success());
}
