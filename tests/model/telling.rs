//! A counterexample in words: the steps, and the state that they end in.

use crate::exchange::{Exchange, Part};
use crate::moves::{self, Move};
use crate::protocol::Protocol;
use crate::tidy;
use crate::world::{Local, Run, Supervisor, World, Wrong};
use stateright::Path;
use std::fmt;

/// One line a step, then the state.
pub fn tell(protocol: &Protocol, path: Path<World, Move>) -> String {
    let rules = &protocol.rules;
    let mut states = path.into_states().into_iter();
    let Some(mut world) = states.next() else { return String::new() };
    let mut text = String::new();
    let mut moves = Vec::new();
    // The path goes from one representative to the next: nodes and tenants are put back in their places.
    for representative in states {
        moves.clear();
        moves::candidates(rules, &world, &mut moves);
        let same = |next: &World| *next == representative || tidy::representative(next, rules) == representative;
        let found = moves.iter().find_map(|step| Some((*step, protocol.step(&world, *step).filter(same)?)));
        let Some((step, next)) = found else { return text + "  and on, by a step that cannot be told\n" };
        text += &format!("  {step}{}\n", what_of(&world, step));
        world = next;
    }
    text + &format!("then\n{world}")
}

fn name(supervisor: usize) -> char {
    ['A', 'B'][supervisor]
}

/// Which runs a step is about, where its own words do not tell.
fn what_of(world: &World, step: Move) -> String {
    let exchange = match step {
        Move::Begin(it) | Move::Commit(it) | Move::Hear(it) | Move::GiveUp(it) => world.supervisors[it].exchange,
        Move::AdriftBegins(it) | Move::AdriftCommits(it) | Move::AdriftIsDropped(it) => world.supervisors[it].adrift,
        Move::ChildEnds(host, tenant) => {
            return world.hosts[host][tenant].child.map(|run| format!(" (run {run})")).unwrap_or_default();
        }
        _ => None,
    };
    exchange.map(|exchange| format!(" ({exchange})")).unwrap_or_default()
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |tenants: u8| match tenants {
            1 => "tenant 0",
            2 => "tenant 1",
            _ => "both tenants",
        };
        match *self {
            Self::Send(it, tenants) => write!(f, "{} sends what there is to say of {}", name(it), list(tenants)),
            Self::SendLost(it, tenants) => write!(f, "{} sends of {}, and gives up", name(it), list(tenants)),
            Self::SendKilled(it, tenants) => write!(f, "{} sends of {}, and is killed", name(it), list(tenants)),
            Self::Begin(it) => write!(f, "the transaction of {} begins", name(it)),
            Self::Commit(it) => write!(f, "the transaction of {} commits", name(it)),
            Self::Hear(it) => write!(f, "{} hears the answer", name(it)),
            Self::GiveUp(it) => write!(f, "{} waits no more", name(it)),
            Self::AdriftBegins(it) => write!(f, "what {} waits for no more begins", name(it)),
            Self::AdriftCommits(it) => write!(f, "what {} waits for no more commits", name(it)),
            Self::AdriftIsDropped(it) => write!(f, "what {} waits for no more is dropped", name(it)),
            Self::Spawn(it, tenant) => write!(f, "{} starts the child of tenant {tenant}", name(it)),
            Self::ChildEnds(host, tenant) => write!(f, "the child of tenant {tenant} on host {host} ends"),
            Self::Fence(it, tenant) => write!(f, "{} ends the run of tenant {tenant}, unconfirmed", name(it)),
            Self::Examine(it, tenant, run) => write!(f, "{} examines run {run} of tenant {tenant}", name(it)),
            Self::TakeUp(it, tenant) => write!(f, "{} takes up the end of tenant {tenant} from a file", name(it)),
            Self::Restart(it) => write!(f, "{} starts again", name(it)),
            Self::Kill(it) => write!(f, "{} is killed", name(it)),
            Self::KillSpawning(it, tenant) => {
                write!(f, "{} starts the child of tenant {tenant} and is killed before it says so", name(it))
            }
            Self::HostDies(host) => write!(f, "host {host} dies, and boots"),
            Self::Stop(it) => write!(f, "{} is stopped", name(it)),
            Self::Freeze(it) => write!(f, "the host of {} stands still", name(it)),
            Self::GoOn(it) => write!(f, "{} goes on", name(it)),
            Self::Wake(it) => write!(f, "{} looks at its clock", name(it)),
            Self::Cut(it) => write!(f, "{} and the database are cut off", name(it)),
            Self::Join(it) => write!(f, "{} and the database are joined again", name(it)),
            Self::Request(tenant) => write!(f, "tenant {tenant} is needed again"),
            Self::Tick => write!(f, "a tick passes"),
        }
    }
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.phase)?;
        for (tenant, said) in self.said.iter().enumerate().filter(|(_, said)| said.part != Part::Nothing) {
            write!(f, ", tenant {tenant}: {:?} {:?}", said.part, said.mark)?;
        }
        Ok(())
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (tenant, rows) in self.rows.iter().enumerate() {
            writeln!(f, "  tenant {tenant} is {:?}", rows.value)?;
            for (id, run) in self.runs(tenant) {
                let Run { host, outcome, age, fate, .. } = run;
                let outcome = outcome.map_or("open".to_owned(), |outcome| format!("{outcome:?}"));
                writeln!(f, "    run {id} of host {host}: {outcome}, age {age}, process {fate:?}")?;
            }
            for (host, local) in self.hosts.iter().map(|host| host[tenant]).enumerate() {
                let Local { by, run, child, unrecorded, .. } = local;
                if local != Local::default() {
                    writeln!(
                        f,
                        "    host {host}: child {child:?}, file by {by:?} run {run:?}, unrecorded {unrecorded:?}"
                    )?;
                }
            }
        }
        for (it, supervisor) in self.supervisors.iter().enumerate() {
            let Supervisor { life, cut, exchange, adrift, watches } = supervisor;
            write!(f, "  {} {life:?}{}", name(it), if *cut { ", cut off" } else { "" })?;
            for (tenant, watch) in watches.iter().enumerate() {
                write!(f, ", tenant {tenant}: {:?} since {}", watch.stage, watch.since)?;
            }
            exchange.iter().try_for_each(|exchange| write!(f, "; waits for: {exchange}"))?;
            adrift.iter().try_for_each(|exchange| write!(f, "; adrift: {exchange}"))?;
            writeln!(f)?;
        }
        let mut wrong = Wrong::ALL.into_iter().filter(|wrong| self.has(*wrong));
        wrong.try_for_each(|wrong| writeln!(f, "  {wrong:?}"))
    }
}
