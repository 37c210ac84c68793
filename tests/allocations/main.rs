//! What a step of the scheduler allocates, among a thousand tenants and among a hundred thousand: a run and an idle
//! look cost the same among many as among few. Counted by the allocator, so that no clock and no other load matters;
//! a binary of its own, as an allocator serves a whole process, and with a single test, as it counts all threads.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test ends where the world is not as it should be, and shows its figures"
)]

mod world;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use world::World;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const FEW: usize = 1_000;
const MANY: usize = 100_000;
const LOOKS: usize = 60;
const RUNS: usize = 200;
/// How many times as much among many. A timer that goes and comes at the edge of its tree merges and splits a node at each
/// level, and there are two levels more among many: 4 of an idle look's allocations, 14 of a run's.
const MOST_FOR_A_LOOK: f64 = 1.5;
const MOST_FOR_A_RUN: f64 = 1.3;

/// Allocations (growing ones included) and bytes, per look or run.
#[derive(Debug, Clone, Copy)]
struct Cost {
    count: f64,
    bytes: f64,
}

#[test]
fn a_run_and_an_idle_look_allocate_the_same_among_many_tenants_as_among_few() {
    let (few, many) = (costs(FEW), costs(MANY));
    for (what, few, many, most) in
        [("idle look", few.0, many.0, MOST_FOR_A_LOOK), ("run", few.1, many.1, MOST_FOR_A_RUN)]
    {
        println!(
            "{what}: {:.2} allocations, {:.0} bytes among {FEW}; {:.2}, {:.0} among {MANY}",
            few.count, few.bytes, many.count, many.bytes
        );
        assert!(few.count > 0.0 && few.bytes > 0.0, "{what}: nothing was counted");
        assert!(
            many.count <= most * few.count,
            "{what}: {} allocations among {MANY}, {} among {FEW}",
            many.count,
            few.count
        );
        assert!(many.bytes <= most * few.bytes, "{what}: {} bytes among {MANY}, {} among {FEW}", many.bytes, few.bytes);
    }
}

/// Of an idle look and of a run.
fn costs(tenants: usize) -> (Cost, Cost) {
    let mut world = World::at_rest(tenants);
    let look = counted(&mut world, LOOKS, |world, _| world.look());
    assert_eq!((world.rows_read, world.ended), (0, 0), "idle looks were meant");
    let run = counted(&mut world, RUNS, |world, at| world.run((at * 7_919) % tenants));
    assert_eq!(world.ended, RUNS);
    (look, run)
}

fn counted(world: &mut World, times: usize, mut step: impl FnMut(&mut World, usize)) -> Cost {
    world.spent = (0, 0);
    (0..times).for_each(|at| step(world, at));
    Cost { count: world.spent.0 as f64 / times as f64, bytes: world.spent.1 as f64 / times as f64 }
}
