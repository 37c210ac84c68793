//! Tenants' locks as flock has them: held while anybody has the descriptor (the supervisor, its child, a daemon that the
//! child left behind), freed for all by an unlock; and the words in their files, which no unlock takes away.

use super::{Host, Process};
use crate::supervisor::SupervisorId;
use tenantcron::model::{DbTime, RunId};

/// Who has a descriptor of a lock or slot.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Held {
    pub supervisor: Option<SupervisorId>,
    pub tree: Option<i32>,
    /// Left by the tree of this pid.
    pub daemon: Option<i32>,
}

/// What a tenant's lock file says.
#[derive(Debug, Clone, Default)]
pub struct LockFile {
    pub supervisor: Option<SupervisorId>,
    pub host: String,
    pub run: Option<(RunId, DbTime)>,
    pub process: Option<Process>,
}

impl Host {
    /// Takes a tenant's lock and says so in its file.
    pub fn lock(&mut self, tenant: usize, supervisor: SupervisorId) -> bool {
        if self.locks.contains_key(&tenant) {
            return false;
        }
        self.locks.insert(tenant, Held { supervisor: Some(supervisor), ..Held::default() });
        let content = LockFile { supervisor: Some(supervisor), host: self.name(), ..LockFile::default() };
        self.files.insert(tenant, content);
        true
    }

    /// The pid that is told of a lock that is held: a run's, or a daemon's that was left behind, none while it is only
    /// being claimed.
    pub fn holder_of(&self, tenant: usize, living: impl Fn(SupervisorId) -> bool) -> Option<i32> {
        let file = self.files.get(&tenant)?;
        if let Some(process) = file.process.filter(|process| self.process_lives(*process)) {
            return Some(process.0);
        }
        let claiming = file.supervisor.is_some_and(living);
        self.locks.get(&tenant).filter(|_| !claiming).and_then(|held| held.daemon.or(held.tree))
    }

    /// Gives up a lock, and the slots that go with it, which only a daemon holds that a run left behind, as
    /// `src/process/let_go.rs` does. True if it could.
    pub fn let_go(&mut self, tenant: usize, living: impl Fn(SupervisorId) -> bool) -> bool {
        let Some(held) = self.locks.get(&tenant).copied() else { return false };
        let here = self.name();
        let Some(file) = self.files.get(&tenant).filter(|file| file.host == here) else { return false };
        let (Some(process), Some(supervisor)) = (file.process, file.supervisor) else { return false };
        if self.process_lives(process) || living(supervisor) || self.keepers.contains_key(&tenant) {
            return false;
        }
        assert_eq!((held.supervisor, held.tree), (None, None), "locks: one is let go of that is in use");
        self.locks.remove(&tenant);
        self.slots.retain(|_, slot| slot.daemon != held.daemon);
        true
    }

    pub fn is_locked(&self, tenant: usize) -> bool {
        self.locks.contains_key(&tenant)
    }
}
