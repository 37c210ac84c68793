//! Every step that the world can take, and which of them are faults.

use crate::rules::{Fault, Rules};
use crate::world::{Life, RunId, Stage, TENANTS, World};

/// A step. Numbers are of supervisors (and their hosts), then of tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// A supervisor sends what there is to say of these tenants (bits).
    Send(usize, u8),
    /// The same, and its answer is waited for no more before the database has seen it.
    SendLost(usize, u8),
    /// The same, and the supervisor is killed.
    SendKilled(usize, u8),
    /// Its transaction locks and reads.
    Begin(usize),
    /// It writes and commits.
    Commit(usize),
    /// The answer is heard.
    Hear(usize),
    /// No answer is waited for any more.
    GiveUp(usize),
    AdriftBegins(usize),
    AdriftCommits(usize),
    AdriftIsDropped(usize),
    Spawn(usize, usize),
    /// By itself.
    ChildEnds(usize, usize),
    /// A supervisor ends a run that it cannot confirm.
    Fence(usize, usize),
    /// An open run that is not known is examined and adopted or lost.
    Examine(usize, usize, RunId),
    /// An end of a dead supervisor is taken up from its file.
    TakeUp(usize, usize),
    Restart(usize),
    Kill(usize),
    /// After the spawn, before it is written down.
    KillSpawning(usize, usize),
    HostDies(usize),
    Stop(usize),
    Freeze(usize),
    /// After `Stop` or `Freeze`.
    GoOn(usize),
    /// It looks at its clock, and does what is due, before anything else.
    Wake(usize),
    Cut(usize),
    Join(usize),
    /// A done tenant is needed again: its slot has come, or somebody asked.
    Request(usize),
    Tick,
}

impl Move {
    /// What it costs.
    pub fn fault(self, world: &World) -> Option<Fault> {
        match self {
            Self::Kill(_) | Self::KillSpawning(..) | Self::SendKilled(..) => Some(Fault::Kill),
            Self::SendLost(..) => Some(Fault::NoAnswer),
            Self::HostDies(_) => Some(Fault::HostDies),
            Self::Stop(_) => Some(Fault::Stop),
            Self::Freeze(_) => Some(Fault::Freeze),
            Self::Cut(_) => Some(Fault::Cut),
            // Its deadline passes by itself once it was hindered.
            Self::GiveUp(supervisor) => {
                let late = world.supervisors[supervisor].exchange.is_some_and(|exchange| exchange.age > 0);
                (!late).then_some(Fault::NoAnswer)
            }
            _ => None,
        }
    }
}

/// All that might be possible; [`crate::protocol::Protocol::step`] refuses the rest.
pub fn candidates(rules: &Rules, world: &World, moves: &mut Vec<Move>) {
    let more_faults = world.faults_left > 0;
    for (supervisor, state) in world.supervisors.iter().enumerate() {
        if state.exchange.is_some() {
            moves.extend([Move::Begin(supervisor), Move::Commit(supervisor), Move::Hear(supervisor)]);
            moves.push(Move::GiveUp(supervisor));
        } else if state.life == Life::Running {
            let some = 1..1 << TENANTS;
            moves.extend(some.clone().map(|tenants| Move::Send(supervisor, tenants)));
            if more_faults {
                moves.extend(some.clone().map(|tenants| Move::SendLost(supervisor, tenants)));
                moves.extend(some.map(|tenants| Move::SendKilled(supervisor, tenants)));
            }
        }
        if state.adrift.is_some() {
            moves.extend([
                Move::AdriftBegins(supervisor),
                Move::AdriftCommits(supervisor),
                Move::AdriftIsDropped(supervisor),
            ]);
        }
        for (tenant, watch) in state.watches.iter().enumerate() {
            match watch.stage {
                Stage::Idle => {
                    moves.push(Move::TakeUp(supervisor, tenant));
                    moves.extend(world.runs(tenant).map(|(run, _)| Move::Examine(supervisor, tenant, run)));
                }
                Stage::Starting(_) => {
                    moves.extend([Move::Spawn(supervisor, tenant), Move::KillSpawning(supervisor, tenant)]);
                }
                Stage::Running(_) | Stage::Adopted(_) => moves.push(Move::Fence(supervisor, tenant)),
                Stage::Offered | Stage::Ended(..) => {}
            }
            moves.push(Move::ChildEnds(supervisor, tenant));
        }
        moves.extend([
            Move::Restart(supervisor),
            Move::GoOn(supervisor),
            Move::Wake(supervisor),
            Move::Join(supervisor),
        ]);
        if more_faults {
            moves.extend([
                Move::Kill(supervisor),
                Move::HostDies(supervisor),
                Move::Stop(supervisor),
                Move::Freeze(supervisor),
                Move::Cut(supervisor),
            ]);
        }
    }
    moves.extend((0..TENANTS).map(Move::Request));
    if rules.lease.is_some() {
        moves.push(Move::Tick);
    }
}
