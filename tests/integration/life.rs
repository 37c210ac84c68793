//! The supervisor's own life: how it starts, what it says of itself, what each signal does, and how it ends.

use crate::support::cluster::cluster;
use crate::support::configuration::Configuration;
use crate::support::daemon::{BINARY, Supervisor, output_within};
use crate::support::proc;
use crate::support::silent::SilentServer;
use crate::support::wait::{eventually, secs, throughout};
use crate::support::world::world;
use nix::sys::signal::Signal;
use std::path::{Path, PathBuf};
use std::time::Instant;

fn running(supervisor: &Supervisor) -> usize {
    supervisor.journal().read().runs.iter().filter(|run| run.end.is_none()).count()
}

fn begun(supervisor: &Supervisor, tenant: &str) -> usize {
    supervisor.journal().read().runs_of(tenant).len()
}

fn wait_running(supervisor: &Supervisor, count: usize) {
    eventually(secs(30), &format!("{count} run"), || {
        if running(supervisor) == count {
            Ok(())
        } else {
            Err(format!("{}\n{}", running(supervisor), supervisor.log()))
        }
    });
}

/// Jobs that run until the test lets them go.
struct Gates(PathBuf);

impl Gates {
    /// Gives every tenant of `configuration` a plan that waits for its gate.
    fn build(configuration: &Configuration) -> Self {
        let gates = Self(PathBuf::from(configuration.journal().job() + ".gates"));
        std::fs::create_dir(&gates.0).unwrap();
        let plan = format!("until [ -e {}/$TENANTCRON_TENANT ]; do sleep 0.05; done", gates.0.display());
        configuration.journal().plan_for_all(&plan);
        gates
    }

    fn open(&self, tenant: &str) {
        std::fs::write(self.0.join(tenant), "").unwrap();
    }
}

#[test]
fn it_ends_with_0_on_term_int_and_quit_where_nothing_runs() {
    let database = cluster().database();
    let mut supervisor = Supervisor::builder().database(&database).tenants(&["a"]).set("enabled", false).prepare();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        supervisor.start();
        supervisor.signal(signal);
        assert_eq!(supervisor.wait_exit(secs(20)).code(), Some(0), "{signal}");
        assert_eq!(supervisor.notify().count("STOPPING=1"), 1, "{signal}");
    }
}

#[test]
fn it_does_not_wait_for_a_database_that_hangs_when_it_has_nothing_to_record() {
    let silent = SilentServer::start();
    let mut supervisor = Supervisor::builder()
        .tenants(&["a"])
        .set("database.url", format!("postgresql://postgres@127.0.0.1:{}/x", silent.port()))
        .start();
    eventually(secs(10), "it is asking", || silent.accepted() > 0);
    let asked = Instant::now();
    assert_eq!(supervisor.stop().code(), Some(0));
    // The connect's own deadline is ten seconds.
    assert!(asked.elapsed() < secs(8), "{:?}", asked.elapsed());
}

#[test]
fn usr1_looks_at_once() {
    let database = cluster().database();
    let supervisor = Supervisor::builder()
        .database(&database)
        .tenants(&["a"])
        .set("schedule.every", "1d")
        .set("database.poll", "1h")
        .start();
    eventually(secs(20), "its first run is recorded", || {
        let sql = "SELECT count(*) FROM tenantcron_status WHERE value = 'done'";
        let done = database.connect().query_one(sql, &[]);
        done.is_ok_and(|row| row.get::<_, i64>(0) == 1)
    });
    // Without a NOTIFY nobody hears of it before the next poll in an hour.
    database.connect().execute("UPDATE tenantcron_status SET value = 'needed'", &[]).unwrap();
    supervisor.signal(Signal::SIGUSR1);
    eventually(secs(20), "it runs again", || supervisor.journal().read().ended("a") == 2);
}

#[test]
fn hup_takes_workers_schedule_and_environment_into_force() {
    let database = cluster().database();
    let configuration = Supervisor::builder()
        .database(&database)
        .tenants(&["a", "b", "c"])
        .set("workers", 1)
        .set("schedule.every", "1d")
        .set("job.env.COLOUR", "red");
    configuration.journal().plan_for_all("echo colour=$COLOUR; sleep 1");
    let mut supervisor = configuration.start();
    eventually(secs(30), "each has run once", || {
        supervisor.journal().read().runs.iter().filter(|run| run.end.is_some()).count() == 3
    });
    assert_eq!(supervisor.journal().read().most_at_once(), 1);
    supervisor.reconfigure(|it| it.set("workers", 3).set("schedule.every", "2s").set("job.env.COLOUR", "blue"));
    supervisor.signal(Signal::SIGHUP);
    eventually(secs(30), "three at once, at their new slots", || supervisor.journal().read().most_at_once() == 3);
    supervisor.wait_for_log("configuration reloaded, 3 workers", secs(5));
    for tenant in ["a", "b", "c"] {
        eventually(secs(10), "the new variable", || {
            let log = supervisor.tenant_log(tenant);
            if log.contains("colour=red") && log.contains("colour=blue") { Ok(()) } else { Err(log) }
        });
    }
    assert_eq!(supervisor.journal().read().overlaps(), [""; 0]);
}

#[test]
fn the_command_line_stays_above_the_file_after_a_reload() {
    let database = cluster().database();
    let mut supervisor = Supervisor::builder().database(&database).tenants(&["a"]).set("enabled", false).prepare();
    supervisor.spawn(&["--workers", "cpu*0+1", "--node", "node7"]);
    supervisor.wait_for_log("supervising instance test on node node7 with 1 workers", secs(15));
    supervisor.reconfigure(|it| it.set("workers", 4).set("node", "node8"));
    supervisor.signal(Signal::SIGHUP);
    supervisor.wait_for_log("configuration reloaded, 1 workers", secs(10));
    assert!(!supervisor.log().contains("node changes only"), "{}", supervisor.log());
    assert!(supervisor.stop().success());
}

#[test]
fn a_bad_file_on_hup_leaves_the_old_one_in_force_and_every_mistake_is_told() {
    let database = cluster().database();
    let mut supervisor = Supervisor::builder().database(&database).tenants(&["a"]).set("schedule.every", "1s").start();
    let path = supervisor.config_path();
    let good = std::fs::read_to_string(&path).unwrap();
    let bad = format!("wokers = 3\nenabled = \"perhaps\"\n{}", good.replace("kill_after = \"2s\"", "kill_after = 2"));
    std::fs::write(&path, &bad).unwrap();
    supervisor.signal(Signal::SIGHUP);
    supervisor.wait_for_log("the old one stays in force", secs(10));
    let line = bad.lines().position(|line| line == "kill_after = 2").unwrap() + 1;
    let file = path.display();
    for mistake in [
        format!("{file}:1: wokers: unknown key; did you mean workers?"),
        format!("{file}:2: enabled: "),
        format!("{file}:{line}: job.kill_after: "),
    ] {
        let told = supervisor.wait_for_log(&mistake, secs(1));
        assert!(told.contains(" error "), "{told}");
    }
    let so_far = supervisor.journal().read().ended("a");
    eventually(secs(20), "it goes on as before", || supervisor.journal().read().ended("a") >= so_far + 2);
    // A file that is gone is as bad, and a good one is taken again.
    std::fs::remove_file(&path).unwrap();
    supervisor.signal(Signal::SIGHUP);
    supervisor.wait_for_log(&format!("{file}: cannot read the file"), secs(10));
    std::fs::write(&path, good.replace("every = \"1s\"", "every = \"1d\"")).unwrap();
    supervisor.signal(Signal::SIGHUP);
    supervisor.wait_for_log("configuration reloaded, 2 workers", secs(10));
    eventually(secs(10), "told ready after each", || supervisor.notify().count("READY=1") == 4);
    assert!(supervisor.stop().success());
}

#[test]
fn fewer_workers_after_hup_start_nothing_until_fewer_run() {
    let database = cluster().database();
    let tenants = ["a", "b", "c", "d", "e", "f"];
    let configuration =
        Supervisor::builder().database(&database).tenants(&tenants).set("workers", 4).set("schedule.every", "1d");
    let gates = Gates::build(&configuration);
    let mut supervisor = configuration.start();
    wait_running(&supervisor, 4);
    supervisor.reconfigure(|it| it.set("workers", 2));
    supervisor.signal(Signal::SIGHUP);
    supervisor.wait_for_log("configuration reloaded, 2 workers", secs(10));
    // Never-run tenants go by name: a to d run, e and f wait.
    for (tenant, left) in [("a", 3), ("b", 2)] {
        gates.open(tenant);
        wait_running(&supervisor, left);
        throughout(secs(1), "no other takes its place", || begun(&supervisor, "e") + begun(&supervisor, "f") == 0);
    }
    gates.open("c");
    eventually(secs(20), "now one does", || begun(&supervisor, "e") == 1);
    throughout(secs(1), "and only one", || running(&supervisor) == 2 && begun(&supervisor, "f") == 0);
    tenants.iter().for_each(|tenant| gates.open(tenant));
    eventually(secs(20), "all have run", || supervisor.journal().read().tenants().len() == 6);
}

#[test]
fn what_a_reload_cannot_change_is_told_and_stays() {
    let (database, other) = (cluster().database(), cluster().database());
    let mut supervisor = Supervisor::builder().database(&database).tenants(&["a"]).set("schedule.every", "1s").start();
    eventually(secs(20), "it runs", || supervisor.journal().read().ended("a") > 0);
    let elsewhere = supervisor.folder().join("elsewhere").display().to_string();
    supervisor.reconfigure(|it| it.database(&other).set("node", "node2").set("state", elsewhere.clone()));
    supervisor.signal(Signal::SIGHUP);
    for key in ["node", "state", "database.url"] {
        supervisor.wait_for_log(&format!("{key} changes only by a restart"), secs(10));
    }
    supervisor.wait_for_log("configuration reloaded", secs(10));
    let so_far = supervisor.journal().read().ended("a");
    eventually(secs(20), "it goes on where it was", || supervisor.journal().read().ended("a") >= so_far + 2);
    assert!(supervisor.journal().read().nodes().into_iter().eq(["node1"]));
    assert!(!Path::new(&elsewhere).exists());
    let tables: i64 = other
        .connect()
        .query_one("SELECT count(*) FROM pg_tables WHERE tablename LIKE 'tenantcron%'", &[])
        .unwrap()
        .get(0);
    assert_eq!(tables, 0);
    supervisor.stop();
}

#[test]
fn hup_changes_how_often_a_database_is_polled() {
    let database = cluster().database();
    let mut supervisor = Supervisor::builder()
        .database(&database)
        .tenants(&["a"])
        .set("schedule.every", "1d")
        .set("database.poll", "1h")
        .start();
    eventually(secs(20), "it has run", || supervisor.journal().read().ended("a") == 1);
    supervisor.reconfigure(|it| it.set("database.poll", "1s"));
    supervisor.signal(Signal::SIGHUP);
    supervisor.wait_for_log("configuration reloaded", secs(10));
    eventually(secs(20), "what somebody asks for is seen, each time", || {
        database.connect().execute("UPDATE tenantcron_status SET value = 'needed' WHERE value = 'done'", &[]).unwrap();
        supervisor.journal().read().ended("a") >= 4
    });
}

#[test]
fn a_second_supervisor_of_the_same_instance_and_node_exits_1_and_names_the_first() {
    let database = cluster().database();
    let mut supervisor = Supervisor::builder().database(&database).tenants(&["a"]).set("enabled", false).start();
    let second = supervisor.command(&["run"]);
    let words = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{words}");
    for word in ["test", "node1", &format!("pid {}", supervisor.pid())] {
        assert!(words.contains(word), "{word:?} is not in {words}");
    }
    assert_eq!(words.lines().count(), 1, "said once: {words}");
    // Another node's may run here, and commands may look.
    let mut neighbour = supervisor.plain_command();
    neighbour.args(["run", "--once", "--node", "node2", "--config"]).arg(supervisor.config_path());
    assert!(output_within(neighbour, secs(20)).status.success());
    assert!(supervisor.command(&["status"]).status.success());
    // A lock whose holder was killed is free.
    supervisor.kill9();
    supervisor.start();
    assert!(supervisor.stop().success());
}

#[test]
fn two_instances_live_side_by_side() {
    let database = cluster().database();
    let supervisor = Supervisor::builder()
        .database(&database)
        .tenants(&["a", "b"])
        .set("database.key", "{instance}:{tenant}")
        .set("schedule.every", "1s")
        .prepare();
    let text = std::fs::read_to_string(supervisor.config_path()).unwrap();
    let state = supervisor.state().display().to_string();
    let mut children = Vec::new();
    for instance in ["wcs", "bijoe"] {
        let file = supervisor.folder().join(format!("{instance}.toml"));
        std::fs::write(&file, text.replace(&state, &format!("{state}.{instance}"))).unwrap();
        let mut command = supervisor.plain_command();
        command.args(["run", "--config"]).arg(file);
        let log = std::fs::File::create(supervisor.folder().join(format!("{instance}.stderr"))).unwrap();
        children.push(command.stderr(log).spawn().unwrap());
    }
    let mut client = database.connect();
    let ended = eventually(secs(30), "both have run both, twice", || {
        let sql = "SELECT instance, key, count(*) FROM tenantcron_run WHERE outcome = 'ok' GROUP BY 1, 2 ORDER BY 1, 2";
        let rows = client.query(sql, &[]).map_err(|error| error.to_string())?;
        let all: Vec<(String, String, i64)> = rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
        if all.len() == 4 && all.iter().all(|(_, _, count)| *count >= 2) { Ok(all) } else { Err(format!("{all:?}")) }
    });
    let names: Vec<_> = ended.iter().map(|(instance, key, _)| (instance.as_str(), key.as_str())).collect();
    assert_eq!(names, [("bijoe", "bijoe:a"), ("bijoe", "bijoe:b"), ("wcs", "wcs:a"), ("wcs", "wcs:b")]);
    for (child, instance) in children.iter_mut().zip(["wcs", "bijoe"]) {
        let title = proc::command_line(child.id() as i32);
        assert!(title.starts_with(&format!("tenantcron: {instance} ")), "{title}");
        crate::support::world::signal(child.id() as i32, Signal::SIGTERM);
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn ps_shows_the_instance_and_how_many_run() {
    let database = cluster().database();
    let configuration = Supervisor::builder()
        .database(&database)
        .tenants(&["a", "b", "c"])
        .set("workers", 2)
        .set("schedule.every", "1d");
    let gates = Gates::build(&configuration);
    let mut supervisor = configuration.start();
    let shows = |title: &str| {
        eventually(secs(20), title, || {
            let mut ps = world().command("ps", None);
            ps.args(["-ww", "-o", "args=", "-p", &supervisor.pid().to_string()]);
            let seen = String::from_utf8_lossy(&output_within(ps, secs(10)).stdout).trim().to_owned();
            if seen == title { Ok(()) } else { Err(seen) }
        });
    };
    shows("tenantcron: test 2/2 running");
    ["a", "b"].iter().for_each(|tenant| gates.open(tenant));
    shows("tenantcron: test 1/2 running");
    gates.open("c");
    shows("tenantcron: test 0/2 running");
    assert!(supervisor.stop().success());
}

#[test]
fn the_service_manager_hears_ready_status_reloading_watchdog_and_stopping() {
    let database = cluster().database();
    let configuration = Supervisor::builder()
        .database(&database)
        .tenants(&["a"])
        .set("schedule.every", "1d")
        .env("WATCHDOG_USEC", "400000");
    configuration.journal().plan_for_all("env; until [ -e $0.go ]; do sleep 0.05; done");
    let go = configuration.journal().job() + ".go";
    let mut supervisor = configuration.start();
    let says = |line: &str| {
        eventually(secs(20), line, || {
            if supervisor.notify().count(line) > 0 { Ok(()) } else { Err(format!("{:?}", supervisor.notify().lines())) }
        });
    };
    says("STATUS=test 1/2 running");
    std::fs::write(go, "").unwrap();
    eventually(secs(20), "none runs", || supervisor.notify().last("STATUS").as_deref() == Some("test 0/2 running"));
    eventually(secs(20), "ten heartbeats", || supervisor.notify().count("WATCHDOG=1") >= 10);
    supervisor.signal(Signal::SIGHUP);
    says("RELOADING=1");
    eventually(secs(10), "READY again", || supervisor.notify().count("READY=1") == 2);
    assert!(supervisor.stop().success());
    let lines = supervisor.notify().lines();
    let words: Vec<&str> = lines
        .iter()
        .filter(|line| ["READY", "RELOADING", "MONOTONIC_USEC", "STOPPING"].iter().any(|word| line.starts_with(word)))
        .map(|line| line.split_once('=').unwrap().0)
        .collect();
    assert_eq!(words, ["READY", "RELOADING", "MONOTONIC_USEC", "READY", "STOPPING"]);
    let log = supervisor.tenant_log("a");
    assert!(
        log.contains("TENANTCRON_TENANT=a") && !log.contains("NOTIFY_SOCKET=") && !log.contains("WATCHDOG_"),
        "{log}"
    );
}

#[test]
fn the_watchdog_beats_while_the_database_hangs() {
    let silent = SilentServer::start();
    let supervisor = Supervisor::builder()
        .tenants(&["a"])
        .set("database.url", format!("postgresql://postgres@127.0.0.1:{}/x", silent.port()))
        .env("WATCHDOG_USEC", "400000")
        .start();
    eventually(secs(10), "it is asking", || silent.accepted() > 0);
    let so_far = supervisor.notify().count("WATCHDOG=1");
    eventually(secs(8), "five more heartbeats", || supervisor.notify().count("WATCHDOG=1") >= so_far + 5);
}

#[test]
fn it_refuses_a_proc_of_another_pid_namespace_and_is_content_with_its_own() {
    let database = cluster().database();
    let supervisor = Supervisor::builder().database(&database).tenants(&["a"]).prepare();
    let nested = |options: &[&str]| {
        let mut command = world().command("unshare", Some(supervisor.mark()));
        command.args(options).args([BINARY, "run", "--once", "--config"]).arg(supervisor.config_path());
        let done = output_within(command, secs(30));
        (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let (code, words) = nested(&["-p", "-f", "--"]);
    if words.contains("Operation not permitted") {
        println!("not proved here: {words}");
        return;
    }
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("/proc belongs to another PID namespace"), "{words}");
    assert_eq!(supervisor.journal().read().runs.len(), 0);
    let (code, words) = nested(&["-p", "-f", "--mount-proc", "--"]);
    assert_eq!(code, Some(0), "as PID 1 of a namespace of its own: {words}");
    assert_eq!(supervisor.journal().read().ended("a"), 1);
}
