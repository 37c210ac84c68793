//! A fake kernel, one per host: process trees, the tenants' locks, the slots. Locks are inherited as flock
//! is: held while the supervisor or the tree has its descriptor, and freed for all by an unlock.

use crate::supervisor::SupervisorId;
use std::collections::BTreeMap;
use tenantcron::model::{DatabaseId, RunId, TenantName};
use tenantcron::scheduler::Exit;

/// A run over all databases.
pub type RunKey = (DatabaseId, RunId);

/// A process group: a main process and, perhaps, members that outlive it.
#[derive(Debug, Clone)]
pub struct Tree {
    pub tenant: TenantName,
    pub run: RunKey,
    pub pid: i32,
    /// Who spawned it: the only one that gets its status.
    pub parent: SupervisorId,
    /// Who watches it now.
    pub keeper: SupervisorId,
    pub main_lives: bool,
    pub exit: Exit,
    pub members_live: bool,
    /// Ignores SIGTERM.
    pub stubborn: bool,
    /// It took one of the node's slots when it was started.
    pub counted: bool,
}

impl Tree {
    pub fn lives(&self) -> bool {
        self.main_lives || self.members_live
    }
}

/// Who has a lock's descriptor.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Held {
    pub supervisor: Option<SupervisorId>,
    pub tree: Option<i32>,
}

#[derive(Debug, Default)]
pub struct Host {
    pub node: String,
    pub boot: u32,
    /// How many slot files a supervisor of this node looks at.
    pub workers: u32,
    /// The largest that this was since the last calm: a lowered number lets more run on.
    pub workers_before: u32,
    pub trees: BTreeMap<i32, Tree>,
    pub locks: BTreeMap<TenantName, Held>,
    pub slots: BTreeMap<u32, Held>,
    pub last_pid: i32,
}

impl Host {
    /// `<boot id>/<namespace>`.
    pub fn name(&self) -> String {
        format!("{}-boot{}/1", self.node, self.boot)
    }

    pub fn lock(&mut self, tenant: &TenantName, supervisor: SupervisorId) -> Result<(), Option<i32>> {
        if let Some(held) = self.locks.get(tenant) {
            return Err(held.tree);
        }
        self.locks.insert(tenant.clone(), Held { supervisor: Some(supervisor), tree: None });
        Ok(())
    }

    pub fn take_slot(&mut self, supervisor: SupervisorId) -> Option<u32> {
        let free = (1..=self.workers).find(|number| !self.slots.contains_key(number))?;
        self.slots.insert(free, Held { supervisor: Some(supervisor), tree: None });
        Some(free)
    }

    pub fn spawn(&mut self, tree: Tree, slot: Option<u32>) -> i32 {
        self.last_pid += 1;
        let pid = self.last_pid;
        self.locks.get_mut(&tree.tenant).expect("the tenant's lock is taken before a start").tree = Some(pid);
        if let Some(slot) = slot {
            self.slots.get_mut(&slot).expect("a slot is taken before a start").tree = Some(pid);
        }
        self.trees.insert(pid, Tree { pid, ..tree });
        pid
    }

    /// A tree is gone: its descriptors are closed.
    pub fn bury(&mut self, pid: i32) {
        let held = self.locks.values_mut().chain(self.slots.values_mut());
        held.filter(|held| held.tree == Some(pid)).for_each(|held| held.tree = None);
        self.sweep();
    }

    /// A supervisor is gone: its descriptors are closed, its children live on.
    pub fn bereave(&mut self, supervisor: SupervisorId) {
        let held = self.locks.values_mut().chain(self.slots.values_mut());
        held.filter(|held| held.supervisor == Some(supervisor)).for_each(|held| held.supervisor = None);
        self.sweep();
    }

    fn sweep(&mut self) {
        self.locks.retain(|_, held| *held != Held::default());
        self.slots.retain(|_, held| *held != Held::default());
    }

    /// Everything dies, and a new boot id begins.
    pub fn reboot(&mut self) {
        self.boot += 1;
        self.trees.clear();
        self.locks.clear();
        self.slots.clear();
    }

    pub fn living(&self) -> impl Iterator<Item = &Tree> {
        self.trees.values().filter(|tree| tree.lives())
    }

    pub fn tree_of(&self, run: RunKey) -> Option<&Tree> {
        self.living().find(|tree| tree.run == run)
    }
}
