//! `run TENANT…` follows the output of its children: it copies what their logs gain to standard output.

use crate::model::TenantName;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

/// The logs that are followed; nothing where nobody asked to follow.
#[derive(Debug, Default)]
pub struct Follow {
    wanted: bool,
    logs: BTreeMap<TenantName, File>,
}

impl Follow {
    /// Follows what begins from now on, or nothing.
    pub fn new(wanted: bool) -> Self {
        Self { wanted, logs: BTreeMap::new() }
    }

    /// True if [`Follow::copy`] is wanted every now and then.
    pub fn is_active(&self) -> bool {
        !self.logs.is_empty()
    }

    /// A run of this tenant is about to write here.
    pub fn begin(&mut self, tenant: &TenantName, path: &Path) {
        if !self.wanted {
            return;
        }
        // What is no file, or may not be read, cannot be followed.
        if let Ok(mut log) = File::open(path)
            && log.metadata().is_ok_and(|found| found.is_file())
            && log.seek(SeekFrom::End(0)).is_ok()
        {
            self.logs.insert(tenant.clone(), log);
        }
    }

    /// Its run is over.
    pub fn end(&mut self, tenant: &TenantName) {
        self.copy();
        self.logs.remove(tenant);
    }

    /// Copies what is new.
    pub fn copy(&mut self) {
        for log in self.logs.values_mut() {
            let mut new = Vec::new();
            if log.read_to_end(&mut new).is_ok() && !new.is_empty() {
                let mut out = std::io::stdout().lock();
                // A reader who went away is no reason to end the run.
                _ = out.write_all(&new).and_then(|()| out.flush());
            }
        }
    }
}
