//! The tenants as the sources list them. A tenant that vanishes is not started again; a run under way ends
//! normally; its row stays.

use super::event::Listed;
use super::rules::Mode;
use super::state::{Scheduler, Timer};
use super::tenant::{TenantId, TenantState};
use crate::model::{DatabaseId, Tenant, TenantName};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// After the first listing, claims wait so long for databases that have not been tried: only then is it known who goes first.
const OPENING: Duration = Duration::from_secs(1);
/// The modes that look once wait for every database to be tried, at most so long.
const ONE_LOOK: Duration = Duration::from_secs(60);

/// So many tenants of a list at a time.
const GIVEN_BACK: usize = 4096;

impl Scheduler {
    pub(super) fn listed(&mut self, mut tenants: Vec<Listed>) {
        let mut present = HashSet::with_capacity(tenants.len());
        let mut changed = HashSet::new();
        // A long list is given back while its tenants are shelved: the two never stand in memory in full.
        tenants.reverse();
        while let Some(listed) = tenants.pop() {
            let id = self.list_one(listed, &mut changed);
            present.insert(id);
            if tenants.len().is_multiple_of(GIVEN_BACK) {
                tenants.shrink_to_fit();
            }
        }
        for id in self.tenants.ids().collect::<Vec<_>>() {
            if !present.contains(&id) {
                self.vanish(id, &mut changed);
            }
        }
        self.renew_keys(&changed);
        if self.opening_until.is_none() {
            let patience = if self.rules.mode == Mode::Daemon { OPENING } else { ONE_LOOK };
            self.opening_until = Some(self.now + patience);
            self.timers.insert((self.now + patience, Timer::Fill));
        }
    }

    fn list_one(&mut self, listed: Listed, changed: &mut HashSet<DatabaseId>) -> TenantId {
        if let Some(id) = self.tenants.by_name(&listed.tenant.name)
            && let Some(known) = self.tenants.get_mut(id)
        {
            let moved = known.listed.database != listed.database || known.listed.key != listed.key;
            if !moved {
                if !known.present {
                    changed.insert(listed.database);
                }
                known.present = true;
                known.moving = None;
                if known.listed != listed {
                    // Uncount it under its old group first.
                    self.unfile(id);
                    if let Some(known) = self.tenants.get_mut(id) {
                        known.listed = listed;
                    }
                }
                self.touch(id);
                return id;
            }
            if !known.is_idle() || known.examining {
                // Its run belongs to the row that was claimed; it moves when that is recorded.
                known.present = true;
                known.moving = Some(Box::new(listed));
                return id;
            }
            changed.insert(known.listed.database);
            self.forget(id);
        }
        changed.insert(listed.database);
        self.databases_mut(listed.database);
        self.shelve(listed)
    }

    /// Filed from the start, as one of whom nothing is known.
    fn shelve(&mut self, listed: Listed) -> TenantId {
        let id = self.tenants.insert(TenantState::new(listed));
        self.touch(id);
        id
    }

    /// A run of a tenant that vanished while no supervisor looked, or a process of one: it is known until that run is recorded. Modes that
    /// look after no run but their own have no business with it.
    pub(super) fn unlisted_found(&mut self, listed: Listed) {
        let looks_after = match self.rules.mode {
            Mode::Daemon | Mode::Once => true,
            Mode::Named { .. } | Mode::DryRun => false,
        };
        if looks_after && self.tenants.by_name(&listed.tenant.name).is_none() {
            let (now, key) = (self.now, listed.key.clone());
            // In a database that has no other tenant no look would find it.
            self.databases_mut(listed.database).look_again(key, now);
            let mut tenant = TenantState::new(listed);
            tenant.present = false;
            self.tenants.insert(tenant);
        }
    }

    /// A tenant that is listed or has a run under way.
    pub fn tenant(&self, name: &TenantName) -> Option<&Tenant> {
        let id = self.tenants.by_name(name)?;
        Some(&self.tenants.get(id)?.listed.tenant)
    }

    /// True if a tenant with this key is known.
    pub fn knows(&self, database: DatabaseId, key: &str) -> bool {
        self.tenants.by_key(database, key).is_some()
    }

    /// Its run is recorded: a tenant that belongs elsewhere now goes there. True if it did.
    pub(super) fn move_on(&mut self, id: TenantId) -> bool {
        let Some(tenant) = self.tenants.get_mut(id) else { return false };
        let Some(listed) = tenant.moving.take() else { return false };
        let changed = HashSet::from([tenant.listed.database, listed.database]);
        self.forget(id);
        self.databases_mut(listed.database);
        self.shelve(*listed);
        self.renew_keys(&changed);
        true
    }

    fn vanish(&mut self, id: TenantId, changed: &mut HashSet<DatabaseId>) {
        let Some(tenant) = self.tenants.get_mut(id) else { return };
        changed.insert(tenant.listed.database);
        tenant.present = false;
        if tenant.is_idle() && !tenant.examining {
            self.forget(id);
        } else {
            self.touch(id);
        }
    }

    /// It leaves the shelf, and its place may go to another: nothing may be left that speaks of the place.
    fn forget(&mut self, id: TenantId) {
        self.unfile(id);
        let Some(tenant) = self.tenants.remove(id) else { return };
        let database = self.databases_mut(tenant.listed.database);
        database.resets.forget(id);
        if let Some(flight) = &mut database.in_flight {
            flight.resets.retain(|other| *other != id);
        }
    }

    fn renew_keys(&mut self, changed: &HashSet<DatabaseId>) {
        if changed.is_empty() {
            return;
        }
        let mut keys: BTreeMap<DatabaseId, Vec<Arc<str>>> =
            changed.iter().map(|database| (*database, Vec::new())).collect();
        for (_, tenant) in self.tenants.iter() {
            if let Some(keys) = keys.get_mut(&tenant.listed.database)
                && tenant.present
            {
                keys.push(Arc::clone(&tenant.listed.key));
            }
        }
        let now = self.now;
        for (id, mut keys) in keys {
            keys.sort_unstable();
            let database = self.databases_mut(id);
            database.keys = keys.into();
            database.whole_from = 0;
            if database.keys.is_empty() {
                database.poll_due = None;
            }
            database.poll_by(now);
        }
    }

    /// The first look is over: claims may begin.
    pub(super) fn opened(&self) -> bool {
        let Some(until) = self.opening_until else { return false };
        self.opened_once || until <= self.now || self.all_tried()
    }

    pub(super) fn all_tried(&self) -> bool {
        self.databases.iter().all(|database| database.looked() || database.keys.is_empty())
    }
}
