//! Many nights, on all processors: each from its seed.

use crate::flaws::Flaw;
use crate::plan::Plan;
use crate::world::World;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// After so many failures the rest is not worth the time.
pub const ENOUGH: usize = 3;

/// What came of many nights.
#[derive(Debug, Default)]
pub struct Nights {
    pub nights: u64,
    pub steps: u64,
    pub seconds: f64,
    pub tally: BTreeMap<String, u64>,
    /// Seeds, and what broke.
    pub failed: Vec<(u64, String)>,
}

/// What came of one.
pub struct Night {
    pub world: World,
    pub broken: Option<String>,
}

/// One night by a plan; what broke, if something did, and the world as it stood then.
pub fn night(plan: Plan, traced: bool) -> Night {
    let mut world = World::new(plan, traced);
    let result = catch_unwind(AssertUnwindSafe(|| world.run()));
    let broken = result.err().map(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    });
    Night { world, broken }
}

/// The plan of a seed, with a flaw in the world.
pub fn planned(seed: u64, flaw: Option<Flaw>) -> Plan {
    Plan { flaw, ..Plan::of(seed) }
}

/// The name of the invariant that broke.
pub fn invariant(broken: &str) -> &str {
    // `assert_eq!` puts its own words first.
    let text = broken.split_once("failed: ").map_or(broken, |(_, text)| text);
    text.split(':').next().unwrap_or_default()
}

/// The nights of these seeds, until enough have failed.
#[expect(clippy::disallowed_methods, reason = "how fast the nights are goes by the host's clock")]
pub fn nights(first: u64, last: u64, flaw: Option<Flaw>, enough: usize) -> Nights {
    let begun = Instant::now();
    let (next, result) = (AtomicU64::new(first), Mutex::new(Nights::default()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= last || result.lock().unwrap().failed.len() >= enough {
                        return;
                    }
                    let Night { world, broken } = night(planned(seed, flaw), false);
                    let mut result = result.lock().unwrap();
                    result.nights += 1;
                    result.steps += world.trace.steps;
                    for (thing, times) in world.trace.tally {
                        *result.tally.entry(thing).or_default() += times;
                    }
                    result.failed.extend(broken.map(|text| (seed, text)));
                }
            });
        }
    });
    let mut nights = result.into_inner().unwrap();
    nights.seconds = begun.elapsed().as_secs_f64();
    nights
}

/// Runs without a panic's words on standard error: they are told with their seed.
pub fn quietly<T>(work: impl FnOnce() -> T) -> T {
    std::panic::set_hook(Box::new(|_| {}));
    let result = work();
    drop(std::panic::take_hook());
    result
}
