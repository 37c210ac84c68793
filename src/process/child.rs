//! One child: its descriptors, directory, environment, and why it could not be started. Uses
//! posix_spawn, which copies no page tables and reports a failed exec in the parent. It does not wait
//! for the child ([`super::reap`]) nor know what a run is.
//!
//! Invariants: a child has 0 (/dev/null), 1, 2 and what [`Spawn::keep`] names, nothing else; it leads a
//! process group of its own; its signals are at their defaults. Called from one thread.

use super::environment::{self, ChildEnvironment};
use super::identity::Process;
use super::reap::own_peak_kb;
use super::syscall::{self, FileActions, SpawnAttributes};
use crate::model::{RunId, TenantName};
use nix::unistd::{AccessFlags, access};
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What every spawn needs, made once.
pub struct Spawner {
    null: OwnedFd,
    attributes: SpawnAttributes,
}

/// A child to start.
#[derive(Clone, Copy)]
pub struct Spawn<'a> {
    /// Program and arguments. A program without a slash is sought in the PATH of the child's environment.
    pub argv: &'a [CString],
    /// What all children find.
    pub environment: &'a ChildEnvironment,
    /// Whose run this is, for the environment; none for `tenants.command`.
    pub run: Option<(&'a TenantName, RunId)>,
    /// Where it begins; else where the supervisor is.
    pub directory: Option<&'a Path>,
    /// Its standard output.
    pub stdout: BorrowedFd<'a>,
    /// Its standard error.
    pub stderr: BorrowedFd<'a>,
    /// Descriptors it inherits under their numbers, 3 or above: the tenant's lock and the slot.
    pub keep: &'a [BorrowedFd<'a>],
    /// Its niceness; 0 leaves the supervisor's.
    pub nice: i32,
    /// Its oom_score_adj, -1000 to 1000; none leaves the supervisor's.
    pub oom_score_adj: Option<i32>,
}

/// A child that was started.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a child nobody knows is never collected"]
pub struct Spawned {
    /// It, which is its process group too.
    pub process: Process,
    /// This process's own peak memory at the spawn, KiB; for [`super::Reaped::peak_kb`].
    pub own_peak_kb: i64,
    /// What could not be set (niceness, oom_score_adj, …): worth a warning, the child runs.
    pub warnings: Vec<String>,
}

/// Why a child was not started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpawnFailure {
    /// The command cannot be executed: the run has failed, as a shell would say with this code.
    #[error("{text}")]
    CannotExecute {
        /// 127 if there is no such program, 126 if there is and it cannot be executed.
        code: i32,
        /// The kernel's error.
        errno: i32,
        /// The program and why.
        text: String,
    },
    /// Processes, memory or descriptors ran out: another time it may work.
    #[error("{text}")]
    NoResources {
        /// The kernel's error.
        errno: i32,
        /// The program and why.
        text: String,
    },
    /// The directory it should begin in cannot be entered.
    #[error("{text}")]
    Directory {
        /// The directory and why.
        text: String,
    },
}

impl Spawner {
    /// Makes ready. Marks everything that this program itself inherited close-on-exec.
    ///
    /// # Errors
    /// /dev/null cannot be opened, or memory or descriptors ran out.
    pub fn new() -> io::Result<Self> {
        syscall::close_inherited_on_exec()?;
        let null =
            File::open("/dev/null").map_err(|error| io::Error::new(error.kind(), format!("/dev/null: {error}")))?;
        Ok(Self { null: null.into(), attributes: SpawnAttributes::new()? })
    }

    /// Starts a child.
    ///
    /// # Errors
    /// [`SpawnFailure`], by what follows from it.
    pub fn spawn(&self, child: &Spawn<'_>) -> Result<Spawned, SpawnFailure> {
        let program = child.argv.first().map(CString::as_c_str).unwrap_or_default();
        let pid = self.start(child, program).map_err(|error| explain(&error, child, program))?;
        let mut warnings = Vec::new();
        let found = Process::of(pid);
        if let Err(error) = &found {
            warnings.push(format!("start time of process {pid} unknown: {error}"));
        }
        let process = found.ok().flatten().unwrap_or(Process { pid, start: Process::UNKNOWN_START });
        tune(process, child, &mut warnings);
        Ok(Spawned { process, own_peak_kb: own_peak_kb(), warnings })
    }

    fn start(&self, child: &Spawn<'_>, program: &CStr) -> io::Result<i32> {
        let mut actions = FileActions::new()?;
        if let Some(directory) = child.directory {
            actions.change_directory(&CString::new(directory.as_os_str().as_bytes())?)?;
        }
        actions.duplicate(self.null.as_fd(), 0)?;
        actions.duplicate(child.stdout, 1)?;
        actions.duplicate(child.stderr, 2)?;
        for kept in child.keep {
            actions.duplicate(*kept, kept.as_raw_fd())?;
        }
        let of_run = child.run.map(|(tenant, run)| environment::of_run(tenant, run)).unwrap_or_default();
        let lines = child.environment.base().chain(of_run.iter().map(CString::as_c_str));
        let found = find_program(program, child)?;
        syscall::spawn(&found, &actions, &self.attributes, child.argv, lines)
    }
}

/// The program's path: as given if it holds a slash, else the first executable of that name in the
/// child's PATH (execvp's rule; its fallback to a shell for files without `#!` is not ours).
fn find_program(program: &CStr, child: &Spawn<'_>) -> io::Result<CString> {
    let name = program.to_bytes();
    if name.is_empty() {
        return Err(io::Error::from_raw_os_error(syscall::ENOENT));
    }
    if name.contains(&b'/') {
        return Ok(program.to_owned());
    }
    let mut why = syscall::ENOENT;
    for folder in child.environment.path().as_bytes().split(|byte| *byte == b':') {
        let folder = if folder.is_empty() { Path::new(".") } else { Path::new(OsStr::from_bytes(folder)) };
        let candidate = folder.join(OsStr::from_bytes(name));
        // The child resolves it after it has changed its directory.
        let seen: PathBuf = child.directory.unwrap_or(Path::new("")).join(&candidate);
        if !seen.is_file() {
            continue;
        }
        match access(&seen, AccessFlags::X_OK) {
            Ok(()) => return Ok(CString::new(candidate.into_os_string().into_encoded_bytes())?),
            Err(_) => why = syscall::EACCES,
        }
    }
    Err(io::Error::from_raw_os_error(why))
}

/// The directory is looked at only now: in the good case that costs nothing, and the kernel's error does
/// not tell a missing folder from a missing program.
fn explain(error: &io::Error, child: &Spawn<'_>, program: &CStr) -> SpawnFailure {
    let program = program.to_string_lossy();
    let errno = error.raw_os_error().unwrap_or(0);
    if syscall::SCARCITY.contains(&errno) {
        return SpawnFailure::NoResources { errno, text: format!("cannot start {program} now: {error}") };
    }
    if let Some(directory) = child.directory {
        let entered = std::fs::metadata(directory).and_then(|found| {
            if !found.is_dir() {
                return Err(io::Error::from_raw_os_error(syscall::ENOTDIR));
            }
            access(directory, AccessFlags::X_OK).map_err(io::Error::from)
        });
        if let Err(why) = entered {
            let text = format!("cannot start {program} in directory {}: {why}", directory.display());
            return SpawnFailure::Directory { text };
        }
    }
    let code = if [syscall::ENOENT, syscall::ENOTDIR].contains(&errno) { 127 } else { 126 };
    SpawnFailure::CannotExecute { code, errno, text: format!("cannot execute {program}: {error}") }
}

/// What the parent sets right after the start. A child may have forked by then: niceness goes to its group;
/// of oom_score_adj such a grandchild misses nothing that matters.
fn tune(process: Process, child: &Spawn<'_>, warnings: &mut Vec<String>) {
    let pid = process.pid;
    let nice = if child.nice == 0 { Ok(()) } else { syscall::renice_group(pid, child.nice) };
    let score = child
        .oom_score_adj
        .map_or(Ok(()), |score| std::fs::write(format!("/proc/{pid}/oom_score_adj"), score.to_string()));
    // A child that has ended already is nobody's concern, and its files in /proc belong to root.
    if (nice.is_ok() && score.is_ok()) || matches!(process.is_alive(), Ok(false)) {
        return;
    }
    if let Err(error) = nice {
        warnings.push(format!("nice {} of process {pid}: {error}", child.nice));
    }
    if let Err(error) = score {
        warnings.push(format!("oom_score_adj {} of process {pid}: {error}", child.oom_score_adj.unwrap_or_default()));
    }
}
