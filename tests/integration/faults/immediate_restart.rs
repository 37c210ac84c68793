//! The database server dies and comes back, twenty times, each time under eight runs: no child notices, and every end is
//! recorded as it was, whether it came before, during or after.

use super::dice;
use crate::rows::Rows;
use crate::support::cluster::{Cluster, TestDatabase};
use crate::support::daemon::Supervisor;
use crate::support::journal::JobRun;
use crate::support::proc;
use crate::support::wait::{eventually, millis, secs};
use crate::support::world::world;
use nix::sys::signal::Signal;
use std::path::Path;

const RESTARTS: usize = 20;
const RUNS: usize = 8;

/// Goes on until its run's file is there, or that of all; then ends in one of eight ways, by the run's number.
const WORK: &str = "while [ ! -e @GO@/$TENANTCRON_RUN_ID ] && [ ! -e @GO@/all ]; do sleep 0.05; done
    ulimit -c 0
    case $((TENANTCRON_RUN_ID % 8)) in
        0) exit 0 ;; 1) exit 1 ;; 2) exit 77 ;; 3) exit 255 ;; 4) exit 0 ;;
        5) kill -SEGV $$ ;; 6) kill -KILL $$ ;; 7) kill -TERM $$ ;;
    esac; sleep 60";

fn truth(run: i64) -> &'static str {
    let ends =
        ["ok 0 -", "failed 1 -", "failed 77 -", "failed 255 -", "ok 0 -", "killed - 11", "killed - 9", "killed - 15"];
    ends[(run % 8) as usize]
}

/// The jobs that have begun, live, and were not let go, with their start times, which tell a process from a later one of its number.
fn at_work(supervisor: &Supervisor, go: &Path) -> Vec<(JobRun, u64)> {
    let runs = supervisor.journal().read().runs;
    let waiting = runs.into_iter().filter(|run| run.end.is_none() && !go.join(run.run.to_string()).exists());
    waiting.filter_map(|run| Some(proc::stat(run.pid)?.started).map(|start| (run, start))).collect()
}

fn let_go(folder: &Path, jobs: &[(JobRun, u64)]) {
    jobs.iter().for_each(|(job, _)| std::fs::write(folder.join(job.run.to_string()), "").unwrap());
}

fn lives(job: &JobRun, start: u64) -> bool {
    proc::stat(job.pid).is_some_and(|stat| stat.started == start && stat.state != 'Z')
}

/// A session once every row is done; by it no commit waits for a standby.
fn when_all_are_done(database: &TestDatabase) -> Rows {
    let mut rows = Rows::of(database);
    eventually(secs(60), "all are done", || {
        let values = rows.list("SELECT concat_ws(' ', key, value) FROM tenantcron_status WHERE value <> 'done'");
        if values.is_empty() { Ok(()) } else { Err(format!("{values:?}")) }
    });
    rows.run("SET synchronous_commit = local");
    rows
}

fn ask_for_all(rows: &mut Rows) {
    rows.run("UPDATE tenantcron_status SET value = 'needed'; NOTIFY tenantcron");
}

/// The server dies between a commit of ours, which `after` brings about, and its answer: it waits there for a standby that
/// does not exist.
fn dies_before_the_answer(own: &Cluster, rows: &mut Rows, after: impl FnOnce(&mut Rows)) {
    own.admin("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    own.admin("SELECT pg_reload_conf()");
    eventually(secs(10), "commits wait", || rows.list("SHOW synchronous_standby_names") == ["nobody"]);
    after(rows);
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tenantcron' AND wait_event = 'SyncRep'";
    eventually(secs(20), "an answer is waited for", || rows.one::<i64>(sql, &[]) > 0);
    own.stop_immediate();
    std::fs::write(own.data().join("postgresql.auto.conf"), "").unwrap();
}

#[test]
fn twenty_immediate_restarts_under_eight_runs_cost_no_child_and_no_end() {
    let mut dice = dice("twenty restarts");
    let own = Cluster::start_own(&[]);
    let database = own.own_databases(1, "restarted").remove(0);
    let folder = world().folder("go");
    let tenants: Vec<String> = (1..=RUNS).map(|number| format!("t{number}")).collect();
    let mut supervisor = Supervisor::builder()
        .database(&database)
        .tenants(&tenants)
        .set("workers", RUNS as i64)
        .set("schedule.every", "365d")
        .set("database.poll", "500ms")
        .plan_for_all(&WORK.replace("@GO@", &folder.display().to_string()))
        .start();
    let (mut away, mut back) = (0, 0);
    for restart in 1..=RESTARTS {
        let mut jobs = eventually(secs(60), "eight are at work", || {
            let jobs = at_work(&supervisor, &folder);
            let seen = || format!("{} in round {restart}\n{}", jobs.len(), supervisor.log());
            if jobs.len() == RUNS { Ok(jobs) } else { Err(seen()) }
        });
        dice.shuffle(&mut jobs);
        let (before, rest) = jobs.split_at(dice.usize(1..4));
        let (during, after) = rest.split_at(dice.usize(0..=rest.len()));
        std::thread::sleep(millis(dice.u64(0..60)));
        // Their ends may be on the way to the server when that dies.
        if restart % 4 == 3 {
            dies_before_the_answer(&own, &mut Rows::of(&database), |_| let_go(&folder, before));
        } else {
            let_go(&folder, before);
            std::thread::sleep(millis(dice.u64(0..60)));
            own.stop_immediate();
        }
        let_go(&folder, during);
        if dice.bool() {
            eventually(secs(20), "those end without a server", || {
                during.iter().all(|(job, start)| !lives(job, *start))
            });
        }
        own.start();
        std::thread::sleep(millis(dice.u64(0..300)));
        for (job, start) in after {
            assert!(lives(job, *start), "restart {restart} ended a child: {job:?}");
        }
        let_go(&folder, after);
        away += before.len() + during.len();
        back += after.len();
        let mut rows = when_all_are_done(&database);
        if restart % 4 == 1 {
            dies_before_the_answer(&own, &mut rows, ask_for_all);
            own.start();
        } else {
            ask_for_all(&mut rows);
        }
    }
    std::fs::write(folder.join("all"), "").unwrap();
    supervisor.signal(Signal::SIGQUIT);
    assert!(supervisor.wait_exit(secs(60)).success(), "{}", supervisor.log());

    let record = supervisor.journal().read();
    assert_eq!(record.overlaps(), [""; 0]);
    let mut rows = Rows::of(&database);
    let sql = "SELECT concat_ws(' ', id, key, coalesce(outcome, 'open'), coalesce(exit_code::text, '-'),
               coalesce(signal::text, '-')) FROM tenantcron_run ORDER BY id";
    let lines = rows.list(sql);
    for job in &record.runs {
        let its: Vec<_> = lines.iter().filter(|line| line.starts_with(&format!("{} ", job.run))).collect();
        assert_eq!(its, [&format!("{} {} {}", job.run, job.tenant, truth(job.run))], "{job:?}");
        let told = match job.run % 8 {
            5 | 6 => None,
            7 => Some(143),
            _ => truth(job.run).split(' ').nth(1).and_then(|code| code.parse().ok()),
        };
        assert_eq!(job.exit, told, "a job ended in another way than it should: {job:?}");
    }
    // A claim whose answer the server took with it never started anything.
    let unheard: Vec<_> =
        lines.iter().filter(|line| !record.runs.iter().any(|job| line.starts_with(&format!("{} ", job.run)))).collect();
    assert!(unheard.iter().all(|line| line.ends_with(" lost - -")), "{unheard:?}");
    assert!(record.runs.len() >= RESTARTS * RUNS, "{}", record.runs.len());
    assert!(unheard.len() >= RUNS, "no claim's answer was lost: {unheard:?}");
    let log = supervisor.log();
    let [downs, ups] = [" is down, ", " is back after "].map(|text| log.matches(text).count());
    println!(
        "{} runs, {away} let go before or during a restart, {back} after it; {} claims whose answers were lost; told {downs} \
         times that it was down",
        record.runs.len(),
        unheard.len()
    );
    assert!(downs == ups && (1..=RESTARTS * 5 / 4).contains(&downs), "{downs} times down, {ups} times back:\n{log}");
}
