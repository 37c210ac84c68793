//! The faults of a night: what happens when, all of it from a seed. What comes of it is the world's affair.

use crate::support::relay::Way;
use crate::support::wait::{millis, secs};
use fastrand::Rng;
use std::time::Duration;

/// The nodes; the last one's supervisor lives through the whole night.
pub const NODES: usize = 3;

/// A fault, or a request. Nodes and tenants by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// SIGKILL of a supervisor; it is started again after this time.
    Kill { node: usize, down: Duration },
    /// SIGTERM of a supervisor; it is started again at once.
    Stop { node: usize },
    /// SIGSTOP of a supervisor, and SIGCONT.
    Freeze { node: usize, time: Duration },
    /// Another number of workers, and SIGHUP.
    Reload { node: usize, workers: u32 },
    /// SIGUSR2.
    Upgrade { node: usize },
    /// SIGKILL of some jobs: of their groups, or of their main processes alone.
    KillJobs { node: usize, most: usize, groups: bool },
    /// `pg_ctl stop -m immediate`, and a start after this time.
    Crash { down: Duration },
    /// The server and all its sessions are frozen.
    FreezeServer { time: Duration },
    /// `pg_terminate_backend` of every session of ours.
    EndSessions,
    /// A node's way to the database.
    Network { node: usize, way: Way, time: Duration },
    /// `tenantcron request`.
    Request { node: usize, tenant: usize },
    /// An application asks by SQL.
    Ask { tenant: usize },
}

/// When, from the beginning, and what.
pub type Step = (Duration, Act);

/// What a night has in it.
#[derive(Debug, Clone, Copy)]
pub struct Night {
    pub length: Duration,
    pub tenants: usize,
    pub upgrades: bool,
    /// Outages long enough for others to take runs over.
    pub takeover: bool,
}

impl Night {
    /// The faults of this seed, by time.
    pub fn schedule(&self, seed: u64) -> Vec<Step> {
        let mut rng = Rng::with_seed(seed);
        let mut steps = Vec::new();
        let mut at = secs(1);
        while at < self.length {
            steps.push((at, self.act(&mut rng)));
            at += millis(rng.u64(50..2000));
        }
        steps
    }

    fn act(&self, rng: &mut Rng) -> Act {
        let node = rng.usize(..NODES);
        let mortal = rng.usize(..NODES - 1);
        let tenant = rng.usize(..self.tenants);
        match rng.u32(..100) {
            0..10 => Act::Kill { node: mortal, down: self.down(rng) },
            10..17 => Act::Stop { node: mortal },
            17..26 => Act::Freeze { node, time: self.time(rng) },
            26..31 => Act::Reload { node, workers: rng.u32(2..=super::WORKERS) },
            31..43 => Act::KillJobs { node, most: rng.usize(1..4), groups: rng.u32(..3) > 0 },
            43..47 => Act::Crash { down: millis(rng.u64(..4000)) },
            47..49 => Act::FreezeServer { time: millis(rng.u64(500..8000)) },
            49..55 => Act::EndSessions,
            55..78 => Act::Network { node, way: way(rng), time: self.time(rng) },
            78..86 => Act::Request { node, tenant },
            86..92 if self.upgrades => Act::Upgrade { node },
            _ => Act::Ask { tenant },
        }
    }

    /// How long a supervisor stays dead.
    fn down(&self, rng: &mut Rng) -> Duration {
        if rng.u32(..3) > 0 { Duration::ZERO } else { millis(rng.u64(100..5000)) }
    }

    /// How long a fault lasts: mostly shorter than our deadlines, now and then longer than all of them.
    fn time(&self, rng: &mut Rng) -> Duration {
        let long = if self.takeover { 3 } else { 8 };
        if rng.u32(..long) > 0 { millis(rng.u64(200..7000)) } else { millis(rng.u64(25_000..45_000)) }
    }
}

fn way(rng: &mut Rng) -> Way {
    match rng.u32(..5) {
        0 => Way::Cut,
        1 => Way::Hangs,
        2 => Way::HangsAfter(rng.u64(100..4000)),
        3 => Way::HoldsAnswers,
        _ => Way::Delays(millis(rng.u64(20..1500))),
    }
}

#[test]
fn a_seed_is_a_schedule_and_every_fault_is_in_it() {
    let night = Night { length: secs(3600), tenants: 24, upgrades: true, takeover: false };
    let steps = night.schedule(7);
    assert_eq!(steps, night.schedule(7));
    assert_ne!(steps, night.schedule(8));
    let kinds: std::collections::HashSet<_> = steps.iter().map(|(_, act)| std::mem::discriminant(act)).collect();
    assert_eq!(kinds.len(), 12);
    let kills_the_steady = |(_, act): &Step| match act {
        Act::Kill { node, .. } | Act::Stop { node } => *node == NODES - 1,
        _ => false,
    };
    assert!(!steps.iter().any(kills_the_steady));
    assert!(steps.is_sorted_by_key(|(at, _)| *at));
    let calm = Night { upgrades: false, ..night };
    assert!(!calm.schedule(7).iter().any(|(_, act)| matches!(act, Act::Upgrade { .. })));
}
