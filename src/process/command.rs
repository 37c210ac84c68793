//! A short command whose output is wanted (`tenants.command`). It prints into memory files, not pipes, so
//! that nobody has to read while it runs and it never blocks; its end comes through [`super::reap`] like any child's.
//!
//! Invariant: what it prints is read only up to a limit, however much it prints.

use super::child::{Spawn, SpawnFailure, Spawner};
use super::environment::ChildEnvironment;
use super::identity::Process;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

/// The most that is read of its standard output: 8 MiB, some ten thousands of tenants.
const MOST_OUTPUT: usize = 8 << 20;
/// The most that is read of its standard error: 64 KiB.
const MOST_ERROR: usize = 64 << 10;

/// A command that was started.
#[derive(Debug)]
#[must_use = "its output is lost with it"]
pub struct Command {
    process: Process,
    output: File,
    error: File,
}

/// What a command printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Printed {
    /// Its standard output, at most 8 MiB of it.
    pub output: Vec<u8>,
    /// Its standard error, at most 64 KiB of it.
    pub error: Vec<u8>,
    /// The standard output was longer: what there is must not be taken for the whole.
    pub output_is_cut: bool,
}

impl Command {
    /// Starts a command, in a process group of its own.
    ///
    /// # Errors
    /// [`SpawnFailure`], as for any child.
    pub fn start(spawner: &Spawner, argv: &[CString], environment: &ChildEnvironment) -> Result<Self, SpawnFailure> {
        Self::start_with(spawner, argv, environment, &[])
    }

    /// The same with a further descriptor under its own number.
    ///
    /// # Errors
    /// [`SpawnFailure`], as for any child.
    pub fn start_with(
        spawner: &Spawner,
        argv: &[CString],
        environment: &ChildEnvironment,
        keep: &[BorrowedFd<'_>],
    ) -> Result<Self, SpawnFailure> {
        let files = memory_file(c"stdout").and_then(|output| Ok((output, memory_file(c"stderr")?)));
        let (output, error) = files.map_err(|errno| SpawnFailure::NoResources {
            errno: errno as i32,
            text: format!("no memory file for the output of {:?}: {errno}", argv.first().cloned().unwrap_or_default()),
        })?;
        let spawn = Spawn {
            argv,
            environment,
            run: None,
            directory: None,
            stdout: output.as_fd(),
            stderr: error.as_fd(),
            keep,
            nice: 0,
            oom_score_adj: None,
        };
        let process = spawner.spawn(&spawn)?.process;
        Ok(Self { process, output, error })
    }

    /// It, which is its process group too.
    pub fn process(&self) -> Process {
        self.process
    }

    /// What it has printed so far; all of it once it was collected.
    ///
    /// # Errors
    /// None that is known; what read(2) answers.
    pub fn printed(&self) -> io::Result<Printed> {
        let (output, output_is_cut) = read(&self.output, MOST_OUTPUT)?;
        let (error, _) = read(&self.error, MOST_ERROR)?;
        Ok(Printed { output, error, output_is_cut })
    }
}

/// Appending, so that `echo >/dev/stderr` in a script, which opens the file anew, overwrites nothing.
fn memory_file(name: &std::ffi::CStr) -> nix::Result<File> {
    let file = File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC)?);
    fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
    Ok(file)
}

fn read(file: &File, most: usize) -> io::Result<(Vec<u8>, bool)> {
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    let mut text = vec![0; length.min(most)];
    let mut filled = 0;
    while let Some(rest) = text.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    text.truncate(filled);
    Ok((text, length > most))
}
