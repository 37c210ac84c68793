//! What a child finds when it begins: descriptors, signals, group, arguments, environment, folder, priority.
//! Read from /proc of a child that has stopped itself before it did anything.

use crate::support::cluster::{TestDatabase, cluster};
use crate::support::configuration::Configuration;
use crate::support::daemon::Supervisor;
use crate::support::proc;
use crate::support::rows;
use crate::support::wait::{eventually, secs};
use crate::support::world::{signal, world};
use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

/// A shell that stops itself; what follows are its arguments.
fn stopping(arguments: &[&str]) -> Vec<String> {
    ["/bin/sh", "-c", "kill -STOP $$", "name"].iter().chain(arguments).map(|word| (*word).to_owned()).collect()
}

fn base(database: &TestDatabase) -> Configuration {
    Supervisor::builder().database(database).set("schedule.every", "365d")
}

/// The child of a tenant, once it has stopped.
#[track_caller]
fn stopped_child(supervisor: &Supervisor, tenant: &str) -> i32 {
    let wanted = format!("TENANTCRON_TENANT={tenant}");
    eventually(secs(20), "the child has stopped itself", || {
        let of_tenant = |pid: &i32| {
            proc::stat(*pid).is_some_and(|stat| stat.state == 'T') && proc::environment(*pid).contains(&wanted)
        };
        proc::children(supervisor.pid()).into_iter().find(of_tenant).ok_or_else(|| supervisor.log())
    })
}

fn file(pid: i32, name: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap()
}

/// A line of /proc/PID/status.
fn status(pid: i32, name: &str) -> String {
    let text = file(pid, "status");
    text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned()
}

fn arguments(pid: i32) -> Vec<String> {
    let text = file(pid, "cmdline");
    text.strip_suffix('\0').unwrap().split('\0').map(str::to_owned).collect()
}

#[test]
fn a_child_has_its_descriptors_signals_group_folder_and_priority() {
    let database = cluster().database();
    let folder = world().folder("begin");
    let mut supervisor = base(&database)
        .tenants(&["a.example", "b"])
        .set("job.command", stopping(&[]))
        .set("job.directory", folder.display().to_string())
        .set("job.nice", 3)
        .set_at(&["override", "b", "nice"], 7)
        .start();
    let me = supervisor.pid();
    let child = stopped_child(&supervisor, "a.example");

    let log = supervisor.folder().join("logs/a.example.log").display().to_string();
    let files = proc::open_files(child);
    let (low, high) = files.split_at(3);
    let link = |number, target: &str| (number, target.to_owned());
    assert_eq!(low, [link(0, "/dev/null"), link(1, &log), link(2, &log)], "{files:?}");
    let mut held: Vec<&str> = high.iter().map(|(_, target)| target.as_str()).collect();
    held.sort_unstable();
    let state = supervisor.state().display().to_string();
    let slot = held.first().and_then(|slot| slot.strip_prefix(&format!("{state}/slot.node1."))).unwrap_or_default();
    assert!(["1", "2"].contains(&slot), "{files:?}");
    assert_eq!(held[1..], [format!("{state}/tenants/a.example.lock")], "{files:?}");
    assert!(high.iter().all(|(number, _)| *number >= 64), "{files:?}");
    for (number, _) in &files {
        let info = file(child, &format!("fdinfo/{number}"));
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
        let flags = i32::from_str_radix(flags, 8).unwrap();
        let (append, writes, hurries) = (flags & 0o2000 != 0, flags & 0o3 != 0, flags & 0o4000 != 0);
        let is_output = [1, 2].contains(number);
        assert_eq!((append, writes), (is_output, is_output), "descriptor {number}: {info}");
        assert!(!is_output || !hurries, "output that may fail with EAGAIN: {info}");
    }

    assert_eq!([status(child, "SigBlk:"), status(child, "SigIgn:")], ["0000000000000000"; 2]);
    let ignored = u64::from_str_radix(&status(me, "SigIgn:"), 16).unwrap();
    assert!(ignored & 1 << (Signal::SIGPIPE as i32 - 1) != 0, "nothing to restore: the test proves nothing");

    let stat = proc::stat(child).unwrap();
    assert_eq!((stat.parent, stat.group, stat.session), (me, child, proc::stat(me).unwrap().session));
    assert_eq!(fs::read_link(format!("/proc/{child}/cwd")).unwrap(), folder);
    assert_eq!(file(child, "oom_score_adj").trim(), "500");
    assert_ne!(file(me, "oom_score_adj").trim(), "500");
    assert_eq!((nice(child), nice(me)), (nice(me) + 3, nice(me)));
    let other = stopped_child(&supervisor, "b");
    assert_eq!(nice(other), nice(me) + 7);

    // That a child stops is not its end.
    let mut client = database.connect();
    assert_eq!(rows::finished(&mut client), 0);
    [child, other].into_iter().for_each(|pid| signal(pid, Signal::SIGCONT));
    eventually(secs(20), "both have ended well", || {
        rows::runs(&mut client).iter().filter(|run| run.how() == ("ok", Some(0), None)).count() == 2
    });
    assert!(supervisor.stop().success());
}

fn nice(pid: i32) -> i64 {
    let text = file(pid, "stat");
    text.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().parse().unwrap()
}

#[test]
fn arguments_reach_the_child_as_configured_and_no_shell_sees_them() {
    let database = cluster().database();
    let list = world().folder("list").join("list");
    fs::write(&list, "echo 'a.b-c database=db.one group=g1'\n").unwrap();
    let words = [
        "{tenant}",
        "{tenant_}",
        "{database}",
        "{group}",
        "{run_id}",
        "{instance}",
        "{{tenant}}",
        "-x{tenant}={run_id}",
        "two words",
        "it's \"quoted\" $HOME `id` $(id) ; rm -rf * | cat >x & \\ \t #",
        "",
        "*",
    ];
    let mut supervisor = base(&database)
        .set("tenants.command", vec!["/bin/sh".to_owned(), list.display().to_string()])
        .set("job.command", stopping(&words))
        .start();
    let child = stopped_child(&supervisor, "a.b-c");
    let mut client = database.connect();
    let run = rows::runs(&mut client).remove(0).id.to_string();
    let got = arguments(child);
    let joined = format!("-xa.b-c={run}");
    let want = ["a.b-c", "a_b_c", "db.one", "g1", &run, "test", "{tenant}", &joined, words[8], words[9], "", "*"];
    assert_eq!(got[4..], want);
    signal(child, Signal::SIGCONT);
    assert!(supervisor.stop().success());
}

#[test]
fn the_environment_is_the_supervisors_less_what_is_its_own() {
    let database = cluster().database();
    let long = "t".repeat(100);
    let own = [
        ("PGAPPNAME", "supervisor"),
        ("PGPASSWORD", "secret"),
        ("PGOPTIONS", "-c work_mem=1MB"),
        ("TENANTCRON_WORKERS", "2"),
        ("TENANTCRON_LOG_LEVEL", "info"),
        ("TENANTCRON_TENANT", "stale"),
        ("TENANTCRON_RUN_ID", "1"),
        ("WATCHDOG_USEC", "30000000"),
        ("LISTEN_FDS", "0"),
        ("INVOCATION_ID", "abc"),
        ("JOURNAL_STREAM", "1:1"),
        ("MAINPID", "1"),
        ("RUNTIME_DIRECTORY", "/run/x"),
        ("LOGS_DIRECTORY", "/var/log/x"),
        ("KEPT", "as it is = so"),
        ("LANG", "C"),
    ];
    let mut configuration = base(&database)
        .tenants(&[long.as_str(), "b"])
        .set("job.command", stopping(&[]))
        .set_at(&["job", "env", "LANG"], "fr_FR.UTF-8")
        .set_at(&["job", "env", "PGHOST"], "db9")
        .set_at(&["job", "env", "EMPTY"], "");
    for (name, value) in own {
        configuration = configuration.env(name, value);
    }
    let supervisor = configuration.start();
    let child = stopped_child(&supervisor, &long);
    let mut client = database.connect();
    let run = rows::runs_of(&mut client, &long).remove(0).id;

    let environment = proc::environment(child);
    let ours = |line: &&String| {
        ["TENANTCRON_", "PG", "NOTIFY", "WATCHDOG", "LISTEN", "INVOCATION", "JOURNAL", "MAINPID"]
            .iter()
            .any(|start| line.starts_with(start))
            || line.split('=').next().is_some_and(|name| name.ends_with("_DIRECTORY"))
    };
    let mut got: Vec<String> = environment.iter().filter(ours).cloned().collect();
    got.sort();
    let want = [
        format!("PGAPPNAME=tenantcron {}", "t".repeat(52)),
        "PGHOST=db9".to_owned(),
        "TENANTCRON_INSTANCE=test".to_owned(),
        "TENANTCRON_NODE=node1".to_owned(),
        format!("TENANTCRON_RUN_ID={run}"),
        format!("TENANTCRON_TENANT={long}"),
    ];
    assert_eq!(got, want);
    for line in ["KEPT=as it is = so", "LANG=fr_FR.UTF-8", "EMPTY=", &format!("TC_TEST_ID={}", supervisor.mark())] {
        assert!(environment.iter().any(|got| got == line), "{line} is not in {environment:?}");
    }
    let names: Vec<&str> = environment.iter().filter_map(|line| line.split('=').next()).collect();
    let mut once = names.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), names.len(), "a name stands twice: {names:?}");
    let other = proc::environment(stopped_child(&supervisor, "b"));
    assert!(other.iter().any(|line| line == "PGAPPNAME=tenantcron b"), "{other:?}");
}

#[test]
fn a_log_that_cannot_be_used_costs_the_output_and_not_the_run() {
    let database = cluster().database();
    let place = world().folder("logs");
    let at = |tenant: &str| place.join(tenant).join("log");
    for tenant in ["linked", "piped"] {
        fs::create_dir(place.join(tenant)).unwrap();
    }
    fs::write(place.join("target"), "precious\n").unwrap();
    symlink(place.join("target"), at("linked")).unwrap();
    // Its folder is a file: it can neither be entered nor made.
    fs::write(place.join("folderless"), "").unwrap();
    assert!(Command::new("mkfifo").arg(at("piped")).status().unwrap().success());
    let reader = Command::new("cat").arg(at("piped")).stdout(Stdio::piped()).spawn().unwrap();

    let supervisor = base(&database)
        .tenants(&["fine", "folderless", "linked", "piped"])
        .set("job.log", place.join("{tenant}/log").display().to_string())
        .plan_for_all("echo from $TENANTCRON_TENANT; echo and >&2")
        .start();
    let mut client = database.connect();
    eventually(secs(30), "all have run", || match rows::finished(&mut client) {
        4 => Ok(()),
        other => Err(format!("{other} finished\n{}", supervisor.log())),
    });
    assert!(rows::runs(&mut client).iter().all(|run| run.how() == ("ok", Some(0), None)));
    assert_eq!(supervisor.journal().read().runs.len(), 4);

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&place.join("fine")), mode(&at("fine"))), (0o750, 0o640));
    assert_eq!(fs::read_to_string(at("fine")).unwrap().lines().count(), 4);
    assert_eq!(fs::read_to_string(place.join("target")).unwrap(), "precious\n", "a link was followed");
    assert_eq!(fs::metadata(place.join("folderless")).unwrap().size(), 0);
    assert!(fs::metadata(at("piped")).unwrap().file_type().is_fifo());
    let piped = String::from_utf8(reader.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(piped, "from piped\nand\n", "what is no file gets no lines of ours");

    let log = supervisor.log();
    for (tenant, why) in [("linked", "symbolic link"), ("folderless", "Not a directory")] {
        let told: Vec<&str> = log.lines().filter(|line| line.contains(at(tenant).to_str().unwrap())).collect();
        assert_eq!(told.len(), 1, "{log}");
        for word in ["ALERT", tenant, why, "output is lost"] {
            assert!(told[0].contains(word), "{word} is not in {:?}", told[0]);
        }
    }
    assert!(!log.contains(at("fine").to_str().unwrap()), "{log}");
}

#[test]
fn dev_null_serves_as_a_log() {
    let database = cluster().database();
    let supervisor =
        base(&database).tenants(&["a"]).set("job.log", "/dev/null").plan_for_all("echo into the void").start();
    let mut client = database.connect();
    eventually(secs(20), "it has run", || rows::finished(&mut client) == 1);
    assert_eq!(rows::runs(&mut client)[0].how(), ("ok", Some(0), None));
    let device = fs::metadata("/dev/null").unwrap();
    assert!(device.file_type().is_char_device() && device.permissions().mode() & 0o777 == 0o666);
    assert!(!supervisor.log().contains("ALERT"), "{}", supervisor.log());
}

#[test]
fn a_log_folder_that_vanishes_is_made_again_and_one_that_cannot_be_is_told() {
    let database = cluster().database();
    let supervisor = base(&database).tenants(&["a"]).plan_for_all("echo work").start();
    let mut client = database.connect();
    eventually(secs(20), "the first run", || rows::finished(&mut client) == 1);
    let logs = supervisor.folder().join("logs");
    fs::remove_dir_all(&logs).unwrap();
    rows::ask(&mut client, "a");
    eventually(secs(20), "the second run", || rows::finished(&mut client) == 2);
    assert!(supervisor.tenant_log("a").contains("work"), "the folder was not made again");
    fs::remove_dir_all(&logs).unwrap();
    fs::write(&logs, "").unwrap();
    rows::ask(&mut client, "a");
    eventually(secs(20), "the third run", || rows::finished(&mut client) == 3);
    assert!(rows::runs(&mut client).iter().all(|run| run.how() == ("ok", Some(0), None)));
    let told = supervisor.wait_for_log("output is lost", secs(5));
    assert!(told.contains("ALERT") && told.contains("tenant a: "), "{told}");
}
