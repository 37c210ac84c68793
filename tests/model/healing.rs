//! Liveness: from every state, once faults cease, all tenants get done. Shown by a way that leads there: the first
//! possible step in the order below is taken, again and again.

use crate::exchange::Part;
use crate::moves::{self, Move};
use crate::protocol::Protocol;
use crate::tidy;
use crate::world::{Life, Stage, Value, World};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;

/// No way is longer.
const LONGEST: usize = 200;

/// States from which the way is known to lead to the end.
#[derive(Debug, Default)]
pub struct Healed(Mutex<HashSet<u64>>);

/// Who is there to do the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    /// Both: what is dead starts again, what stands still goes on.
    Both,
    /// One supervisor; the other stays as it is.
    Only(usize),
}

impl Healed {
    /// True if there is such a way.
    pub fn heals(&self, protocol: &Protocol, world: &World, who: Who) -> bool {
        let mut at = *world;
        let mut passed = Vec::new();
        while !is_done(&at, who) {
            let name = name(protocol, &at, who);
            if self.known().contains(&name) {
                break;
            }
            passed.push(name);
            let Some(next) = next(protocol, &at, who).filter(|_| passed.len() < LONGEST) else { return false };
            at = next;
        }
        self.known().extend(passed);
        true
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashSet<u64>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The same for states that heal alike.
fn name(protocol: &Protocol, world: &World, who: Who) -> u64 {
    let rules = &protocol.rules;
    let (world, who) = match who {
        _ if !rules.symmetric => (*world, who),
        Who::Both => (tidy::representative(world, rules), who),
        Who::Only(supervisor) => {
            let world = if supervisor == 0 { *world } else { tidy::swap_nodes(world, rules) };
            (world.min(tidy::swap_tenants(&world)), Who::Only(0))
        }
    };
    let mut hasher = DefaultHasher::new();
    (world, who).hash(&mut hasher);
    hasher.finish()
}

/// All is done and recorded.
fn is_done(world: &World, who: Who) -> bool {
    let rows =
        world.rows.iter().all(|rows| rows.value == Value::Done && rows.runs.iter().flatten().all(|run| !run.is_open()));
    let told = |supervisor: usize| {
        world.supervisors[supervisor].watches.iter().all(|watch| watch.stage == Stage::Idle)
            && world.hosts[supervisor].iter().all(|local| local.unrecorded.is_none())
    };
    rows && match who {
        Who::Both => (0..world.supervisors.len()).all(told),
        Who::Only(supervisor) => told(supervisor),
    }
}

fn next(protocol: &Protocol, world: &World, who: Who) -> Option<World> {
    let mut moves = Vec::new();
    moves::candidates(&protocol.rules, world, &mut moves);
    let ranked = moves.into_iter().filter_map(|step| Some((rank(protocol, world, step, who)?, step)));
    let mut ranked: Vec<_> = ranked.collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().find_map(|(_, step)| protocol.step(world, step))
}

/// Lower goes first; `None` is not needed, or is a fault, or would need who is not there.
fn rank(protocol: &Protocol, world: &World, step: Move, who: Who) -> Option<u8> {
    let there = |supervisor: usize| who == Who::Both || who == Who::Only(supervisor);
    Some(match step {
        Move::Restart(it) | Move::GoOn(it) | Move::Wake(it) | Move::Join(it) if there(it) => 0,
        Move::Spawn(it, _) if there(it) || world.supervisors[it].life == Life::Running => 1,
        Move::Hear(it) if there(it) => 2,
        Move::Commit(_) | Move::AdriftCommits(_) => 3,
        Move::Begin(_) | Move::AdriftBegins(_) => 4,
        Move::ChildEnds(it, _) if there(it) => 5,
        Move::TakeUp(it, _) if there(it) => 6,
        Move::Examine(it, tenant, run) if there(it) && world.is_open(tenant, run) => 7,
        Move::Send(it, tenants) if there(it) && is_needed(protocol, world, it, tenants) => 8,
        // A supervisor that runs, cut off, ends what it must not keep.
        Move::Fence(it, _) if !there(it) => 9,
        Move::Tick => 10,
        _ => return None,
    })
}

/// Something of it brings the work on. The whole of it is no better than its parts.
fn is_needed(protocol: &Protocol, world: &World, supervisor: usize, tenants: u8) -> bool {
    (0..world.rows.len())
        .filter(|tenant| tenants & 1 << tenant != 0)
        .all(|tenant| !matches!(protocol.part(world, supervisor, tenant), None | Some(Part::Refresh(_))))
}
