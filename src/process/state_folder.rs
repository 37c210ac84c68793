//! The state folder of one instance: where it is, and how `run` makes it. Commands find it, with the
//! same rules, and never make it. What stands in it is read and written by others.
//!
//! Invariant: whoever looks finds the folder that `run` of the same user would make; a folder that
//! another user could have planted in /tmp is never used.

use crate::model::TenantName;
use nix::unistd::{AccessFlags, access, getuid};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Where state folders may stand on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// /run/tenantcron
    pub system: PathBuf,
    /// $XDG_RUNTIME_DIR, if it is set to an absolute path.
    pub runtime: Option<PathBuf>,
    /// /tmp
    pub temporary: PathBuf,
    /// Who asks.
    pub uid: u32,
}

impl Places {
    /// This host's, for this process.
    pub fn here() -> Self {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
        Self { system: "/run/tenantcron".into(), runtime, temporary: "/tmp".into(), uid: getuid().as_raw() }
    }
}

/// A state folder that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateFolder {
    path: PathBuf,
}

/// Why there is no state folder to use.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It exists and this user may not write there; another place would hide the locks of whoever may.
    #[error("state folder {} exists and cannot be written ({source}); run as the user who owns it, or set `state`", path.display())]
    NotWritable {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else could have planted it.
    #[error("state folder {} is not safe: {why}; remove it, or set `state`", path.display())]
    NotSafe {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It cannot be made or looked at.
    #[error("state folder {}: {source}", path.display())]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What stands in every state folder.
const PARTS: [&str; 4] = ["tenants", "wake", "stop", "unrecorded"];

impl StateFolder {
    /// Finds the instance's folder or makes it, for `run`. `instance` is a checked name.
    ///
    /// # Errors
    /// [`StateError`] names the folder and what to do.
    pub fn make(configured: Option<&Path>, instance: &str, places: &Places) -> Result<Self, StateError> {
        let path = match configured {
            Some(path) => ready(path, 0o755)?,
            None => make_default(instance, places)?,
        };
        for part in PARTS {
            make_one(&path.join(part), 0o755)?;
        }
        Ok(Self { path })
    }

    /// Finds the instance's folder, for commands; `None` if there is none yet (no supervisor ever ran here).
    ///
    /// # Errors
    /// [`StateError::NotSafe`] for one in /tmp that is not ours; [`StateError::Unusable`] if it cannot be looked at.
    pub fn find(configured: Option<&Path>, instance: &str, places: &Places) -> Result<Option<Self>, StateError> {
        let mut candidates = Vec::new();
        if let Some(path) = configured {
            candidates.push(path.to_owned());
        } else {
            candidates.push(places.system.join(instance));
            candidates.extend(own_runtime(places).map(|folder| folder.join(instance)));
        }
        for path in candidates {
            match std::fs::metadata(&path) {
                Ok(found) if found.is_dir() => return Ok(Some(Self { path })),
                Ok(_) => return Err(unusable(&path, io::ErrorKind::NotADirectory.into())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // `make` would go on to the next place too.
                Err(error) if configured.is_none() && error.kind() == io::ErrorKind::PermissionDenied => {}
                Err(error) => return Err(unusable(&path, error)),
            }
        }
        if configured.is_some() {
            return Ok(None);
        }
        let outer = private_root(places);
        let path = outer.join(instance);
        Ok((is_private(&outer, places.uid)? && is_private(&path, places.uid)?).then_some(Self { path }))
    }

    /// The folder that is there, or else the first that `run` would try: for a dry run, which writes nothing.
    ///
    /// # Errors
    /// Those of [`StateFolder::find`].
    pub fn look(configured: Option<&Path>, instance: &str, places: &Places) -> Result<Self, StateError> {
        let first = || configured.map_or_else(|| places.system.join(instance), Path::to_owned);
        Ok(Self::find(configured, instance, places)?.unwrap_or_else(|| Self { path: first() }))
    }

    /// True while all that `run` makes in it is there.
    pub fn is_whole(&self) -> bool {
        PARTS.iter().all(|part| self.path.join(part).is_dir())
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file directly in it: `why.json`, say.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A tenant's lock file.
    pub fn tenant_lock(&self, tenant: &TenantName) -> PathBuf {
        self.path.join(format!("tenants/{tenant}.lock"))
    }

    /// Tenants that have a lock file, whether anybody holds it or not; none where the folder cannot be read.
    pub fn tenants_locked_once(&self) -> Vec<TenantName> {
        let entries = std::fs::read_dir(self.path.join("tenants")).into_iter().flatten().flatten();
        let name =
            |entry: std::fs::DirEntry| TenantName::parse(entry.file_name().to_str()?.strip_suffix(".lock")?).ok();
        entries.filter_map(name).collect()
    }

    /// The file that the watcher of a tenant's adopted run holds.
    pub fn keeper(&self, tenant: &TenantName) -> PathBuf {
        self.path.join(format!("tenants/{tenant}.keeper"))
    }

    /// Where `request` names tenants to look at.
    pub fn wake(&self) -> PathBuf {
        self.path.join("wake")
    }

    /// Where `kill` says that a run's end was its wish.
    pub fn stop(&self) -> PathBuf {
        self.path.join("stop")
    }

    /// Ends that their database has not taken.
    pub fn unrecorded(&self) -> PathBuf {
        self.path.join("unrecorded")
    }

    pub(super) fn supervisor_lock(&self, node: &str) -> PathBuf {
        self.path.join(format!("supervisor.{node}.lock"))
    }
}

fn make_default(instance: &str, places: &Places) -> Result<PathBuf, StateError> {
    // Where this user may make nothing, the next place serves; where something stands, it is taken or is an error.
    let not_for_us = |error: &io::Error| {
        use io::ErrorKind::{NotFound, PermissionDenied, ReadOnlyFilesystem};
        matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem | NotFound)
    };
    let mut tried = vec![(places.system.clone(), 0o755)];
    tried.extend(own_runtime(places).map(|folder| (folder, 0o700)));
    for (outer, mode) in tried {
        let path = outer.join(instance);
        // The folder around it exists, perhaps only for root to write: whether the inner one does is what counts.
        match make_one(&outer, mode).and_then(|()| ready(&path, mode)) {
            Err(StateError::Unusable { source, .. }) if not_for_us(&source) => {}
            other => return other,
        }
    }
    let outer = private_root(places);
    let path = outer.join(instance);
    for folder in [&outer, &path] {
        make_one(folder, 0o700)?;
        if !is_private(folder, places.uid)? {
            return Err(unusable(folder, io::ErrorKind::NotFound.into()));
        }
    }
    Ok(path)
}

/// Makes the folder if need be and makes sure that it can be written.
fn ready(path: &Path, mode: u32) -> Result<PathBuf, StateError> {
    std::fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(|error| unusable(path, error))?;
    match access(path, AccessFlags::W_OK | AccessFlags::X_OK) {
        Ok(()) => Ok(path.to_owned()),
        Err(error) => Err(StateError::NotWritable { path: path.to_owned(), source: error.into() }),
    }
}

fn make_one(path: &Path, mode: u32) -> Result<(), StateError> {
    match std::fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) => Ok(()),
        Err(_) if path.symlink_metadata().is_ok() => Ok(()),
        Err(error) => Err(unusable(path, error)),
    }
}

/// $XDG_RUNTIME_DIR/tenantcron, unless the variable was left over from another user (`su` keeps it).
fn own_runtime(places: &Places) -> Option<PathBuf> {
    let folder = places.runtime.as_ref()?;
    let found = std::fs::metadata(folder).ok()?;
    (found.is_dir() && found.uid() == places.uid).then(|| folder.join("tenantcron"))
}

fn private_root(places: &Places) -> PathBuf {
    places.temporary.join(format!("tenantcron-{}", places.uid))
}

/// True if the folder is ours alone, false if nothing is there. Once it is ours, in a sticky /tmp, nobody
/// else can put another in its place.
fn is_private(path: &Path, uid: u32) -> Result<bool, StateError> {
    let found = match path.symlink_metadata() {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(unusable(path, error)),
    };
    let unsafe_for = |why| Err(StateError::NotSafe { path: path.to_owned(), why });
    if !found.is_dir() {
        return unsafe_for("it is a link or a file, not a folder");
    }
    if found.uid() != uid {
        return unsafe_for("it belongs to another user");
    }
    if found.mode() & 0o077 != 0 {
        return unsafe_for("others may enter it (it must have mode 0700)");
    }
    Ok(true)
}

fn unusable(path: &Path, source: io::Error) -> StateError {
    StateError::Unusable { path: path.to_owned(), source }
}
