//! What a seed decides before its night begins: nodes, tenants, rules, what will be done to the world and when, and how
//! often the rest goes wrong. Everything that goes wrong has a name, by which it can be left out.

mod deeds;
mod layout;
mod odds;
mod rules;

pub use deeds::{Deed, Meddling, StopBy, Verb};
pub use layout::Node;
pub use odds::Odds;

use crate::dice::{Of, dice};
use crate::flaws::Flaw;
use std::collections::BTreeSet;
use std::time::Duration;
use tenantcron::model::TenantName;
use tenantcron::scheduler::{Listed, Rules, StaleAction};

/// What can be left out of a night.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A tenant, by its place in the plan.
    Tenant(usize),
    /// A node other than the first.
    Node(usize),
    /// A deed, by its place in the plan.
    Deed(usize),
    /// What becomes of an exchange of a supervisor, by their numbers.
    Exchange(usize, u64),
    /// What is odd about a child, by its tenant and the number of its start.
    Child(usize, u64),
}

/// The kind of world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One node, nothing goes wrong: the order of starts is checked exactly.
    Calm,
    OneNode,
    Several,
    /// Two nodes on one host.
    SharedHost,
    /// Two machines that bear one name.
    Rival,
}

#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub kind: Kind,
    pub tenants: Vec<Listed>,
    pub nodes: Vec<Node>,
    pub hosts: usize,
    /// Events of one moment are taken in together.
    pub batches: bool,
    /// Adopters get their runs' locks and slots.
    pub may_fetch: bool,
    /// The state folder outlives a reboot.
    pub state_on_disk: bool,
    pub databases: u32,
    pub rules: Rules,
    pub odds: Odds,
    /// What is done to the world, and when (microseconds).
    pub deeds: Vec<(u64, Deed)>,
    pub heal_at: u64,
    /// No child of this world lives longer than this.
    pub longest_life: Duration,
    /// After the healing, everything is well within this.
    pub patience: Duration,
    pub left_out: BTreeSet<Fault>,
    /// What is wrong with this world on purpose.
    pub flaw: Option<Flaw>,
}

/// The longest a child runs by itself.
pub const LONG: Duration = Duration::from_secs(150);

impl Plan {
    pub fn of(seed: u64) -> Self {
        let rng = &mut dice(seed, Of::Plan, 0, 0);
        let kind = match seed % 8 {
            0 => Kind::Calm,
            1 => Kind::OneNode,
            2 => Kind::SharedHost,
            3 if seed.is_multiple_of(3) => Kind::Rival,
            _ => Kind::Several,
        };
        let shared = rng.bool();
        let rules = rules::rules(kind, shared, rng);
        let tenants = rules::tenants(shared, kind, rng);
        let longest = tenants.iter().map(|tenant| tenant.every).max().unwrap_or_default();
        let kills = rules.stale_action == StaleAction::Kill;
        let life = if kills { rules.stale_after.max(LONG) } else { LONG };
        let longest_life = life + rules.kill_after + Duration::from_secs(5);
        let releases = if rules.stale_action == StaleAction::Release { rules.stale_after } else { Duration::ZERO };
        let heal_at = rng.u64(120_000_000..1_200_000_000);
        let nodes = layout::nodes(kind, heal_at, rng);
        let mut plan = Self {
            seed,
            kind,
            batches: rng.bool(),
            may_fetch: rng.f64() < 0.8,
            state_on_disk: rng.f64() < 0.3,
            databases: if shared { 1 } else { u32::try_from(tenants.len()).unwrap() },
            odds: if kind == Kind::Calm { Odds::calm() } else { Odds::of(kills, rng) },
            deeds: Vec::new(),
            heal_at,
            patience: longest_life
                + releases
                + rules.lease.unwrap_or_default()
                + 3 * longest
                + Duration::from_secs(75 + 300),
            longest_life,
            tenants,
            hosts: nodes.iter().map(|node| node.host).max().unwrap_or_default() + 1,
            nodes,
            rules,
            left_out: BTreeSet::new(),
            flaw: None,
        };
        if !plan.is_calm() {
            plan.deeds = deeds::deeds(&plan, &mut dice(seed, Of::Deeds, 0, 0));
        }
        plan
    }

    pub fn is_calm(&self) -> bool {
        self.kind == Kind::Calm
    }

    pub fn happens(&self, fault: Fault) -> bool {
        !self.left_out.contains(&fault)
    }

    /// A tenant's place.
    pub fn place(&self, name: &TenantName) -> usize {
        self.tenants.iter().position(|one| one.tenant.name == *name).unwrap()
    }

    /// The tenant of a key in a database.
    pub fn tenant_of(&self, database: u32, key: &str) -> Option<usize> {
        self.tenants.iter().position(|one| one.database.0 == database && *one.key == *key)
    }

    /// Everything comes earlier by so much: whoever is shown a failure need not wait for it.
    pub fn hurry(&mut self, by: u64) {
        self.heal_at = self.heal_at.saturating_sub(by).max(1_000_000);
        for (at, _) in &mut self.deeds {
            *at = at.saturating_sub(by);
        }
    }
}
