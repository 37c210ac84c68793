//! The kit itself: what the other tests stand on must come, go, and see what it is there to see.

use crate::support::cluster::{Cluster, cluster};
use crate::support::daemon::output_within;
use crate::support::journal::{Journal, Record};
use crate::support::proc;
use crate::support::silent::{RefusingPort, SilentServer};
use crate::support::syslogd::Syslogd;
use crate::support::wait::{eventually, millis, secs};
use crate::support::world::{marked, world};
use postgres::NoTls;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

#[test]
fn a_database_comes_and_goes_with_its_test() {
    let database = cluster().database();
    let name = database.name.clone();
    database.connect().batch_execute("CREATE TABLE t (a int)").unwrap();
    let mut by_socket = postgres::Client::connect(database.socket_url(), NoTls).unwrap();
    assert_eq!(by_socket.query_one("SELECT count(*) FROM t", &[]).unwrap().get::<_, i64>(0), 0);
    let copies = cluster().databases(3, "copy");
    assert!(copies.iter().all(|copy| copy.name.starts_with("copy")));
    drop((database, copies));
    let mut client = cluster().named("postgres").connect();
    let left = client.query_one("SELECT count(*) FROM pg_database WHERE datname = $1", &[&name]).unwrap();
    assert_eq!(left.get::<_, i64>(0), 0);
}

#[test]
fn copies_of_a_database_hold_what_it_held() {
    let template = cluster().database();
    template.connect().batch_execute("CREATE TABLE kept (a int)").unwrap();
    let what = "nobody is connected to the template any more";
    let mut admin = cluster().named("postgres").connect();
    eventually(secs(5), what, || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1";
        admin.query_one(sql, &[&template.name]).unwrap().get::<_, i64>(0) == 0
    });
    for copy in cluster().databases_like(&template, 2, "like") {
        copy.connect().batch_execute("TABLE kept").unwrap();
    }
}

#[test]
fn a_server_of_ones_own_stops_starts_and_freezes() {
    let own = Cluster::start_own(&[("max_connections", "20")]);
    let database = own.own_databases(1, "own").remove(0);
    database.connect().batch_execute("CREATE TABLE t (a int)").unwrap();
    own.stop_immediate();
    assert!(postgres::Client::connect(database.url(), NoTls).is_err());
    own.start();
    let mut client = database.connect();
    client.batch_execute("TABLE t").unwrap();

    own.sigstop_postmaster();
    client.batch_execute("TABLE t").unwrap();
    let mut psql = Command::new("psql");
    psql.env("PGCONNECT_TIMEOUT", "2").args(["-X", "-d", database.url(), "-c", "SELECT 1"]);
    assert!(!output_within(psql, secs(20)).status.success(), "a frozen postmaster answered");
    own.sigcont();
    database.connect().batch_execute("TABLE t").unwrap();
}

/// Run by the next test as a process of its own, which it kills.
#[test]
#[ignore = "a part of the_guardian_clears_up_after_a_killed_test_process"]
#[expect(clippy::zombie_processes, reason = "what is left behind is the point")]
fn holds_a_world_until_killed() {
    let database = cluster().database();
    let mut command = world().command("setsid", None);
    let _left = command.args(["sh", "-c", "sleep 300 & sleep 300"]).spawn().unwrap();
    println!("world {} {}", world().root().display(), cluster().postmaster().unwrap());
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    drop(database);
}

#[test]
fn the_guardian_clears_up_after_a_killed_test_process() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kit::holds_a_world_until_killed", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    // The harness writes its own words on the same line before ours.
    let line = lines.find_map(|line| Some(line.split_once("world ")?.1.to_owned())).unwrap();
    let (root, postmaster) = line.split_once(' ').unwrap();
    let postmaster: i32 = postmaster.parse().unwrap();
    let mark = root.rsplit_once("tenantcron-test-").unwrap().1;
    assert!(proc::is_alive(postmaster) && Path::new(root).is_dir());
    eventually(secs(5), "two sleeps run", || marked(mark).into_iter().filter(|pid| is_sleep(*pid)).count() == 2);

    child.kill().unwrap();
    child.wait().unwrap();
    eventually(secs(20), "server, folder and left processes are gone", || {
        let left = (proc::is_alive(postmaster), Path::new(root).exists(), marked(mark));
        if left == (false, false, [].into()) { Ok(()) } else { Err(format!("{left:?}")) }
    });
}

fn is_sleep(pid: i32) -> bool {
    proc::command_line(pid) == "sleep 300"
}

#[test]
fn the_journal_finds_a_tenant_that_runs_twice_at_once() {
    let journal = Journal::new();
    journal.plan_for_all("sleep 0.2").plan("c", "exit 3").plan("d", "kill -TERM $$; sleep 5");
    let start = |tenant: &str, run: &str| {
        let mut command = world().command(journal.job(), None);
        command.envs([("TENANTCRON_TENANT", tenant), ("TENANTCRON_RUN_ID", run), ("TENANTCRON_NODE", "n1")]);
        command.spawn().unwrap()
    };
    for run in ["1", "2"] {
        start("a", run).wait().unwrap();
    }
    assert_eq!(start("c", "3").wait().unwrap().code(), Some(3));
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&start("d", "4").wait().unwrap()), Some(15));
    let calm = journal.read();
    assert_eq!(calm.overlaps(), [""; 0]);
    assert_eq!((calm.ended("a"), calm.most_at_once()), (2, 1));
    assert_eq!((calm.runs_of("c")[0].exit, calm.runs_of("d")[0].exit), (Some(3), Some(143)));

    let mut both = [start("b", "5"), start("b", "6")];
    both.iter_mut().for_each(|child| assert!(child.wait().unwrap().success()));
    let record = journal.read();
    assert_eq!(record.most_at_once(), 2);
    assert_eq!(record.overlaps().len(), 2, "by the lock and by the times: {:?}", record.overlaps());
    assert!(record.overlaps().iter().all(|told| told.starts_with("b: ")));
}

#[test]
fn the_journal_reads_runs_that_touch_as_apart_and_a_killed_one_as_open() {
    let record = Record::parse(
        "begin 10 a 1 n 7 -\nend 20 a 1 n 7 0\nbegin 20 a 2 n 8 -\nbegin 25 b 3 m 9 -\nbegin 30 b 4 m 10 -\nend 31 b 4 m 10 0\n",
    );
    assert_eq!(record.overlaps(), [""; 0]);
    assert_eq!(record.nodes().len(), 2);
    assert_eq!(record.runs_of("b")[0].end, None);
}

#[test]
fn a_silent_server_accepts_and_a_refusing_port_refuses() {
    let silent = SilentServer::start();
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", silent.port())).unwrap();
    stream.set_read_timeout(Some(millis(100))).unwrap();
    assert!(stream.read(&mut [0; 1]).is_err(), "it said something");
    eventually(secs(5), "it has accepted", || silent.accepted() == 1);
    let refusing = RefusingPort::take();
    let begun = Instant::now();
    assert!(postgres::Client::connect(&refusing.url("none"), NoTls).is_err());
    assert!(begun.elapsed() < secs(2));
}

#[test]
fn the_syslog_daemon_tells_what_it_heard_and_comes_back() {
    let mut syslogd = Syslogd::start();
    let send = |path: &Path, text: &str| {
        UnixDatagram::unbound().unwrap().send_to(format!("<73>prog[7]: {text}").as_bytes(), path).unwrap();
    };
    send(&syslogd.socket(), "first \"quoted\"");
    let heard = |syslogd: &Syslogd, count: usize| {
        eventually(secs(5), "the message is written", || syslogd.messages().len() == count);
    };
    heard(&syslogd, 1);
    syslogd.freeze();
    send(&syslogd.socket(), "second");
    syslogd.thaw();
    heard(&syslogd, 2);
    syslogd.restart();
    send(&syslogd.socket(), "third");
    heard(&syslogd, 3);
    let messages = syslogd.messages();
    let first = &messages[0];
    // <73> is 9 * 8 + 1: cron, alert.
    assert_eq!((first.facility.as_str(), first.severity.as_str()), ("cron", "alert"));
    assert_eq!((first.tag.as_str(), first.text.as_str()), ("prog[7]:", "first \"quoted\""));
}
