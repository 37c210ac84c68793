//! The log file of a tenant's runs: opened for each run, given to the child as standard output and error, framed by
//! a start and an end line. What the child writes never passes through us.
//!
//! Opened in append mode, made with 0640 (a missing folder with 0750). The last part of the path is never followed
//! if it is a symbolic link, so that nobody who may write to a log folder can turn a root's log onto another file;
//! that refuses `/dev/stdout` and `/dev/stderr`, which are links. What is no regular file (`/dev/null`, a FIFO) is
//! opened as it is and gets no lines. A FIFO that nobody reads is an error, not a wait.
//!
//! Four system calls until the child has it: open, fstat, fcntl, write.

use super::end_words::{self, RunEnd};
use super::wall;
use crate::model::{RunId, TenantName};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::stat::{Mode, SFlag, fstat};
use std::fs::{DirBuilder, File, FileType};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, FileTypeExt};
use std::path::{Path, PathBuf};

/// Why a tenant's log could not be used. The tenant runs all the same, its output is lost.
#[derive(Debug, thiserror::Error)]
#[error("tenant {tenant}: {what} log {path}: {why}")]
pub struct TenantFileError {
    /// Whose log.
    pub tenant: TenantName,
    /// Which file.
    pub path: PathBuf,
    what: &'static str,
    why: String,
}

/// An open log.
#[derive(Debug)]
pub struct TenantFile {
    fd: OwnedFd,
    tenant: TenantName,
    path: PathBuf,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A regular file. While it is still `ours` bytes long it ends with a line of ours, and need not be read to know.
    Regular { size: i64, ours: Option<i64> },
    /// Something else: no lines.
    Other,
}

impl TenantFile {
    /// Opens the log of a run.
    ///
    /// # Errors
    /// [`TenantFileError`] names tenant, file and reason.
    pub fn open(path: PathBuf, tenant: &TenantName) -> Result<Self, TenantFileError> {
        let tenant = tenant.clone();
        match try_open(&path) {
            Ok((fd, kind)) => Ok(Self { fd, tenant, path, kind }),
            Err(why) => Err(TenantFileError { tenant, path, what: "cannot open", why }),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the line before the run; nothing where the log is no regular file.
    ///
    /// # Errors
    /// [`TenantFileError`], for instance a full disk. The descriptor is good all the same.
    pub fn start_line(&mut self, run: RunId) -> Result<(), TenantFileError> {
        let Kind::Regular { size, .. } = self.kind else { return Ok(()) };
        let mut line = end_words::start_line(wall::now(), std::process::id(), run, &self.tenant);
        // An earlier run may have been cut off in the middle of a line, by a full disk or a dead supervisor.
        if !self.ends_with_newline(None) {
            line.insert(0, '\n');
        }
        self.write(&line)?;
        let length = i64::try_from(line.len()).unwrap_or(0);
        self.kind = Kind::Regular { size, ours: Some(size.saturating_add(length)) };
        Ok(())
    }

    /// Writes the line after the run, on a line of its own even where the child's last one has no end. For a run
    /// whose descriptor is not at hand (adopted), open the log anew.
    ///
    /// # Errors
    /// [`TenantFileError`], for instance a full disk.
    pub fn end_line(&mut self, end: &RunEnd) -> Result<(), TenantFileError> {
        let Kind::Regular { ours, .. } = self.kind else { return Ok(()) };
        let mut line = end_words::end_line(wall::now(), std::process::id(), &self.tenant, end);
        if !self.ends_with_newline(ours) {
            line.insert(0, '\n');
        }
        self.write(&line)
    }

    /// One write a line: with O_APPEND it lands whole behind what others wrote.
    fn write(&self, line: &str) -> Result<(), TenantFileError> {
        let written = loop {
            match nix::unistd::write(&self.fd, line.as_bytes()) {
                Err(Errno::EINTR) => {}
                other => break other,
            }
        };
        let why = match written {
            Ok(length) if length == line.len() => return Ok(()),
            Ok(_) => "only a part of the line was taken, the disk is full or a limit is reached".to_owned(),
            Err(errno) => errno.desc().to_owned(),
        };
        Err(TenantFileError { tenant: self.tenant.clone(), path: self.path.clone(), what: "cannot write to", why })
    }

    /// Where it cannot be told, yes.
    fn ends_with_newline(&self, ours: Option<i64>) -> bool {
        let Ok(stat) = fstat(&self.fd) else { return true };
        if stat.st_size == 0 || Some(stat.st_size) == ours {
            return true;
        }
        // Our descriptor, which the child has too, is for writing only; so it is opened once more, by the file and
        // not by its name, which may have been rotated away.
        let file = File::open(format!("/proc/self/fd/{}", self.fd.as_raw_fd()));
        let mut last = [0];
        let at = u64::try_from(stat.st_size - 1).unwrap_or(0);
        match file.and_then(|file| file.read_exact_at(&mut last, at)) {
            Ok(()) => last == *b"\n",
            Err(_) => true,
        }
    }
}

impl AsFd for TenantFile {
    /// The descriptor for the child's standard output and error. It is closed on exec; the child gets duplicates.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn try_open(path: &Path) -> Result<(OwnedFd, Kind), String> {
    let fd = match open_once(path) {
        Err(Errno::ENOENT) => {
            make_folder(path)?;
            open_once(path)
        }
        other => other,
    };
    let fd = fd.map_err(|errno| explain(path, errno))?;
    let stat = fstat(&fd).map_err(|errno| explain(path, errno))?;
    // O_NONBLOCK was for the open alone. The child would inherit it, and few programs expect it of their output.
    fcntl(&fd, FcntlArg::F_SETFL(OFlag::O_APPEND)).map_err(|errno| explain(path, errno))?;
    let regular = stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits();
    Ok((fd, if regular { Kind::Regular { size: stat.st_size, ours: None } } else { Kind::Other }))
}

fn open_once(path: &Path) -> Result<OwnedFd, Errno> {
    let safe = OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
    loop {
        match open(path, OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | safe, Mode::from_bits_truncate(0o640)) {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

fn make_folder(path: &Path) -> Result<(), String> {
    let Some(folder) = path.parent() else { return Ok(()) };
    DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(folder)
        .map_err(|error| format!("its folder cannot be made: {error}"))
}

fn explain(path: &Path, errno: Errno) -> String {
    let kind = std::fs::symlink_metadata(path).map(|meta| meta.file_type());
    let is = |test: fn(&FileType) -> bool| kind.as_ref().is_ok_and(test);
    match errno {
        Errno::ELOOP if is(FileType::is_symlink) => "it is a symbolic link, and links are not followed".to_owned(),
        Errno::ENXIO if is(FileTypeExt::is_fifo) => "it is a FIFO that nobody reads".to_owned(),
        Errno::ENXIO if is(FileTypeExt::is_socket) => "it is a socket".to_owned(),
        _ => errno.desc().to_owned(),
    }
}
