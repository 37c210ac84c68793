//! The shelf on which all tenants stand, found by place, by name, or by database and key. The indexes hold places alone,
//! no second copy of names and keys, and the places stand on boards: growing moves none of them.

use super::tenant::{TenantId, TenantState};
use crate::model::{DatabaseId, TenantName};
use hashbrown::HashTable;
use std::hash::{BuildHasher as _, RandomState};

/// Places on a board.
const BOARD: usize = 64;

/// All tenants.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    boards: Vec<Box<[Option<TenantState>]>>,
    /// Places that were never taken begin here.
    end: u32,
    free: Vec<u32>,
    by_name: HashTable<TenantId>,
    by_key: HashTable<TenantId>,
    hasher: RandomState,
}

impl Shelf {
    pub fn get(&self, id: TenantId) -> Option<&TenantState> {
        at(&self.boards, id)
    }

    pub fn get_mut(&mut self, id: TenantId) -> Option<&mut TenantState> {
        let place = id.0 as usize;
        self.boards.get_mut(place / BOARD)?.get_mut(place % BOARD)?.as_mut()
    }

    pub fn by_name(&self, name: &TenantName) -> Option<TenantId> {
        let is_it = |id: &TenantId| self.get(*id).is_some_and(|tenant| tenant.name() == name);
        self.by_name.find(self.hasher.hash_one(name), is_it).copied()
    }

    pub fn by_key(&self, database: DatabaseId, key: &str) -> Option<TenantId> {
        let is_it = |id: &TenantId| self.get(*id).is_some_and(|tenant| is_at(tenant, database, key));
        self.by_key.find(self.hasher.hash_one((database, key)), is_it).copied()
    }

    pub fn insert(&mut self, tenant: TenantState) -> TenantId {
        let id = TenantId(self.free.pop().unwrap_or(self.end));
        self.end = self.end.max(id.0 + 1);
        let place = id.0 as usize;
        if place / BOARD >= self.boards.len() {
            self.boards.push((0..BOARD).map(|_| None).collect());
        }
        let (boards, hasher) = (&self.boards, &self.hasher);
        let name_of = |id: &TenantId| at(boards, *id).map_or(0, |tenant| hasher.hash_one(tenant.name()));
        let key_of = |id: &TenantId| at(boards, *id).map_or(0, |tenant| key_hash(hasher, tenant));
        self.by_name.insert_unique(hasher.hash_one(tenant.name()), id, name_of);
        self.by_key.insert_unique(key_hash(hasher, &tenant), id, key_of);
        if let Some(free) = self.boards.get_mut(place / BOARD).and_then(|board| board.get_mut(place % BOARD)) {
            *free = Some(tenant);
        }
        id
    }

    pub fn remove(&mut self, id: TenantId) -> Option<TenantState> {
        let place = id.0 as usize;
        let tenant = self.boards.get_mut(place / BOARD)?.get_mut(place % BOARD)?.take()?;
        self.free.push(id.0);
        for (index, hash) in [
            (&mut self.by_name, self.hasher.hash_one(tenant.name())),
            (&mut self.by_key, key_hash(&self.hasher, &tenant)),
        ] {
            if let Ok(entry) = index.find_entry(hash, |other| *other == id) {
                entry.remove();
            }
        }
        Some(tenant)
    }

    pub fn ids(&self) -> impl Iterator<Item = TenantId> + '_ {
        self.iter().map(|(id, _)| id)
    }

    pub fn iter(&self) -> impl Iterator<Item = (TenantId, &TenantState)> {
        let places = self.boards.iter().flat_map(|board| board.iter());
        places.zip(0..).filter_map(|(place, id)| place.as_ref().map(|tenant| (TenantId(id), tenant)))
    }
}

fn at(boards: &[Box<[Option<TenantState>]>], id: TenantId) -> Option<&TenantState> {
    let place = id.0 as usize;
    boards.get(place / BOARD)?.get(place % BOARD)?.as_ref()
}

fn is_at(tenant: &TenantState, database: DatabaseId, key: &str) -> bool {
    tenant.listed.database == database && *tenant.listed.key == *key
}

fn key_hash(hasher: &RandomState, tenant: &TenantState) -> u64 {
    hasher.hash_one((tenant.listed.database, &*tenant.listed.key))
}
