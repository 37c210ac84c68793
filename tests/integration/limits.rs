//! How many at once: slots that whoever starts children on this host shares, limits over all nodes and for
//! a group, and what the overrides change for some tenants.

use crate::rows::Rows;
use crate::support::cluster::cluster;
use crate::support::configuration::Configuration;
use crate::support::daemon::Supervisor;
use crate::support::journal::Record;
use crate::support::proc;
use crate::support::wait::{eventually, exit_within, secs};
use std::collections::BTreeSet;
use std::process::Stdio;

fn names(prefix: &str, count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("{prefix}{number:02}")).collect()
}

/// The most runs at once among the tenants that `wanted` chooses.
fn most_of(record: &Record, wanted: impl Fn(&str) -> bool) -> usize {
    let runs = record.runs.iter().filter(|run| wanted(&run.tenant)).cloned().collect();
    Record { runs, locked_out: Vec::new() }.most_at_once()
}

#[test]
fn a_daemon_and_overlapping_single_looks_share_the_workers_exactly() {
    let database = cluster().database();
    let tenants = names("t", 16);
    let mut supervisor = Supervisor::builder()
        .database(&database)
        .tenants(&tenants)
        .set("workers", 3)
        // A round takes 2.2 s: what the looks find needed comes to an end, however long it was theirs.
        .set("schedule.every", "4s")
        .plan_for_all("sleep 0.4")
        .prepare();
    let looks = ["2", "3"].map(|workers| {
        let mut look = supervisor.plain_command();
        look.arg("run").arg("--config").arg(supervisor.config_path()).args(["--once", "--workers", workers]);
        let look = look.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        eventually(secs(20), "it has started something", || !proc::living_children(look.id() as i32).is_empty());
        look
    });
    supervisor.start();
    let mut sampled = 0;
    eventually(secs(60), "every tenant has run twice, and each of the three has started something", || {
        let family: Vec<i32> =
            [supervisor.pid()].into_iter().chain(looks.iter().map(|look| look.id() as i32)).collect();
        let children: Vec<i32> = family.iter().flat_map(|pid| proc::living_children(*pid)).collect();
        // Those that still live when all were listed lived together.
        let living = children.into_iter().filter(|pid| proc::is_alive(*pid)).count();
        sampled = sampled.max(living);
        assert!(living <= 3, "{living} children of a daemon and two single looks");
        let record = supervisor.journal().read();
        tenants.iter().all(|name| record.ended(name) >= 2) && starters_of(&supervisor, &tenants).len() == 3
    });
    assert!(supervisor.stop().success());
    for mut look in looks {
        assert!(exit_within(&mut look, secs(30)).is_some_and(|status| status.success()));
    }
    let record = supervisor.journal().read();
    assert_eq!((record.overlaps(), record.most_at_once(), sampled), (vec![], 3, 3));
}

fn starters_of(supervisor: &Supervisor, tenants: &[String]) -> BTreeSet<String> {
    tenants.iter().flat_map(|name| starters(&supervisor.tenant_log(name))).collect()
}

/// The supervisors that a tenant's log names in its start lines.
fn starters(log: &str) -> BTreeSet<String> {
    let starts = log.lines().filter(|line| line.contains(": start run="));
    starts.filter_map(|line| Some(line.split_once("tenantcron[")?.1.split_once(']')?.0.to_owned())).collect()
}

#[test]
fn the_limit_of_the_cluster_is_reached_and_never_exceeded_over_two_nodes() {
    let database = cluster().database();
    let tenants = names("t", 8);
    // Nothing runs when a slot comes: both nodes see all of the room free at the same moment.
    let both = Supervisor::builder()
        .database(&database)
        .tenants(&tenants)
        .set("schedule.every", "3s")
        .set("workers", 3)
        .set("limits.cluster", 4)
        .plan_for_all("sleep 0.5");
    let mut one = both.clone().start();
    let mut two = both.set("node", "node2").start();
    let all = |times: usize| {
        let record = one.journal().read();
        tenants.iter().all(|name| record.ended(name) >= times)
    };
    eventually(secs(60), "every tenant has run at three slots", || all(4));
    let record = one.journal().read();
    assert_eq!((record.overlaps(), record.most_at_once()), (vec![], 4));
    assert_eq!(record.nodes(), BTreeSet::from(["node1", "node2"]));

    // A claim of another program counts.
    let mut rows = Rows::of(&database);
    claim_by_hand(&mut rows, "t0%");
    assert_eq!(after_now(&one, &mut rows, 18).most_at_once(), 3);
    assert!(one.stop().success() && two.stop().success());
}

/// Another program claims one of these rows, and keeps it.
fn claim_by_hand(rows: &mut Rows, like: &str) {
    let sql = "WITH claimed AS (UPDATE tenantcron_status SET value = 'running', updated_at = now() WHERE key =
                   (SELECT key FROM tenantcron_status WHERE value = 'needed' AND key LIKE $1 LIMIT 1 FOR UPDATE SKIP LOCKED)
               RETURNING key) SELECT count(*) FROM claimed";
    eventually(secs(30), "a row could be claimed by hand", || rows.one::<i64>(sql, &[&like]) == 1);
}

/// The next runs, that many, without those that were claimed before.
fn after_now(supervisor: &Supervisor, rows: &mut Rows, count: usize) -> Record {
    // A claim whose commit is under way may have taken a few ids more.
    let last: i64 = rows.one("SELECT max(id) + 5 FROM tenantcron_run", &[]);
    let mut record = Record::default();
    eventually(secs(60), "that many runs more have ended", || {
        record = supervisor.journal().read();
        record.runs.retain(|run| run.run > last);
        record.runs.iter().filter(|run| run.end.is_some()).count() >= count
    });
    record
}

/// Two groups by the command source, and some tenants of no group.
fn grouped(configuration: Configuration) -> Configuration {
    let lines = (1..=6).map(|number| format!("red{number} group=red\nblue{number} group=blue\n")).collect::<String>();
    configuration.set("tenants.command", vec!["printf".to_owned(), format!("{lines}plain1\nplain2\n")])
}

fn is(colour: &str) -> impl Fn(&str) -> bool + '_ {
    move |tenant| tenant.starts_with(colour)
}

#[test]
fn the_limit_of_a_group_is_kept_for_each_group_over_two_nodes() {
    let database = cluster().database();
    let both = grouped(Supervisor::builder())
        .database(&database)
        .set("schedule.every", "3s")
        .set("workers", 5)
        .set("limits.group", 2)
        .plan_for_all("sleep 0.5");
    let mut one = both.clone().start();
    let mut two = both.set("node", "node2").start();
    let tenants: Vec<String> = (1..=6).flat_map(|number| [format!("red{number}"), format!("blue{number}")]).collect();
    eventually(secs(60), "every tenant has run twice", || {
        let record = one.journal().read();
        tenants.iter().all(|name| record.ended(name) >= 2) && record.ended("plain1") >= 2
    });
    let record = one.journal().read();
    assert_eq!(record.overlaps(), [""; 0]);
    assert_eq!((most_of(&record, is("red")), most_of(&record, is("blue"))), (2, 2));
    assert!(record.most_at_once() >= 4, "the groups shared one limit: {}", record.most_at_once());
    assert_eq!(record.nodes().len(), 2);
    let mut rows = Rows::of(&database);
    let groups = rows.list("SELECT DISTINCT coalesce(\"group\", '-') FROM tenantcron_run ORDER BY 1");
    assert_eq!(groups, ["-", "blue", "red"]);

    // A claim of another program counts for its group, from the next look on.
    claim_by_hand(&mut rows, "red%");
    let looked_meanwhile = after_now(&one, &mut rows, 13).runs.len();
    let record = after_now(&one, &mut rows, 22);
    assert_eq!((most_of(&record, is("red")), most_of(&record, is("blue"))), (1, 2), "{looked_meanwhile}");
    assert!(one.stop().success() && two.stop().success());
}

#[test]
fn with_a_database_for_each_tenant_the_limits_hold_on_the_node() {
    let databases = cluster().databases(6, "lim");
    let lines: String = databases.iter().map(|database| format!("{} group=server1\n", database.name)).collect();
    for (key, limit) in [("limits.group", 2), ("limits.cluster", 3)] {
        let mut supervisor = Supervisor::builder()
            .set("database.url", cluster().url_of("{tenant}"))
            .set("tenants.command", vec!["printf".to_owned(), lines.clone()])
            .set("workers", 5)
            .set(key, limit)
            .plan_for_all("sleep 0.4")
            .start();
        eventually(secs(60), "every tenant has run twice", || {
            let record = supervisor.journal().read();
            databases.iter().all(|database| record.ended(&database.name) >= 2)
        });
        assert!(supervisor.stop().success());
        assert_eq!(supervisor.journal().read().most_at_once(), limit as usize, "{key} = {limit}");
    }
}

#[test]
fn overrides_by_glob_change_what_they_name_for_whom_they_name() {
    let database = cluster().database();
    let tenants = ["a.plain", "b.rare", "c.off", "d.nice", "e.short", "f.red", "g.red", "h.both.nice"];
    let mut supervisor = Supervisor::builder()
        .database(&database)
        .tenants(&tenants)
        .set("workers", 8)
        .set("limits.group", 1)
        .set_at(&["override", "*.rare", "every"], "1h")
        .set_at(&["override", "*.off", "enabled"], false)
        .set_at(&["override", "*.nice", "nice"], 7)
        .set_at(&["override", "h.both.*", "nice"], 9)
        .set_at(&["override", "*.short", "timeout"], "1s")
        .set_at(&["override", "*.red", "group"], "red")
        .plan_for_all("sleep 0.3; nice")
        .plan("e.short", "sleep 60 & wait")
        .start();
    let mut rows = Rows::of(&database);
    eventually(secs(60), "the others have run three times", || {
        let record = supervisor.journal().read();
        ["a.plain", "f.red", "g.red"].iter().all(|name| record.ended(name) >= 3) && rows.outcomes("e.short").len() >= 2
    });
    assert!(supervisor.stop().success());
    let record = supervisor.journal().read();
    assert_eq!(record.runs_of("b.rare").len(), 1, "every = 1h: it ran once");
    assert_eq!(record.runs_of("c.off").len(), 0, "disabled, and it ran");
    assert_eq!(rows.value("c.off").as_deref(), Some("needed"));
    assert_eq!(rows.outcomes("e.short")[..2], ["timeout", "timeout"]);
    assert_eq!(most_of(&record, |tenant| tenant.ends_with(".red")), 1);
    let nice = |tenant: &str| supervisor.tenant_log(tenant).lines().nth(1).map(str::to_owned);
    assert_eq!(nice("a.plain").as_deref(), Some("0"));
    assert_eq!(nice("d.nice").as_deref(), Some("7"));
    assert_eq!(nice("h.both.nice").as_deref(), Some("9"), "the later of two that match wins");
}
