//! What libpq would read from the process: `PG*` variables, the home folder, the user's name. As data,
//! so that parsing a URL depends on nothing else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The part of the process's environment that URLs depend on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// The variables whose names begin with `PG`.
    pub variables: BTreeMap<String, String>,
    /// The home folder.
    pub home: Option<PathBuf>,
    /// The operating system's name of the user.
    pub user: Option<String>,
}

impl Environment {
    /// Reads the process.
    pub fn of_this_process() -> Self {
        let account = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
        Self {
            variables: std::env::vars().filter(|(name, _)| name.starts_with("PG")).collect(),
            home: std::env::var_os("HOME")
                .filter(|home| !home.is_empty())
                .map(PathBuf::from)
                .or_else(|| account.as_ref().map(|account| account.dir.clone())),
            user: account.map(|account| account.name),
        }
    }

    /// A variable that is set and not empty.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A file in the home folder.
    pub(super) fn in_home(&self, file: &str) -> Option<PathBuf> {
        self.home.as_deref().map(|home: &Path| home.join(file))
    }
}
