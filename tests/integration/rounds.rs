//! Rounds over real tenants: fast ones never wait for slow ones, unless the operator chose that they do;
//! never more children than workers, each to be seen in `ps` with its tenant.

use crate::rows::Rows;
use crate::support::cluster::{TestDatabase, cluster};
use crate::support::configuration::Configuration;
use crate::support::daemon::Supervisor;
use crate::support::journal::Record;
use crate::support::proc;
use crate::support::wait::{eventually, secs};
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SECOND: i64 = 1_000_000_000;

fn short_ones() -> Vec<String> {
    (1..=11).map(|number| format!("short{number:02}")).collect()
}

/// Twelve tenants, three workers: one that runs long and eleven that run for a second.
fn load(database: &TestDatabase, long: u32) -> Configuration {
    let mut names = short_ones();
    names.push("long".to_owned());
    Supervisor::builder()
        .database(database)
        .tenants(&names)
        .set("workers", 3)
        .plan_for_all("sleep 1")
        .plan("long", &format!("sleep {long}"))
}

/// Now, nanoseconds since the epoch, as the jobs' journal tells it.
fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64
}

/// The one run of `long` that matters, once it has ended.
fn long_run(record: &Record) -> (i64, i64) {
    let run = record.runs_of("long")[0];
    (run.begin, run.end.expect("the long run has ended"))
}

/// What `ps` shows of a supervisor, sampled until `until` holds.
#[derive(Default)]
struct Seen {
    most: usize,
    titles: BTreeSet<String>,
    tenants: BTreeSet<String>,
}

fn watch(supervisor: &mut Supervisor, deadline: Duration, what: &str, until: impl Fn(&Record) -> bool) -> Seen {
    let mut seen = Seen::default();
    let job = supervisor.journal().job();
    eventually(deadline, what, || {
        assert!(supervisor.ended().is_none(), "the supervisor ended:\n{}", supervisor.log());
        let children = proc::living_children(supervisor.pid());
        assert!(children.len() <= 3, "{} children: {children:?}", children.len());
        seen.most = seen.most.max(children.len());
        let title = proc::command_line(supervisor.pid());
        let count = title.strip_prefix("tenantcron: test ").and_then(|rest| rest.strip_suffix("/3 running"));
        let count: Option<usize> = count.and_then(|count| count.parse().ok());
        assert!(count.is_some_and(|count| count <= 3), "the title is {title:?}");
        seen.titles.insert(title);
        for child in children {
            // Between the spawn and its exec a child still bears our own arguments; afterwards it may be gone.
            let named = eventually(secs(5), "a child shows its command line", || {
                let line = proc::command_line(child);
                if line.starts_with("tenantcron") { Err(line) } else { Ok(line) }
            });
            if let Some((_, tenant)) = named.rsplit_once(&format!("{job} ")) {
                seen.tenants.insert(tenant.to_owned());
            } else {
                // Without a command line it is ending: its memory is gone, its number not yet.
                let ended = named.is_empty() || !proc::is_alive(child);
                assert!(ended, "pid {child} does not name its tenant: {named:?}");
            }
        }
        until(&supervisor.journal().read())
    });
    seen
}

#[test]
fn short_tenants_run_at_each_of_their_slots_while_a_long_one_runs_on() {
    const EVERY: i64 = 8;
    let database = cluster().database();
    // The next slot comes in three seconds: two whole intervals lie within the long run.
    let offset = (now() / SECOND + 3) % EVERY;
    let mut supervisor = load(&database, 20)
        .set("schedule.every", format!("{EVERY}s"))
        .set("schedule.offset", format!("{offset}s"))
        .prepare();
    assert!(supervisor.command(&["migrate"]).status.success());
    let mut rows = Rows::of(&database);
    short_ones().iter().for_each(|name| rows.put(name, "done", "0"));
    supervisor.start();
    let seen = watch(&mut supervisor, secs(90), "the long run ends", |record| record.ended("long") == 1);

    let record = supervisor.journal().read();
    let (begin, end) = long_run(&record);
    let slot = |time: i64| (time - offset * SECOND).div_euclid(EVERY * SECOND);
    let whole: Vec<i64> = (slot(begin) + 1..slot(end)).collect();
    assert!(!whole.is_empty(), "no interval lies within the long run");
    for name in short_ones() {
        let slots: BTreeSet<i64> = record.runs_of(&name).iter().map(|run| slot(run.begin)).collect();
        let missed: Vec<_> = whole.iter().filter(|slot| !slots.contains(slot)).collect();
        assert!(missed.is_empty(), "{name} missed slots {missed:?}; it ran in {slots:?}");
    }
    assert_eq!(record.runs_of("long").len(), 1);
    assert_eq!((record.overlaps(), record.most_at_once()), (vec![], 3));
    assert_eq!((seen.most, seen.tenants.len()), (3, 12), "ps never showed some tenant: {:?}", seen.tenants);
    for count in [1, 3] {
        assert!(seen.titles.contains(&format!("tenantcron: test {count}/3 running")), "{:?}", seen.titles);
    }
}

#[test]
fn under_barrier_the_short_ones_wait_for_the_long_one() {
    let database = cluster().database();
    let mut supervisor = load(&database, 20).set("schedule.rounds", "barrier").set("schedule.every", "6s").prepare();
    assert!(supervisor.command(&["migrate"]).status.success());
    let mut rows = Rows::of(&database);
    rows.audit();
    supervisor.start();
    let all_twice = |record: &Record| short_ones().iter().all(|name| record.ended(name) >= 2);
    let seen = watch(&mut supervisor, secs(120), "the second round is over", all_twice);

    let record = supervisor.journal().read();
    let (begin, end) = long_run(&record);
    for name in short_ones() {
        let runs = record.runs_of(&name);
        let during: Vec<_> = runs.iter().filter(|run| run.begin < end).collect();
        assert_eq!(during.len(), 1, "{name} did not wait for the long run [{begin}, {end}]: {runs:?}");
    }
    assert_eq!((record.overlaps(), record.most_at_once(), seen.most), (vec![], 3, 3));
    let resets = rows.resets();
    assert!(!resets.is_empty());
    assert!(resets.iter().all(|reset| reset.needed_before == 0 && reset.running == 0), "{resets:?}");
    // The long one may have ended after its own newest slot.
    assert!(resets.iter().any(|reset| reset.rows >= 11), "the round did not begin for all at once: {resets:?}");
}

#[test]
fn under_refill_a_round_begins_when_none_is_needed_and_a_worker_is_free() {
    let database = cluster().database();
    let mut supervisor = load(&database, 12)
        .set("schedule.rounds", "refill")
        .set("schedule.every", "3s")
        .set("schedule.offset", "spread")
        .prepare();
    assert!(supervisor.command(&["migrate"]).status.success());
    let mut rows = Rows::of(&database);
    rows.audit();
    supervisor.start();
    watch(&mut supervisor, secs(90), "the long run ends", |record| record.ended("long") == 1);

    let record = supervisor.journal().read();
    let (_, end) = long_run(&record);
    for name in short_ones() {
        let during = record.runs_of(&name).iter().filter(|run| run.begin < end).count();
        assert!(during >= 2, "{name} waited for the long run: {during}");
    }
    let resets = rows.resets();
    assert!(resets.iter().any(|reset| reset.running > 0), "a barrier, not a refill: {resets:?}");
    assert!(resets.iter().any(|reset| reset.rows > 1), "never many at once: {resets:?}");
    assert!(resets.iter().all(|reset| reset.needed_before == 0 && reset.running < 3), "{resets:?}");
    assert_eq!((record.overlaps(), record.most_at_once()), (vec![], 3));
}

#[test]
fn under_rolling_the_same_load_begins_slots_one_by_one_while_others_are_needed() {
    let database = cluster().database();
    let mut supervisor =
        load(&database, 6).set("schedule.every", "3s").set("schedule.offset", "spread").set("workers", 2).prepare();
    assert!(supervisor.command(&["migrate"]).status.success());
    let mut rows = Rows::of(&database);
    rows.audit();
    supervisor.start();
    eventually(secs(60), "tenants become needed while others are", || {
        rows.resets().iter().filter(|reset| reset.needed_before > 0 && reset.running == 2).count() >= 3
    });
    assert!(supervisor.stop().success());
    assert_eq!(supervisor.journal().read().most_at_once(), 2);
}
