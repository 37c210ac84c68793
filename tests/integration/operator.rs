//! `config` and `migrate`: what an operator looks at and prepares before the first night.

use crate::rows::Rows;
use crate::support::cluster::{TestDatabase, cluster};
use crate::support::configuration::Configuration;
use crate::support::daemon::Supervisor;
use std::process::Output;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The one line that begins with `start`.
#[track_caller]
fn line<'a>(output: &'a str, start: &str) -> &'a str {
    let mut lines = output.lines().filter(|line| line.starts_with(start));
    let found = lines.next().unwrap_or_else(|| panic!("no line {start:?} in {output}"));
    assert_eq!(lines.next(), None, "two lines {start:?}");
    found
}

#[test]
fn config_shows_each_value_with_its_source_and_the_tenants_and_no_password() {
    let database = cluster().database();
    Rows::of(&database).run("CREATE TABLE tenants AS SELECT 'from-query' AS name, 'blue' AS \"group\"");
    let secret = |url: &str| url.replace("postgres@", "postgres:hunter2@");
    let query = toml::Table::from_iter([
        ("url".to_owned(), format!("{}?password=hunter2", database.url()).into()),
        ("sql".to_owned(), "SELECT name, \"group\" FROM tenants".into()),
    ]);
    let supervisor = Supervisor::builder()
        .set("database.url", secret(&cluster().url_of("{tenant}")))
        .set("tenants.query", query)
        .set("job.env", toml::Table::from_iter([("PGPASSWORD".to_owned(), "hunter2".into())]))
        .set_at(&["override", "a*", "every"], "3h")
        .tenants(&["a.example", "b"])
        .env("TENANTCRON_WORKERS", "7")
        .env("TENANTCRON_STALE_REPEAT", "2h")
        .prepare();
    let drop_in = supervisor.folder().join("test.d");
    std::fs::create_dir(&drop_in).unwrap();
    std::fs::write(drop_in.join("10-local.toml"), "[schedule]\nrounds = \"refill\"\n").unwrap();
    let output = supervisor.command(&["config"]);
    assert!(output.status.success(), "{output:?}");
    let shown = text(&output.stdout);
    for (start, source) in [
        ("workers = 7", "TENANTCRON_WORKERS"),
        ("stale.repeat = \"2h\"", "TENANTCRON_STALE_REPEAT"),
        ("schedule.rounds = \"refill\"", "10-local.toml"),
        ("schedule.every = \"2s\"", "test.toml"),
        ("job.oom_score_adj = 500", "default"),
        ("override.\"a*\".every = \"3h\"", "test.toml"),
    ] {
        let line = line(&shown, start);
        assert!(line.contains(source), "{line:?} does not name {source}");
    }
    assert!(line(&shown, "# 7 workers").contains("usable CPUs"));
    assert!(shown.contains("# 3 tenants"), "{shown}");
    assert!(line(&shown, "a.example ").contains("every=3h") && line(&shown, "b ").contains("every=2s"), "{shown}");
    assert!(line(&shown, "from-query ").contains("group=blue"), "{shown}");
    assert!(line(&shown, "b ").contains("/b"), "its database is not named");
    let all = format!("{shown}{}", text(&output.stderr));
    assert!(!all.contains("hunter2"), "a password is shown: {all}");
}

#[test]
fn a_wrong_configuration_is_exit_78_for_every_verb() {
    let supervisor =
        Supervisor::builder().set("wrokers", 3).tenants(&["a"]).set("database.url", "postgresql:///x").prepare();
    for args in [&["config"][..], &["status"], &["run", "--once"], &["run"], &["migrate"], &["request", "--all"]] {
        let output = supervisor.command(args);
        assert_eq!(output.status.code(), Some(78), "{args:?}: {output:?}");
        let told = text(&output.stderr);
        assert!(told.contains("wrokers") && told.contains("workers") && told.contains("test.toml"), "{told}");
    }
}

/// Every table, column, index and constraint of ours.
fn schema(database: &TestDatabase) -> Vec<String> {
    Rows::of(database).list(
        "SELECT 'column ' || table_name || '.' || column_name || ' ' || data_type || ' ' || coalesce(column_default, '-')
         FROM information_schema.columns WHERE table_schema = 'public'
         UNION ALL SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public'
         UNION ALL SELECT 'check ' || conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
                   WHERE connamespace = 'public'::regnamespace ORDER BY 1",
    )
}

fn migrate(supervisor: &Supervisor, args: &[&str]) -> (Output, String) {
    let output = supervisor.command(&[&["migrate"], args].concat());
    let shown = text(&output.stdout);
    (output, shown)
}

fn each(databases: &[TestDatabase]) -> Configuration {
    Supervisor::builder().database_each(cluster(), databases)
}

#[test]
fn migrate_creates_what_is_missing_once_and_then_finds_nothing_to_do() {
    let databases = cluster().databases(3, "mig");
    let supervisor = each(&databases).prepare();
    let (planned, plan) = migrate(&supervisor, &["--dry-run"]);
    assert!(planned.status.success(), "{planned:?}");
    assert!(databases.iter().all(|database| schema(database).is_empty()), "a dry run wrote");
    let (first, done) = migrate(&supervisor, &[]);
    assert!(first.status.success(), "{first:?}");
    assert!(
        plan.contains("CREATE TABLE") && plan.matches("CREATE TABLE").count() == done.matches("CREATE TABLE").count()
    );
    let before: Vec<_> = databases.iter().map(schema).collect();
    assert!(before.iter().all(|schema| schema.len() > 20 && *schema == before[0]), "{before:?}");
    for database in &databases {
        assert_eq!(Rows::of(database).value(&database.name).as_deref(), Some("needed"));
    }
    for args in [&[][..], &["--dry-run"], &[]] {
        let (again, shown) = migrate(&supervisor, args);
        assert!(again.status.success(), "{again:?}");
        assert_eq!(shown.matches("nothing to do").count(), 3, "{shown}");
    }
    assert_eq!(databases.iter().map(schema).collect::<Vec<_>>(), before);

    // The printed SQL, fed to the server as it is, makes the same tables.
    let by_hand = cluster().database();
    let supervisor = Supervisor::builder().database(&by_hand).tenants(&["a"]).prepare();
    Rows::of(&by_hand).run(&migrate(&supervisor, &["--dry-run"]).1);
    assert_eq!(schema(&by_hand), before[0]);
}

#[test]
fn under_manual_nothing_is_created_until_migrate_and_then_all_runs() {
    let database = cluster().database();
    let supervisor =
        Supervisor::builder().set("database.migrate", "manual").database(&database).tenants(&["a"]).prepare();
    let look = supervisor.command(&["run", "--once"]);
    assert!(text(&look.stderr).contains("tenantcron migrate"), "{look:?}");
    assert!(schema(&database).is_empty());
    assert!(migrate(&supervisor, &[]).0.status.success());
    assert!(supervisor.command(&["run", "--once"]).status.success());
    assert_eq!(supervisor.journal().read().ended("a"), 1);
}
