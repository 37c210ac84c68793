//! What a seed decides before its night begins: nodes, tenants, rules, and how much goes wrong.

use std::time::Duration;
use tenantcron::model::{DatabaseId, Identity, Tenant, TenantName};
use tenantcron::scheduler::{Listed, Mode, Rounds, Rules, StaleAction, offset_of};

/// How often, of 1.0, a thing goes wrong.
#[derive(Debug, Clone, Copy, Default)]
pub struct Odds {
    /// The answer takes seconds.
    pub late: f64,
    /// Nothing was sent.
    pub unreachable: f64,
    /// The server took everything back.
    pub refused: f64,
    /// Committed; the answer is lost.
    pub answer_lost: f64,
    /// Given up after the deadline; commits later all the same.
    pub straggler: f64,
    /// Answered twice.
    pub doubled: f64,
    /// The host has no process left.
    pub no_resources: f64,
    /// The command is missing.
    pub cannot_execute: f64,
    /// A child ignores SIGTERM.
    pub stubborn: f64,
    /// A child leaves members of its group.
    pub leaves_members: f64,
    /// A child never ends by itself.
    pub endless: f64,
    /// A child runs for minutes.
    pub long: f64,
}

#[derive(Debug)]
pub struct Plan {
    /// One node, nothing goes wrong: the order of starts is checked exactly.
    pub calm: bool,
    pub tenants: Vec<Listed>,
    pub nodes: usize,
    /// Events of one moment are taken in together.
    pub batches: bool,
    pub databases: u32,
    pub rules: Rules,
    pub odds: Odds,
    /// Mean time between two mischiefs.
    pub mischief_every: Duration,
    pub heal_at: Duration,
    /// No child of this world lives longer than this.
    pub longest_life: Duration,
    /// After the healing, every tenant has run within this.
    pub patience: Duration,
}

pub const INSTANCE: &str = "wcs";

impl Plan {
    pub fn of(seed: u64, rng: &mut fastrand::Rng) -> Self {
        let calm = seed.is_multiple_of(6);
        let nodes = if calm || seed % 6 == 1 { 1 } else { rng.usize(2..=4) };
        let shared = rng.bool();
        let rules = rules(calm, shared, rng);
        let tenants = tenants(shared, calm, rng);
        let longest = tenants.iter().map(|tenant| tenant.every).max().unwrap_or_default();
        let kills = rules.stale_action == StaleAction::Kill;
        let life = if kills { rules.stale_after.max(LONG) } else { LONG };
        let longest_life = life + rules.kill_after + Duration::from_secs(5);
        let releases = if rules.stale_action == StaleAction::Release { rules.stale_after } else { Duration::ZERO };
        Self {
            calm,
            nodes,
            batches: rng.bool(),
            databases: if shared { 1 } else { u32::try_from(tenants.len()).unwrap() },
            odds: odds(calm, kills, rng),
            mischief_every: Duration::from_millis(rng.u64(1_000..20_000)),
            heal_at: Duration::from_secs(rng.u64(120..1_200)),
            patience: longest_life + releases + 3 * longest + Duration::from_secs(75 + 300),
            longest_life,
            tenants,
            rules,
        }
    }
}

/// The longest a child runs by itself.
pub const LONG: Duration = Duration::from_secs(150);

fn rules(calm: bool, shared: bool, rng: &mut fastrand::Rng) -> Rules {
    let any = |rng: &mut fastrand::Rng, chance: f64| rng.f64() < chance;
    let limited = shared && any(rng, 0.4);
    Rules {
        identity: Identity { instance: INSTANCE.into(), node: String::new(), host: String::new() },
        mode: Mode::Daemon,
        workers: rng.u32(1..=3),
        enabled: true,
        rounds: *rng.choice(&[Rounds::Rolling, Rounds::Rolling, Rounds::Refill, Rounds::Barrier]).unwrap(),
        kill_after: Duration::from_secs(rng.u64(1..20)),
        stale_after: Duration::from_secs(rng.u64(200..400)),
        stale_action: if calm {
            StaleAction::Alert
        } else {
            *rng.choice(&[StaleAction::Alert, StaleAction::Kill, StaleAction::Release]).unwrap()
        },
        stale_repeat: Duration::from_secs(rng.u64(10..60)),
        cluster_limit: if limited || (!shared && any(rng, 0.1)) { rng.u32(0..=3) } else { 0 },
        group_limit: if limited { rng.u32(0..=2) } else { 0 },
        poll: Duration::from_secs(if shared { 10 } else { 20 }),
        shared,
        seed: rng.u64(..),
    }
}

fn tenants(shared: bool, calm: bool, rng: &mut fastrand::Rng) -> Vec<Listed> {
    let every = Duration::from_secs(rng.u64(20..100));
    let timeouts = !calm && rng.bool();
    let one = |number: u32| {
        let name = TenantName::parse(&format!("t{number}.example")).unwrap();
        let group = (!number.is_multiple_of(3)).then(|| format!("g{}", number % 3));
        Listed {
            key: format!("cron-status-{name}"),
            database: DatabaseId(if shared { 0 } else { number }),
            every,
            offset: if number.is_multiple_of(2) { offset_of(INSTANCE, every) } else { offset_of(name.as_str(), every) },
            timeout: (timeouts && number.is_multiple_of(2)).then_some(Duration::from_secs(5 + u64::from(number) * 10)),
            enabled: true,
            tenant: Tenant::new(name, None, group).unwrap(),
        }
    };
    (0..rng.u32(1..=9)).map(one).collect()
}

fn odds(calm: bool, kills: bool, rng: &mut fastrand::Rng) -> Odds {
    if calm {
        return Odds { long: 0.1, ..Odds::default() };
    }
    let network = [0.0, 0.01, 0.05, 0.15][rng.usize(0..4)];
    let children = [0.0, 0.1, 0.3][rng.usize(0..3)];
    Odds {
        late: network,
        unreachable: network / 2.0,
        refused: network / 2.0,
        answer_lost: network / 2.0,
        straggler: network / 3.0,
        doubled: network,
        no_resources: children / 3.0,
        cannot_execute: children / 3.0,
        stubborn: children,
        leaves_members: children,
        endless: if kills { children / 4.0 } else { 0.0 },
        long: 0.1,
    }
}
