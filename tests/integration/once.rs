//! `run --once` for a classic crontab line, and `run --dry-run`, the safe way in.

use crate::rows::Rows;
use crate::support::cluster::{TestDatabase, cluster};
use crate::support::configuration::Configuration;
use crate::support::daemon::Supervisor;
use crate::support::silent::RefusingPort;
use crate::support::wait::{exit_within, secs};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Output, Stdio};

/// Slots far away: what is done stays done for a while, what is two hours old is due.
fn hourly() -> Configuration {
    Supervisor::builder().set("schedule.every", "1h")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn one_look_creates_rows_makes_due_ones_needed_runs_them_and_ends() {
    let database = cluster().database();
    let names = ["new", "due", "needed", "done", "running", "off"];
    let supervisor = hourly()
        .set("workers", 1)
        .set_at(&["override", "off", "enabled"], false)
        .database(&database)
        .tenants(&names)
        .prepare();
    let mut rows = Rows::of(&database);
    rows.run("CREATE TABLE tenantcron_status (key text PRIMARY KEY, value text, updated_at timestamptz)");
    for (name, value, ago) in [
        ("due", "done", "3 hours"),
        ("needed", "needed", "2 hours"),
        ("done", "done", "0"),
        ("running", "running", "1 minute"),
    ] {
        rows.put(name, value, ago);
    }
    let look = supervisor.command(&["run", "--once"]);
    assert!(look.status.success(), "{look:?}");
    let began: Vec<String> = supervisor.journal().read().runs.into_iter().map(|run| run.tenant).collect();
    assert_eq!(began, ["new", "due", "needed"]);
    let values: Vec<_> = names.iter().map(|name| rows.value(name).unwrap_or_default()).collect();
    assert_eq!(values, ["done", "done", "done", "done", "running", "needed"]);
    assert_eq!(rows.one::<i64>("SELECT count(*) FROM tenantcron_run WHERE outcome = 'ok'", &[]), 3);
    // Nothing is due now.
    assert!(supervisor.command(&["run", "--once"]).status.success());
    assert_eq!(supervisor.journal().read().runs.len(), 3);
}

#[test]
fn a_look_that_reaches_no_database_at_all_says_so_by_its_exit_code() {
    let refusing = RefusingPort::take();
    let supervisor = hourly().set("database.url", refusing.url("none")).tenants(&["a"]).prepare();
    for args in [&["run", "--once"][..], &["run", "--dry-run"], &["run", "a"]] {
        let look = supervisor.command(args);
        assert_eq!(look.status.code(), Some(69), "{args:?}: {look:?}");
        assert!(text(&look.stderr).contains(&refusing.port().to_string()), "{args:?}: {look:?}");
    }
    // One database of two is enough.
    let there = cluster().database();
    let supervisor = hourly()
        .set("database.url", cluster().url_of("{tenant}"))
        .tenants(&[there.name.as_str(), "no-such-database"])
        .prepare();
    let look = supervisor.command(&["run", "--once"]);
    assert_eq!(look.status.code(), Some(0), "{look:?}");
    assert_eq!(supervisor.journal().read().ended(&there.name), 1);
    assert!(text(&look.stderr).contains("no-such-database"), "{look:?}");
}

#[test]
fn looks_that_overlap_run_no_tenant_twice_and_all_end_well() {
    let database = cluster().database();
    let names: Vec<String> = (1..=20).map(|number| format!("t{number:02}")).collect();
    let supervisor = hourly().database(&database).tenants(&names).plan_for_all("sleep 0.2").prepare();
    let looks: Vec<_> = (0..4)
        .map(|_| {
            let mut look = supervisor.plain_command();
            look.arg("run").arg("--config").arg(supervisor.config_path()).arg("--once");
            look.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut look in looks {
        assert!(exit_within(&mut look, secs(60)).is_some_and(|status| status.success()));
    }
    let record = supervisor.journal().read();
    assert_eq!((record.overlaps(), record.runs.len(), record.tenants().len()), (vec![], 20, 20));
    assert_eq!(record.most_at_once(), 2);
    assert_eq!(Rows::of(&database).count("done"), 20);
}

/// Every row of every table of ours, with where it lies and who wrote it; none for a table that is not there.
fn all_tables(database: &TestDatabase) -> Vec<Option<Vec<String>>> {
    let mut rows = Rows::of(database);
    ["tenantcron_status", "tenantcron_run", "tenantcron_flag"]
        .map(|table| {
            let there: bool = rows.one("SELECT to_regclass($1) IS NOT NULL", &[&table]);
            there.then(|| rows.list(&format!("SELECT (t.*, t.ctid, t.xmin, t.xmax)::text FROM {table} t ORDER BY 1")))
        })
        .to_vec()
}

/// Every file and folder below.
fn tree(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        found.insert(entry.path().display().to_string());
        found.extend(tree(&entry.path()));
    }
    found
}

fn dry_run(supervisor: &Supervisor) -> (Output, Vec<String>) {
    let output = supervisor.command(&["run", "--dry-run"]);
    let lines = text(&output.stdout).lines().map(str::to_owned).collect();
    (output, lines)
}

#[test]
fn a_dry_run_in_an_empty_database_creates_nothing_and_says_what_would_run() {
    let database = cluster().database();
    let supervisor = hourly().database(&database).tenants(&["a", "b"]).prepare();
    let before = tree(supervisor.folder());
    let (output, lines) = dry_run(&supervisor);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        lines,
        ["a", "b"].map(|name| format!("{name}: create its row as needed, then start it: it has never run"))
    );
    assert_eq!(all_tables(&database), [None, None, None]);
    assert_eq!(tree(supervisor.folder()), before, "it wrote into its folders");
}

#[test]
fn a_dry_run_says_for_each_tenant_what_and_why_and_writes_nothing() {
    let database = cluster().database();
    let names = ["z-asked", "due", "fresh", "missing", "needed", "new", "off", "paused", "running", "strange"];
    let supervisor = hourly()
        .set("workers", 1)
        .set_at(&["override", "off", "enabled"], false)
        .database(&database)
        .tenants(&names)
        .prepare();
    let mut rows = Rows::of(&database);
    rows.run("CREATE TABLE tenantcron_status (key text PRIMARY KEY, value text, updated_at timestamptz)");
    for (name, value, ago) in [
        ("due", "done", "3 hours"),
        ("fresh", "done", "0"),
        ("needed", "needed", "2 hours"),
        ("off", "needed", "2 hours"),
        ("paused", "needed", "2 hours"),
        ("running", "running", "1 minute"),
        ("strange", "later", "1 minute"),
        ("z-asked", "done", "0"),
    ] {
        rows.put(name, value, ago);
    }
    rows.run("INSERT INTO tenantcron_status VALUES ('new', 'needed', NULL)");
    assert!(supervisor.command(&["request", "z-asked"]).status.success());
    rows.run("INSERT INTO tenantcron_flag (key, paused_at) VALUES ('paused', now())");

    let (tables, before) = (all_tables(&database), tree(supervisor.folder()));
    let (output, lines) = dry_run(&supervisor);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(all_tables(&database), tables, "it wrote");
    assert_eq!(tree(supervisor.folder()), before, "it wrote into its folders");
    assert_eq!(supervisor.journal().read().runs.len(), 0);
    let said = |name: &str| lines.iter().find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap_or("nothing");
    for (name, what) in [
        ("z-asked", "start now: requested"),
        ("new", "start when a slot is free (place 2 in the queue): needed, it has never run"),
        ("needed", "start when a slot is free (place 3 in the queue): needed, last updated "),
        ("due", "make it needed and start it: its slot was "),
        ("fresh", "not start: done, next due "),
        ("missing", "create its row as needed, then start it: it has never run"),
        ("off", "not start: disabled"),
        ("paused", "not start: paused"),
        ("running", "not start: running, claimed by another program"),
        ("strange", "not start: its row's value is \"later\""),
    ] {
        assert!(said(name).starts_with(what), "{name}: {:?} instead of {what:?} in {lines:#?}", said(name));
    }
    assert_eq!(lines.len(), names.len());
}
