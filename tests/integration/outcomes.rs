//! How children end, and that each end is recorded truly: in the run, in the row, in the tenant's log, and,
//! where it is a failure, in one line of the supervisor's log. The round goes on whatever a child does.

use crate::support::cluster::{TestDatabase, cluster};
use crate::support::configuration::Configuration;
use crate::support::daemon::Supervisor;
use crate::support::proc;
use crate::support::rows::{self, RunRow};
use crate::support::syslogd::{Message, Syslogd};
use crate::support::wait::{eventually, millis, secs, throughout};
use crate::support::world::world;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// A slot that does not come again while a test runs: every tenant runs once, as one that has never run.
const NEVER: &str = "365d";

/// Each tenant has a program of its own, named as it is; those with a plan share the journal's job.
struct Programs {
    folder: PathBuf,
    configuration: Configuration,
}

impl Programs {
    fn new(database: &TestDatabase) -> Self {
        let folder = world().folder("bin");
        let command = vec![folder.join("{tenant}").display().to_string()];
        let configuration = Supervisor::builder()
            .database(database)
            .set("schedule.every", NEVER)
            .set("workers", 4)
            .set("job.kill_after", "1s")
            .set("job.command", command);
        Self { folder, configuration }
    }

    fn plan(self, tenant: &str, shell: &str) -> Self {
        symlink(self.configuration.journal().job(), self.folder.join(tenant)).unwrap();
        Self { configuration: self.configuration.plan(tenant, shell), ..self }
    }
}

/// What the contract's table says of an end.
struct Expected {
    tenant: &'static str,
    how: (&'static str, Option<i32>, Option<i32>),
    /// Words of the line at `err`; none for a run that went well.
    told: Option<&'static str>,
}

const fn expected(
    tenant: &'static str,
    outcome: &'static str,
    exit: Option<i32>,
    signal: Option<i32>,
    told: Option<&'static str>,
) -> Expected {
    Expected { tenant, how: (outcome, exit, signal), told }
}

const TABLE: [Expected; 14] = [
    expected("absent", "failed", Some(127), None, Some("cannot execute")),
    expected("directory", "failed", Some(126), None, Some("cannot execute")),
    expected("fine", "ok", Some(0), None, None),
    expected("garbage", "failed", Some(126), None, Some("cannot execute")),
    expected("hungry", "ok", Some(0), None, None),
    expected("killed", "killed", None, Some(9), Some("signal=9")),
    expected("leaver", "ok", Some(0), None, None),
    expected("leaver-failing", "failed", Some(4), None, Some("exit=4")),
    expected("loop", "failed", Some(126), None, Some("cannot execute")),
    expected("plain", "failed", Some(126), None, Some("cannot execute")),
    expected("segv", "killed", None, Some(11), Some("signal=11")),
    expected("slow", "timeout", None, Some(15), Some("signal=15")),
    expected("stubborn", "timeout", None, Some(9), Some("signal=9")),
    expected("three", "failed", Some(3), None, Some("exit=3")),
];

#[test]
fn every_end_is_recorded_truly_and_the_round_goes_on() {
    let database = cluster().database();
    let syslogd = Syslogd::start();
    let programs = Programs::new(&database)
        .plan("fine", "echo out; echo err >&2; printf unended")
        .plan("three", "exit 3")
        .plan("segv", "ulimit -c 0; kill -SEGV $$")
        .plan("killed", "kill -KILL $$")
        .plan("slow", "sleep 300")
        .plan("stubborn", "trap '' TERM; while :; do sleep 0.1; done")
        // Half a second of work and some memory, in a child that it waits for.
        .plan("hungry", "perl -e '$x = \"a\" x 80_000_000; 1 while (times)[0] < 0.5'")
        .plan("leaver", "(trap 'sleep 0.5; echo last words; exit 0' TERM; : >ready; while :; do sleep 0.1; done) &\nwhile [ ! -e ready ]; do sleep 0.02; done")
        .plan("leaver-failing", "(trap '' TERM; : >ready2; while :; do sleep 0.1; done) &\nwhile [ ! -e ready2 ]; do sleep 0.02; done; exit 4");
    let bin = &programs.folder;
    fs::create_dir(bin.join("directory")).unwrap();
    fs::write(bin.join("plain"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(bin.join("plain"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(bin.join("garbage"), "no program\n").unwrap();
    fs::set_permissions(bin.join("garbage"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("loop", bin.join("loop")).unwrap();

    let supervisor = programs
        .configuration
        .tenants(&TABLE.map(|row| row.tenant))
        .set_at(&["override", "slow", "timeout"], "2s")
        .set_at(&["override", "stubborn", "timeout"], "2s")
        .set("job.directory", bin.display().to_string())
        .set("log.target", "syslog")
        .set("log.socket", syslogd.socket().display().to_string())
        .start();
    let mut client = database.connect();
    eventually(secs(60), "every tenant has run", || match rows::finished(&mut client) {
        14 => Ok(()),
        other => Err(format!("{other} finished")),
    });

    for expected in &TABLE {
        let runs = rows::runs_of(&mut client, expected.tenant);
        assert_eq!(runs.len(), 1, "{runs:?}");
        let run = &runs[0];
        assert_eq!(run.how(), expected.how, "{}", expected.tenant);
        let row = rows::status(&mut client, expected.tenant).unwrap();
        assert_eq!(row, ("done".to_owned(), run.finished_at.unwrap()), "{}", expected.tenant);
        the_log_is_framed(&supervisor, run);
        one_line_tells(&syslogd.messages(), &supervisor, expected);
        let executed = expected.told != Some("cannot execute");
        assert_eq!((run.pid.is_some(), run.cpu_seconds.is_some()), (executed, executed), "{run:?}");
    }
    let took = |tenant: &str, client: &mut postgres::Client| {
        let run = rows::runs_of(client, tenant).remove(0);
        run.finished_at.unwrap() - run.started_at
    };
    assert!(took("slow", &mut client) >= 1_900_000);
    assert!(took("stubborn", &mut client) >= 2_900_000, "SIGKILL before timeout and kill_after");
    assert!(took("leaver", &mut client) >= 400_000, "the run ends when its group is empty");
    assert!(took("leaver-failing", &mut client) >= 900_000, "the rest of a group has kill_after too");
    let hungry = rows::runs_of(&mut client, "hungry").remove(0);
    assert!((0.4..20.0).contains(&hungry.cpu_seconds.unwrap()), "{hungry:?}");
    assert!((78_000..400_000).contains(&hungry.max_rss_kb.unwrap()), "{hungry:?}");
    // A shell is no larger than the supervisor, where the kernel begins to count: not known, not invented.
    let fine = rows::runs_of(&mut client, "fine").remove(0);
    assert!(fine.max_rss_kb.is_none_or(|peak| peak > 0), "{fine:?}");

    let log = supervisor.tenant_log("fine");
    let inner: Vec<&str> = log.lines().skip(1).take(3).collect();
    assert_eq!(inner, ["out", "err", "unended"], "{log}");
    let leaver = supervisor.tenant_log("leaver");
    assert_eq!(leaver.lines().rev().nth(1), Some("last words"), "the end line comes after the group's end: {leaver}");
    assert_eq!(supervisor.journal().read().overlaps(), [""; 0]);
    assert_eq!(proc::zombies(supervisor.pid()), [0; 0]);
}

/// Start and end lines, word by word.
fn the_log_is_framed(supervisor: &Supervisor, run: &RunRow) {
    let log = supervisor.tenant_log(&run.key);
    let (first, last) = (log.lines().next().unwrap_or_default(), log.lines().last().unwrap_or_default());
    let who = format!("tenantcron[{}]:", supervisor.pid());
    let key = &run.key;
    assert_eq!(after_time(first), format!("{who} start run={} tenant={key}", run.id));
    let (outcome, exit, signal) = run.how();
    let mut want = format!("{who} end run={} tenant={key}", run.id);
    let known = [
        run.pid.map(|pid| format!("pid={pid}")),
        Some(format!("outcome={outcome}")),
        exit.map(|code| format!("exit={code}")),
        signal.map(|signal| format!("signal={signal}")),
    ];
    known.into_iter().flatten().for_each(|word| want.push_str(&format!(" {word}")));
    let end = after_time(last);
    let cost = end.strip_prefix(&want).unwrap_or_else(|| panic!("{end:?} does not begin with {want:?}"));
    let names: Vec<&str> = cost.split_whitespace().filter_map(|word| Some(word.split_once('=')?.0)).collect();
    let mut costs = vec!["elapsed"];
    costs.extend(run.cpu_seconds.map(|_| "cpu"));
    costs.extend(run.max_rss_kb.map(|_| "rss"));
    assert_eq!(names, costs, "{end}");
}

/// The line without its time, which must be UTC to the second.
fn after_time(line: &str) -> &str {
    let (time, rest) = line.split_once(' ').unwrap_or_else(|| panic!("no time: {line:?}"));
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00Z", "{line}");
    rest
}

/// A failure is one line at `err` that names tenant, outcome and log file; what went well is none.
fn one_line_tells(messages: &[Message], supervisor: &Supervisor, expected: &Expected) {
    let begins = format!("{}: ", expected.tenant);
    let about = |message: &&Message| message.severity == "err" && message.text.starts_with(&begins);
    let told: Vec<_> = messages.iter().filter(about).collect();
    let Some(words) = expected.told else {
        assert_eq!(told, [] as [&Message; 0]);
        return;
    };
    assert_eq!(told.len(), 1, "{told:?}");
    let log = supervisor.folder().join("logs").join(format!("{}.log", expected.tenant));
    for word in [words, expected.how.0, log.to_str().unwrap()] {
        assert!(told[0].text.contains(word), "{word} is not in {:?}", told[0].text);
    }
}

#[test]
fn a_daemon_that_left_its_group_is_named_once_and_the_tenant_runs_again() {
    let database = cluster().database();
    let started = world().folder("daemon").join("started");
    // Without the journal's own lock, by which a living copy of the job is known.
    let daemon = format!(
        "[ -e {0} ] && exit 0\nsetsid sh -c 'echo $$ >{0}; exec sleep 300' 9>&- & while [ ! -s {0} ]; do sleep 0.02; done",
        started.display()
    );
    let supervisor = Supervisor::builder()
        .database(&database)
        .tenants(&["a"])
        .set("schedule.every", "1s")
        .plan_for_all(&daemon)
        .start();
    let mut client = database.connect();
    eventually(secs(30), "the tenant has run four times", || {
        let done = rows::runs(&mut client).iter().filter(|run| run.outcome.as_deref() == Some("ok")).count();
        if done >= 4 { Ok(()) } else { Err(format!("{done} times\n{}", supervisor.log())) }
    });
    let pid: i32 = fs::read_to_string(&started).unwrap().trim().parse().unwrap();
    assert!(proc::is_alive(pid), "the daemon was ended, which nobody asked for");
    let lock = supervisor.state().join("tenants/a.lock");
    let held = proc::open_files(pid).into_iter().any(|(_, file)| Path::new(&file) == lock);
    assert!(held, "the daemon does not hold the lock: the test proves nothing");
    let log = supervisor.log();
    let named: Vec<&str> = log.lines().filter(|line| line.contains(&format!("pid {pid} "))).collect();
    assert_eq!(named.len(), 1, "{log}");
    assert!(named[0].contains("warn") && named[0].contains("a: ") && named[0].contains("lock"), "{}", named[0]);
    assert_eq!(supervisor.journal().read().overlaps(), [""; 0]);
}

#[test]
fn a_job_that_writes_200_mb_leaves_a_whole_log_and_a_flat_supervisor() {
    const FIRST: u64 = 1_000_000_000;
    const LINES: u64 = 18_200_000; // of eleven bytes
    let database = cluster().database();
    let last = FIRST + LINES - 1;
    let go = world().folder("big");
    let supervisor = Supervisor::builder()
        .database(&database)
        .tenants(&["big"])
        .set("schedule.every", NEVER)
        .plan("big", &format!("while [ ! -e go ]; do sleep 0.05; done; seq {FIRST} {last}"))
        .set("job.directory", go.display().to_string())
        .start();
    let mut client = database.connect();
    eventually(secs(20), "the big one waits", || !proc::children(supervisor.pid()).is_empty());
    let before = proc::resident_kb(supervisor.pid());
    fs::write(go.join("go"), "").unwrap();
    let mut peak = 0;
    eventually(secs(120), "it has ended", || {
        peak = peak.max(proc::resident_kb(supervisor.pid()));
        rows::runs_of(&mut client, "big").first().is_some_and(|run| run.how() == ("ok", Some(0), None))
    });
    assert!(peak < before + 4096, "the supervisor grew from {before} to {peak} KiB");

    let file = supervisor.folder().join("logs/big.log");
    let mut lines = BufReader::with_capacity(1 << 20, fs::File::open(&file).unwrap());
    let mut line = Vec::new();
    let mut next = || {
        line.clear();
        lines.read_until(b'\n', &mut line).unwrap();
        line.clone()
    };
    let start = next();
    assert!(String::from_utf8_lossy(&start).contains("start run="));
    let mut counter = FIRST.to_string().into_bytes();
    for _ in 0..LINES {
        let got = next();
        assert_eq!(got.strip_suffix(b"\n"), Some(&counter[..]), "lines are lost or out of order");
        count_up(&mut counter);
    }
    let end = next();
    assert!(String::from_utf8_lossy(&end).contains("end run="));
    let size = fs::metadata(&file).unwrap().len();
    assert_eq!(size, LINES * 11 + start.len() as u64 + end.len() as u64);
    throughout(millis(300), "nothing follows the end line", || fs::metadata(&file).unwrap().len() == size);
}

/// Adds one to a decimal number; parsing 18 million of them would take longer than the job.
fn count_up(digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return;
        }
        *digit = b'0';
    }
}
