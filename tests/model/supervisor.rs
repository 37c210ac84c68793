//! The supervisor's side: what it says, what it makes of the answers, what it does with runs and children.

use crate::exchange::{Exchange, Mark, Part, Phase, Said};
use crate::kernel::Verdict;
use crate::protocol::Protocol;
use crate::rules::Mutation;
use crate::world::{Fate, Life, Outcome, RunId, Stage, TENANTS, UNCONFIRMED, Value, Watch, World};

impl Protocol {
    /// It runs, and has done what it was about to do.
    fn is_free(&self, world: &World, it: usize) -> bool {
        let starting = |watch: &Watch| matches!(watch.stage, Stage::Starting(_));
        world.supervisors[it].life == Life::Running && !world.supervisors[it].watches.iter().any(starting)
    }

    /// What a supervisor has to say of a tenant.
    pub(crate) fn part(&self, world: &World, it: usize, tenant: usize) -> Option<Part> {
        let host = self.rules.host_of(it);
        let watch = world.supervisors[it].watches[tenant];
        match watch.stage {
            Stage::Ended(run, outcome) => Some(Part::Finish(run, outcome)),
            Stage::Running(run) | Stage::Adopted(run) => {
                (self.rules.lease.is_some() && watch.since > 0).then_some(Part::Refresh(run))
            }
            Stage::Offered | Stage::Starting(_) => None,
            Stage::Idle => match world.open_run(tenant) {
                None if world.rows[tenant].value == Value::Needed => self.offer(world, host, tenant),
                None => None,
                Some(run) => {
                    let row = world.run(tenant, run)?;
                    let over = self.rules.taken_above().is_some_and(|lease| row.age > lease);
                    let takes = over && !self.rules.has(Mutation::NeverTakeOver);
                    (usize::from(row.host) != host && takes).then_some(Part::TakeOver(run))
                }
            },
        }
    }

    /// Only with the tenant's lock.
    fn offer(&self, world: &World, host: usize, tenant: usize) -> Option<Part> {
        let free = self.rules.has(Mutation::ClaimBeforeLock) || !self.is_locked(world, host, tenant);
        free.then_some(Part::Claim)
    }

    pub(crate) fn send(&self, world: &mut World, it: usize, tenants: u8) -> Option<()> {
        let parts = std::array::from_fn(|tenant| self.part(world, it, tenant));
        self.send_parts(world, it, tenants, parts)
    }

    /// Who sends what the database will see later, if ever, claims by what it knew once: the row may be anything.
    pub(crate) fn send_blindly(&self, world: &mut World, it: usize, tenants: u8) -> Option<()> {
        let parts = std::array::from_fn(|tenant| {
            let idle = world.supervisors[it].watches[tenant].stage == Stage::Idle;
            let offer = || self.offer(world, self.rules.host_of(it), tenant).filter(|_| idle);
            self.part(world, it, tenant).or_else(offer)
        });
        self.send_parts(world, it, tenants, parts)
    }

    /// Ends and lives go with every exchange; of claims and takeovers those asked for.
    fn send_parts(&self, world: &mut World, it: usize, tenants: u8, parts: [Option<Part>; TENANTS]) -> Option<()> {
        if !self.is_free(world, it) || world.supervisors[it].exchange.is_some() {
            return None;
        }
        let mut said = [Said::NOTHING; TENANTS];
        for (tenant, part) in parts.into_iter().enumerate() {
            let asked = tenants & 1 << tenant != 0;
            said[tenant].part = match part {
                None if asked => return None,
                Some(Part::Finish(..) | Part::Refresh(_)) if !asked => return None,
                Some(part) if asked => part,
                None | Some(_) => Part::Nothing,
            };
        }
        for (tenant, _) in said.iter().enumerate().filter(|(_, said)| said.part == Part::Claim) {
            world.supervisors[it].watches[tenant] = Watch { stage: Stage::Offered, since: 0 };
            if !self.rules.has(Mutation::ClaimBeforeLock) {
                self.write_lock_file(world, it, tenant, None);
            }
        }
        world.supervisors[it].exchange = Some(Exchange { phase: Phase::Sent, age: 0, begun: 0, said });
        Some(())
    }

    fn write_lock_file(&self, world: &mut World, it: usize, tenant: usize, run: Option<RunId>) {
        let local = &mut world.hosts[self.rules.host_of(it)][tenant];
        (local.by, local.run, local.names_process) = (Some(it as u8), run, false);
    }

    pub(crate) fn hear(&self, world: &mut World, it: usize) -> Option<()> {
        let from = &mut world.supervisors[it];
        let hears = from.life == Life::Running && !from.cut;
        let exchange = from.exchange.filter(|exchange| exchange.phase == Phase::Answered && hears)?;
        from.exchange = None;
        for (tenant, Said { part, mark }) in exchange.said.into_iter().enumerate() {
            let watch = &mut world.supervisors[it].watches[tenant];
            match (part, mark) {
                (Part::Claim, Mark::Claimed(run)) => self.claimed(world, it, tenant, run, exchange.age),
                (Part::Claim, _) | (Part::Finish(..), Mark::Done | Mark::Closed) => watch.stage = Stage::Idle,
                (Part::Refresh(run), Mark::Done) if watch.stage.watched() == Some(run) => {
                    watch.since = if self.rules.has(Mutation::CountFromAnswer) { 0 } else { exchange.age };
                    self.end_if_due(world, it, tenant);
                }
                (Part::Refresh(run), Mark::Closed) if watch.stage.watched() == Some(run) => {
                    let _was_watched = self.end_run(world, it, tenant);
                }
                (Part::Nothing | Part::Finish(..) | Part::Refresh(_) | Part::TakeOver(_), _) => {}
            }
        }
        Some(())
    }

    /// Ours to start, unless the answer took so long that it would have to be ended again.
    fn claimed(&self, world: &mut World, it: usize, tenant: usize, run: RunId, age: u8) {
        let age = if self.rules.has(Mutation::CountClaimFromAnswer) { 0 } else { age };
        let late = self.rules.fence().is_some_and(|fence| age >= fence) && !self.rules.has(Mutation::StartLateClaim);
        let locked = self.rules.has(Mutation::ClaimBeforeLock) && self.is_locked(world, self.rules.host_of(it), tenant);
        let stage = if late || locked { Stage::Ended(run, Outcome::Undone) } else { Stage::Starting(run) };
        world.supervisors[it].watches[tenant] = Watch { stage, since: age };
        if stage == Stage::Starting(run) {
            self.write_lock_file(world, it, tenant, Some(run));
        }
    }

    /// Its offers are withdrawn; the rest will be said again.
    pub(crate) fn give_up(&self, world: &mut World, it: usize) -> Option<()> {
        let running = world.supervisors[it].life == Life::Running;
        let from = &mut world.supervisors[it];
        let exchange = from.exchange.take().filter(|_| running)?;
        for watch in from.watches.iter_mut().filter(|watch| watch.stage == Stage::Offered) {
            watch.stage = Stage::Idle;
        }
        from.adrift = from.adrift.or(Some(exchange));
        Some(())
    }

    /// Also by one that was stopped just before it.
    pub(crate) fn spawn(&self, world: &mut World, it: usize, tenant: usize) -> Option<()> {
        let from = &world.supervisors[it];
        let awake = matches!(from.life, Life::Running | Life::Waking);
        let Stage::Starting(run) = from.watches[tenant].stage else { return None };
        awake.then(|| self.start_child(world, self.rules.host_of(it), tenant, run, true))?;
        world.supervisors[it].watches[tenant].stage = Stage::Running(run);
        Some(())
    }

    /// Only who is hindered comes to it.
    pub(crate) fn fence(&self, world: &mut World, it: usize, tenant: usize) -> Option<()> {
        let hindered = world.supervisors[it].cut || world.rows_are_held(tenant);
        let due = world.supervisors[it].watches[tenant].since >= self.rules.fence()?;
        (due && hindered && self.is_free(world, it)).then_some(())?;
        self.end_run(world, it, tenant)
    }

    /// In the same step as what made it due, before anything else.
    fn end_if_due(&self, world: &mut World, it: usize, tenant: usize) {
        let since = world.supervisors[it].watches[tenant].since;
        if since != UNCONFIRMED && self.rules.fence().is_some_and(|fence| since >= fence) {
            let _nothing_to_end = self.end_run(world, it, tenant);
        }
    }

    /// By SIGTERM and SIGKILL, in one.
    fn end_run(&self, world: &mut World, it: usize, tenant: usize) -> Option<()> {
        world.supervisors[it].watches[tenant].stage.watched()?;
        self.end_child(world, self.rules.host_of(it), tenant, Fate::WasEnded);
        self.see_end(world, it, tenant);
        Some(())
    }

    /// It looks at its clock, and what is due is done before anything else. What it was about to spawn it has spawned
    /// by then.
    pub(crate) fn wake(&self, world: &mut World, it: usize) -> Option<()> {
        let from = &mut world.supervisors[it];
        let starting = from.watches.iter().any(|watch| matches!(watch.stage, Stage::Starting(_)));
        (from.life == Life::Waking && !starting).then(|| from.life = Life::Running)?;
        for tenant in 0..TENANTS {
            self.see_end(world, it, tenant);
            self.end_if_due(world, it, tenant);
        }
        Some(())
    }

    /// The look finds a run of this node that is not known: open when it was read, closed perhaps by now.
    pub(crate) fn settle_unknown(&self, world: &mut World, it: usize, tenant: usize, run: RunId) -> Option<()> {
        let idle = world.supervisors[it].watches[tenant].stage == Stage::Idle && !world.supervisors[it].cut;
        if !idle || !self.is_free(world, it) || self.rules.has(Mutation::NeverLook) {
            return None;
        }
        let age = world.run(tenant, run)?.age;
        let late = self.rules.fence().is_some_and(|fence| age >= fence);
        world.supervisors[it].watches[tenant] = match self.examine(world, it, tenant, run)? {
            Verdict::Dead => Watch { stage: Stage::Ended(run, Outcome::Lost), since: 0 },
            Verdict::Living if !self.rules.has(Mutation::NeverAdopt) => {
                let since = if late { UNCONFIRMED } else { age };
                let since = if self.rules.has(Mutation::CountFromAdoption) { 0 } else { since };
                Watch { stage: Stage::Adopted(run), since }
            }
            Verdict::Living | Verdict::Supervised | Verdict::Claimed => return None,
        };
        Some(())
    }

    /// Every look first records the ends that dead supervisors left. Their file stays until that is done.
    pub(crate) fn take_up(&self, world: &mut World, it: usize, tenant: usize) -> Option<()> {
        let idle = world.supervisors[it].watches[tenant].stage == Stage::Idle;
        (idle && self.is_free(world, it)).then_some(())?;
        let (run, outcome) = world.hosts[self.rules.host_of(it)][tenant].unrecorded?;
        world.supervisors[it].watches[tenant].stage = Stage::Ended(run, outcome);
        Some(())
    }

    /// The supervisor learns that a child is gone; that stands in its file before the lock is let go.
    pub(crate) fn see_end(&self, world: &mut World, it: usize, tenant: usize) {
        let child = world.hosts[self.rules.host_of(it)][tenant].child;
        let stage = world.supervisors[it].watches[tenant].stage;
        let Some(run) = stage.watched().filter(|run| child != Some(*run)) else { return };
        let Some(row) = world.run_mut(tenant, run) else { return };
        let outcome = row.see(stage);
        world.supervisors[it].watches[tenant].stage = Stage::Ended(run, outcome);
    }
}
