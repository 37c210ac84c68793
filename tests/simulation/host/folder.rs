//! The state folder's `unrecorded/`: ends that no database has taken yet, one file a program.

use super::Host;
use crate::supervisor::SupervisorId;
use tenantcron::model::{OpenRun, Unrecorded};

/// One supervisor's ends.
#[derive(Debug, Clone)]
pub struct File {
    pub owner: SupervisorId,
    /// Its owner has gone, or another program took its place since.
    pub orphaned: bool,
    pub ends: Vec<Unrecorded>,
}

impl Host {
    /// Replaces a file whole; one that says nothing is removed.
    pub fn keep(&mut self, number: u64, owner: SupervisorId, ends: Vec<Unrecorded>) {
        if ends.is_empty() {
            self.folder.remove(&number);
        } else {
            self.folder.insert(number, File { owner, orphaned: false, ends });
        }
    }

    pub fn orphan_files_of(&mut self, owner: SupervisorId) {
        self.folder.values_mut().filter(|file| file.owner == owner).for_each(|file| file.orphaned = true);
    }

    /// The file that names a run, if one does.
    pub fn file_naming(&self, run: &OpenRun) -> Option<(u64, &File)> {
        let names = |file: &File| {
            file.ends.iter().map(|end| &end.finish).any(|end| run.is_of(&end.run, end.pid.zip(end.pid_start)))
        };
        self.folder.iter().find(|(_, file)| names(file)).map(|(number, file)| (*number, file))
    }
}
