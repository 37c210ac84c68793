//! What a tenant's lock file says: who claims, which run, which process. A few lines of `name value`,
//! always the same length, so that one write replaces the whole.
//!
//! Invariant: a reader gets one writer's words or none, never a mix of two: the last line is a sum over
//! the others. The file is believed because only its owner can write it (0600, inherited read-only).

use super::identity::Process;
use super::locks::{self, Access};
use super::poller;
use crate::model::{DbTime, RunId};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

/// The length of every lock file that was written: below a page, above what the lines can need.
const LENGTH: usize = 320;
/// How often a reader that meets a half-written file looks again, and the pause between.
const LOOKS: usize = 5;
const PAUSE: Duration = Duration::from_millis(1);

/// What a tenant's lock file says. All absent where it is empty, or is none of ours.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LockFile {
    /// The supervisor that holds the lock, or held it when it died.
    pub supervisor: Option<Process>,
    /// The host on which the processes named here live.
    pub host: Option<String>,
    /// The run, once claimed: its id and its `started_at`.
    pub run: Option<(RunId, DbTime)>,
    /// Its main process, once spawned.
    pub process: Option<Process>,
}

impl LockFile {
    /// Reads a lock file without touching its lock. A missing file says nothing.
    ///
    /// # Errors
    /// The file exists and cannot be read.
    pub fn read(path: &Path) -> io::Result<Self> {
        let file = match locks::open(path, Access::Try) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let mut buffer = [0; LENGTH + 1];
        for _ in 0..LOOKS {
            let length = file.read_at(&mut buffer, 0)?;
            let text = buffer.get(..length).unwrap_or_default();
            if text.is_empty() {
                break;
            }
            if let Some(content) = Self::parse(text) {
                return Ok(content);
            }
            poller::wait::<()>(&[], Some(PAUSE))?;
        }
        Ok(Self::default())
    }

    /// The file's whole content.
    pub(super) fn render(&self) -> io::Result<Vec<u8>> {
        let process = |process: Option<Process>| match process {
            Some(Process { pid, start }) => format!("{pid} {start}"),
            None => "-".to_owned(),
        };
        let run = self.run.map_or("-".to_owned(), |(RunId(id), DbTime(at))| format!("{id} {at}"));
        let host = self.host.as_deref().unwrap_or("-");
        let lines =
            format!("supervisor {}\nhost {host}\nrun {run}\npid {}\n", process(self.supervisor), process(self.process));
        let mut text = format!("{lines}sum {:016x}\n", sum(lines.as_bytes())).into_bytes();
        if text.len() > LENGTH {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the host's name is too long"));
        }
        text.resize(LENGTH, b'\n');
        Ok(text)
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (lines, rest) = text.split_at(text.find("sum ")?);
        let told = u64::from_str_radix(rest.strip_prefix("sum ")?.trim_end(), 16).ok()?;
        if told != sum(lines.as_bytes()) {
            return None;
        }
        let mut content = Self::default();
        for line in lines.lines() {
            let (name, value) = line.split_once(' ')?;
            match name {
                "supervisor" => content.supervisor = pair(value).and_then(process),
                "host" => content.host = Some(value.to_owned()).filter(|host| host != "-"),
                "run" => content.run = pair(value).map(|(id, at)| (RunId(id), DbTime(at))),
                "pid" => content.process = pair(value).and_then(process),
                // A later version may say more.
                _ => {}
            }
        }
        Some(content)
    }
}

fn pair(value: &str) -> Option<(i64, i64)> {
    let (one, two) = value.split_once(' ')?;
    Some((one.parse().ok()?, two.parse().ok()?))
}

fn process((pid, start): (i64, i64)) -> Option<Process> {
    Some(Process { pid: i32::try_from(pid).ok().filter(|pid| *pid > 1)?, start })
}

/// FNV-1a, 64 bits.
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> LockFile {
        LockFile {
            supervisor: Some(Process { pid: i32::MAX, start: i64::MAX }),
            host: Some("0f0e0d0c-0b0a-0908-0706-050403020100/4026531836".into()),
            run: Some((RunId(i64::MAX), DbTime(i64::MIN))),
            process: Some(Process { pid: 913, start: 1 }),
        }
    }

    #[test]
    fn what_was_written_is_read_and_always_has_one_length() {
        for content in [full(), LockFile { process: None, ..full() }, LockFile::default()] {
            let text = content.render().unwrap();
            assert_eq!(text.len(), LENGTH);
            assert_eq!(LockFile::parse(&text), Some(content));
        }
    }

    #[test]
    fn a_mix_of_two_writers_and_garbage_say_nothing() {
        let (one, two) = (full().render().unwrap(), LockFile::default().render().unwrap());
        for cut in 1..200 {
            let mixed: Vec<u8> = one[..cut].iter().chain(&two[cut..]).copied().collect();
            let read = LockFile::parse(&mixed);
            assert!(read.is_none() || read == Some(full()) || read == Some(LockFile::default()), "cut at {cut}");
        }
        for garbage in ["", "hello", "sum ", "pid -5 3\nsum 0", "\u{0}\u{0}"] {
            assert_eq!(LockFile::parse(garbage.as_bytes()), None);
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.lock");
        assert_eq!(LockFile::read(&path).unwrap(), LockFile::default());
        std::fs::write(&path, "some words\n").unwrap();
        assert_eq!(LockFile::read(&path).unwrap(), LockFile::default());
    }
}
