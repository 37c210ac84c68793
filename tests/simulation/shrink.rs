//! A night that failed is made small: faults, deeds, tenants and nodes are left out, many at once and then one after the
//! other, while the same invariant breaks. What remains is what it takes.

use crate::nights::{Night, invariant, night};
use crate::plan::{Fault, Plan};
use std::collections::BTreeSet;

/// So many nights are tried at most.
const TRIES: usize = 4_000;

/// A small night that fails as the given one does, and what happens in it.
pub struct Smallest {
    pub plan: Plan,
    pub broken: String,
    pub faults: usize,
    pub tries: usize,
}

pub fn shrink(plan: &Plan, broken: &str) -> Smallest {
    let mut smallest = Smallest { plan: plan.clone(), broken: broken.to_owned(), faults: 0, tries: 0 };
    let mut size = smallest.candidates().len().div_ceil(2).max(1);
    loop {
        let left_out_some = smallest.leave_out(size);
        if smallest.tries >= TRIES || (size == 1 && !left_out_some) {
            break;
        }
        size = (size / 2).max(1);
    }
    smallest.hurry();
    smallest.faults = smallest.candidates().len();
    smallest
}

impl Smallest {
    /// Leaves out so many at once wherever that can be done. True if it could somewhere.
    fn leave_out(&mut self, size: usize) -> bool {
        let (mut candidates, mut from, mut left_out_some) = (self.candidates(), 0, false);
        while from < candidates.len() && self.tries < TRIES {
            let mut plan = self.plan.clone();
            plan.left_out.extend(candidates.iter().skip(from).take(size));
            if self.still_fails(plan) {
                left_out_some = true;
                candidates = self.candidates();
            } else {
                from += size;
            }
        }
        left_out_some
    }

    /// What happens in it and could be left out.
    fn candidates(&self) -> Vec<Fault> {
        let Night { world, .. } = night(self.plan.clone(), false);
        let others = (0..self.plan.tenants.len()).map(Fault::Tenant).chain((1..self.plan.nodes.len()).map(Fault::Node));
        let all: BTreeSet<_> = world.faults.iter().copied().chain(others).collect();
        // The latest first: they are the least likely to matter.
        all.into_iter().rev().filter(|fault| self.plan.happens(*fault)).collect()
    }

    fn still_fails(&mut self, plan: Plan) -> bool {
        self.tries += 1;
        let Some(broken) = night(plan.clone(), false).broken else { return false };
        let same = invariant(&broken) == invariant(&self.broken);
        if same {
            (self.plan, self.broken) = (plan, broken);
        }
        same
    }

    /// What is left happens as early as it may.
    fn hurry(&mut self) {
        for _ in 0..8 {
            let deeds = self.plan.deeds.iter().enumerate();
            let first = deeds.filter(|(place, _)| self.plan.happens(Fault::Deed(*place))).map(|(_, (at, _))| *at).min();
            let by = first.unwrap_or(self.plan.heal_at).saturating_sub(10_000_000);
            let mut plan = self.plan.clone();
            plan.hurry(by);
            if by == 0 || !self.still_fails(plan) {
                break;
            }
        }
    }
}
