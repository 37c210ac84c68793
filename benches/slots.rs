//! A heavy-tailed mix on eight workers: how long a slot stands empty while a tenant is needed, and how long
//! tenants wait, with `rounds = "rolling"`, with `barrier`, and with the loop that runs one after another.
//! The children only sleep, so that slots and not CPUs are what is short; they stamp their own begin and
//! end, and name their slot by the lock file that they have inherited.
//!
//! Everybody is due at every slot of `every`, which is just long enough for the whole mix. A wait is counted
//! from the slot at which a tenant was due (the first after its last end), so that a round which begins late
//! counts as waiting; who still waits when the time is over counts with what it has waited so far.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench ends where the world is not as it should be, and measures by the host's clock"
)]

mod support;

use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use support::figures::{median, percentile};
use support::kit::cluster::Cluster;
use support::kit::daemon::Supervisor;
use support::kit::rows::{RunRow, runs};
use support::kit::wait::secs;
use support::kit::world::world;
use support::{child, epoch, peer};

const TENANTS: usize = 500;
const WORKERS: u32 = 8;
const MEDIAN_MS: f64 = 10.0;
/// Of the logarithm: one in 300 takes 100 times the median.
const SIGMA: f64 = 1.7;
const SEED: u64 = 9;
/// Of the workers' time that the mix would fill if every tenant ran at every slot.
const LOAD: f64 = 0.9;
const SLOTS: u32 = 5;
/// What the aim allows.
const ALLOWED_MS: f64 = 5.0;

fn main() {
    if !support::is_measuring() {
        return;
    }
    let cluster = support::durable_cluster(&[]);
    let nap = child::compile("nap", &[]);
    let mix = Mix::draw();
    support::conditions(cluster, "Slots and waits on a heavy-tailed mix, one shared database");
    mix.tell();
    let rolling = supervised(cluster, &nap, &mix, "rolling");
    let barrier = supervised(cluster, &nap, &mix, "barrier");
    let sequential = one_after_another(&nap, &mix);
    tell_empty_slots(&rolling);
    println!("\n| | runs in the time | wait, median | p99 | longest |");
    println!("| --- | --- | --- | --- | --- |");
    let ours = tell_waits("rolling", &rolling);
    for (name, other) in [("barrier", &barrier), ("one after another: one pass, due at its begin", &sequential)] {
        let theirs = tell_waits(name, other);
        let ratio = |at: usize| theirs[at] / ours[at];
        println!("| its waits / rolling's | | {:.1} | {:.1} | {:.1} |", ratio(0), ratio(1), ratio(2));
    }
    support::end(cluster);
}

/// The tenants by name (which holds how long each naps), and the interval.
struct Mix {
    names: Vec<String>,
    seconds: Vec<f64>,
    every: f64,
}

impl Mix {
    fn draw() -> Self {
        let mut random = fastrand::Rng::with_seed(SEED);
        let mut micros = |_| {
            let (angle, length) = (random.f64() * std::f64::consts::TAU, (-2.0 * (1.0 - random.f64()).ln()).sqrt());
            (MEDIAN_MS * 1000.0 * (SIGMA * length * angle.cos()).exp()) as u64
        };
        let micros: Vec<u64> = (0..TENANTS).map(&mut micros).collect();
        let names = micros.iter().enumerate().map(|(number, micros)| format!("tenant-{number:03}-{micros}")).collect();
        let seconds: Vec<f64> = micros.iter().map(|micros| *micros as f64 / 1e6).collect();
        let wanted = seconds.iter().sum::<f64>() / f64::from(WORKERS) / LOAD;
        Self { names, seconds, every: (wanted * 20.0).ceil() / 20.0 }
    }

    fn tell(&self) {
        let all: f64 = self.seconds.iter().sum();
        let middle = median(&self.seconds);
        let long = self.seconds.iter().filter(|seconds| **seconds >= 100.0 * middle).count();
        println!(
            "{TENANTS} tenants, log-normal (sigma {SIGMA}, seed {SEED}): median {:.0} ms, longest {:.2} s, {long} of 100 times \
             the median or more, {all:.1} s in all; {WORKERS} workers, every = {:.2} s ({:.0} % load), {SLOTS} slots of it",
            middle * 1000.0,
            percentile(&self.seconds, 100.0),
            self.every,
            all / f64::from(WORKERS) / self.every * 100.0
        );
    }
}

/// One run as its child told it; seconds since the epoch.
#[derive(Debug, Clone, Copy)]
struct Nap {
    start: f64,
    end: f64,
    slot: u32,
}

/// One wait of a tenant: from `due` to its start, or to the end of the time.
#[derive(Debug, Clone, Copy)]
struct Wait {
    due: f64,
    until: f64,
}

/// What was seen from the first slot to the end of the time.
struct Seen {
    began: f64,
    ended: f64,
    naps: Vec<Nap>,
    waits: Vec<Wait>,
}

fn supervised(cluster: &'static Cluster, nap: &Path, mix: &Mix, rounds: &str) -> Seen {
    let database = cluster.database();
    let configuration = Supervisor::builder()
        .tenants(&mix.names)
        .set("workers", i64::from(WORKERS))
        .set("job.command", vec![nap.display().to_string(), "{tenant}".to_owned()])
        .set("schedule.every", format!("{:.0}ms", mix.every * 1000.0))
        .set("schedule.rounds", rounds)
        .set("tenants.refresh", "1min")
        .set("log.level", "warn")
        .set("database.url", database.socket_url())
        .unset("database.poll");
    let output = configuration.clone().prepare().command(&["migrate"]);
    assert!(output.status.success(), "migrate: {}", String::from_utf8_lossy(&output.stderr));
    let mut client = database.connect();
    // Room for the start; nobody is due before.
    let began = ((epoch() + 2.0) / mix.every).ceil() * mix.every;
    let done = "UPDATE tenantcron_status SET value = 'done', updated_at = to_timestamp($1) - interval '1 ms'";
    assert_eq!(client.execute(done, &[&began]).expect("UPDATE"), TENANTS as u64, "rows of all tenants");
    let mut supervisor = configuration.start();
    assert!(epoch() < began, "it started too late to be seen from the first slot on");
    let ended = began + mix.every * f64::from(SLOTS);
    std::thread::sleep(Duration::from_secs_f64((ended - epoch()).max(0.0)));
    // It drains: every child tells of its end.
    supervisor.signal(Signal::SIGQUIT);
    assert!(supervisor.wait_exit(secs(20)).success(), "the supervisor failed: {}", supervisor.log());
    let (mut naps, mut waits) = (Vec::new(), Vec::new());
    let all = runs(&mut client);
    for name in &mix.names {
        let own = naps_in(&supervisor.tenant_log(name), name);
        let ends = ends_of(&all, name);
        assert_eq!(own.len(), ends.len(), "runs of {name}, and good ones on record");
        let mut due = began;
        for (nap, end) in own.iter().zip(ends).filter(|(nap, _)| nap.start < ended) {
            assert!(nap.start >= due, "{name} ran before it was due: {nap:?}, due {due}");
            waits.push(Wait { due, until: nap.start });
            naps.push(*nap);
            // Its row counts: it is done a little later than its child.
            due = ((end / mix.every).floor() + 1.0) * mix.every;
        }
        waits.extend((due < ended).then_some(Wait { due, until: ended }));
    }
    Seen { began, ended, naps, waits }
}

/// What the children of a tenant told, in order.
fn naps_in(log: &str, name: &str) -> Vec<Nap> {
    let lines = log.lines().filter_map(|line| line.strip_prefix("nap ")?.strip_prefix(name)?.strip_prefix(' '));
    lines
        .map(|line| {
            let told: Vec<f64> = line.split(' ').map(|word| word.parse().expect("a figure")).collect();
            Nap { start: told[0] / 1e9, end: told[1] / 1e9, slot: told[2] as u32 }
        })
        .collect()
}

/// When its runs ended by the run table, each of them well.
fn ends_of(all: &[RunRow], name: &str) -> Vec<f64> {
    let own = all.iter().filter(|run| run.key == name);
    own.map(|run| {
        assert_eq!(run.outcome.as_deref(), Some("ok"), "a run of {name}");
        run.finished_at.expect("an end") as f64 / 1e6
    })
    .collect()
}

/// The loop in the way of cron: the next begins when the last one has ended.
fn one_after_another(nap: &Path, mix: &Mix) -> Seen {
    let folder = world().folder("loop");
    let (list, log) = (folder.join("list"), folder.join("log"));
    std::fs::write(&list, mix.names.join("\n") + "\n").expect("the list");
    let mut command = peer::command("/bin/sh");
    command.args(["-c", "while read -r name; do \"$0\" \"$name\" || exit 1; done <\"$1\" >\"$2\""]);
    let began = epoch();
    peer::run({
        command.arg(nap).arg(&list).arg(&log);
        command
    });
    let ended = epoch();
    let text = std::fs::read_to_string(&log).expect("the loop's log");
    let naps: Vec<Nap> = mix.names.iter().flat_map(|name| naps_in(&text, name)).collect();
    assert_eq!(naps.len(), TENANTS, "runs of the loop");
    let waits = naps.iter().map(|nap| Wait { due: began, until: nap.start }).collect();
    Seen { began, ended, naps, waits }
}

/// A time in which a slot was empty and a tenant needed.
struct Empty {
    seconds: f64,
    /// It began with the end of a run; else when somebody became due.
    after_an_end: bool,
}

fn tell_empty_slots(seen: &Seen) {
    let needed = needed(&seen.waits);
    let slots: BTreeSet<u32> = seen.naps.iter().map(|nap| nap.slot).collect();
    assert_eq!(slots, (1..=WORKERS).collect(), "the slots that children were seen in");
    let empty: Vec<Empty> = slots.iter().flat_map(|slot| empty_in(*slot, seen, &needed)).collect();
    let busy: f64 = needed.iter().map(|wait| wait.until - wait.due).sum();
    let lost: f64 = empty.iter().map(|empty| empty.seconds).sum();
    println!("\n| a slot empty while a tenant is needed: ms | times | p50 | p99 | longest | over {ALLOWED_MS} ms |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for (what, after_an_end) in [("from the end of a run in it", true), ("from the moment that somebody is due", false)]
    {
        let chosen = empty.iter().filter(|empty| empty.after_an_end == after_an_end);
        let ms: Vec<f64> = chosen.map(|empty| empty.seconds * 1000.0).collect();
        if ms.is_empty() {
            continue;
        }
        let [p50, p99, most] = [50.0, 99.0, 100.0].map(|percent| percentile(&ms, percent));
        let over = ms.iter().filter(|ms| **ms > ALLOWED_MS).count();
        println!("| {what} | {} | {p50:.2} | {p99:.2} | {most:.2} | {over} |", ms.len());
    }
    println!(
        "| of all slots' time while somebody was needed ({:.0} % of {:.1} s): lost | | | | {:.2} % | |",
        busy / (seen.ended - seen.began) * 100.0,
        seen.ended - seen.began,
        lost / (busy * f64::from(WORKERS)) * 100.0
    );
}

/// When anybody was needed: waits that touch are one.
fn needed(waits: &[Wait]) -> Vec<Wait> {
    let mut sorted = waits.to_vec();
    sorted.sort_by(|one, other| one.due.total_cmp(&other.due));
    let mut merged: Vec<Wait> = Vec::new();
    for wait in sorted {
        match merged.last_mut() {
            Some(last) if wait.due <= last.until => last.until = last.until.max(wait.until),
            _ => merged.push(wait),
        }
    }
    merged
}

fn empty_in(slot: u32, seen: &Seen, needed: &[Wait]) -> Vec<Empty> {
    let mut naps: Vec<Nap> = seen.naps.iter().filter(|nap| nap.slot == slot).copied().collect();
    naps.sort_by(|one, other| one.start.total_cmp(&other.start));
    let starts = naps.iter().map(|nap| nap.start).chain([seen.ended]);
    let ends = std::iter::once(seen.began).chain(naps.iter().map(|nap| nap.end));
    ends.zip(starts)
        .flat_map(|(from, to)| {
            assert!(from <= to || to == seen.ended, "two runs in slot {slot} at once");
            needed.iter().filter(move |wait| wait.due < to && wait.until > from).map(move |wait| Empty {
                seconds: wait.until.min(to) - wait.due.max(from),
                after_an_end: from > wait.due,
            })
        })
        .collect()
}

/// Median, 99th and longest; seconds.
fn tell_waits(name: &str, seen: &Seen) -> [f64; 3] {
    let waits: Vec<f64> = seen.waits.iter().map(|wait| wait.until - wait.due).collect();
    let told = [50.0, 99.0, 100.0].map(|percent| percentile(&waits, percent));
    let [p50, p99, most] = told;
    println!(
        "| {name} | {} in {:.1} s | {p50:.2} s | {p99:.2} s | {most:.2} s |",
        seen.naps.len(),
        seen.ended - seen.began
    );
    told
}
