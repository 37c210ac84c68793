//! What is done to the world in a night: by accident, by operators, by other programs. A list with times, drawn before
//! the night begins, so that any of it can be left out.

use super::{Kind, Plan};
use tenantcron::scheduler::{Mode, Rounds};

/// How a supervisor is asked to end.
#[derive(Debug, Clone, Copy)]
pub enum StopBy {
    Stop,
    Drain,
    /// Asked a second time after so long (microseconds).
    StopTwice(u64),
    DrainThenStop(u64),
}

/// What an operator does to a tenant.
#[derive(Debug, Clone, Copy)]
pub enum Verb {
    Request,
    /// Pauses it, or resumes one that is paused.
    Pause,
    /// `release`, from this node's host; by force without any proof.
    Release {
        node: usize,
        force: bool,
    },
}

/// What is done to a row by hand, or by an application that knows no better; whoever runs.
#[derive(Debug, Clone, Copy)]
pub enum Meddling {
    Deletes,
    WritesNonsense,
    SetsNeeded,
    SetsDone,
}

/// One thing done. Times are microseconds; `pick` chooses among those that are there then.
#[derive(Debug, Clone)]
pub enum Deed {
    DatabaseDown {
        database: u32,
        long: u64,
    },
    /// A node does not reach one database, or any.
    Cut {
        node: usize,
        database: Option<u32>,
        long: u64,
    },
    /// What was committed from now on is lost so much later, when another copy takes over, with a clock of its own.
    Failover {
        database: u32,
        behind: u64,
        down: u64,
        step: i64,
    },
    /// The status row, or the open run.
    LockRow {
        tenant: usize,
        run: bool,
        long: u64,
    },
    /// Another program claims a row; works so long, or forgets it.
    Foreign {
        tenant: usize,
        work: Option<u64>,
    },
    Operate {
        tenant: usize,
        verb: Verb,
        tells: bool,
    },
    Meddle {
        tenant: usize,
        by: Meddling,
    },
    ChangeSources {
        tenant: usize,
    },
    Reload {
        node: usize,
        workers: u32,
        enabled: bool,
        rounds: Rounds,
        leased: bool,
    },
    Wake {
        node: usize,
        pick: usize,
        all: bool,
    },
    Kill {
        pick: usize,
    },
    Freeze {
        pick: usize,
        long: u64,
    },
    FreezeHost {
        host: usize,
        long: u64,
    },
    Reboot {
        host: usize,
        down: u64,
    },
    Stop {
        pick: usize,
        by: StopBy,
    },
    Sibling {
        node: usize,
        mode: Mode,
    },
    Upgrade {
        node: usize,
        takes: u64,
        fails: bool,
    },
}

/// Between short and long, each order of magnitude as likely as the next.
fn span(rng: &mut fastrand::Rng, short: u64, long: u64) -> u64 {
    let (from, to) = ((short as f64).ln(), (long as f64).ln());
    (from + (to - from) * rng.f64()).exp() as u64
}

pub fn deeds(plan: &Plan, rng: &mut fastrand::Rng) -> Vec<(u64, Deed)> {
    let mean = rng.u64(1_000_000..20_000_000);
    let mut at = 1_000_000;
    let mut deeds = Vec::new();
    while at < plan.heal_at {
        deeds.push((at, one(plan, rng)));
        at += rng.u64(..mean * 2);
    }
    deeds
}

fn one(plan: &Plan, rng: &mut fastrand::Rng) -> Deed {
    let (tenant, node) = (rng.usize(..plan.tenants.len()), rng.usize(..plan.nodes.len()));
    let (host, pick, database) = (rng.usize(..plan.hosts), rng.usize(..64), rng.u32(..plan.databases));
    // Beside a machine of the same name an outage of 75 s cannot be told from its end.
    let longest = if plan.kind == Kind::Rival { 30_000_000 } else { 200_000_000 };
    match rng.u32(..100) {
        0..7 => Deed::DatabaseDown { database, long: span(rng, 100_000, longest / 3) },
        7..12 => Deed::Cut { node, database: rng.bool().then_some(database), long: span(rng, 100_000, longest) },
        12..17 => Deed::Failover {
            database,
            behind: span(rng, 100, 300_000_000),
            down: span(rng, 1_000, 20_000_000),
            step: if rng.bool() { 0 } else { rng.i64(-3_000_000..3_000_000) },
        },
        17..24 => Deed::LockRow { tenant, run: rng.f64() < 0.3, long: span(rng, 1_000, 20_000_000) },
        24..32 => {
            let work = (rng.f64() < 0.8).then(|| rng.u64(1_000_000..40_000_000));
            Deed::Foreign { tenant, work }
        }
        32..42 => Deed::Operate { tenant, verb: verb(node, rng), tells: rng.bool() },
        42..46 => Deed::Meddle { tenant, by: meddling(rng) },
        46..50 => Deed::ChangeSources { tenant },
        50..54 => Deed::Reload {
            node,
            workers: rng.u32(1..=3),
            enabled: rng.f64() < 0.8,
            rounds: *rng.choice(&[Rounds::Rolling, Rounds::Refill, Rounds::Barrier]).unwrap(),
            leased: rng.bool(),
        },
        54..58 => Deed::Wake { node, pick, all: rng.bool() },
        58..66 => Deed::Kill { pick },
        66..70 => Deed::Freeze { pick, long: span(rng, 10_000, longest) },
        70..72 => Deed::FreezeHost { host, long: span(rng, 10_000, longest) },
        72..75 => Deed::Reboot { host, down: span(rng, 2_000_000, longest) },
        75..83 => Deed::Stop { pick, by: stop(rng) },
        83..91 => Deed::Sibling { node, mode: sibling(rng) },
        _ => Deed::Upgrade { node, takes: span(rng, 1_000, 5_000_000), fails: rng.f64() < 0.3 },
    }
}

fn verb(node: usize, rng: &mut fastrand::Rng) -> Verb {
    match rng.u32(..10) {
        0..4 => Verb::Request,
        4..8 => Verb::Pause,
        8 => Verb::Release { node, force: false },
        _ => Verb::Release { node, force: true },
    }
}

fn meddling(rng: &mut fastrand::Rng) -> Meddling {
    *rng.choice(&[Meddling::Deletes, Meddling::WritesNonsense, Meddling::SetsNeeded, Meddling::SetsDone]).unwrap()
}

fn stop(rng: &mut fastrand::Rng) -> StopBy {
    let later = rng.u64(..10_000_000);
    match rng.u32(..4) {
        0 => StopBy::Drain,
        1 => StopBy::StopTwice(later),
        2 => StopBy::DrainThenStop(later),
        _ => StopBy::Stop,
    }
}

fn sibling(rng: &mut fastrand::Rng) -> Mode {
    match rng.u32(..4) {
        0 => Mode::Named { force: rng.bool() },
        1 => Mode::DryRun,
        _ => Mode::Once,
    }
}
