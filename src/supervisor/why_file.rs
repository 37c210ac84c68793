//! `why.json`: what only the supervisor knows, for `status`. Replaced whole, at most once a second.

use crate::process::StateFolder;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;

/// Its name in the state folder.
pub const WHY_FILE: &str = "why.json";

/// Its content.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WhyFile {
    /// The supervisor that wrote it, and field 22 of its /proc/PID/stat.
    pub pid: i32,
    /// Start time of that process.
    pub pid_start: i64,
    /// Its node.
    pub node: String,
    /// Runs under way.
    pub running: usize,
    /// Slots.
    pub workers: u32,
    /// Why tenants that want to run do not.
    pub reasons: BTreeMap<String, String>,
}

impl WhyFile {
    /// Replaces the file.
    ///
    /// # Errors
    /// The folder is gone, full or read-only.
    pub fn write(&self, folder: &StateFolder) -> io::Result<()> {
        let text = serde_json::to_vec(self).map_err(io::Error::other)?;
        let new = folder.file("why.json.new");
        std::fs::write(&new, text)?;
        std::fs::rename(&new, folder.file(WHY_FILE))
    }

    /// Reads it; none if there is none, or none that can be read.
    pub fn read(folder: &StateFolder) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(folder.file(WHY_FILE)).ok()?).ok()
    }
}
