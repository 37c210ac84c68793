//! Getting in, and everything that keeps us out.

use super::bench::{Bench, D, claim, environment, poll, settings, url};
use super::cluster::cluster;
use crate::db::{Access, Answer, DatabaseUrl, Deadlines, Settings};
use crate::model::*;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a poll of this URL says.
fn reach(target: &str) -> Result<Reply, Trouble> {
    let deadlines = Deadlines { connect: Duration::from_secs(3), ..Deadlines::default() };
    let bench = Bench::start(Settings { deadlines, ..settings("n1") });
    bench.engine().database(D, Some(url(target)));
    bench.try_exchange(poll(&["a"]))
}

fn tcp(rest: &str) -> String {
    format!("postgresql://postgres@{}", rest.replace("PORT", &cluster().port.to_string()))
}

#[expect(clippy::disallowed_methods, reason = "how long it took is what is tested")]
fn now() -> Instant {
    Instant::now()
}

#[test]
fn a_server_that_accepts_and_stays_silent_meets_the_deadline() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let started = now();
    let trouble = reach(&format!("postgresql://postgres:geheim@127.0.0.1:{port}/x")).unwrap_err();
    assert_eq!((trouble.kind, trouble.whole_server), (TroubleKind::Unreachable, true));
    assert!(trouble.text.contains("no answer within 3 s"), "{}", trouble.text);
    assert!(trouble.text.contains(&format!("postgresql://postgres@127.0.0.1:{port}/x")), "{}", trouble.text);
    assert!((2..5).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
}

#[test]
fn what_refuses_is_told_at_once_and_by_its_reason() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for (target, want, whole_server) in [
        (format!("postgresql://postgres@127.0.0.1:{closed}/x"), "Connection refused", true),
        ("postgresql://postgres@no-such-host.invalid/x".to_owned(), "host no-such-host.invalid is not known", true),
        ("postgresql:///x?host=/nowhere".to_owned(), "/nowhere/.s.PGSQL.5432: No such file", true),
        (cluster().url("no_such_database"), "database \"no_such_database\" does not exist", false),
        (tcp("127.0.0.1:PORT/postgres?target_session_attrs=standby"), "target_session_attrs", true),
    ] {
        let started = now();
        let trouble = reach(&target).unwrap_err();
        assert_eq!(trouble.whole_server, whole_server, "{}", trouble.text);
        assert_eq!(trouble.kind, TroubleKind::Unreachable, "{}", trouble.text);
        assert!(trouble.text.contains(want), "{}", trouble.text);
        assert!(started.elapsed() < Duration::from_secs(3));
    }
}

#[test]
fn of_several_hosts_the_first_that_fits_is_taken() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (silent, database) = (silent.local_addr().unwrap().port(), cluster().new_database());
    for attrs in ["any", "read-write", "primary", "prefer-standby"] {
        let hosts = format!("127.0.0.1:{silent},127.0.0.1:PORT/{database}?target_session_attrs={attrs}");
        reach(&tcp(&hosts)).unwrap();
    }
}

#[test]
fn tls_is_verified_as_far_as_sslmode_says() {
    cluster().named_database("tls_only");
    let folder = cluster().folder.display();
    let there = "PORT/tls_only?hostaddr=127.0.0.1";
    for (mode, name, root, want) in [
        ("disable", "db.test", "ca.crt", Some("no encryption")),
        ("prefer", "wrong.test", "none.crt", None),
        ("require", "wrong.test", "other.crt", None),
        ("verify-ca", "wrong.test", "ca.crt", None),
        ("verify-ca", "db.test", "other.crt", Some("certificate verify failed")),
        ("verify-full", "db.test", "ca.crt", None),
        ("verify-full", "wrong.test", "ca.crt", Some("certificate verify failed")),
        ("verify-full", "db.test", "none.crt", Some("none.crt cannot be read")),
    ] {
        let answer = reach(&tcp(&format!("{name}:{there}&sslmode={mode}&sslrootcert={folder}/{root}")));
        match want {
            None => assert!(answer.is_ok(), "{mode} {name} {root}: {answer:?}"),
            Some(want) => {
                let text = answer.unwrap_err().text;
                assert!(text.contains(want), "{mode} {name} {root}: {text}");
            }
        }
    }
}

#[test]
fn a_password_comes_from_a_file_that_nobody_else_may_read() {
    cluster().named_database("secret");
    let mut client = cluster().client("postgres");
    client.batch_execute("DROP ROLE IF EXISTS ann; CREATE ROLE ann LOGIN SUPERUSER PASSWORD 'ge:heim'").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pass");
    let port = cluster().port;
    std::fs::write(&file, format!("127.0.0.1:{port}:secret:ann:ge\\:heim\n")).unwrap();
    let target = format!("postgresql://ann@127.0.0.1:{port}/secret?passfile={}", file.display());
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    reach(&target).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let text = reach(&target).unwrap_err().text;
    assert!(text.contains("chmod 0600"), "{text}");
    let Trouble { text, whole_server, .. } = reach(&target.replace("ann@", "ann:wrong@")).unwrap_err();
    assert!(text.contains("password authentication failed") && !text.contains("wrong"), "{text}");
    assert!(!whole_server, "others may get in: {text}");
}

#[test]
fn connections_that_are_too_many_are_the_servers_trouble_or_one_databases() {
    let (full, other) = (cluster().new_database(), cluster().new_database());
    let mut client = cluster().client("postgres");
    client
        .batch_execute(&format!(
            "ALTER DATABASE {full} CONNECTION LIMIT 0; DROP ROLE IF EXISTS few; CREATE ROLE few LOGIN CONNECTION LIMIT 0;
             DROP ROLE IF EXISTS bob; CREATE ROLE bob LOGIN"
        ))
        .unwrap();
    for (role, database, want, whole_server) in
        [("bob", &full, "too many connections for database", false), ("few", &other, "too many connections", true)]
    {
        let trouble = reach(&cluster().url(database).replace("postgres@", &format!("{role}@"))).unwrap_err();
        assert!(trouble.text.contains(want), "{}", trouble.text);
        assert_eq!(trouble.whole_server, whole_server, "{}", trouble.text);
    }
}

#[test]
fn an_exchange_past_its_deadline_may_have_happened_and_is_cancelled() {
    let database = cluster().new_database();
    let deadlines = Deadlines { exchange: Duration::from_secs(1), ..Deadlines::default() };
    let bench = Bench::on(&database, Settings { deadlines, ..settings("n1") });
    bench.poll(&["a"]);
    let mut other = cluster().client(&database);
    let mut held = other.transaction().unwrap();
    held.execute("LOCK TABLE tenantcron_status IN ACCESS EXCLUSIVE MODE", &[]).unwrap();
    let trouble = bench.try_exchange(Exchange { claim: Some(claim(&["a"], 1)), ..Exchange::default() }).unwrap_err();
    assert_eq!((trouble.kind, trouble.whole_server), (TroubleKind::Interrupted, true), "{}", trouble.text);
    assert_eq!(bench.try_exchange(poll(&["a"])).unwrap_err().kind, TroubleKind::Unreachable, "a look leaves no doubt");
    let mut watcher = cluster().client("postgres");
    let mut waiting = 1;
    for _ in 0..100 {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND application_name = 'tenantcron'";
        waiting = watcher.query_one(sql, &[&database]).unwrap().get::<_, i64>(0);
        if waiting == 0 {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    assert_eq!(waiting, 0, "the server was asked to cancel");
    held.rollback().unwrap();
    assert_eq!(bench.claim(&["a"], 1).len(), 1);
}

#[test]
fn a_session_that_the_server_ended_is_replaced_and_in_a_transaction_nothing_happened() {
    let database = cluster().new_database();
    let bench = Bench::on(&database, settings("n1"));
    bench.poll(&["a"]);
    let mut client = cluster().client(&database);
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tenantcron'";
    client.batch_execute(kill).unwrap();
    std::thread::park_timeout(Duration::from_millis(200));
    assert_eq!(bench.poll(&["a"]).rows.len(), 1);

    let mut held = client.transaction().unwrap();
    held.execute("LOCK TABLE tenantcron_status IN ACCESS EXCLUSIVE MODE", &[]).unwrap();
    bench.engine().exchange(D, Exchange { claim: Some(claim(&["a"], 1)), ..poll(&["a"]) });
    std::thread::park_timeout(Duration::from_millis(300));
    held.batch_execute(kill).unwrap();
    let Answer::Exchanged { result, .. } = bench.next() else { panic!() };
    let trouble = result.unwrap_err();
    assert_eq!((trouble.kind, trouble.whole_server), (TroubleKind::Refused, true), "{}", trouble.text);
    held.rollback().unwrap();
    assert_eq!(bench.claim(&["a"], 1).len(), 1);
}

#[test]
fn a_read_only_database_refuses_and_says_what_to_do() {
    let database = cluster().new_database();
    let bench = Bench::on(&database, settings("n1"));
    bench.poll(&["a"]);
    let mut client = cluster().client("postgres");
    client.batch_execute(&format!("ALTER DATABASE {database} SET default_transaction_read_only = on")).unwrap();
    let bench = Bench::on(&database, settings("n1"));
    // a mere look too: a supervisor that cannot write has no use for what it reads
    let short = Exchange { poll: Some(Poll::NotDone { since: None }), ..Exchange::default() };
    for said in [poll(&["a"]), short, Exchange { claim: Some(claim(&["a"], 1)), ..poll(&["a"]) }] {
        let trouble = bench.try_exchange(said).unwrap_err();
        assert_eq!((trouble.kind, trouble.whole_server), (TroubleKind::Refused, true));
        assert!(
            trouble.text.contains("read-only") && trouble.text.contains("target_session_attrs"),
            "{}",
            trouble.text
        );
    }
    let reader = Bench::on(&database, Settings { access: Access::ReadOnly, ..settings("n1") });
    assert_eq!(reader.poll(&["a"]).rows.len(), 1);
}

/// Polls every database once and tells when each answered, and the most sessions seen meanwhile.
fn poll_all(bench: &Bench, count: u32, watched: bool) -> (Vec<(u32, Duration, bool)>, i64) {
    let (started, mut answers, mut most) = (now(), Vec::new(), 0);
    for id in 0..count {
        bench.engine().exchange(DatabaseId(id), poll(&["a"]));
    }
    let mut client = cluster().client("postgres");
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'many'";
    while answers.len() < count as usize {
        assert!(started.elapsed() < Duration::from_secs(100), "{} of {count} answered", answers.len());
        if watched {
            most = most.max(client.query_one(sql, &[]).unwrap().get(0));
        }
        while let Ok(answer) = bench.answers.recv_timeout(Duration::from_millis(5)) {
            let Answer::Exchanged { database, result, .. } = answer else { panic!("{answer:?}") };
            answers.push((database.0, started.elapsed(), result.is_ok()));
        }
    }
    (answers, most)
}

#[test]
fn databases_that_hang_or_refuse_delay_the_others_little_and_once_and_sessions_stay_few() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let refusing = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let deadlines = Deadlines { connect: Duration::from_millis(2500), ..Deadlines::default() };
    let bench = Bench::start(Settings { connections: 4, deadlines, ..settings("n1") });
    let mut urls: Vec<String> = (0..5).map(|n| format!("postgresql://p@127.0.0.1:{silent_port}/s{n}")).collect();
    urls.extend((0..5).map(|n| format!("postgresql://p@127.0.0.1:{refusing}/r{n}")));
    for _ in 0..20 {
        urls.push(format!("{}&application_name=many", cluster().url(&cluster().new_database())));
    }
    for (id, target) in urls.iter().enumerate() {
        let target: Arc<DatabaseUrl> = Arc::new(DatabaseUrl::parse(target, &environment()).unwrap());
        bench.engine().database(DatabaseId(u32::try_from(id).unwrap()), Some(target));
    }
    let (first, most) = poll_all(&bench, 30, true);
    assert!(most <= 4, "{most} sessions");
    let good = |answers: &[(u32, Duration, bool)]| {
        let good: Vec<_> = answers.iter().filter(|(id, ..)| *id >= 10).copied().collect();
        assert!(good.iter().all(|(_, _, ok)| *ok), "{good:?}");
        good.iter().map(|(_, took, _)| *took).max().unwrap()
    };
    let (slowest, total) = (good(&first), first.iter().map(|(_, took, _)| *took).max().unwrap());
    assert!(slowest < Duration::from_secs(9), "{slowest:?} of {total:?}");
    let (second, most) = poll_all(&bench, 30, true);
    assert!(most <= 4, "{most} sessions");
    let slowest = good(&second);
    assert!(slowest < Duration::from_secs(3), "at the second time nobody waits: {slowest:?}");
}

#[test]
fn the_only_place_is_handed_on() {
    let deadlines = Deadlines { connect: Duration::from_secs(4), ..Deadlines::default() };
    let bench = Bench::start(Settings { connections: 1, deadlines, ..settings("n1") });
    for id in 0..5 {
        let target = format!("{}&application_name=one", cluster().url(&cluster().new_database()));
        bench.engine().database(DatabaseId(id), Some(url(&target)));
    }
    for _ in 0..3 {
        let (answers, _) = poll_all(&bench, 5, false);
        assert!(answers.iter().all(|(_, _, ok)| *ok));
    }
    bench.engine().tenants(url(&cluster().url("postgres")), "SELECT 'x' AS name".to_owned());
    assert!(matches!(bench.next(), Answer::Tenants { result: Ok(list) } if list.len() == 1));
}

#[test]
fn stopping_waits_for_what_is_under_way_and_leaves_no_session() {
    let database = cluster().new_database();
    let mut bench = Bench::on(&database, settings("n1"));
    bench.poll(&["a"]);
    bench.engine().exchange(D, Exchange { claim: Some(claim(&["a"], 1)), ..Exchange::default() });
    bench.engine.take().unwrap().stop(Duration::from_secs(5));
    let Answer::Exchanged { result, .. } = bench.next() else { panic!() };
    assert_eq!(result.unwrap().claimed.len(), 1);
    let sql =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tenantcron'";
    assert_eq!(cluster().client(&database).query_one(sql, &[]).unwrap().get::<_, i64>(0), 0);
}
