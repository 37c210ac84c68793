//! What a host's kernel and state folder tell and do: locks, children, whether an open run lives.

use crate::protocol::Protocol;
use crate::rules::Mutation;
use crate::world::{Fate, Life, Local, NODES, Outcome, RunId, Stage, TENANTS, World, Wrong};

/// What is true of an open run of this node that its supervisor does not know (`process::examine`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Living,
    /// Another living supervisor watches it, or its end stands in a file.
    Supervised,
    Dead,
    /// Its lock is held and no process is named.
    Claimed,
}

impl Protocol {
    /// The tenant's lock is held on this host: by its child, or by a supervisor that claims or watches.
    pub(crate) fn is_locked(&self, world: &World, host: usize, tenant: usize) -> bool {
        if self.rules.has(Mutation::NoTenantLock) {
            return false;
        }
        let holds = |stage: Stage| match stage {
            Stage::Idle => false,
            Stage::Ended(_, outcome) => outcome.is_end() && self.rules.has(Mutation::LockUntilRecorded),
            Stage::Offered => !self.rules.has(Mutation::ClaimBeforeLock),
            Stage::Starting(_) | Stage::Running(_) | Stage::Adopted(_) => true,
        };
        world.hosts[host][tenant].child.is_some() || self.stages_on(world, host, tenant).any(|(_, stage)| holds(stage))
    }

    pub(crate) fn on_host(&self, host: usize) -> impl Iterator<Item = usize> + use<> {
        let rules = self.rules;
        (0..NODES).filter(move |it| rules.host_of(*it) == host)
    }

    /// What the living supervisors of a host make of a tenant.
    fn stages_on(&self, world: &World, host: usize, tenant: usize) -> impl Iterator<Item = (usize, Stage)> {
        self.on_host(host).map(move |it| (it, world.supervisors[it].watches[tenant].stage))
    }

    /// It stands still, children and all.
    pub(crate) fn is_frozen(&self, world: &World, host: usize) -> bool {
        self.on_host(host).any(|it| world.supervisors[it].life == Life::Frozen)
    }

    /// As `process::examine` judges, and ends that stand in a file before that.
    pub(crate) fn examine(&self, world: &World, it: usize, tenant: usize, run: RunId) -> Option<Verdict> {
        let host = self.rules.host_of(it);
        let row = world.run(tenant, run).filter(|row| usize::from(row.host) == host)?;
        if self.rules.has(Mutation::LoseUnseen) {
            return Some(Verdict::Dead);
        }
        if self.end_is_known(world, host, tenant, run) {
            return Some(Verdict::Supervised);
        }
        let local = &world.hosts[host][tenant];
        let held = self.is_locked(world, host, tenant) && !self.rules.has(Mutation::LockNotAsked);
        let by_lock = if held { Verdict::Claimed } else { Verdict::Dead };
        if !row.this_boot {
            return Some(by_lock);
        }
        let by = local.by.map(usize::from);
        if by.is_some_and(|by| by != it) && !self.rules.has(Mutation::LoseSupervised) {
            return Some(Verdict::Supervised);
        }
        let names_it = local.run == Some(run);
        let verdict = if names_it && local.names_process {
            if local.child == Some(run) { Verdict::Living } else { Verdict::Dead }
        } else if !names_it && by == Some(it) {
            Verdict::Dead
        } else {
            by_lock
        };
        let keeps = |stage| match stage {
            Stage::Adopted(_) => true,
            Stage::Ended(_, outcome) => outcome == Outcome::Adopted && self.rules.has(Mutation::LockUntilRecorded),
            Stage::Idle | Stage::Offered | Stage::Starting(_) | Stage::Running(_) => false,
        };
        let mut others = self.stages_on(world, host, tenant).filter(|(other, _)| *other != it);
        Some(match verdict {
            Verdict::Living | Verdict::Dead if others.any(|(_, stage)| keeps(stage)) => Verdict::Supervised,
            Verdict::Living | Verdict::Dead | Verdict::Supervised | Verdict::Claimed => verdict,
        })
    }

    /// Its end stands in the file of a supervisor, living or dead.
    fn end_is_known(&self, world: &World, host: usize, tenant: usize, run: RunId) -> bool {
        let not_the_living =
            self.rules.has(Mutation::NoUnrecorded) || self.rules.has(Mutation::UnrecordedOfTheDeadOnly);
        let ended = |stage| matches!(stage, Stage::Ended(of, outcome) if of == run && outcome.is_end());
        world.hosts[host][tenant].unrecorded.is_some_and(|(of, _)| of == run)
            || !not_the_living && self.stages_on(world, host, tenant).any(|(_, stage)| ended(stage))
    }

    /// A child begins. The lock file names it, unless its supervisor is killed before it can write.
    pub(crate) fn start_child(&self, world: &mut World, host: usize, tenant: usize, run: RunId, named: bool) {
        if world.hosts[host][tenant].child.is_some() {
            world.note(Wrong::SecondOnHost);
        }
        let local = &mut world.hosts[host][tenant];
        local.child = Some(run);
        local.names_process = named;
        if let Some(run) = world.run_mut(tenant, run) {
            run.fate = Fate::Lives;
        }
    }

    pub(crate) fn end_child(&self, world: &mut World, host: usize, tenant: usize, fate: Fate) {
        if let Some(run) = world.hosts[host][tenant].child.take()
            && let Some(run) = world.run_mut(tenant, run)
        {
            run.fate = fate;
        }
    }

    /// By itself, if its host does not stand still. Who watches it and runs sees that at once.
    pub(crate) fn child_ends(&self, world: &mut World, host: usize, tenant: usize) -> Option<()> {
        world.hosts[host][tenant].child.filter(|_| !self.is_frozen(world, host))?;
        self.end_child(world, host, tenant, Fate::Ended);
        for it in self.on_host(host) {
            if world.supervisors[it].life == Life::Running {
                self.see_end(world, it, tenant);
            }
        }
        Some(())
    }

    /// SIGKILL: its memory and its own hold on locks are gone; children live on and keep theirs, and ends stay in its file.
    pub(crate) fn kill_supervisor(&self, world: &mut World, it: usize) -> Option<()> {
        let host = self.rules.host_of(it);
        let dead = &mut world.supervisors[it];
        (dead.life != Life::Dead).then(|| dead.life = Life::Dead)?;
        dead.adrift = dead.adrift.or(dead.exchange.take());
        dead.exchange = None;
        for tenant in 0..TENANTS {
            let stage = std::mem::replace(&mut dead.watches[tenant].stage, Stage::Idle);
            let local = &mut world.hosts[host][tenant];
            if let Stage::Ended(run, outcome) = stage
                && outcome.is_end()
                && !self.rules.has(Mutation::NoUnrecorded)
            {
                local.unrecorded = Some((run, outcome));
            }
            local.by = local.by.filter(|by| usize::from(*by) != it);
        }
        Some(())
    }

    /// It boots at once: no process, no lock, an empty state folder, another boot id.
    pub(crate) fn host_dies(&self, world: &mut World, host: usize) -> Option<()> {
        self.on_host(host).next()?;
        for it in self.on_host(host) {
            let _was_dead = self.kill_supervisor(world, it);
        }
        for tenant in 0..TENANTS {
            self.end_child(world, host, tenant, Fate::Died);
            world.hosts[host][tenant] = Local::default();
            for run in world.rows[tenant].runs.iter_mut().flatten().filter(|run| usize::from(run.host) == host) {
                run.this_boot = false;
            }
        }
        Some(())
    }
}
