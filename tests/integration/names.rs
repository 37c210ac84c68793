//! Names that would do harm, from every source: refused and told, and nothing of them reaches a path, an
//! argument or SQL. The good ones beside them run.

use crate::support::cluster::cluster;
use crate::support::daemon::Supervisor;
use crate::support::rows;
use crate::support::wait::{eventually, secs};
use crate::support::world::{signal, world};
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Good names, by source.
const GOOD: [&str; 4] = ["by-command", "by-folder", "by-list", "by-query"];

#[test]
fn harmful_names_from_every_source_are_refused_and_named_and_reach_nothing() {
    let database = cluster().database();
    let folder = world().folder("names");
    let long = "n".repeat(300);
    // A folder's name holds no '/' and no more than 255 bytes.
    for name in [&b"-rf"[..], b"a b", b"x;drop table", b"caf\xe9", b".hidden", "caf\u{e9}".as_bytes(), b"by-folder"] {
        fs::create_dir(folder.join(OsStr::from_bytes(name))).unwrap();
    }
    fs::create_dir(folder.join("f".repeat(250))).unwrap();
    let list = folder.join("list");
    let mut printed = Vec::new();
    for line in ["../../etc/cmd", "-rf-cmd", "c;drop table", "by-command database=fine group=g", "`id`", "$(id)"] {
        printed.extend_from_slice(format!("{line}\n").as_bytes());
    }
    printed.extend_from_slice(b"byt\xff\n");
    for (name, fields) in [
        ("database-path", "database=../x".to_owned()),
        ("database-option", "database=-x".to_owned()),
        ("database-control", "database=a\u{1}b".to_owned()),
        ("database-long", format!("database={}", "d".repeat(64))),
        ("group-path", "group=a/b".to_owned()),
        ("group-option", "group=-g".to_owned()),
        ("group-hidden", "group=.g".to_owned()),
    ] {
        printed.extend_from_slice(format!("{name} {fields}\n").as_bytes());
    }
    fs::write(&list, printed).unwrap();
    let sql = "SELECT * FROM (VALUES ('by-query', NULL, NULL), ('../../etc/query', NULL, NULL), ('q''; DROP TABLE tenantcron_run; --', NULL, NULL), \
         (repeat('q', 300), NULL, NULL), ('two' || chr(10) || 'lines', NULL, NULL), (NULL, 'x', NULL), \
         ('database-query', 'a/b', NULL), ('group-query', NULL, E'a\\tb')) \
         AS t (name, database, \"group\")";
    let supervisor = Supervisor::builder()
        .database(&database)
        .set("schedule.every", "365d")
        .tenants(&["../../etc/x", "-rf-list", "a b-list", "l;drop table", &long, "", "..", "by-list"])
        .set("tenants.directory", folder.display().to_string())
        .set("tenants.command", vec!["cat".to_owned(), list.display().to_string()])
        .set("tenants.query.url", cluster().url_of("postgres"))
        .set("tenants.query.sql", sql)
        .start();
    let mut client = database.connect();
    eventually(secs(30), "the good ones have run", || match rows::finished(&mut client) {
        4 => Ok(()),
        other => Err(format!("{other} finished\n{}", supervisor.log())),
    });
    // The sources are asked once more meanwhile: what was told is not told again.
    fs::create_dir(folder.join("late")).unwrap();
    eventually(secs(30), "a folder made later has run", || rows::finished(&mut client) == 5);
    fs::write(supervisor.state().join("wake/x;drop table"), "").unwrap();
    signal(supervisor.pid(), Signal::SIGUSR1);
    eventually(secs(10), "the wake folder is read", || !supervisor.state().join("wake/x;drop table").exists());

    let log = supervisor.log();
    let refused = [
        "../../etc/x",
        "\"-rf-list\"",
        "\"a b-list\"",
        "l;drop table",
        "nnnnnnnnn",
        "tenants.list: bad name \"\"",
        "tenants.query: bad name \"\"",
        "\"..\"", // the list
        "\"-rf\"",
        "\"a b\"",
        "\"x;drop table\"",
        "caf\\xe9\"",
        ".hidden",
        "caf\\xc3\\xa9",
        "fffffffff", // the folder
        "../../etc/cmd",
        "-rf-cmd",
        "c;drop table",
        "`id`",
        "$(id)",
        "byt\\xff", // the command
        "database-path",
        "database-option",
        "database-control",
        "database-long",
        "group-path",
        "group-option",
        "group-hidden", // its fields
        "../../etc/query",
        "q\\'; DROP TABLE",
        "qqqqqqqqq",
        "two\\nlines",
        "database-query",
        "group-query", // the query
    ];
    for name in refused {
        let told = log.lines().filter(|line| line.contains(name) && line.contains(" warn ")).count();
        assert_eq!(told, 1, "{name} is told {told} times\n{log}");
    }
    assert!(log.is_ascii(), "bytes of the world reach the log as they are\n{log}");

    let mut good: BTreeSet<&str> = GOOD.into();
    good.insert("late");
    assert_eq!(supervisor.journal().read().tenants(), good);
    for table in ["tenantcron_status", "tenantcron_run"] {
        let keys = client.query(&format!("SELECT key FROM {table}"), &[]).unwrap();
        let keys: BTreeSet<String> = keys.iter().map(|row| row.get(0)).collect();
        assert_eq!(keys.iter().map(String::as_str).collect::<BTreeSet<_>>(), good, "{table}");
    }
    let named = |end: &str| good.iter().map(|name| format!("{name}{end}")).collect::<BTreeSet<_>>();
    assert_eq!(entries(&supervisor.folder().join("logs")), named(".log"));
    assert_eq!(entries(&supervisor.state().join("tenants")), named(".lock"));
    for made in [supervisor.folder().join("etc"), world().root().join("etc"), supervisor.state().join("etc")] {
        assert!(!made.exists(), "{} was made", made.display());
    }

    for arguments in [["run", "../../etc/x"], ["run", "x;drop table"], ["request", "a b"]] {
        let output = supervisor.command(&arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{arguments:?}: {said}");
        assert!(said.lines().any(|line| line.contains(arguments[1]) && !line.contains("left out")), "{said}");
    }
}

fn entries(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
