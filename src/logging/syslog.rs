//! Lines for a syslog daemon: RFC 3164 on the local socket, `<pri>Nov  4 07:05:09 tenantcron[812]: message`.

use super::backlog::{Sent, Sink};
use super::link::Link;
use super::severity::Severity;
use super::wall::{self, LocalZone};
use std::io;
use std::path::PathBuf;
use syslog::{Facility, Formatter3164, LogFormat};

/// A syslog daemon, there or not.
#[derive(Debug)]
pub(super) struct Syslog {
    formatter: Formatter3164,
    zone: LocalZone,
    link: Link,
}

impl Syslog {
    /// Connects to the socket, now or when it is there.
    pub(super) fn new(facility: Facility, name: &str, socket: PathBuf, zone: LocalZone) -> Self {
        let formatter = Formatter3164 { facility, hostname: None, process: name.to_owned(), pid: std::process::id() };
        Self { formatter, zone, link: Link::new(socket) }
    }

    /// Why no daemon is there, if none is.
    pub(super) fn trouble(&self) -> Option<&io::Error> {
        self.link.trouble()
    }
}

impl Sink for Syslog {
    const NAME: &'static str = "syslog";

    fn format(&self, severity: Severity, message: &str) -> Vec<u8> {
        let mut line = Vec::with_capacity(message.len() + 48);
        if self.formatter.format(&mut line, severity.into(), message).is_err() {
            line.extend_from_slice(message.as_bytes()); // a Vec takes everything; but a line without prefix beats none
        }
        // The crate writes the time in UTC with a zero before the day. The RFC wants local time and a blank, and
        // daemons that keep our time (syslog-ng) would file the line hours off.
        let at = line.iter().position(|&byte| byte == b'>').map_or(0, |at| at + 1);
        if let Some(stamp) = self.zone.rfc3164(wall::now())
            && let Some(place) = line.get_mut(at..at + stamp.len())
        {
            place.copy_from_slice(stamp.as_bytes());
        }
        line
    }

    fn send(&mut self, line: &[u8]) -> Sent {
        self.link.send(line)
    }

    fn finish(&mut self) -> bool {
        self.link.finish()
    }
}
