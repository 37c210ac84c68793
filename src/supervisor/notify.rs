//! What we tell the service manager (systemd or one that speaks its protocol): that we are ready, reloading, stopping,
//! alive, and in a line how things stand. Without `NOTIFY_SOCKET` every word is a no-op.
//!
//! The words are the `sd-notify` crate's; the sending is ours, because the crate's may block (a service manager that
//! is stopped or re-executing itself does not read), knows no abstract sockets and reads the environment each time.
//! Here nothing blocks: what must not be lost (all but the watchdog's heartbeat) is said again with the next word.

use sd_notify::NotifyState;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// States kept for a service manager that does not read; it needs a SIGHUP each to get there.
const MOST_OWED: usize = 16;

/// The way to the service manager.
#[derive(Debug, Default)]
pub struct Notifier {
    way: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
    /// States that were not taken yet, oldest first.
    owed: Vec<String>,
    /// The status line that was not taken yet: only the last one counts.
    owed_status: Option<String>,
    told: bool,
}

impl Notifier {
    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` once; `pid` is our own.
    ///
    /// # Errors
    /// A text for the log if the socket's address cannot be used. Then go on with [`Notifier::default`], which says nothing.
    pub fn new(variable: impl Fn(&str) -> Option<OsString>, pid: u32) -> Result<Self, String> {
        let Some(name) = variable("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return Ok(Self::default()) };
        let way = open(&name).map_err(|error| format!("NOTIFY_SOCKET {} cannot be used: {error}", name.display()))?;
        let number = |name| variable(name).and_then(|value| value.to_str()?.parse::<u64>().ok());
        let for_us = variable("WATCHDOG_PID").is_none() || number("WATCHDOG_PID") == Some(u64::from(pid));
        let watchdog = number("WATCHDOG_USEC").filter(|&usec| usec > 0 && for_us).map(Duration::from_micros);
        Ok(Self { way: Some(way), watchdog, ..Self::default() })
    }

    /// True if a service manager listens.
    pub fn is_wanted(&self) -> bool {
        self.way.is_some()
    }

    /// [`Notifier::watchdog`] must be called more often than this: at half of it, say.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Started, or reloaded. Like all words here it returns a text for the log when the service manager could not be
    /// told, the first time until it is told again.
    #[must_use = "trouble is told once and belongs into the log"]
    pub fn ready(&mut self) -> Option<String> {
        self.say(&[NotifyState::Ready])
    }

    /// How things stand, for people; control characters become blanks.
    #[must_use = "trouble is told once and belongs into the log"]
    pub fn status(&mut self, text: &str) -> Option<String> {
        if self.way.is_some() {
            let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            self.owed_status = Some(NotifyState::Status(&line).to_string());
        }
        self.pay()
    }

    /// Stopping: the children are being waited for.
    #[must_use = "trouble is told once and belongs into the log"]
    pub fn stopping(&mut self) -> Option<String> {
        self.say(&[NotifyState::Stopping])
    }

    /// Reading the configuration anew; [`Notifier::ready`] must follow, whether it was taken or not.
    #[must_use = "trouble is told once and belongs into the log"]
    pub fn reloading(&mut self) -> Option<String> {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.say(&[NotifyState::Reloading, now]),
            Err(_) => None, // without the time systemd would take it for a failed reload; it can do without the word
        }
    }

    /// Alive. Not owed when it is not taken: a late heartbeat would lie. It carries what else is owed.
    #[must_use = "trouble is told once and belongs into the log"]
    pub fn watchdog(&mut self) -> Option<String> {
        let trouble = self.pay();
        if self.watchdog.is_some() && self.send(&NotifyState::Watchdog.to_string()).is_ok() {
            self.told = false;
        }
        trouble
    }

    fn say(&mut self, states: &[NotifyState<'_>]) -> Option<String> {
        if self.way.is_some() {
            let lines: Vec<_> = states.iter().map(ToString::to_string).collect();
            let text = lines.join("\n");
            self.owed.retain(|owed| *owed != text);
            self.owed.push(text);
            if self.owed.len() > MOST_OWED {
                self.owed.remove(0);
            }
        }
        self.pay()
    }

    /// Sends what is owed, in order, the status last.
    fn pay(&mut self) -> Option<String> {
        let mut sent = Ok(());
        while let (Some(first), Ok(())) = (self.owed.first(), &sent) {
            sent = self.send(first);
            if sent.is_ok() {
                self.owed.remove(0);
            }
        }
        if let (Some(status), Ok(())) = (&self.owed_status, &sent) {
            sent = self.send(status);
            if sent.is_ok() {
                self.owed_status = None;
            }
        }
        match sent {
            Ok(()) => {
                self.told = false;
                None
            }
            Err(_) if std::mem::replace(&mut self.told, true) => None,
            Err(error) => Some(format!("cannot tell the service manager (it is told again later): {error}")),
        }
    }

    fn send(&self, text: &str) -> io::Result<()> {
        let Some((socket, address)) = &self.way else { return Ok(()) };
        socket.send_to_addr(text.as_bytes(), address).map(drop)
    }
}

fn open(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes() {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
        [b'/', ..] => SocketAddr::from_pathname(name)?,
        _ => return Err(io::Error::other("only absolute paths and abstract sockets (@name) are supported")),
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn notifier(variables: &[(&str, &str)]) -> Result<Notifier, String> {
        let variables: HashMap<_, _> = variables.iter().map(|(name, value)| (*name, OsString::from(value))).collect();
        Notifier::new(|name| variables.get(name).cloned(), 812)
    }

    fn manager(address: &SocketAddr) -> UnixDatagram {
        let manager = UnixDatagram::bind_addr(address).unwrap();
        manager.set_nonblocking(true).unwrap();
        manager
    }

    fn read(manager: &UnixDatagram) -> Option<String> {
        let mut buffer = [0; 4096];
        let length = manager.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
    }

    #[test]
    fn each_word_arrives_at_a_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = manager(&SocketAddr::from_pathname(&path).unwrap());
        let mut notifier =
            notifier(&[("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "30000000")]).unwrap();
        assert!(notifier.is_wanted());
        assert_eq!(notifier.ready(), None);
        assert_eq!(read(&manager).as_deref(), Some("READY=1"));
        assert_eq!(notifier.status("3/5 running\nMAINPID=1"), None);
        assert_eq!(read(&manager).as_deref(), Some("STATUS=3/5 running MAINPID=1"));
        assert_eq!(notifier.reloading(), None);
        let reloading = read(&manager).unwrap();
        let (word, time) = reloading.split_once('\n').unwrap();
        assert_eq!(word, "RELOADING=1");
        assert!(time.strip_prefix("MONOTONIC_USEC=").unwrap().parse::<u64>().unwrap() > 0);
        assert_eq!(notifier.watchdog(), None);
        assert_eq!(read(&manager).as_deref(), Some("WATCHDOG=1"));
        assert_eq!(notifier.stopping(), None);
        assert_eq!(read(&manager).as_deref(), Some("STOPPING=1"));
    }

    #[test]
    fn an_abstract_socket_serves_as_well() {
        let name = format!("tenantcron-test-{}", std::process::id());
        let manager = manager(&SocketAddr::from_abstract_name(&name).unwrap());
        let mut notifier = notifier(&[("NOTIFY_SOCKET", &format!("@{name}"))]).unwrap();
        assert_eq!(notifier.ready(), None);
        assert_eq!(read(&manager).as_deref(), Some("READY=1"));
        assert_eq!(notifier.watchdog(), None);
        assert_eq!(read(&manager), None, "no watchdog was asked for");
    }

    #[test]
    fn a_manager_that_does_not_read_blocks_nothing_and_hears_what_counts_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = manager(&SocketAddr::from_pathname(&path).unwrap());
        let mut notifier = notifier(&[("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "1")]).unwrap();
        let mut told = 0;
        for n in 0..10_000 {
            told += usize::from(notifier.status(&n.to_string()).is_some());
        }
        told += usize::from(notifier.ready().is_some());
        told += usize::from(notifier.watchdog().is_some());
        assert_eq!(told, 1, "trouble is told once");
        while read(&manager).is_some() {}
        assert_eq!(notifier.watchdog(), None);
        let heard: Vec<_> = std::iter::from_fn(|| read(&manager)).collect();
        assert_eq!(heard, ["READY=1", "STATUS=9999", "WATCHDOG=1"]);
        drop(manager);
        assert!(notifier.stopping().is_some(), "new trouble is told anew");
        assert!(notifier.stopping().is_none());
    }

    #[test]
    fn the_watchdog_is_for_the_process_it_names() {
        type Case<'a> = (&'a [(&'a str, &'a str)], Option<u64>);
        let table: [Case<'_>; 6] = [
            (&[("WATCHDOG_USEC", "3000000")], Some(3)),
            (&[("WATCHDOG_USEC", "3000000"), ("WATCHDOG_PID", "812")], Some(3)),
            (&[("WATCHDOG_USEC", "3000000"), ("WATCHDOG_PID", "813")], None),
            (&[("WATCHDOG_USEC", "0")], None),
            (&[("WATCHDOG_USEC", "soon")], None),
            (&[], None),
        ];
        for (variables, seconds) in table {
            let variables = [&[("NOTIFY_SOCKET", "@somewhere")], variables].concat();
            assert_eq!(notifier(&variables).unwrap().watchdog_interval(), seconds.map(Duration::from_secs));
        }
    }

    #[test]
    fn without_a_manager_every_word_is_a_no_op() {
        let mut nobody = notifier(&[("WATCHDOG_USEC", "3000000")]).unwrap();
        assert!(!nobody.is_wanted() && nobody.watchdog_interval().is_none());
        let troubles = [nobody.ready(), nobody.status("x"), nobody.reloading(), nobody.watchdog(), nobody.stopping()];
        assert_eq!(troubles, [const { None }; 5]);
        assert!(nobody.owed.is_empty() && nobody.owed_status.is_none());
        for bad in ["relative", "vsock:2:1", &format!("/{}", "x".repeat(200))] {
            assert!(notifier(&[("NOTIFY_SOCKET", bad)]).unwrap_err().contains("NOTIFY_SOCKET"));
        }
    }
}
