//! The environment of children: the supervisor's own, less what is meant for the supervisor alone, plus
//! what the job's configuration and the run add. Computed once; a run adds its few lines.
//!
//! Invariant: nothing that could turn a job into a part of the supervisor (its configuration, its
//! database session, systemd's sockets) passes through.

use crate::model::{RunId, TenantName};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// What all children of this supervisor find in their environment.
#[derive(Debug, Clone)]
pub struct ChildEnvironment {
    base: Vec<CString>,
    path: OsString,
}

/// A variable of `job.env` that no environment can hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("job.env: variable {name:?}: {why}")]
pub struct BadVariable {
    /// Its name.
    pub name: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// What systemd gave the supervisor alone.
const SYSTEMD: [&str; 4] = ["NOTIFY_SOCKET", "INVOCATION_ID", "JOURNAL_STREAM", "MAINPID"];
/// Where programs are sought if the environment names no PATH: the C library's default.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

impl ChildEnvironment {
    /// Puts the base together: `own` is the supervisor's environment, `job` what `job.env` adds to it.
    ///
    /// # Errors
    /// [`BadVariable`] for a name that is empty or holds `=`, and for a NUL anywhere.
    pub fn new<'a>(
        own: impl IntoIterator<Item = (OsString, OsString)>,
        job: impl IntoIterator<Item = (&'a str, &'a str)>,
        node: &str,
        instance: &str,
    ) -> Result<Self, BadVariable> {
        let mut all: BTreeMap<OsString, OsString> =
            own.into_iter().filter(|(name, _)| !is_the_supervisors(name)).collect();
        for (name, value) in job {
            let bad = |why| Err(BadVariable { name: name.to_owned(), why });
            if name.is_empty() || name.contains('=') {
                return bad("a name is not empty and holds no '='");
            }
            if name.contains('\0') || value.contains('\0') {
                return bad("holds a NUL byte");
            }
            all.insert(name.into(), value.into());
        }
        all.insert("TENANTCRON_NODE".into(), node.into());
        all.insert("TENANTCRON_INSTANCE".into(), instance.into());
        // A run's own lines come after the base, and no name may stand twice.
        for name in ["TENANTCRON_TENANT", "TENANTCRON_RUN_ID", "PGAPPNAME"] {
            all.remove(OsStr::new(name));
        }
        let path = all.get(OsStr::new("PATH")).cloned().unwrap_or_else(|| DEFAULT_PATH.into());
        let base = all.into_iter().filter_map(|(name, value)| entry(name, &value)).collect();
        Ok(Self { base, path })
    }

    /// The supervisor's own environment, whole: for another program that is to be what this one is.
    pub fn whole(own: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let all: BTreeMap<OsString, OsString> = own.into_iter().collect();
        let path = all.get(OsStr::new("PATH")).cloned().unwrap_or_else(|| DEFAULT_PATH.into());
        let base = all.into_iter().filter_map(|(name, value)| entry(name, &value)).collect();
        Self { base, path }
    }

    /// The base, without any run.
    pub(super) fn base(&self) -> impl Iterator<Item = &CStr> {
        self.base.iter().map(CString::as_c_str)
    }

    /// Where programs are sought: the children's own PATH.
    pub(super) fn path(&self) -> &OsStr {
        &self.path
    }
}

/// The lines that a run adds.
pub(super) fn of_run(tenant: &TenantName, run: RunId) -> Vec<CString> {
    // Longer names are cut by the server; 63 bytes of ASCII are 63 characters.
    let session: String = format!("PGAPPNAME=tenantcron {tenant}").chars().take("PGAPPNAME=".len() + 63).collect();
    let lines = [format!("TENANTCRON_TENANT={tenant}"), format!("TENANTCRON_RUN_ID={run}"), session];
    lines.into_iter().filter_map(|line| CString::new(line).ok()).collect()
}

fn entry(name: OsString, value: &OsStr) -> Option<CString> {
    let mut line = name.into_vec();
    line.push(b'=');
    line.extend_from_slice(value.as_bytes());
    CString::new(line).ok()
}

fn is_the_supervisors(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    ["TENANTCRON_", "PG", "WATCHDOG_", "LISTEN_"].iter().any(|start| bytes.starts_with(start.as_bytes()))
        || bytes.ends_with(b"_DIRECTORY")
        || SYSTEMD.iter().any(|one| bytes == one.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(own: &[(&str, &str)], job: &[(&str, &str)]) -> Vec<String> {
        let own = own.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let environment = ChildEnvironment::new(own, job.iter().copied(), "web1", "wcs").unwrap();
        environment.base().map(|line| line.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn what_is_the_supervisors_stays_with_it_and_job_env_is_added() {
        let own = [
            ("HOME", "/root"),
            ("LANG", "C"),
            ("PGPASSWORD", "secret"),
            ("TENANTCRON_DATABASE_URL", "x"),
            ("NOTIFY_SOCKET", "/run/x"),
            ("WATCHDOG_USEC", "1"),
            ("LISTEN_FDS", "1"),
            ("INVOCATION_ID", "a"),
            ("JOURNAL_STREAM", "8:1"),
            ("MAINPID", "1"),
            ("RUNTIME_DIRECTORY", "/run/tenantcron"),
        ];
        let got = lines(&own, &[("LANG", "fr_FR.UTF-8"), ("PGHOST", "db1"), ("TENANTCRON_TENANT", "mine")]);
        let want = ["HOME=/root", "LANG=fr_FR.UTF-8", "PGHOST=db1", "TENANTCRON_INSTANCE=wcs", "TENANTCRON_NODE=web1"];
        assert_eq!(got, want);
    }

    #[test]
    fn a_run_adds_its_lines_and_the_session_name_is_cut_at_63_bytes() {
        let tenant = TenantName::parse(&"t".repeat(100)).unwrap();
        let lines = of_run(&tenant, RunId(7));
        let texts: Vec<_> = lines.iter().map(|line| line.to_str().unwrap()).collect();
        assert_eq!(texts[1], "TENANTCRON_RUN_ID=7");
        assert_eq!(texts[2], format!("PGAPPNAME=tenantcron {}", "t".repeat(52)));
    }

    #[test]
    fn variables_that_no_environment_can_hold_are_refused() {
        for (name, value) in [("", "x"), ("A=B", "x"), ("A", "x\0y"), ("A\0", "x")] {
            assert!(ChildEnvironment::new([], [(name, value)], "n", "i").is_err());
        }
    }
}
