//! The tenants of a chaotic night and what their jobs do.

use crate::support::configuration::Configuration;
use crate::support::journal::Journal;
use crate::support::wait::secs;
use std::time::Duration;

/// What a tenant's job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Up to three seconds of work.
    Short,
    /// The same, and a failure.
    Fails,
    /// It ignores SIGTERM.
    Stubborn,
    /// Long enough to see several faults.
    Long,
    /// A process of its group outlives it.
    Leaves,
    /// And ignores SIGTERM.
    LeavesStubborn,
    /// A daemon leaves its group and outlives it, with the tenant's lock and slot in its hands.
    Daemon,
    /// It dies of a SIGKILL of its own.
    Dies,
    /// It runs past its timeout.
    Overruns,
}

/// Of runs that others may take over: longer than `kill_after` and 20 s.
pub const LEASE: Duration = secs(22);
/// Of `Overruns`.
pub const TIMEOUT: Duration = secs(1);
const KINDS: [(Kind, usize); 9] = [
    (Kind::Short, 7),
    (Kind::Fails, 4),
    (Kind::Stubborn, 3),
    (Kind::Long, 3),
    (Kind::Leaves, 2),
    (Kind::LeavesStubborn, 1),
    (Kind::Daemon, 1),
    (Kind::Dies, 2),
    (Kind::Overruns, 1),
];
/// 0.1 to 2.9 seconds.
const WORK: &str = "r=$(od -An -N1 -tu1 /dev/urandom); sleep $((r / 90)).$((r % 9 + 1))";

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    pub name: String,
    pub kind: Kind,
}

/// All of them.
pub fn tenants() -> Vec<Tenant> {
    let kinds = KINDS.iter().flat_map(|(kind, count)| std::iter::repeat_n(*kind, *count));
    kinds.enumerate().map(|(at, kind)| Tenant { name: format!("t{at:02}"), kind }).collect()
}

impl Tenant {
    /// What its job does; the long ones last for `long`, and so do the stubborn ones where that must outlast a lease.
    fn plan(&self, long: Duration) -> String {
        match self.kind {
            Kind::Short => WORK.to_owned(),
            Kind::Fails => format!("{WORK}; exit $((r % 3 + 1))"),
            Kind::Stubborn if long > LEASE => format!("trap '' TERM; sleep {}", long.as_secs()),
            Kind::Stubborn => format!("trap '' TERM; {WORK}"),
            Kind::Long => format!("sleep {}", long.as_secs()),
            Kind::Leaves => format!("sleep 4 & {WORK}"),
            Kind::LeavesStubborn => format!("(trap '' TERM; exec sleep 4) & {WORK}; exit 5"),
            // It must not hold the journal's own lock, which speaks for the run.
            Kind::Daemon => format!("setsid sleep 6 9>&- & {WORK}"),
            Kind::Dies => "sleep 0.5; kill -KILL $$".to_owned(),
            Kind::Overruns => "sleep 3".to_owned(),
        }
    }

    /// Members of its group may outlive its main process.
    pub fn leaves_some(&self) -> bool {
        matches!(self.kind, Kind::Leaves | Kind::LeavesStubborn)
    }
}

/// Gives each its plan.
pub fn at_work(all: &[Tenant], journal: &Journal, long: Duration) {
    for tenant in all {
        journal.plan(&tenant.name, &tenant.plan(long));
    }
}

/// From now on all jobs end at once.
pub fn quick(all: &[Tenant], journal: &Journal) {
    for tenant in all {
        journal.plan(&tenant.name, ":");
    }
}

/// The tenants in a configuration.
pub fn configured(configuration: Configuration, all: &[Tenant]) -> Configuration {
    let names: Vec<&str> = all.iter().map(|tenant| tenant.name.as_str()).collect();
    let overruns = all.iter().filter(|tenant| tenant.kind == Kind::Overruns);
    let timeout = format!("{}s", TIMEOUT.as_secs());
    overruns.fold(configuration.tenants(&names), |configuration, tenant| {
        configuration.set_at(&["override", &tenant.name, "timeout"], timeout.as_str())
    })
}
