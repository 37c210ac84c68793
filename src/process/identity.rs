//! Who is who on this host: a process told from a later one with the same number, the host told from
//! itself before a reboot. Reads /proc only.
//!
//! Invariant: a pid alone never identifies a process; it takes its start time, and the host, too.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;

/// A process of this host, by number and start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Process {
    /// Its number in this PID namespace.
    pub pid: i32,
    /// Field 22 of /proc/PID/stat: clock ticks since boot. [`Process::UNKNOWN_START`] matches any process of that number.
    pub start: i64,
}

/// What /proc/PID/stat tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) ended: bool,
    pub(super) group: i32,
    pub(super) start: i64,
}

impl Process {
    /// A start time that could not be read. It makes the process look alive while anything bears its number: the safe side.
    pub const UNKNOWN_START: i64 = 0;

    /// The process that bears a number now, dead and uncollected ones included.
    ///
    /// # Errors
    /// /proc cannot be read (no descriptor left, say). That there is no such process is `None`.
    pub fn of(pid: i32) -> io::Result<Option<Self>> {
        Ok(Stat::of(pid)?.map(|stat| Self { pid, start: stat.start }))
    }

    /// This process.
    ///
    /// # Errors
    /// /proc cannot be read or is not mounted.
    pub fn me() -> io::Result<Self> {
        let pid = nix::unistd::getpid().as_raw();
        Self::of(pid)?.ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat does not exist: is /proc mounted?")))
    }

    /// True while it exists and has not ended; a zombie has.
    ///
    /// # Errors
    /// /proc cannot be read.
    pub fn is_alive(self) -> io::Result<bool> {
        Ok(self.stat()?.is_some_and(|stat| !stat.ended))
    }

    /// Its entry in /proc, if the number is still this process's.
    pub(super) fn stat(self) -> io::Result<Option<Stat>> {
        let stat = Stat::of(self.pid)?;
        Ok(stat.filter(|stat| self.is(*stat)))
    }

    /// True if an entry of /proc under this number is this process's.
    pub(super) fn is(self, stat: Stat) -> bool {
        self.start == Self::UNKNOWN_START || stat.start == self.start
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.pid)
    }
}

impl Stat {
    pub(super) fn of(pid: i32) -> io::Result<Option<Self>> {
        let path = format!("/proc/{pid}/stat");
        let mut buffer = [0; 1024];
        let length = match File::open(&path).and_then(|mut file| file.read(&mut buffer)) {
            Ok(length) => length,
            // A process that ends between open and read: ESRCH.
            Err(error) if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(3) => {
                return Ok(None);
            }
            Err(error) => return Err(io::Error::new(error.kind(), format!("{path}: {error}"))),
        };
        let text = buffer.get(..length).unwrap_or_default();
        Self::parse(text).map(Some).ok_or_else(|| io::Error::other(format!("{path}: not understood")))
    }

    /// The name in parentheses may hold anything, parentheses and spaces too: what counts stands after the last one.
    fn parse(text: &[u8]) -> Option<Self> {
        let end = text.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(text.get(end + 1..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let ended = matches!(fields.next()?, "Z" | "X" | "x");
        let group = fields.nth(1)?.parse().ok()?;
        let start = fields.nth(16)?.parse().ok()?;
        Some(Self { ended, group, start })
    }
}

/// This host as the column `host` names it: `<boot id>/<inode of the pid namespace>`.
///
/// # Errors
/// /proc is not mounted.
pub fn host() -> io::Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    let boot =
        std::fs::read_to_string(path).map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))?;
    let path = "/proc/self/ns/pid";
    let namespace =
        std::fs::metadata(path).map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))?.ino();
    Ok(format!("{}/{namespace}", boot.trim()))
}

/// False if /proc shows another PID namespace (`unshare -p` without `--mount-proc`): then no pid read there means anything
/// here, and the supervisor must refuse to start.
///
/// # Errors
/// /proc is not mounted.
pub fn proc_is_of_this_namespace() -> io::Result<bool> {
    let me = nix::unistd::getpid().to_string();
    let link = std::fs::read_link("/proc/self")?;
    // Numbers may agree by chance; NSpid lists this process's number in every namespace from /proc's down to ours.
    let status = std::fs::read_to_string("/proc/self/status")?;
    let nested = status.lines().find_map(|line| line.strip_prefix("NSpid:")).is_some_and(|list| list.trim() != me);
    Ok(link.as_os_str() == me.as_str() && !nested)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_parentheses_and_spaces_hides_nothing() {
        let fields = "S 1 77 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20 21";
        let text = format!("12 (a) Z (b c) {fields}");
        assert_eq!(Stat::parse(text.as_bytes()), Some(Stat { ended: false, group: 77, start: 4242 }));
        assert_eq!(Stat::parse(b"12 (a) Z 1"), None);
        assert_eq!(Stat::parse(b""), None);
    }

    #[test]
    fn this_process_is_alive_and_another_start_time_is_another_process() {
        let me = Process::me().unwrap();
        assert!(me.is_alive().unwrap());
        assert!(!Process { start: me.start + 1, ..me }.is_alive().unwrap());
        assert!(Process { start: Process::UNKNOWN_START, ..me }.is_alive().unwrap());
        assert_eq!(Process::of(i32::MAX).unwrap(), None);
        assert!(proc_is_of_this_namespace().unwrap());
        assert_eq!(host().unwrap().split('/').count(), 2);
    }

    #[test]
    fn a_proc_of_another_namespace_is_noticed() {
        if std::env::var_os("NESTED").is_some() {
            assert!(!proc_is_of_this_namespace().unwrap());
            return;
        }
        let name = "process::identity::tests::a_proc_of_another_namespace_is_noticed";
        let mut nested = std::process::Command::new("unshare");
        nested
            .args(["-p", "-f", "--"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env("NESTED", "1");
        let done = nested.output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success() || err.contains("not permitted"), "{out}{err}");
    }
}
