//! The configuration of a night, and its tenants.

use super::Kind;
use std::time::Duration;
use tenantcron::model::{DatabaseId, Identity, Moment, Tenant, TenantName};
use tenantcron::scheduler::{Listed, Mode, Rounds, Rules, StaleAction, offset_of};

pub const INSTANCE: &str = "wcs";

pub fn rules(kind: Kind, shared: bool, rng: &mut fastrand::Rng) -> Rules {
    let limited = shared && rng.f64() < 0.4;
    let kill_after = Duration::from_secs(rng.u64(1..20));
    let lease = kill_after + Duration::from_secs(20 + rng.u64(1..100));
    Rules {
        identity: Identity { instance: INSTANCE.into(), node: String::new(), host: String::new() },
        mode: Mode::Daemon,
        workers: rng.u32(1..=3),
        enabled: true,
        rounds: *rng.choice(&[Rounds::Rolling, Rounds::Rolling, Rounds::Refill, Rounds::Barrier]).unwrap(),
        kill_after,
        stale_after: Duration::from_secs(rng.u64(200..400)),
        stale_action: if kind == Kind::Calm {
            StaleAction::Alert
        } else {
            *rng.choice(&[StaleAction::Alert, StaleAction::Kill, StaleAction::Release]).unwrap()
        },
        stale_repeat: Duration::from_secs(rng.u64(10..60)),
        cluster_limit: if limited || (!shared && rng.f64() < 0.1) { rng.u32(0..=3) } else { 0 },
        group_limit: if limited { rng.u32(0..=2) } else { 0 },
        poll: Duration::from_secs(if shared { 10 } else { 20 }),
        // No draw of its own: nights of before stay what they were.
        look_size: 1 + kill_after.as_secs() as usize % 9,
        shared,
        lease: rng.bool().then_some(lease),
        born: Moment::default(),
        seed: 0,
    }
}

pub fn tenants(shared: bool, kind: Kind, rng: &mut fastrand::Rng) -> Vec<Listed> {
    let every = Duration::from_secs(rng.u64(20..100));
    let timeouts = kind != Kind::Calm && rng.bool();
    let one = |number: u32| {
        let name = TenantName::parse(&format!("t{number}")).unwrap();
        let group = (!number.is_multiple_of(3)).then(|| format!("g{}", number % 3));
        Listed {
            key: format!("cron-status-{name}").into(),
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
