//! SIGKILL of the supervisor at random moments, with children at work, some of which die with it; the next one starts at
//! once. Whatever lives is adopted, whatever is dead is lost and runs again, and no tenant ever runs twice at once.

use super::{LockWords, dice, is_held};
use crate::rows::Rows;
use crate::support::cluster::cluster;
use crate::support::daemon::Supervisor;
use crate::support::journal::Record;
use crate::support::proc;
use crate::support::wait::{eventually, millis, secs};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

const KILLS: usize = 200;
const TENANTS: usize = 12;
const WORKERS: usize = 8;
const POLL: Duration = secs(3);

/// Lengths from a tenth of a second to a whole one, one of four fails: by the run's number, so that the end of every run is known.
const WORK: &str = "n=$((TENANTCRON_RUN_ID * 7919 % 90 + 10)); sleep 0.$n
                    [ $((TENANTCRON_RUN_ID % 4)) != 0 ] || exit 3";

fn true_exit(run: i64) -> i32 {
    if run % 4 == 0 { 3 } else { 0 }
}

/// An open run as it was left: what the next supervisor must find out.
#[derive(Debug)]
struct Left {
    run: i64,
    tenant: String,
    /// Its main process, where the lock file or the row names it.
    process: Option<(i32, u64)>,
    alive: bool,
}

/// What the next supervisor made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Adopted,
    Lost,
}

/// The open runs while no supervisor lives, after `some` of the living ones were killed too.
fn left_behind(supervisor: &Supervisor, rows: &mut Rows, dice: &mut fastrand::Rng, some: usize) -> Vec<Left> {
    let sql = "SELECT concat_ws(' ', id, key, pid, pid_start) FROM tenantcron_run WHERE finished_at IS NULL";
    let mut left: Vec<Left> = rows
        .list(sql)
        .iter()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let (run, tenant) = (words[0].parse().unwrap(), words[1].to_owned());
            let in_row = words.get(3).map(|start| (words[2].parse().unwrap(), start.parse().unwrap()));
            let file = LockWords::of(supervisor, &tenant);
            let process = file.process.filter(|_| file.run == Some(run)).or(in_row);
            Left { run, tenant, process, alive: false }
        })
        .collect();
    dice.shuffle(&mut left);
    for (pid, _) in left.iter().filter_map(|left| left.process).filter(|process| is_alive(*process)).take(some) {
        killpg(Pid::from_raw(pid), Signal::SIGKILL).ok();
        eventually(secs(5), "a killed child is dead", || !proc::is_alive(pid));
    }
    for left in &mut left {
        left.alive = match left.process {
            Some(process) => is_alive(process),
            None => is_held(supervisor, &format!("tenants/{}.lock", left.tenant)),
        };
    }
    left
}

fn is_alive((pid, start): (i32, u64)) -> bool {
    proc::stat(pid).is_some_and(|stat| stat.started == start && stat.state != 'Z')
}

/// What the log, from `offset` on, and the rows tell of those runs so far.
fn verdicts(supervisor: &Supervisor, rows: &mut Rows, left: &[Left], offset: usize) -> HashMap<i64, Verdict> {
    let log = supervisor.log();
    let log = &log[offset..];
    let ids: Vec<String> = left.iter().map(|left| left.run.to_string()).collect();
    let sql = format!("SELECT id::text FROM tenantcron_run WHERE outcome = 'lost' AND id IN (0{})", {
        ids.iter().map(|id| format!(", {id}")).collect::<String>()
    });
    let lost: BTreeSet<String> = rows.list(&sql).into_iter().collect();
    let verdict = |left: &Left| {
        let adopted = format!("{}: run {} lives on under pid ", left.tenant, left.run);
        match (log.matches(&adopted).count(), lost.contains(&left.run.to_string())) {
            (0, false) => None,
            (0, true) => Some(Verdict::Lost),
            (1, _) => Some(Verdict::Adopted),
            (times, _) => panic!("{left:?} was adopted {times} times by one supervisor:\n{log}"),
        }
    };
    left.iter().filter_map(|left| Some((left.run, verdict(left)?))).collect()
}

#[test]
fn two_hundred_kills_of_the_supervisor_lose_nothing_and_run_nothing_twice() {
    let mut dice = dice("two hundred kills");
    let database = cluster().database();
    let tenants: Vec<String> = (1..=TENANTS).map(|number| format!("t{number:02}")).collect();
    let mut supervisor = Supervisor::builder()
        .database(&database)
        .tenants(&tenants)
        .set("workers", WORKERS as i64)
        .set("schedule.every", "200ms")
        .set("database.poll", humantime::format_duration(POLL).to_string())
        .plan_for_all(WORK)
        .prepare();
    assert!(supervisor.command(&["migrate"]).status.success());
    supervisor.start();
    let mut rows = Rows::of(&database);
    let mut waits = Vec::new();
    let (mut alive, mut nameless, mut killed_too) = (0, 0, 0);
    // Runs that a dead supervisor left without a living process: only those may be lost.
    let (mut may_be_lost, mut must_be_lost) = (BTreeSet::new(), BTreeSet::new());

    for kill in 1..=KILLS {
        // Now and then in the middle of a start or of an adoption.
        if dice.u8(0..5) > 0 {
            let sql = "SELECT count(*) FROM tenantcron_run WHERE finished_at IS NULL";
            eventually(secs(30), "eight are at work", || match rows.one::<i64>(sql, &[]) as usize {
                WORKERS => Ok(()),
                other => Err(format!("{other} at work after kill {kill}:\n{}", supervisor.log())),
            });
            std::thread::sleep(millis(dice.u64(0..400)));
        } else {
            std::thread::sleep(millis(dice.u64(0..40)));
        }
        supervisor.kill9();
        let some = if dice.bool() { dice.usize(1..4) } else { 0 };
        let left = left_behind(&supervisor, &mut rows, &mut dice, some);
        let offset = supervisor.log().len();
        killed_too += some;
        alive += left.iter().filter(|left| left.alive).count();
        nameless += left.iter().filter(|left| left.alive && left.process.is_none()).count();
        may_be_lost.extend(left.iter().map(|left| left.run));
        must_be_lost.extend(left.iter().filter(|left| !left.alive).map(|left| left.run));

        let begun = Instant::now();
        supervisor.start();
        // Alive, and its supervisor died before it could write the pid down: the held lock speaks for it.
        let told = |left: &&Left| !left.alive || left.process.is_some();
        let found = eventually(POLL, "all that was left is adopted or lost", || {
            let found = verdicts(&supervisor, &mut rows, &left, offset);
            let open: Vec<&Left> = left.iter().filter(told).filter(|left| !found.contains_key(&left.run)).collect();
            if open.is_empty() { Ok(found) } else { Err(format!("{open:?}\n{}", &supervisor.log()[offset..])) }
        });
        waits.push(begun.elapsed());
        for left in left.iter().filter(|left| !left.alive) {
            assert_eq!(found[&left.run], Verdict::Lost, "adopted, and dead: {left:?}");
        }
        for left in left.iter().filter(|left| left.alive && found.get(&left.run) == Some(&Verdict::Lost)) {
            assert!(left.process.is_none_or(|process| !is_alive(process)), "lost, and alive: {left:?}");
        }
    }
    supervisor.signal(Signal::SIGQUIT);
    assert!(supervisor.wait_exit(secs(60)).success(), "{}", supervisor.log());

    let record = supervisor.journal().read();
    assert_eq!(record.overlaps(), [""; 0]);
    assert!(record.most_at_once() <= WORKERS, "{} at once", record.most_at_once());
    let outcomes = every_run_is_recorded_truly(&mut rows, &record, &may_be_lost);
    assert!(must_be_lost.iter().all(|run| outcomes.get(run).is_some_and(|outcome| outcome == "lost")));
    all_lost_ran_again(&mut rows);
    let count = |wanted: &str| outcomes.values().filter(|outcome| *outcome == wanted).count();
    waits.sort();
    println!(
        "{KILLS} kills, {killed_too} children killed too, {alive} alive ({nameless} without a pid written); {} runs: {} ok, {} failed, \
         {} adopted, {} lost; settled after the restart: median {:?}, longest {:?}",
        outcomes.len(),
        count("ok"),
        count("failed"),
        count("adopted"),
        count("lost"),
        waits[KILLS / 2],
        waits[KILLS - 1]
    );
    assert!(alive >= KILLS * 3, "only {alive} were alive over {KILLS} kills");
    assert!(count("adopted") >= KILLS / 2 && count("lost") >= KILLS / 2);
}

/// One row for each run that the jobs told of, closed with what the job did, or `adopted`, or (if it may) `lost`.
fn every_run_is_recorded_truly(rows: &mut Rows, record: &Record, may_be_lost: &BTreeSet<i64>) -> BTreeMap<i64, String> {
    let mut outcomes = BTreeMap::new();
    let sql = "SELECT concat_ws(' ', id, key, coalesce(outcome, 'open'), exit_code, signal,
               (extract(epoch FROM finished_at) * 1000000000)::int8) FROM tenantcron_run ORDER BY id";
    for line in rows.list(sql) {
        let words: Vec<&str> = line.split(' ').collect();
        let (run, tenant): (i64, &str) = (words[0].parse().unwrap(), words[1]);
        let its: Vec<_> = record.runs.iter().filter(|it| it.run == run).collect();
        assert!(its.len() <= 1 && its.iter().all(|it| it.tenant == tenant), "{line}: {its:?}");
        let job = its.first();
        match words[2..words.len() - 1] {
            ["ok", "0"] => {
                assert!(true_exit(run) == 0 && job.is_some_and(|job| job.exit == Some(0)), "{line}: {job:?}")
            }
            ["failed", "3"] => {
                assert!(true_exit(run) == 3 && job.is_some_and(|job| job.exit == Some(3)), "{line}: {job:?}");
            }
            // Its status went to nobody.
            ["adopted"] => assert!(job.is_some(), "{line}: nothing of it ever ran"),
            ["lost"] => {
                assert!(may_be_lost.contains(&run), "{line}: its supervisor lived");
                let finished: i64 = words[3].parse().unwrap();
                let ended_before = job.and_then(|job| job.end).is_none_or(|end| end <= finished);
                assert!(ended_before, "{line}: lost before it ended: {job:?}");
            }
            _ => panic!("{line}: {job:?}"),
        }
        outcomes.insert(run, words[2].to_owned());
    }
    for job in &record.runs {
        assert!(outcomes.contains_key(&job.run), "without a row: {job:?}");
    }
    outcomes
}

/// A tenant whose run was lost has a later run, or its row is needed still.
fn all_lost_ran_again(rows: &mut Rows) {
    let sql = "SELECT concat_ws(' ', r.id, r.key) FROM tenantcron_run r JOIN tenantcron_status s USING (key)
               WHERE r.outcome = 'lost' AND s.value <> 'needed'
                 AND NOT EXISTS (SELECT FROM tenantcron_run l WHERE l.key = r.key AND l.id > r.id)";
    assert_eq!(rows.list(sql), [""; 0], "lost and not run again");
}
