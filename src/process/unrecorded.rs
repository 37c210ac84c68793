//! `unrecorded/<pid>.<start time>`: ends that a database has not taken, kept for whoever looks next. One file a
//! supervisor, replaced whole, gone when nothing is left in it. It stands in no database and survives no folder on
//! memory; what follows from an end is the scheduler's to know.
//!
//! Invariants: a reader finds a whole file or none; a file that is not understood is never removed; only its writer
//! changes a file while that lives.

use super::identity::Process;
use super::state_folder::StateFolder;
use crate::model::{OpenRun, Unrecorded};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The layout of these files.
const VERSION: u32 = 1;
const FOR_PEOPLE: &str = "\
# How runs of tenants ended that their database has not taken yet. Whoever looks next here (the supervisor, run --once,
# run TENANT) records them and removes this file. Leave it: without it these runs count as lost, and run again.
";

/// The file of this supervisor.
#[derive(Debug)]
pub struct OwnEnds {
    path: PathBuf,
    host: String,
    /// It was written, and not removed since.
    exists: bool,
}

/// A file that somebody else wrote, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptEnds {
    /// The file.
    pub path: PathBuf,
    /// Who wrote it. Alive by that means something only on the host that the file names.
    pub writer: Process,
}

/// What such a file says.
#[derive(Debug, Clone, PartialEq)]
pub struct EndsFile {
    /// The host of its writer, as [`super::host`] names it.
    pub host: String,
    /// The ends.
    pub ends: Vec<Unrecorded>,
}

impl OwnEnds {
    /// This supervisor's file; nothing is written yet. `host` is [`super::host`].
    pub fn new(folder: &StateFolder, me: Process, host: &str) -> Self {
        let path = folder.unrecorded().join(format!("{}.{}", me.pid, me.start));
        Self { path, host: host.to_owned(), exists: false }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file that bears our name before we wrote one is that of the program which this one replaced: it gets a name
    /// under which it is found as others' are.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn set_aside(&self) -> io::Result<()> {
        if !self.path.try_exists()? {
            return Ok(());
        }
        for number in 1..u32::MAX {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            let aside = PathBuf::from(name);
            if !aside.try_exists()? {
                return std::fs::rename(&self.path, aside);
            }
        }
        Ok(())
    }

    /// Replaces what the file says; without an end there is no file.
    ///
    /// # Errors
    /// The disk is full, or the folder gone: then the file is as it was.
    pub fn write(&mut self, ends: &[Unrecorded]) -> io::Result<()> {
        if ends.is_empty() {
            if self.exists {
                gone(std::fs::remove_file(&self.path))?;
                self.exists = false;
            }
            return Ok(());
        }
        replace(&self.path, &self.host, ends)?;
        self.exists = true;
        Ok(())
    }
}

impl KeptEnds {
    /// Reads it; `None` if it is gone.
    ///
    /// # Errors
    /// It cannot be read, or is not understood.
    pub fn read(&self) -> io::Result<Option<EndsFile>> {
        match std::fs::read_to_string(&self.path) {
            Ok(text) => EndsFile::parse(&text).map(Some).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes it, or leaves those ends in it that could not be told to anybody.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn forget(&self, host: &str, left: &[Unrecorded]) -> io::Result<()> {
        if left.is_empty() { gone(std::fs::remove_file(&self.path)) } else { replace(&self.path, host, left) }
    }
}

impl EndsFile {
    /// True if it tells how this run ended.
    pub fn names(&self, run: &OpenRun) -> bool {
        self.ends.iter().any(|end| run.is_of(&end.finish.run, end.finish.pid.zip(end.finish.pid_start)))
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (mut version, mut host, mut number, mut ends) = (None, None, None, Vec::new());
        for line in text.lines() {
            if line.starts_with('{') {
                ends.push(serde_json::from_str(line).map_err(|error| format!("an end is not understood: {error}"))?);
            } else {
                match line.split_once(' ') {
                    Some(("version", value)) => version = Some(value.to_owned()),
                    Some(("host", value)) => host = Some(value.to_owned()),
                    Some(("ends", value)) => number = value.parse::<usize>().ok(),
                    _ => {}
                }
            }
        }
        match version {
            Some(version) if version == VERSION.to_string() => {}
            Some(version) => return Err(format!("it is of version {version}, this program knows {VERSION}")),
            None => return Err("it is none of these files, or was cut".to_owned()),
        }
        match host {
            Some(host) if number == Some(ends.len()) => Ok(Self { host, ends }),
            _ => Err("it was cut".to_owned()),
        }
    }
}

/// The files of others than `me`, and those that the program before this one left.
///
/// # Errors
/// The folder cannot be read. That there is none is no error.
pub fn kept_ends(folder: &StateFolder, me: Process) -> io::Result<Vec<KeptEnds>> {
    let entries = match std::fs::read_dir(folder.unrecorded()) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry?;
        if let Some((writer, aside)) = entry.file_name().to_str().and_then(writer)
            && (writer != me || aside)
        {
            all.push(KeptEnds { path: entry.path(), writer });
        }
    }
    all.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(all)
}

/// `<pid>.<start time>`, or that with a number behind it.
fn writer(name: &str) -> Option<(Process, bool)> {
    let mut parts = name.split('.');
    let (pid, start, aside) = (parts.next()?, parts.next()?, parts.next());
    let number = aside.map(str::parse::<u32>).transpose().ok()?;
    let writer = Process { pid: pid.parse().ok()?, start: start.parse().ok()? };
    parts.next().is_none().then_some((writer, number.is_some()))
}

fn replace(path: &Path, host: &str, ends: &[Unrecorded]) -> io::Result<()> {
    let mut text = format!("{FOR_PEOPLE}version {VERSION}\nhost {host}\nends {}\n", ends.len());
    for Unrecorded { tenant, finish, ended_at } in ends {
        text.push_str(&format!("# {}: run {} {} at {ended_at}\n", tenant.name, finish.run.id, finish.outcome));
    }
    for end in ends {
        text.push_str(&serde_json::to_string(end).map_err(io::Error::other)?);
        text.push('\n');
    }
    let mut name = path.to_owned().into_os_string();
    name.push(".new");
    let new = PathBuf::from(name);
    let written = write_new(&new, &text).and_then(|()| std::fs::rename(&new, path));
    if written.is_err() {
        // Half a file helps nobody, and may be what fills the disk.
        _ = std::fs::remove_file(&new);
    }
    written
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file: File = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
