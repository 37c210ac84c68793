//! The cases that are checked, each exhaustively within its bounds.

use crate::rules::{Fault, Mutation, Rules};

const ALL: &[Fault] = &[Fault::Kill, Fault::HostDies, Fault::NoAnswer, Fault::Stop, Fault::Freeze, Fault::Cut];

/// Two nodes, `takeover_after = "never"`: crashes and lost answers. To a node that need not hurry, being stopped or cut
/// off is no more than an answer that comes late.
pub const CRASHES: Rules = Rules {
    one_host: false,
    lease: None,
    needed: 2,
    faults: &[Fault::Kill, Fault::HostDies, Fault::NoAnswer],
    most_faults: 3,
    requests: 0,
    broken: &[],
    symmetric: true,
};

/// The same with fewer faults, and tenants that are needed again.
pub const ROUNDS: Rules = Rules { most_faults: 2, requests: 1, ..CRASHES };

/// Two supervisors of one node on one host.
pub const ONE_HOST: Rules = Rules { one_host: true, most_faults: 2, ..CRASHES };
pub const ONE_HOST_ROUNDS: Rules = Rules { most_faults: 1, requests: 1, ..ONE_HOST };

/// Two nodes that take over from each other: whatever may go wrong, once, and a tenant is needed again.
pub const TAKEOVER: Rules = Rules { lease: Some(3), faults: ALL, most_faults: 1, requests: 1, ..CRASHES };

/// Of one tenant, whatever may go wrong, twice.
pub const TAKEOVER_TWICE: Rules = Rules { needed: 1, most_faults: 2, requests: 0, ..TAKEOVER };

/// Whole hosts that die or stand still, and supervisors that are stopped, twice.
pub const STANDSTILLS: Rules =
    Rules { faults: &[Fault::HostDies, Fault::Freeze, Fault::Stop], most_faults: 2, requests: 0, ..TAKEOVER };

/// The same case, broken on purpose.
pub const fn broken(rules: Rules, broken: &'static [Mutation]) -> Rules {
    Rules { broken, ..rules }
}
