//! The protocol as a relation between states: which step leads where. The supervisor's side of it stands in
//! `supervisor`, the database's in `database`, the kernel's in `kernel`.

use crate::exchange::{Exchange, Part, Phase, Said};
use crate::moves::Move;
use crate::rules::{MARGIN, Mutation, Rules};
use crate::tidy;
use crate::world::{Life, Stage, TENANTS, UNCONFIRMED, Value, Watch, World};

#[derive(Debug, Clone, Copy)]
pub struct Protocol {
    pub rules: Rules,
}

impl Protocol {
    /// The state after a step, if it is possible.
    pub fn step(&self, world: &World, step: Move) -> Option<World> {
        let mut next = *world;
        if let Some(fault) = step.fault(world) {
            if !self.rules.may(fault) {
                return None;
            }
            next.faults_left = world.faults_left.checked_sub(1)?;
        }
        self.take(&mut next, step)?;
        tidy::forget_what_means_nothing(&mut next, &self.rules);
        Some(next)
    }

    fn take(&self, world: &mut World, step: Move) -> Option<()> {
        match step {
            Move::Send(it, tenants) => {
                self.send(world, it, tenants)?;
                if world.supervisors[it].cut { Some(()) } else { self.begin_its(world, it) }
            }
            Move::SendLost(it, tenants) => {
                self.send_blindly(world, it, tenants)?;
                self.give_up(world, it)
            }
            Move::SendKilled(it, tenants) => {
                self.send_blindly(world, it, tenants)?;
                self.kill_supervisor(world, it)
            }
            Move::Begin(it) => self.begin_its(world, it),
            Move::Commit(it) => self.commit_its(world, it),
            Move::Hear(it) => self.hear(world, it),
            Move::GiveUp(it) => self.give_up(world, it),
            Move::AdriftBegins(it) => {
                let exchange = world.supervisors[it].adrift.filter(|exchange| exchange.phase == Phase::Sent)?;
                world.supervisors[it].adrift = Some(self.begin(world, exchange));
                Some(())
            }
            Move::AdriftCommits(it) => {
                let exchange = world.supervisors[it].adrift.take().filter(|exchange| exchange.phase == Phase::Begun)?;
                let _nobody_hears_it = self.commit(world, exchange, self.rules.host_of(it));
                Some(())
            }
            Move::AdriftIsDropped(it) => world.supervisors[it].adrift.take().map(|_| ()),
            Move::Spawn(it, tenant) => self.spawn(world, it, tenant),
            Move::ChildEnds(host, tenant) => self.child_ends(world, host, tenant),
            Move::Fence(it, tenant) => self.fence(world, it, tenant),
            Move::Examine(it, tenant, run) => self.settle_unknown(world, it, tenant, run),
            Move::TakeUp(it, tenant) => self.take_up(world, it, tenant),
            Move::Restart(it) => self.live(world, it, &[Life::Dead], Life::Running),
            Move::Kill(it) => {
                let frozen = world.supervisors[it].life == Life::Frozen;
                if frozen { None } else { self.kill_supervisor(world, it) }
            }
            Move::KillSpawning(it, tenant) => {
                let Stage::Starting(run) = world.supervisors[it].watches[tenant].stage else { return None };
                (world.supervisors[it].life == Life::Running).then_some(())?;
                self.start_child(world, self.rules.host_of(it), tenant, run, false);
                self.kill_supervisor(world, it)
            }
            Move::HostDies(host) => self.host_dies(world, host),
            Move::Stop(it) => self.live(world, it, &[Life::Running], Life::Stopped),
            Move::Freeze(it) => self.live(world, it, &[Life::Running], Life::Frozen),
            Move::GoOn(it) => self.live(world, it, &[Life::Stopped, Life::Frozen], Life::Waking),
            Move::Wake(it) => self.wake(world, it),
            Move::Cut(it) => self.set_cut(world, it, true),
            Move::Join(it) => self.set_cut(world, it, false),
            Move::Request(tenant) => {
                let free = world.rows[tenant].value == Value::Done && !world.rows_are_held(tenant);
                world.requests_left = world.requests_left.checked_sub(1).filter(|_| free)?;
                world.rows[tenant].value = Value::Needed;
                Some(())
            }
            Move::Tick => self.tick(world),
        }
    }

    /// What holds nothing will write nothing: its commit need not come later, for nobody could tell.
    fn begin_its(&self, world: &mut World, it: usize) -> Option<()> {
        let from = &world.supervisors[it];
        let exchange = from.exchange.filter(|exchange| exchange.phase == Phase::Sent && !from.cut)?;
        let begun = self.begin(world, exchange);
        world.supervisors[it].exchange = Some(begun);
        if begun.said.iter().any(Said::is_held) { Some(()) } else { self.commit_its(world, it) }
    }

    /// The answer is heard at once where nothing hinders that: what others do meanwhile does not touch what the
    /// supervisor makes of it, nor what it makes of it touch them: the lock that a claim goes by was taken before. That
    /// the answer is lost instead is [`Move::GiveUp`] and [`Move::AdriftCommits`].
    fn commit_its(&self, world: &mut World, it: usize) -> Option<()> {
        let exchange = world.supervisors[it].exchange.take().filter(|exchange| exchange.phase == Phase::Begun)?;
        let answered = self.commit(world, exchange, self.rules.host_of(it));
        world.supervisors[it].exchange = Some(answered);
        if !self.rules.has(Mutation::ClaimBeforeLock) {
            let _else_later = self.hear(world, it);
        }
        Some(())
    }

    fn live(&self, world: &mut World, it: usize, from: &[Life], to: Life) -> Option<()> {
        let life = &mut world.supervisors[it].life;
        from.contains(life).then(|| *life = to)
    }

    fn set_cut(&self, world: &mut World, it: usize, cut: bool) -> Option<()> {
        let from = &mut world.supervisors[it];
        (from.cut != cut).then(|| from.cut = cut)
    }

    /// Time passes where nothing is due at once.
    fn tick(&self, world: &mut World) -> Option<()> {
        let oldest = self.rules.oldest();
        if (0..world.supervisors.len()).any(|it| self.has_to_act(world, it)) {
            return None;
        }
        let older = |age: &mut u8| *age = (*age + 1).min(oldest);
        for rows in &mut world.rows {
            rows.runs.iter_mut().flatten().for_each(|run| older(&mut run.age));
        }
        for supervisor in &mut world.supervisors {
            for watch in supervisor.watches.iter_mut().filter(|watch| watch.since != UNCONFIRMED) {
                older(&mut watch.since);
            }
            for exchange in supervisor.exchange.iter_mut().chain(&mut supervisor.adrift) {
                let Exchange { age, begun, .. } = exchange;
                older(age);
                older(begun);
            }
        }
        Some(())
    }

    /// What runs spawns what it claimed at once, and ends what it must end at most a margin late. Whom nothing hinders
    /// is answered, confirms lives and records ends within the tick.
    fn has_to_act(&self, world: &World, it: usize) -> bool {
        let supervisor = &world.supervisors[it];
        let latest = self.rules.fence().map_or(u8::MAX, |fence| fence + MARGIN);
        let due = |watch: &Watch| match watch.stage {
            Stage::Starting(_) => true,
            Stage::Running(_) | Stage::Adopted(_) => watch.since >= latest && watch.since != UNCONFIRMED,
            Stage::Idle | Stage::Offered | Stage::Ended(..) => false,
        };
        let unsaid = |tenant| {
            let part = self.part(world, it, tenant);
            matches!(part, Some(Part::Finish(..) | Part::Refresh(_))) && !world.rows_are_held(tenant)
        };
        match supervisor.life {
            Life::Waking => true,
            Life::Running if supervisor.watches.iter().any(due) => true,
            Life::Running => !supervisor.cut && (supervisor.exchange.is_some() || (0..TENANTS).any(unsaid)),
            Life::Dead | Life::Stopped | Life::Frozen => false,
        }
    }
}
