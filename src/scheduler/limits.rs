//! How many at once: slots of this node, and the cluster's and groups' limits by the last view. Where one
//! database is shared, its claim keeps the limits exactly; the view here only spares it hopeless offers.

use super::action::Action;
use super::state::Scheduler;
use super::tenant::{Stage, TenantId, Wait};
use crate::model::{DatabaseId, Moment, TenantName};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// What runs now.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Tenants running by anybody's account, stale ones aside.
    pub busy: usize,
    /// Tenants running over all nodes, by the last view.
    pub cluster: u32,
    /// The same by group.
    pub groups: HashMap<String, u32>,
    /// Slots held by runs.
    pub slots_held: u32,
    /// Slots held for claims that are being offered.
    pub slots_offered: u32,
}

impl Counts {
    pub fn running(&mut self, group: Option<&str>, more: bool) {
        let step = |count: u32| if more { count + 1 } else { count.saturating_sub(1) };
        self.cluster = step(self.cluster);
        if let Some(group) = group {
            let count = step(self.groups.get(group).copied().unwrap_or(0));
            if count == 0 {
                self.groups.remove(group);
            } else {
                self.groups.insert(group.to_owned(), count);
            }
        }
    }
}

/// Locks that were asked for and not yet answered.
#[derive(Debug)]
pub(super) struct Locking {
    picks: Vec<TenantId>,
    slots: u32,
}

impl Locking {
    pub fn slots(&self) -> u32 {
        self.slots
    }
}

/// What is picked for one database.
#[derive(Debug, Default, Clone, Copy)]
struct Share {
    slots: u32,
    offers: u32,
}

/// A lock or slot that another process holds is tried again after this.
const LOCK_RETRY: Duration = Duration::from_secs(1);
const SLOT_RETRY: Duration = Duration::from_millis(250);

impl Scheduler {
    /// Fills free slots from the front of the queue: asks for the locks of as many tenants as slots are
    /// free, and, in a database that gets a claim anyway, of as many again.
    pub(super) fn fill(&mut self) {
        if self.locking.is_some() || self.queue.is_empty() || !self.may_start() || self.slots_blocked_until > self.now {
            return;
        }
        let picks = self.pick();
        if picks.is_empty() {
            return;
        }
        let slots = if self.rules.mode.uses_slots() {
            self.free_slots().min(u32::try_from(picks.len()).unwrap_or(u32::MAX))
        } else {
            0
        };
        let mut tenants = Vec::with_capacity(picks.len());
        for id in &picks {
            let Some(tenant) = self.tenants.get_mut(*id) else { continue };
            tenant.stage = Stage::Offered;
            tenants.push(tenant.name().clone());
            let database = tenant.listed.database;
            self.databases_mut(database).awaiting_locks = true;
            self.touch(*id);
        }
        self.counts.slots_offered += slots;
        self.locking = Some(Locking { picks, slots });
        self.actions.push(Action::Lock { tenants, slots });
    }

    pub(super) fn free_slots(&self) -> u32 {
        if !self.rules.mode.uses_slots() {
            return u32::MAX;
        }
        self.rules.workers.saturating_sub(self.counts.slots_held + self.counts.slots_offered)
    }

    /// Somebody could be offered to a claim now.
    pub(super) fn can_start_some(&self) -> bool {
        self.may_start() && !self.pick().is_empty()
    }

    fn pick(&self) -> Vec<TenantId> {
        let mut budget = self.free_slots();
        // `run TENANT…` asks neither for slots nor for limits.
        let limited = self.rules.mode.uses_slots();
        let mut shares: BTreeMap<DatabaseId, Share> = BTreeMap::new();
        let mut in_group: HashMap<&str, u32> = HashMap::new();
        let mut picks = Vec::new();
        for place in &self.queue {
            let Some(tenant) = self.tenants.get(place.id) else { continue };
            let database = tenant.listed.database;
            if budget == 0 && !self.wants_more_offers(&shares) {
                break;
            }
            if !self.can_talk(database) {
                if self.rules.shared {
                    break;
                }
                continue;
            }
            let share = shares.get(&database).copied().unwrap_or_default();
            let first = budget > 0;
            if !first && !self.may_offer_more(database, share) {
                continue;
            }
            if let Some(group) = tenant.listed.tenant.group() {
                let running = self.counts.groups.get(group).copied().unwrap_or(0);
                let picked = in_group.entry(group).or_default();
                if limited && self.rules.group_limit > 0 && running + *picked >= self.rules.group_limit {
                    continue;
                }
                *picked += 1;
            }
            if limited
                && self.rules.cluster_limit > 0
                && self.counts.cluster + u32::try_from(picks.len()).unwrap_or(u32::MAX) >= self.rules.cluster_limit
            {
                break;
            }
            if first {
                budget -= 1;
            }
            shares.insert(database, Share { slots: share.slots + u32::from(first), offers: share.offers + 1 });
            picks.push(place.id);
        }
        picks
    }

    /// Beyond the slots, further offers only make sense where one database takes many and others claim beside us.
    fn wants_more_offers(&self, shares: &BTreeMap<DatabaseId, Share>) -> bool {
        self.rules.shared && shares.iter().any(|(database, share)| self.may_offer_more(*database, *share))
    }

    fn may_offer_more(&self, database: DatabaseId, share: Share) -> bool {
        let contended = self.database(database).is_some_and(|database| database.contended_until > self.now);
        contended && share.offers < share.slots * 2
    }

    /// The shell has taken what it could: put it into claims, give back the rest. A stop that was asked
    /// meanwhile, or a tenant that vanished, makes no claim.
    pub(super) fn locked(&mut self, won: &[TenantName], held: &[(TenantName, Option<i32>)], slots: u32) {
        let Some(Locking { picks, slots: asked }) = self.locking.take() else { return };
        let slots = slots.min(asked);
        self.counts.slots_offered = self.counts.slots_offered.saturating_sub(asked - slots);
        let takes_slots = self.rules.mode.uses_slots();
        let open = self.may_start();
        let mut left = slots;
        let mut unlock = Vec::new();
        for id in picks {
            let Some(tenant) = self.tenants.get_mut(id) else { continue };
            let database = tenant.listed.database;
            let name = tenant.name().clone();
            let present = tenant.present;
            if let Some((_, pid)) = held.iter().find(|(other, _)| *other == name) {
                tenant.stage = Stage::Idle;
                tenant.not_before = self.now + LOCK_RETRY;
                tenant.wait = Some(Wait::LockHeld(*pid));
                // Without a process it may only be offered to a claim: that is soon over, and waited for.
                if pid.is_some() || self.opening_until.is_none_or(|until| until <= self.now) {
                    self.refuse(id, "another process of this host holds its lock");
                }
            } else if won.contains(&name) {
                let claim = &mut self.databases_mut(database).claim;
                let room = !takes_slots || left > 0;
                if open && present && (room || claim.offers.len() < claim.limit as usize * 2) {
                    if room {
                        claim.limit += 1;
                        left = left.saturating_sub(1);
                    }
                    claim.offers.push(id);
                } else {
                    tenant_idle(self, id);
                    unlock.push(name);
                }
            } else {
                tenant.stage = Stage::Idle;
                if left > 0 {
                    // There was a slot for it, and its lock was neither won nor held: not again at once.
                    tenant.not_before = self.now + LOCK_RETRY;
                }
            }
            self.databases_mut(database).awaiting_locks = false;
            self.dirty.insert(database);
            self.touch(id);
        }
        if takes_slots && slots == 0 {
            self.block_slots(self.now + SLOT_RETRY);
        }
        self.counts.slots_offered = self.counts.slots_offered.saturating_sub(left);
        if !unlock.is_empty() || left > 0 {
            self.actions.push(Action::Unlock { tenants: unlock, slots: left });
        }
    }

    /// The slots of this host are taken by other processes: nothing is tried before `until`.
    fn block_slots(&mut self, until: Moment) {
        self.slots_blocked_until = until;
        self.timers.insert((until, super::state::Timer::Fill));
    }

    pub(super) fn hold_slot(&mut self, id: TenantId) {
        if self.tenants.get(id).and_then(|tenant| tenant.run()).is_some_and(|run| run.slot) {
            self.counts.slots_held += 1;
        }
    }

    pub(super) fn free_slot(&mut self, id: TenantId) {
        if let Some(run) = self.tenants.get_mut(id).and_then(|tenant| tenant.run_mut())
            && std::mem::take(&mut run.slot)
        {
            self.counts.slots_held = self.counts.slots_held.saturating_sub(1);
            // The slot that becomes free is our own: it is tried at once, whatever others held a moment ago.
            self.slots_blocked_until = Moment::default();
        }
    }
}

fn tenant_idle(scheduler: &mut Scheduler, id: TenantId) {
    if let Some(tenant) = scheduler.tenants.get_mut(id) {
        tenant.stage = Stage::Idle;
    }
}
