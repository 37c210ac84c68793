//! A fake kernel and a fake state folder, one per host: process trees, locks, lock files, slots, unrecorded ends.

mod folder;
mod locks;
mod slots;
mod verdict;

pub use folder::File;
pub use locks::{Held, LockFile};
pub use verdict::Judged;

use crate::supervisor::SupervisorId;
use std::collections::BTreeMap;
use tenantcron::model::{DatabaseId, DbTime, RunId};
use tenantcron::scheduler::Exit;

/// A run over all databases. Ids come again after a failover; a tenant is not claimed twice at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunKey {
    pub database: DatabaseId,
    /// The tenant's place.
    pub tenant: usize,
    pub started_at: DbTime,
}

/// A process and its start time, in ticks of this boot.
pub type Process = (i32, i64);

/// Why a living tree may overlap another of its tenant on another host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excuse {
    /// Freed by the operator's `stale.action`, or by `release --force`.
    Released,
    /// Its lease was over, and nobody ran who could have ended it.
    Unwatched,
    /// A failover lost its claim.
    Failover,
    /// Another machine bears its node's name, and it was silent for long.
    Namesake,
}

/// A process group: a main process and, perhaps, members that outlive it.
#[derive(Debug, Clone)]
pub struct Tree {
    /// The tenant's place.
    pub tenant: usize,
    pub run: RunKey,
    pub id: RunId,
    pub pid: i32,
    /// Clock ticks since boot.
    pub start: i64,
    /// For which node.
    pub node: usize,
    /// Who spawned it: the only one that gets its status.
    pub parent: SupervisorId,
    /// Who watches it now, and since when.
    pub keeper: SupervisorId,
    pub kept_since: u64,
    pub main_lives: bool,
    pub exit: Exit,
    pub members_live: bool,
    /// A daemon has left the group with its lock and slot.
    pub daemon: bool,
    /// Ignores SIGTERM.
    pub stubborn: bool,
    /// It took one of the node's slots when it was started.
    pub counted: bool,
    pub excuse: Option<Excuse>,
    /// When nothing of it lived any more.
    pub buried_at: u64,
    /// When its row was set running again.
    pub repaired_at: u64,
}

impl Tree {
    pub fn lives(&self) -> bool {
        self.main_lives || self.members_live
    }
}

#[derive(Debug, Default)]
pub struct Host {
    pub number: usize,
    pub boot: u32,
    booted_at: u64,
    /// Its processes do nothing before this.
    pub frozen_until: u64,
    pub thawed_at: u64,
    pub off: bool,
    pub trees: BTreeMap<i32, Tree>,
    /// The tenants' locks, and what is written in the files.
    pub locks: BTreeMap<usize, Held>,
    pub files: BTreeMap<usize, LockFile>,
    pub keepers: BTreeMap<usize, SupervisorId>,
    /// By node and number.
    pub slots: BTreeMap<(usize, u32), Held>,
    /// Unrecorded ends, one file a supervisor.
    pub folder: BTreeMap<u64, File>,
    last_pid: i32,
}

impl Host {
    pub fn new(number: usize) -> Self {
        Self { number, ..Self::default() }
    }

    /// `<boot id>/<namespace>`.
    pub fn name(&self) -> String {
        format!("h{}-boot{}/1", self.number, self.boot)
    }

    /// A child of a supervisor that holds its lock and slot.
    pub fn spawn(&mut self, now: u64, tree: Tree, slot: Option<(usize, u32)>) -> Process {
        self.last_pid += 1;
        let process = (self.last_pid, i64::try_from((now - self.booted_at) / 10_000).unwrap());
        self.locks.get_mut(&tree.tenant).expect("the tenant's lock is taken before a start").tree = Some(process.0);
        if let Some(slot) = slot {
            self.slots.get_mut(&slot).expect("a slot is taken before a start").tree = Some(process.0);
        }
        self.trees.insert(process.0, Tree { pid: process.0, start: process.1, ..tree });
        process
    }

    /// A tree is gone: its descriptors are closed, but for those that a daemon took along.
    pub fn bury(&mut self, now: u64, pid: i32) {
        let daemon = self.trees[&pid].daemon;
        if let Some(tree) = self.trees.get_mut(&pid) {
            tree.buried_at = now;
        }
        for held in self.locks.values_mut().chain(self.slots.values_mut()).filter(|held| held.tree == Some(pid)) {
            held.tree = None;
            held.daemon = if daemon { Some(pid) } else { held.daemon };
        }
        self.sweep();
    }

    /// A daemon is gone.
    pub fn daemon_dies(&mut self, pid: i32) {
        for held in self.locks.values_mut().chain(self.slots.values_mut()).filter(|held| held.daemon == Some(pid)) {
            held.daemon = None;
        }
        self.sweep();
    }

    /// A supervisor is gone: its descriptors are closed, its children live on.
    pub fn bereave(&mut self, supervisor: SupervisorId) {
        let held = self.locks.values_mut().chain(self.slots.values_mut());
        held.filter(|held| held.supervisor == Some(supervisor)).for_each(|held| held.supervisor = None);
        self.keepers.retain(|_, keeper| *keeper != supervisor);
        self.sweep();
    }

    fn sweep(&mut self) {
        self.locks.retain(|_, held| *held != Held::default());
        self.slots.retain(|_, held| *held != Held::default());
    }

    /// Everything dies, and a new boot id begins; what stands on disk stays.
    pub fn reboot(&mut self, now: u64, state_on_disk: bool) {
        self.boot += 1;
        (self.booted_at, self.last_pid, self.frozen_until) = (now, 0, 0);
        self.trees.clear();
        self.locks.clear();
        self.slots.clear();
        self.keepers.clear();
        if !state_on_disk {
            self.files.clear();
            self.folder.clear();
        }
    }

    pub fn living(&self) -> impl Iterator<Item = &Tree> {
        self.trees.values().filter(|tree| tree.lives())
    }

    pub fn tree_of(&self, run: RunKey) -> Option<&Tree> {
        self.living().find(|tree| tree.run == run)
    }

    /// The main process, or a member of its group, lives.
    pub fn process_lives(&self, (pid, start): Process) -> bool {
        self.trees.get(&pid).is_some_and(|tree| tree.start == start && tree.lives())
    }
}
