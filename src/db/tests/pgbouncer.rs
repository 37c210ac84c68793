//! Behind PgBouncer in transaction mode, one server session for all of us: nothing may depend on a session.
//! Skipped, with a word, where PgBouncer is not installed.

use super::bench::{Bench, D, claim, poll, settings, url};
use super::cluster::cluster;
use crate::db::{Answer, Migrate, Settings};
use crate::model::*;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A PgBouncer in front of the cluster; ends when its standard input closes.
struct Bouncer {
    port: u16,
    guardian: Child,
}

fn bouncer() -> Option<Bouncer> {
    let program = std::env::var("PGBOUNCER").unwrap_or_else(|_| "/usr/sbin/pgbouncer".to_owned());
    if !Path::new(&program).exists() {
        eprintln!("skipped: no {program}");
        return None;
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let folder = &cluster().folder;
    let (ini, users) = (folder.join("bouncer.ini"), folder.join("bouncer.users"));
    let text = format!(
        "[databases]\n* = host={} port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
         auth_type = any\nauth_file = {}\npool_mode = transaction\ndefault_pool_size = 1\nuser = postgres\n",
        folder.display(),
        cluster().port,
        users.display()
    );
    // auth_type = any wants the user's name from the entry
    std::fs::write(&ini, text.replace("port=", "user=postgres port=")).unwrap();
    std::fs::write(&users, "\"postgres\" \"\"\n").unwrap();
    let mut guardian = Command::new("sh")
        .arg("-c")
        .arg(format!(
            "cd /; exec 3<&0; {program} {} </dev/null >/dev/null 2>&1 & read never <&3; kill $!",
            ini.display()
        ))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    for _ in 0..200 {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Some(Bouncer { port, guardian });
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    drop(guardian.stdin.take());
    guardian.wait().unwrap();
    panic!("PgBouncer does not come up");
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        drop(self.guardian.stdin.take());
        let _ = self.guardian.wait();
    }
}

#[test]
fn everything_works_behind_pgbouncer_but_listening_which_is_given_up() {
    let Some(bouncer) = bouncer() else { return };
    let database = cluster().new_database();
    let target = format!("postgresql://postgres@127.0.0.1:{}/{database}", bouncer.port);
    let start = |node: &str| {
        let bench = Bench::start(Settings { migrate: Migrate::Auto, ..settings(node) });
        bench.engine().database(D, Some(url(&target)));
        bench
    };
    let (one, two) = (start("n1"), start("n2"));
    one.poll(&["a", "b", "c", "d"]);
    two.poll(&["a", "b", "c", "d"]);
    for _ in 0..20 {
        for bench in [&one, &two] {
            let claim = Claim { done_too: true, cluster_limit: 3, ..claim(&["a", "b", "c", "d"], 2) };
            let reply = bench.exchange(Exchange { claim: Some(claim), ..poll(&["a"]) });
            let finish = reply.claimed.iter().map(|run| bench.end(run, Outcome::Ok, Becomes::Done)).collect();
            let reply = bench.exchange(Exchange { finish, ..poll(&["b"]) });
            assert!(reply.finished.iter().all(|answer| matches!(answer, Finished::Recorded { row: Some(_) })));
        }
    }
    let claim = Claim { done_too: true, lease: Some(Duration::from_secs(90)), ..claim(&["a", "b", "c", "d"], 4) };
    let claimed = one.exchange(Exchange { claim: Some(claim), ..Exchange::default() }).claimed;
    let forget = "DELETE FROM tenantcron_run WHERE key < 'c'; UPDATE tenantcron_status SET value = 'needed'";
    cluster().client(&database).batch_execute(forget).unwrap();
    let living = |run: &Claimed| Repair { run: one.run(run), group: None, pid: None, pid_start: None, lease: None };
    let repair: Vec<Repair> = claimed.iter().map(living).collect();
    let reply = one.exchange(Exchange { repair, ..poll(&["a", "b", "c", "d"]) });
    assert!(reply.repaired.iter().all(|answer| matches!(answer, Repaired::Running { .. })), "{reply:?}");
    assert_eq!((reply.repaired.len(), reply.polled.unwrap().runs.len()), (4, 4));
    one.engine().tenants(url(&target), "SELECT count(*) AS name FROM pg_prepared_statements".to_owned());
    let Answer::Tenants { result: Ok(list) } = one.next() else { panic!() };
    assert_eq!(list.first().unwrap().name, "0", "the server session that all shared holds nothing prepared");

    one.engine().listen(D);
    one.engine().exchange(D, poll(&["a"]));
    let mut given_up = false;
    while !given_up {
        match one.next() {
            Answer::Info { text, .. } => given_up = text.contains("PgBouncer"),
            Answer::Exchanged { result, .. } => assert!(result.is_ok()),
            other => panic!("{other:?}"),
        }
    }
    one.poll(&["a"]);
}
