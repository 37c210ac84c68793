//! The core in a fake world: several nodes, a fake kernel a host, fake databases, faults from a seed. Time is virtual, a
//! night takes milliseconds. `SEED=n` runs one seed with its trace, `SEEDS=n` so many; a seed that fails is made small first.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]

mod checks;
mod database;
mod dice;
mod flaws;
mod happened;
mod happening;
mod host;
mod mischief;
mod nights;
mod plan;
mod shell;
mod shrink;
mod supervisor;
mod trace;
mod world;

use flaws::FOUND;
use happened::{HAPPENED, MANY};
use nights::{ENOUGH, invariant, night, nights, planned, quietly};
use shrink::shrink;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// About a minute on two processors that have other tests to run.
const SEEDS: u64 = 15_000;
/// Lines of a trace.
const SHOWN: usize = 250;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Where a trace stands whole.
fn keep(seed: u64, trace: &str) -> PathBuf {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("seed-{seed}.txt"));
    std::fs::write(&kept, trace).unwrap();
    kept
}

/// A seed that fails, told as small as it can be made. All of it stands in a file.
fn tell(seed: u64, broken: &str) -> String {
    let plan = planned(seed, None);
    let whole = std::env::var_os("WHOLE").is_some();
    let smallest = quietly(|| if whole { None } else { Some(shrink(&plan, broken)) });
    let (plan, note) = match smallest {
        Some(smallest) => (smallest.plan, format!("shrunk to {} faults in {} nights", smallest.faults, smallest.tries)),
        None => (plan, "not shrunk".to_owned()),
    };
    let again = quietly(|| night(plan, true));
    let broken = again.broken.unwrap_or_default();
    let kept = keep(seed, &format!("{}{note}: {broken}\n", again.world.trace.text(usize::MAX)));
    format!(
        "{}{note}: {broken}\nthe trace stands in {}; not shrunk: WHOLE=1 make simulate SEED={seed}",
        again.world.trace.text(SHOWN),
        kept.display()
    )
}

#[test]
fn the_invariants_hold_in_every_night() {
    let seeds = number("SEEDS").unwrap_or(SEEDS);
    let (first, last) = number("SEED").map_or((0, seeds), |seed| (seed, seed + 1));
    let result = quietly(|| nights(first, last, None, ENOUGH));
    eprintln!(
        "{} nights, {} steps in {:.1} s: {:.0} nights a second",
        result.nights,
        result.steps,
        result.seconds,
        result.nights as f64 / result.seconds
    );
    if std::env::var_os("TALLY").is_some() {
        eprintln!("{:#?}", result.tally);
    }
    if let Some((seed, broken)) = result.failed.first() {
        eprintln!("{}", tell(*seed, broken));
        let all: Vec<_> = result.failed.iter().map(|(seed, text)| format!("SEED={seed}: {text}")).collect();
        panic!("{}", all.join("\n"));
    }
    if let Some(seed) = number("SEED") {
        let trace = quietly(|| night(planned(seed, None), true)).world.trace.text(usize::MAX);
        eprintln!("all is well in it; its trace stands in {}", keep(seed, &trace).display());
    }
    let missing: Vec<_> = HAPPENED.iter().filter(|thing| !result.tally.contains_key(**thing)).collect();
    assert!(result.nights < MANY || missing.is_empty(), "these never happened: {missing:?}");
}

#[test]
fn a_seed_gives_the_same_night_again() {
    for seed in 1..=16 {
        let digests = quietly(|| [(); 2].map(|()| night(planned(seed, None), true).world.trace.digest));
        assert_eq!(digests[0], digests[1], "seed {seed}");
    }
}

#[test]
fn what_is_wrong_on_purpose_is_found_and_by_its_own_invariant() {
    for (flaw, within, by) in FOUND {
        let result = quietly(|| nights(0, within, Some(flaw), 8));
        let found: BTreeSet<_> = result.failed.iter().map(|(_, broken)| invariant(broken)).collect();
        eprintln!("{flaw:?}: found in {} of {} nights by {found:?}", result.failed.len(), result.nights);
        assert!(found.contains(by), "{flaw:?} was not found by {by:?} within {within} nights, but by {found:?}");
    }
}
