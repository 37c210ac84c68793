//! The protocol as stateright wants it: what must never be, and what must be seen lest the rest prove nothing.

use crate::exchange::{Exchange, Mark};
use crate::healing::{Healed, Who};
use crate::moves::{self, Move};
use crate::protocol::Protocol;
use crate::rules::Rules;
use crate::tidy;
use crate::world::{Fate, Life, NODES, Outcome, RunId, Stage, TENANTS, World, Wrong};
use stateright::{Model, Property};

pub const ONE_CHILD: &str = "a tenant has at most one living child";
pub const TRUE_ENDS: &str = "an end is recorded once, as it was seen";
pub const ONE_OPEN_RUN: &str = "a tenant has at most one open run";
pub const NEVER_LOST: &str = "no node loses a run whose child lives";
pub const ADOPTED: &str = "what outlives its supervisor is adopted";
pub const NEEDED: &str = "only what is needed is claimed";
pub const ALL_DONE: &str = "once faults cease all is done";
pub const SURVIVOR: &str = "with a lease one node is enough to get all done";
pub const ROOM: &str = "the model has places enough for runs";

/// Seen in a world, it shows that the world has more in it than quiet nights.
pub const SEEN_ADOPTED: &str = "an adopter has recorded an end";
pub const SEEN_LOST: &str = "a node has lost a run";
pub const SEEN_LATE: &str = "what was adrift has committed";
pub const SEEN_TAKEN: &str = "a run was taken over while its child lived";
pub const SEEN_FENCED: &str = "a run was ended for want of confirmation";
pub const SEEN_BACK: &str = "a claim was given back unstarted";

pub struct Checked {
    protocol: Protocol,
    healed: Healed,
}

impl Checked {
    pub fn new(rules: Rules) -> Self {
        Self { protocol: Protocol { rules }, healed: Healed::default() }
    }

    fn all_heal(&self, world: &World) -> bool {
        world.wrong != 0 || self.healed.heals(&self.protocol, world, Who::Both)
    }

    /// Where one is gone for good, be it dead, stopped, frozen or cut off. Without a lease nobody takes what it left.
    fn survivor_heals(&self, world: &World) -> bool {
        let there = |it: usize| world.supervisors[it].life == Life::Running && !world.supervisors[it].cut;
        let gone = |it: usize| !there(it) && world.supervisors[it].life != Life::Waking;
        let heals = |it| self.healed.heals(&self.protocol, world, Who::Only(it));
        self.protocol.rules.lease.is_none()
            || world.wrong != 0
            || (0..NODES).all(|it| !(there(it) && gone(1 - it)) || heals(it))
    }
}

impl Model for Checked {
    type State = World;
    type Action = Move;

    fn init_states(&self) -> Vec<World> {
        let Rules { needed, most_faults, requests, .. } = self.protocol.rules;
        vec![World::new(needed, most_faults, requests)]
    }

    fn actions(&self, world: &World, moves: &mut Vec<Move>) {
        moves::candidates(&self.protocol.rules, world, moves);
    }

    fn next_state(&self, world: &World, step: Move) -> Option<World> {
        let rules = &self.protocol.rules;
        let next = self.protocol.step(world, step)?;
        Some(if rules.symmetric { tidy::representative(&next, rules) } else { next })
    }

    fn properties(&self) -> Vec<Property<Self>> {
        type Holds = fn(&Checked, &World) -> bool;
        let always: [(&str, Holds); 9] = [
            (ONE_CHILD, |it, world| !world.has(Wrong::SecondOnHost) && it.protocol.one_child(world)),
            (TRUE_ENDS, |_, world| !world.has(Wrong::FalseEnd) && !world.has(Wrong::Overwritten)),
            (ONE_OPEN_RUN, |it, world| it.protocol.one_open_run(world)),
            (NEVER_LOST, |_, world| !world.has(Wrong::LostAlive)),
            (ADOPTED, |it, world| it.protocol.orphans_are_adopted(world)),
            (NEEDED, |_, world| !world.has(Wrong::Unneeded)),
            (ALL_DONE, Checked::all_heal),
            (SURVIVOR, Checked::survivor_heals),
            (ROOM, |_, world| !world.has(Wrong::NoPlace)),
        ];
        let sometimes: [(&str, Holds); 6] = [
            (SEEN_ADOPTED, |_, world| has_stage(world, |stage| matches!(stage, Stage::Ended(_, Outcome::Adopted)))),
            (SEEN_LOST, |_, world| has_stage(world, |stage| matches!(stage, Stage::Ended(_, Outcome::Lost)))),
            (SEEN_LATE, seen_late),
            (SEEN_TAKEN, seen_taken),
            (SEEN_FENCED, |_, world| has_stage(world, |stage| matches!(stage, Stage::Ended(_, Outcome::Stopped)))),
            (SEEN_BACK, |_, world| has_stage(world, |stage| matches!(stage, Stage::Ended(_, Outcome::Undone)))),
        ];
        let always = always.into_iter().map(|(name, holds)| Property::always(name, holds));
        always.chain(sometimes.into_iter().map(|(name, holds)| Property::sometimes(name, holds))).collect()
    }
}

fn has_stage(world: &World, wanted: fn(Stage) -> bool) -> bool {
    world.supervisors.iter().flat_map(|supervisor| &supervisor.watches).any(|watch| wanted(watch.stage))
}

/// An open run without a process, of which nobody knows although nobody has died: its claim's answer was given up.
fn seen_late(_: &Checked, world: &World) -> bool {
    (0..TENANTS).all(|tenant| world.open_run(tenant).is_none_or(|id| !is_known(world, tenant, id)))
        && (0..TENANTS).any(|tenant| world.open_run(tenant).is_some())
        && world.supervisors.iter().all(|supervisor| supervisor.life == Life::Running)
}

fn is_known(world: &World, tenant: usize, id: RunId) -> bool {
    let started = world.run(tenant, id).is_some_and(|run| run.fate != Fate::None);
    let claimed = |exchange: &Exchange| exchange.said[tenant].mark == Mark::Claimed(id);
    started
        || world.supervisors.iter().any(|it| it.watches[tenant].stage.run() == Some(id))
        || world.exchanges().any(claimed)
}

fn seen_taken(_: &Checked, world: &World) -> bool {
    let child = |tenant: usize, id: RunId| world.hosts.iter().any(|host| host[tenant].child == Some(id));
    (0..TENANTS)
        .any(|tenant| world.runs(tenant).any(|(id, run)| run.outcome == Some(Outcome::Lost) && child(tenant, id)))
}
