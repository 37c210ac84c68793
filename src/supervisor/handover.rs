//! What a supervisor hands to the program that replaces it: who it was, its place, and its runs with their locks. A
//! versioned text on memory; the next program reads it before it takes anything over, and once before it is put in
//! place at all.
//!
//! Invariant: who does not know its version, or would be somebody else, refuses.

use super::start;
use crate::config::{Config, Loaded};
use crate::db::{Access, Engine};
use crate::model::{Identity, Moment, Tenant, TenantName};
use crate::process::{self, ChildEnvironment, Handed, Places, StateFolder};
use crate::scheduler::CarriedRun;
use crate::supervisor::Registry;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::time::Duration;

/// The layout of what is handed over.
const VERSION: u32 = 1;
/// This program's version.
pub const PROGRAM: &str = env!("CARGO_PKG_VERSION");
/// Where the next program finds it: a number of a descriptor. Internal, and never seen by children.
pub const RESUME_VARIABLE: &str = "TENANTCRON_RESUME";

/// All of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Handover {
    version: u32,
    /// The version of the program that wrote it.
    pub program: String,
    instance: String,
    node: String,
    host: String,
    state: PathBuf,
    rows: Rows,
    /// When the first of these programs began.
    pub born: Moment,
    /// The supervisor's lock.
    pub place: RawFd,
    pub runs: Vec<HandedRun>,
    /// Daemons that were named, by pid and start time.
    pub left_behind: Vec<(TenantName, Vec<(i32, i64)>)>,
    /// What was told within the hour.
    pub alerted: BTreeMap<String, Moment>,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct HandedRun {
    pub tenant: Tenant,
    pub run: CarriedRun,
    pub locks: Handed,
    pub own_peak_kb: i64,
    pub log: Option<PathBuf>,
    pub end_told: bool,
}

/// What leads to the rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Rows {
    url: String,
    status_table: String,
    run_table: String,
    key: String,
}

/// Only to learn whether the rest can be understood.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
    program: String,
}

impl Rows {
    fn of(config: &Config) -> Self {
        let database = &config.database;
        Self {
            url: database.url.source().to_owned(),
            status_table: format!("{:?}", database.status_table),
            run_table: format!("{:?}", database.run_table),
            key: database.key.source().to_owned(),
        }
    }
}

impl Handover {
    /// A supervisor with these, and without a run so far.
    pub fn new(identity: &Identity, state: &StateFolder, config: &Config, born: Moment, place: RawFd) -> Self {
        Self {
            version: VERSION,
            program: PROGRAM.to_owned(),
            instance: identity.instance.clone(),
            node: identity.node.clone(),
            host: identity.host.clone(),
            state: state.path().to_owned(),
            rows: Rows::of(config),
            born,
            place,
            runs: Vec::new(),
            left_behind: Vec::new(),
            alerted: BTreeMap::new(),
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// It is of another version, or none.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let not = |error: serde_json::Error| format!("what the running program hands over is not understood: {error}");
        let Versioned { version, program } = serde_json::from_slice(text).map_err(not)?;
        if version != VERSION {
            return Err(format!(
                "what the running program ({program}) hands over is of version {version}, this one ({PROGRAM}) knows {VERSION}: restart instead"
            ));
        }
        serde_json::from_slice(text).map_err(not)
    }

    /// Takes it from the descriptor that the program before this one left open.
    ///
    /// # Errors
    /// There is none, or it is of another version.
    pub fn take(number: &OsStr) -> Result<Self, String> {
        let number = number.to_str().and_then(|number| number.parse().ok());
        let number = number.ok_or_else(|| format!("{RESUME_VARIABLE} is set, which only an upgrade does: unset it"))?;
        Self::parse(&process::take_out(number).map_err(|error| error.to_string())?)
    }

    /// Every descriptor that it speaks of.
    pub fn numbers(&self) -> impl Iterator<Item = RawFd> {
        self.runs.iter().flat_map(|run| run.locks.numbers()).chain([self.place])
    }

    /// It was written by what this configuration makes of us.
    ///
    /// # Errors
    /// What changes only by a restart and has changed.
    pub fn fits(&self, config: &Config, identity: &Identity, state: &StateFolder) -> Result<(), String> {
        let (is, was) = (Rows::of(config), &self.rows);
        let changed = [
            ("the instance", identity.instance != self.instance),
            ("node", identity.node != self.node),
            ("the host", identity.host != self.host),
            ("state", state.path() != self.state),
            ("database.url", is.url != was.url),
            ("database.status_table", is.status_table != was.status_table),
            ("database.run_table", is.run_table != was.run_table),
            ("database.key", is.key != was.key),
        ];
        match changed.into_iter().find(|(_, changed)| *changed) {
            Some((what, _)) => Err(format!("{what} has changed, which takes a restart")),
            None => Ok(()),
        }
    }
}

/// Whether this program, with this configuration, could go on where another is: nothing is taken or changed. Answers with the
/// number of runs that it would take over.
///
/// # Errors
/// What stands in the way.
pub fn can_resume(loaded: &Loaded, environment: &[(OsString, OsString)], number: RawFd) -> Result<usize, String> {
    let plain = |error: std::io::Error| error.to_string();
    let text = process::look_into(number).map_err(plain)?;
    let handover = Handover::parse(&text)?;
    let config = &loaded.config;
    let identity = start::host_identity(loaded).map_err(plain)?;
    let state =
        StateFolder::look(config.state.as_deref(), &loaded.instance, &Places::here()).map_err(|why| why.to_string())?;
    handover.fits(config, &identity, &state)?;
    let mut registry = Registry::default();
    for run in &handover.runs {
        start::list_tenant(config, &loaded.instance, run.tenant.clone(), &mut registry)?;
    }
    let job = config.job.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    ChildEnvironment::new(environment.to_vec(), job, &identity.node, &identity.instance)
        .map_err(|bad| bad.to_string())?;
    let settings = start::engine_settings(config, identity, Access::Rehearsal);
    Engine::start(settings, Box::new(drop)).map_err(plain)?.stop(Duration::ZERO);
    Ok(handover.runs.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_another_version_or_no_handover_is_refused() {
        let newer = br#"{"version": 2, "program": "9.9", "what": "nobody knows yet"}"#;
        let why = Handover::parse(newer).unwrap_err();
        assert!(why.contains("(9.9)") && why.contains("version 2") && why.contains("restart instead"), "{why}");
        for text in ["", "{}", "[1]", r#"{"version": 1, "program": "0.1.0"}"#] {
            assert!(Handover::parse(text.as_bytes()).unwrap_err().contains("not understood"), "{text}");
        }
        assert!(Handover::take(OsStr::new("soon")).unwrap_err().contains("unset it"));
    }
}
