//! Lines on standard error. A terminal or a file gets time, level and message; a journal, which knows the time, gets
//! `<n>` and the message.
//!
//! Nothing here sets O_NONBLOCK: a terminal's or a pipe's description is shared with other programs, which would
//! stumble over it. Instead each piece, small enough for a pipe to take whole, is written only when poll(2) says that
//! there is room. Between the two another writer may take the room; then we wait for the reader as that writer does.

use super::backlog::{Sent, Sink};
use super::resume::Resume;
use super::severity::Severity;
use super::wall;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

/// What a pipe with any room takes whole.
const PIECE: usize = 4096;

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// `<4>message`
    Journal,
    /// `2026-11-24T06:40:00Z warn message`, the level coloured.
    Colour,
    /// The same, plain.
    Plain,
}

impl Style {
    /// The style that suits a descriptor; `variable` reads the environment.
    pub(super) fn of(fd: impl AsFd, variable: impl Fn(&str) -> Option<String>) -> Self {
        if is_journal(&fd, variable("JOURNAL_STREAM").as_deref()) {
            return Self::Journal;
        }
        let wanted = variable("NO_COLOR").is_none_or(|value| value.is_empty());
        let able = variable("TERM").is_some_and(|term| term != "dumb");
        if wanted && able && fd.as_fd().is_terminal() { Self::Colour } else { Self::Plain }
    }
}

/// True if `stream`, the value of JOURNAL_STREAM (`device:inode`), names this very descriptor: a redirected one is no
/// journal, although it inherits the variable.
fn is_journal(fd: impl AsFd, stream: Option<&str>) -> bool {
    let Some((device, inode)) = stream.and_then(|stream| stream.split_once(':')) else { return false };
    nix::sys::stat::fstat(fd)
        .is_ok_and(|stat| (device.parse::<u64>(), inode.parse::<u64>()) == (Ok(stat.st_dev), Ok(stat.st_ino)))
}

/// A descriptor that lines go to.
#[derive(Debug)]
pub(super) struct Stderr<F> {
    fd: F,
    style: Style,
    resume: Resume,
}

impl<F: AsFd> Stderr<F> {
    /// Lines of this style on this descriptor.
    pub(super) fn new(fd: F, style: Style) -> Self {
        Self { fd, style, resume: Resume::default() }
    }
}

impl<F: AsFd> Sink for Stderr<F> {
    const NAME: &'static str = "standard error";

    fn format(&self, severity: Severity, message: &str) -> Vec<u8> {
        let mut line = Vec::with_capacity(message.len() + 48);
        let (time, word) = (wall::utc(wall::now()), severity.word());
        _ = match self.style {
            Style::Journal => writeln!(line, "<{}>{message}", severity.number()),
            Style::Colour => writeln!(line, "{time} {}{word:5}\x1b[0m {message}", severity.colour()),
            Style::Plain => writeln!(line, "{time} {word:5} {message}"),
        };
        line
    }

    fn send(&mut self, line: &[u8]) -> Sent {
        let fd = &self.fd;
        match self.resume.send(line, |bytes| write_if_room(fd, bytes)) {
            Ok(()) => Sent::Taken,
            Err(_) => Sent::NotNow,
        }
    }

    fn finish(&mut self) -> bool {
        let fd = &self.fd;
        self.resume.finish(|bytes| write_if_room(fd, bytes)).is_ok()
    }
}

fn write_if_room(fd: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    let mut polled = [PollFd::new(fd.as_fd(), PollFlags::POLLOUT)];
    loop {
        match poll(&mut polled, PollTimeout::ZERO) {
            Ok(0) => return Err(io::ErrorKind::WouldBlock.into()),
            // Room, or an error that the write will name.
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        }
        match nix::unistd::write(&fd, bytes.get(..PIECE).unwrap_or(bytes)) {
            Err(Errno::EINTR) => continue,
            other => return Ok(other?),
        }
    }
}
