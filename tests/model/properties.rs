//! What must hold in every state that can be reached, as far as the state itself tells. What a step does wrong is noted
//! by the step ([`Wrong`](crate::world::Wrong)).

use crate::moves::Move;
use crate::protocol::Protocol;
use crate::world::{Life, Local, NODES, RunId, Stage, TENANTS, UNCONFIRMED, World};

impl Protocol {
    /// At most one living child per tenant. With a lease a second one is excused beside a child whose run was taken
    /// from a supervisor that, alone, is stopped, dead, or back and sure of nothing yet.
    pub fn one_child(&self, world: &World) -> bool {
        (0..TENANTS).all(|tenant| {
            let excused = |host: usize| {
                let run = self.executes(world, host, tenant);
                run.is_some_and(|run| !world.is_open(tenant, run) && !self.is_watched(world, host, tenant, run))
            };
            let living = (0..NODES).filter(|host| self.executes(world, *host, tenant).is_some()).count();
            living < 2 || self.rules.lease.is_some() && (0..NODES).any(excused)
        })
    }

    /// The run whose child executes on this host: one that stands still with its host does nothing.
    fn executes(&self, world: &World, host: usize, tenant: usize) -> Option<RunId> {
        world.hosts[host][tenant].child.filter(|_| !self.is_frozen(world, host))
    }

    /// A running supervisor watches this child, and knows until when it may.
    fn is_watched(&self, world: &World, host: usize, tenant: usize, run: RunId) -> bool {
        self.on_host(host).any(|it| {
            let watch = world.supervisors[it].watches[tenant];
            let knows = world.supervisors[it].life == Life::Running && watch.since != UNCONFIRMED;
            knows && watch.stage.watched() == Some(run)
        })
    }

    pub fn one_open_run(&self, world: &World) -> bool {
        (0..TENANTS).all(|tenant| world.runs(tenant).filter(|(_, run)| run.is_open()).count() < 2)
    }

    /// An open run whose child has outlived its supervisor is adopted by whoever may look, and never lost. Where the
    /// supervisor died between spawn and word, its lock alone speaks, and it is left alone.
    pub fn orphans_are_adopted(&self, world: &World) -> bool {
        (0..NODES).all(|it| (0..TENANTS).all(|tenant| self.adopts(world, it, tenant)))
    }

    fn adopts(&self, world: &World, it: usize, tenant: usize) -> bool {
        let host = self.rules.host_of(it);
        let from = &world.supervisors[it];
        let Local { child, names_process, by, .. } = world.hosts[host][tenant];
        let Some(run) = child.filter(|run| world.is_open(tenant, *run)) else { return true };
        let watched =
            self.on_host(host).any(|other| world.supervisors[other].watches[tenant].stage.watched() == Some(run));
        let starting = from.watches.iter().any(|watch| matches!(watch.stage, Stage::Starting(_)));
        let looks = from.life == Life::Running && !from.cut && !starting && from.watches[tenant].stage == Stage::Idle;
        if watched || by.is_some() || !looks {
            return true;
        }
        let after = self.step(world, Move::Examine(it, tenant, run));
        match after.map(|after| after.supervisors[it].watches[tenant].stage) {
            Some(Stage::Adopted(_)) => names_process,
            Some(_) => false,
            None => !names_process,
        }
    }
}
