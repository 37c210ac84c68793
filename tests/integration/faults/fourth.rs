//! The child of a killed supervisor, and three others that come upon it at the same moment: exactly one watches it, its end
//! is recorded once, and nobody starts a second copy.

use super::is_held;
use crate::support::cluster::{Cluster, TestDatabase, cluster};
use crate::support::daemon::Supervisor;
use crate::support::proc;
use crate::support::rows;
use crate::support::wait::{eventually, exit_within, millis, secs, throughout};
use crate::support::world::world;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

fn spawned(supervisor: &Supervisor, args: &[&str]) -> Child {
    let mut command = supervisor.plain_command();
    command.arg("run").arg("--config").arg(supervisor.config_path()).args(args);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Those of them that hold the keeper file of `a` open.
fn watchers(supervisor: &Supervisor, pids: &[i32]) -> Vec<i32> {
    let keeper = supervisor.state().join("tenants/a.keeper").display().to_string();
    let watches = |pid: &&i32| proc::open_files(**pid).iter().any(|(_, file)| *file == keeper);
    pids.iter().filter(watches).copied().collect()
}

/// The fourth is started with these arguments, has its child at work, and is killed. A supervisor to be started, the child,
/// and the folder of the file that ends it.
fn child_of_a_fourth(database: &TestDatabase, args: &[&str]) -> (Supervisor, i32, PathBuf) {
    let go = world().folder("go");
    let supervisor = Supervisor::builder()
        .database(database)
        .tenants(&["a"])
        .set("schedule.every", "365d")
        .plan_for_all(&format!("while [ ! -e {}/go ]; do sleep 0.05; done; exit 7", go.display()))
        .prepare();
    assert!(supervisor.command(&["migrate"]).status.success());
    let mut fourth = spawned(&supervisor, args);
    eventually(secs(20), "its child is at work", || supervisor.journal().read().runs.len() == 1);
    let child = supervisor.journal().read().runs[0].pid;
    fourth.kill().unwrap();
    fourth.wait().unwrap();
    assert!(proc::is_alive(child));
    (supervisor, child, go)
}

/// A daemon and two single looks come upon it at once.
fn three_meet_the_child_of_a_fourth(args: &[&str]) {
    let database = cluster().database();
    let (mut supervisor, child, go) = child_of_a_fourth(&database, args);
    let mut looks = [spawned(&supervisor, &["--once"]), spawned(&supervisor, &["--once"])];
    supervisor.start();
    let daemon = supervisor.pid();
    let all = [daemon, looks[0].id() as i32, looks[1].id() as i32];
    eventually(secs(20), "the daemon watches it", || watchers(&supervisor, &all) == [daemon]);
    for look in &mut looks {
        assert!(exit_within(look, secs(20)).is_some_and(|status| status.success()), "{args:?}");
    }
    let keeper = std::fs::read_to_string(supervisor.state().join("tenants/a.keeper")).unwrap();
    assert!(keeper.starts_with(&format!("{daemon} ")) && is_held(&supervisor, "tenants/a.keeper"), "{keeper}");
    // More looks, while it goes on.
    assert!(supervisor.command(&["run", "--once"]).status.success());
    let named = supervisor.command(&["run", "a"]);
    assert_eq!(named.status.code(), Some(1), "a tenant that runs is refused: {named:?}");
    let mut client = database.connect();
    throughout(millis(1500), "one copy, one open run", || {
        let runs = rows::runs(&mut client);
        let well = runs.len() == 1 && runs[0].finished_at.is_none() && supervisor.journal().read().runs.len() == 1;
        if well && proc::is_alive(child) { Ok(()) } else { Err(format!("{runs:?}\n{}", supervisor.log())) }
    });
    let_go(&go);
    eventually(secs(20), "its end is recorded", || rows::finished(&mut client) == 1);
    assert!(supervisor.command(&["run", "--once"]).status.success());
    assert!(supervisor.stop().success());
    let runs = rows::runs(&mut client);
    assert!(runs.len() == 1 && runs[0].how() == ("adopted", None, None), "{runs:?}");
    assert_eq!(rows::status(&mut client, "a").map(|row| row.0).as_deref(), Some("done"));
    assert_eq!(supervisor.log().matches("lives on under pid").count(), 1, "{}", supervisor.log());
    let log = supervisor.tenant_log("a");
    assert!(log.matches(": start run=").count() == 1 && log.matches(": end run=").count() == 1, "{log}");
    let journal = supervisor.journal().read();
    assert!(journal.runs.len() == 1 && journal.runs[0].exit == Some(7) && journal.overlaps().is_empty(), "{journal:?}");
}

fn let_go(go: &Path) {
    std::fs::write(go.join("go"), "").unwrap();
}

#[test]
fn the_child_of_a_killed_daemon_is_watched_by_one_of_three() {
    (0..5).for_each(|_| three_meet_the_child_of_a_fourth(&[]));
}

#[test]
fn the_child_of_a_killed_single_look_is_watched_by_one_of_three() {
    (0..5).for_each(|_| three_meet_the_child_of_a_fourth(&["--once"]));
}

#[test]
fn the_child_of_a_killed_run_by_name_is_watched_by_one_of_three() {
    (0..5).for_each(|_| three_meet_the_child_of_a_fourth(&["a"]));
}

#[test]
fn an_adopted_end_that_waits_for_the_database_is_not_called_lost_by_others() {
    let own = Cluster::start_own(&[]);
    let database = own.own_databases(1, "fourth").remove(0);
    let (mut supervisor, child, go) = child_of_a_fourth(&database, &[]);
    supervisor.start();
    supervisor.wait_for_log("its supervisor died: adopted", secs(20));
    own.stop_fast();
    supervisor.wait_for_log(" is down", secs(20));
    let_go(&go);
    eventually(secs(20), "the child has ended, and that is known", || {
        !proc::is_alive(child) && supervisor.log().contains("a: run 1 adopted after ")
    });
    // Long enough that the daemon, which asks less and less often, comes later than a look from a crontab.
    throughout(secs(8), "the daemon lives", || proc::is_alive(supervisor.pid()));
    own.start();
    let look = supervisor.command(&["run", "--once"]);
    assert!(look.status.success(), "{look:?}");
    let mut client = database.connect();
    supervisor.wait_for_log(" is back after ", secs(40));
    eventually(secs(20), "its end is recorded", || rows::finished(&mut client) >= 1);
    let runs = rows::runs(&mut client);
    assert!(runs.len() == 1 && runs[0].how() == ("adopted", None, None), "{runs:?}\n{}", supervisor.log());
    assert_eq!(supervisor.journal().read().runs.len(), 1);
    assert!(supervisor.stop().success());
}
