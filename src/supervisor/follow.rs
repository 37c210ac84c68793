//! `run TENANT…` follows the output of its children: it copies what their logs gain to standard output. A reader
//! who pauses (`| less`) must not stop the loop: only what can be written at once is copied, the rest when there
//! is nothing else left to do.

use crate::model::TenantName;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::path::Path;

/// A pipe that says it has room takes so much without blocking (PIPE_BUF).
const PIECE: usize = 4096;
/// Most pieces copied in one turn of the loop.
const TURN: usize = 64;

/// The logs that are followed; nothing where nobody asked to follow.
#[derive(Debug, Default)]
pub struct Follow {
    wanted: bool,
    logs: Vec<(TenantName, File)>,
    /// Their runs are over; what they wrote last is still to be copied.
    ended: Vec<File>,
}

impl Follow {
    /// Follows what begins from now on, or nothing.
    pub fn new(wanted: bool) -> Self {
        Self { wanted, ..Self::default() }
    }

    /// True if [`Follow::copy`] is wanted every now and then.
    pub fn is_active(&self) -> bool {
        !self.logs.is_empty() || !self.ended.is_empty()
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
            self.logs.push((tenant.clone(), log));
        }
    }

    /// Its run is over.
    pub fn end(&mut self, tenant: &TenantName) {
        if let Some(at) = self.logs.iter().position(|(name, _)| name == tenant) {
            self.ended.push(self.logs.remove(at).1);
        }
    }

    /// Copies what is new, as far as the reader takes it.
    pub fn copy(&mut self) {
        for (_, log) in &mut self.logs {
            copy(log);
        }
        self.ended.retain_mut(|log| copy(log) == Left::More);
    }

    /// Copies the rest, waiting for the reader: there is nothing else to do any more.
    pub fn finish(&mut self) {
        for mut log in self.logs.drain(..).map(|(_, log)| log).chain(self.ended.drain(..)) {
            _ = std::io::copy(&mut log, &mut std::io::stdout().lock());
        }
    }
}

/// Data for standard output. A reader who went away is no error of ours.
pub fn print(text: &[u8]) {
    let mut out = std::io::stdout().lock();
    _ = out.write_all(text).and_then(|()| out.flush());
}

#[derive(Debug, PartialEq, Eq)]
enum Left {
    Nothing,
    More,
}

fn copy(log: &mut File) -> Left {
    let mut piece = [0; PIECE];
    for _ in 0..TURN {
        if !has_room() {
            return Left::More;
        }
        match log.read(&mut piece) {
            Ok(length) if length > 0 => print(piece.get(..length).unwrap_or_default()),
            Ok(_) | Err(_) => return Left::Nothing,
        }
    }
    Left::More
}

fn has_room() -> bool {
    let stdout = std::io::stdout();
    let mut asked = [PollFd::new(stdout.as_fd(), PollFlags::POLLOUT)];
    poll(&mut asked, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}
