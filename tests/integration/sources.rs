//! Tenants from their sources: read again while the supervisor runs, and never mistaken for none.

use crate::rows::Rows;
use crate::support::cluster::{TestDatabase, cluster};
use crate::support::configuration::Configuration;
use crate::support::daemon::Supervisor;
use crate::support::proc;
use crate::support::wait::{eventually, secs};
use crate::support::world::{marked, world};
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

fn runs(supervisor: &Supervisor, tenant: &str) -> usize {
    supervisor.journal().read().ended(tenant)
}

/// Waits until a tenant has run so many times more.
fn await_more(supervisor: &Supervisor, tenant: &str, more: usize) {
    let before = runs(supervisor, tenant);
    eventually(secs(30), &format!("{tenant} runs {more} more times"), || {
        let seen = runs(supervisor, tenant) - before;
        if seen >= more { Ok(()) } else { Err(format!("{seen} times; {}", supervisor.log())) }
    });
}

/// A tenant that left the sources: once what was under way has ended it never runs again, while `other` does.
fn assert_gone(supervisor: &Supervisor, gone: &str, other: &str) {
    await_more(supervisor, other, 2);
    let before = runs(supervisor, gone);
    await_more(supervisor, other, 3);
    assert_eq!(runs(supervisor, gone), before, "{gone} is no tenant any more and was started");
}

fn query(database: &TestDatabase, sql: &str) -> toml::Table {
    toml::Table::from_iter([("url".to_owned(), database.url().into()), ("sql".to_owned(), sql.into())])
}

/// A script that a test can change while it is being run: it is replaced whole.
struct Script(PathBuf);

impl Script {
    fn new(text: &str) -> Self {
        let script = Self(world().folder("script").join("tenants"));
        script.becomes(text);
        script
    }

    fn becomes(&self, text: &str) {
        let fresh = self.0.with_extension("new");
        std::fs::write(&fresh, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(&fresh, &self.0).unwrap();
    }

    fn command(&self) -> Vec<String> {
        vec![self.0.display().to_string()]
    }
}

fn directory(names: &[&str]) -> PathBuf {
    let folder = world().folder("tenants");
    names.iter().for_each(|name| std::fs::create_dir(folder.join(name)).unwrap());
    folder
}

/// A slot every second.
fn quick() -> Configuration {
    Supervisor::builder().set("schedule.every", "1s").set("tenants.refresh", "500ms")
}

fn with_directory(folder: &Path) -> Configuration {
    quick().set("tenants.directory", folder.display().to_string())
}

#[test]
fn every_source_gives_tenants_with_their_database_and_group_and_exclude_takes_some_away() {
    let shared = cluster().database();
    let databases = cluster().databases(4, "src");
    let names: Vec<&str> = databases.iter().map(|database| database.name.as_str()).collect();
    Rows::of(&shared).run(&format!(
        "CREATE TABLE customers (name varchar(60), db name, grp \"char\", number int);
         INSERT INTO customers VALUES ('asked', '{}', 'q', 1), ('skip.test', 'none', 'q', 2), ('listed', '{}', 'z', 3)",
        names[1], names[0]
    ));
    let folder = directory(&["folder.test", &format!("real-{}", names[2])]);
    symlink(folder.join(format!("real-{}", names[2])), folder.join("linked")).unwrap();
    std::fs::write(folder.join("file"), "").unwrap();
    let script = Script::new(&format!(
        "echo \"told database={0} group=server-$1 colour=red\"; echo; echo \"linked database={1}\"; echo \"real-{1} database={1}\"; \
         echo \"listed database=never group=$2\"",
        names[3], names[2]
    ));
    let supervisor = with_directory(&folder)
        .set("database.url", cluster().url_of("{database}"))
        .set("job.command", vec!["sh", "-c", "echo \"[$0] [$1] [$2]\"", "{tenant}", "{database}", "{group}"])
        .set("database.key", "{tenant}")
        .set("tenants.list", vec!["listed"])
        .set("tenants.query", query(&shared, "SELECT name, db AS database, grp AS \"group\" FROM customers"))
        .set("tenants.command", [script.command(), vec!["7".to_owned(), "last".to_owned()]].concat())
        .set("tenants.exclude", vec!["*.test", "real-*"])
        .prepare();
    let look = supervisor.command(&["run", "--once"]);
    assert!(look.status.success(), "{look:?}");
    for (tenant, database, group) in
        [("listed", names[0], "z"), ("asked", names[1], "q"), ("linked", names[2], ""), ("told", names[3], "server-7")]
    {
        let log = supervisor.tenant_log(tenant);
        assert!(log.contains(&format!("[{tenant}] [{database}] [{group}]")), "{tenant}: {log}; {look:?}");
    }
    let logs: BTreeSet<String> = std::fs::read_dir(supervisor.folder().join("logs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(logs.len(), 4, "others ran too: {logs:?}");
}

#[test]
fn a_new_folder_starts_to_run_and_one_that_vanished_does_not_again() {
    let database = cluster().database();
    let folder = directory(&["stays", "goes"]);
    let supervisor = with_directory(&folder).database(&database).start();
    await_more(&supervisor, "stays", 1);
    await_more(&supervisor, "goes", 1);
    std::fs::create_dir(folder.join("comes")).unwrap();
    std::fs::remove_dir(folder.join("goes")).unwrap();
    await_more(&supervisor, "comes", 2);
    assert_gone(&supervisor, "goes", "stays");
    assert!(Rows::of(&database).value("goes").is_some(), "its row stays");
    std::fs::create_dir(folder.join("goes")).unwrap();
    await_more(&supervisor, "goes", 2);
}

#[test]
fn the_run_of_a_tenant_that_vanishes_ends_normally() {
    let database = cluster().database();
    let folder = directory(&["stays", "goes"]);
    let supervisor =
        with_directory(&folder).database(&database).plan("goes", "while [ ! -e gate ]; do sleep 0.05; done").start();
    eventually(secs(20), "it runs", || supervisor.journal().read().runs_of("goes").len() == 1);
    std::fs::remove_dir(folder.join("goes")).unwrap();
    await_more(&supervisor, "stays", 3);
    std::fs::write(supervisor.folder().join("gate"), "").unwrap();
    let mut rows = Rows::of(&database);
    eventually(secs(20), "its end is recorded", || rows.outcomes("goes") == ["ok"]);
    eventually(secs(20), "its row is done", || rows.value("goes").as_deref() == Some("done"));
    assert_gone(&supervisor, "goes", "stays");
    assert!(supervisor.tenant_log("goes").contains("outcome=ok"));
}

#[test]
fn a_source_that_fails_keeps_its_last_answer_and_is_reported() {
    let database = cluster().database();
    Rows::of(&database).run("CREATE TABLE customers AS SELECT 'asked' AS name");
    let script = Script::new("echo told");
    let folder = directory(&["folder"]);
    let supervisor = with_directory(&folder)
        .database(&database)
        .set("tenants.command", script.command())
        .set("tenants.query", query(&database, "SELECT name FROM customers"))
        .set("workers", 3)
        .start();
    let all = ["asked", "told", "folder"];
    all.iter().for_each(|tenant| await_more(&supervisor, tenant, 1));

    script.becomes("echo told; echo other; echo out of order >&2; exit 3");
    Rows::of(&database).run("ALTER TABLE customers RENAME TO gone");
    let aside = folder.with_extension("aside");
    std::fs::rename(&folder, &aside).unwrap();
    for (source, why) in [
        ("tenants.command", "out of order"),
        ("tenants.query", "customers"),
        ("tenants.directory", folder.to_str().unwrap()),
    ] {
        let line = supervisor.wait_for_log(&format!("{source} fails, its last answer is kept"), secs(30));
        assert!(line.contains(why) && line.contains(" err"), "{line}");
    }
    all.iter().for_each(|tenant| await_more(&supervisor, tenant, 2));
    assert_eq!(runs(&supervisor, "other"), 0, "half an answer was believed");
    let told = supervisor.log().matches("tenants.command fails").count();
    assert_eq!(told, 1, "told at every refresh");

    script.becomes("echo other");
    Rows::of(&database).run("ALTER TABLE gone RENAME TO customers");
    std::fs::rename(&aside, &folder).unwrap();
    for source in ["tenants.command", "tenants.query", "tenants.directory"] {
        supervisor.wait_for_log(&format!("{source} answers again"), secs(30));
    }
    await_more(&supervisor, "other", 1);
    assert_gone(&supervisor, "told", "folder");
}

#[test]
fn a_source_that_never_answered_does_not_keep_the_others_from_running() {
    let database = cluster().database();
    let script = Script::new("exit 1");
    let supervisor = quick().database(&database).tenants(&["listed"]).set("tenants.command", script.command()).start();
    await_more(&supervisor, "listed", 2);
    supervisor.wait_for_log("tenants.command fails and has not answered yet", secs(10));
    script.becomes("echo told");
    await_more(&supervisor, "told", 1);
}

#[test]
fn a_command_that_hangs_is_ended_with_its_children_and_delays_nobody() {
    let database = cluster().database();
    let script = Script::new("echo told");
    let supervisor = quick().database(&database).tenants(&["listed"]).set("tenants.command", script.command()).start();
    await_more(&supervisor, "told", 1);
    script.becomes("sleep 3600 & echo half; wait");
    let sleeps = || {
        let family = marked(supervisor.mark());
        family.into_iter().filter(|pid| proc::command_line(*pid) == "sleep 3600").count()
    };
    eventually(secs(20), "the command hangs", || sleeps() == 1);
    await_more(&supervisor, "told", 2);
    await_more(&supervisor, "listed", 2);
    assert_eq!(sleeps(), 1, "a second command was started beside the first");
    script.becomes("echo told");
    let line = supervisor.wait_for_log("tenants.command fails, its last answer is kept", secs(60));
    assert!(line.contains("30 s"), "{line}");
    eventually(secs(10), "what the command had started is gone", || sleeps() == 0);
    supervisor.wait_for_log("tenants.command answers again", secs(20));
    assert_eq!(runs(&supervisor, "half"), 0);
}

#[test]
fn a_hangup_reads_configuration_and_sources_again_at_once() {
    let database = cluster().database();
    let folder = directory(&["folder"]);
    let mut supervisor = with_directory(&folder)
        .set("tenants.refresh", "1h")
        .set("tenants.list", vec!["a", "b"])
        .database(&database)
        .start();
    ["a", "b", "folder"].iter().for_each(|tenant| await_more(&supervisor, tenant, 1));
    std::fs::create_dir(folder.join("new")).unwrap();
    supervisor
        .reconfigure(|configuration| configuration.tenants(&["a", "c"]).set_at(&["override", "a", "every"], "24h"));
    supervisor.signal(Signal::SIGHUP);
    await_more(&supervisor, "c", 2);
    await_more(&supervisor, "new", 1);
    assert_gone(&supervisor, "b", "c");
    assert_gone(&supervisor, "a", "c");

    // The last list goes too.
    supervisor.reconfigure(|configuration| configuration.unset("tenants.list"));
    supervisor.signal(Signal::SIGHUP);
    assert_gone(&supervisor, "c", "folder");
    assert!(supervisor.stop().success());
}
