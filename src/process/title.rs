//! The title that `ps` shows, written over the memory of the arguments and the environment (the kernel
//! has a call for it that needs a capability which containers lack).
//!
//! Invariant: nothing reads the old arguments after [`Title::prepare`], and the environment has been moved.

use super::syscall::{TitleArea, take_title_area};
use std::io;

/// The title of this process.
pub struct Title {
    area: TitleArea,
}

impl Title {
    /// Takes the memory over. Call it once, early in main, after the arguments have been read (`std::env::args` is of no
    /// use later) and before the first thread is started.
    ///
    /// # Errors
    /// A thread is running already, or /proc cannot be read: then the title stays as it is.
    pub fn prepare() -> io::Result<Self> {
        let (start, end) = memory()?;
        Ok(Self { area: take_title_area(start, end)? })
    }

    /// Sets the title, cut to the room that the arguments and the environment had.
    pub fn set(&mut self, title: &str) {
        self.area.write(title.as_bytes());
    }
}

/// Where the kernel put the arguments and the environment: fields 48 to 51 of /proc/self/stat.
pub(super) fn memory() -> io::Result<(usize, usize)> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let fields = text.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let mut addresses = fields.split_ascii_whitespace().skip(45).map(|field| field.parse::<usize>().unwrap_or(0));
    let mut next = || addresses.next().filter(|address| *address != 0);
    let (Some(start), Some(arguments_end)) = (next(), next()) else {
        return Err(io::Error::other("/proc/self/stat does not tell where the arguments are"));
    };
    // The environment follows at once; where it does not, the arguments alone must do.
    let end = match (next(), next()) {
        (Some(from), Some(to)) if from == arguments_end && to > from => to,
        _ => arguments_end,
    };
    if end > start { Ok((start, end)) } else { Err(io::Error::other("this process has no arguments to write over")) }
}
