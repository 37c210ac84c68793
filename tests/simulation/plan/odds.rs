//! How often things go wrong that nobody plans: exchanges and children.

/// How often, of 1.0, a thing goes wrong.
#[derive(Debug, Clone, Copy, Default)]
pub struct Odds {
    /// The answer takes seconds.
    pub late: f64,
    /// Nothing was sent.
    pub unreachable: f64,
    /// The server took everything back.
    pub refused: f64,
    /// A person must act first.
    pub unfit: f64,
    /// Said and done, but the look was not answered.
    pub lookless: f64,
    /// Committed, or not; the answer is lost.
    pub answer_lost: f64,
    /// Given up after the deadline; commits later all the same.
    pub straggler: f64,
    /// Answered once more, at once or much later.
    pub doubled: f64,
    /// The host cannot tell who lives, or a lock cannot be taken.
    pub unreadable: f64,
    /// The host has no process left.
    pub no_resources: f64,
    /// The command is missing.
    pub cannot_execute: f64,
    /// A child ignores SIGTERM.
    pub stubborn: f64,
    /// A child leaves members of its group.
    pub leaves_members: f64,
    /// A child leaves a daemon that keeps its lock and slot.
    pub leaves_daemon: f64,
    /// Its supervisor is killed right after the spawn, before it wrote the pid down.
    pub orphaned: f64,
    /// A child never ends by itself.
    pub endless: f64,
    /// A child runs for minutes.
    pub long: f64,
}

impl Odds {
    /// Nothing goes wrong, children differ in length.
    pub fn calm() -> Self {
        Self { long: 0.1, ..Self::default() }
    }

    /// `kills`: the supervisor ends what is stale, so that a child may be endless.
    pub fn of(kills: bool, rng: &mut fastrand::Rng) -> Self {
        let network = [0.0, 0.01, 0.05, 0.15][rng.usize(0..4)];
        let children = [0.0, 0.1, 0.3][rng.usize(0..3)];
        Self {
            late: network,
            unreachable: network / 2.0,
            refused: network / 2.0,
            unfit: network / 20.0,
            lookless: network / 2.0,
            answer_lost: network / 2.0,
            straggler: network / 3.0,
            doubled: network,
            unreadable: children / 20.0,
            no_resources: children / 3.0,
            cannot_execute: children / 3.0,
            stubborn: children,
            leaves_members: children,
            leaves_daemon: children / 3.0,
            orphaned: children / 20.0,
            endless: if kills { children / 4.0 } else { 0.0 },
            long: [0.1, 0.1, 0.5][rng.usize(0..3)],
        }
    }
}
