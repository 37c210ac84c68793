//! The core in a fake world: several nodes, a fake kernel each, fake databases, faults from a seed. Time is
//! virtual, a night takes milliseconds. `SEED=n` runs one seed with its trace, `SEEDS=n` so many.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]

mod database;
mod faults;
mod hearing;
mod invariants;
mod kernel;
mod ledger;
mod line;
mod lives;
mod mischief;
mod order;
mod plan;
mod rows;
mod shell;
mod supervisor;
mod trace;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use world::World;

const SEEDS: u64 = 10_000;
/// After so many failures the rest is not worth the time.
const ENOUGH: usize = 3;

/// What must have happened in many nights, lest they prove nothing.
const HAPPENED: [&str; 26] = [
    "deed Claimed",
    "deed Closed",
    "deed Released",
    "deed Reset",
    "deed Undone",
    "exit Done",
    "exit NoDatabase",
    "exit Refused",
    "exit Unrecorded",
    "notice Adopted",
    "notice DatabaseUp",
    "notice Ending",
    "notice GroupLeft",
    "notice Late",
    "notice Lost",
    "notice Released",
    "notice SpawnFailed",
    "notice Stale",
    "notice Would",
    "outcome Adopted",
    "outcome Failed",
    "outcome Killed",
    "outcome Lost",
    "outcome Ok",
    "outcome Stopped",
    "outcome Timeout",
];
const MANY: u64 = 5_000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// One night; what broke, if something did, and the world as it stood then.
fn night(seed: u64, traced: bool) -> (World, Option<String>) {
    let mut world = World::new(seed, traced);
    let result = catch_unwind(AssertUnwindSafe(|| world.run()));
    let broken = result.err().map(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    });
    (world, broken)
}

#[test]
fn the_invariants_hold_in_every_night() {
    std::panic::set_hook(Box::new(|_| {}));
    let seeds = number("SEEDS").unwrap_or(SEEDS);
    let (first, last) = number("SEED").map_or((0, seeds), |seed| (seed, seed + 1));
    let (next, steps) = (AtomicU64::new(first), AtomicU64::new(0));
    let failed = Mutex::new(Vec::new());
    let tally = Mutex::new(BTreeMap::<String, u64>::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= last || failed.lock().unwrap().len() >= ENOUGH {
                        return;
                    }
                    let (world, broken) = night(seed, false);
                    steps.fetch_add(world.trace.steps, Ordering::Relaxed);
                    for (thing, times) in world.trace.tally {
                        *tally.lock().unwrap().entry(thing).or_default() += times;
                    }
                    if let Some(text) = broken {
                        failed.lock().unwrap().push((seed, text));
                    }
                }
            });
        }
    });
    drop(std::panic::take_hook());
    let failed = failed.into_inner().unwrap();
    let tally = tally.into_inner().unwrap();
    eprintln!("{} seeds, {} steps: {tally:?}", last - first, steps.into_inner());
    let missing: Vec<_> = HAPPENED.iter().filter(|thing| !tally.contains_key(**thing)).collect();
    assert!(last - first < MANY || !failed.is_empty() || missing.is_empty(), "these never happened: {missing:?}");
    if let Some((seed, text)) = failed.first() {
        std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
        let (world, again) = night(*seed, true);
        drop(std::panic::take_hook());
        eprintln!("{}", world.trace.text());
        let all: Vec<_> = failed.iter().map(|(seed, text)| format!("SEED={seed}: {text}")).collect();
        panic!("{text}\nagain: {again:?}\n{}\nreproduce with SEED={seed} cargo test --test simulation", all.join("\n"));
    }
}

#[test]
fn a_seed_gives_the_same_night_again() {
    for seed in [1, 2, 3, 4, 5, 6] {
        let digests = [(); 2].map(|()| night(seed, true).0.trace.digest);
        assert_eq!(digests[0], digests[1], "seed {seed}");
    }
}
