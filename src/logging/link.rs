//! The connection to `log.socket`: a datagram socket, or a stream where the daemon listens on one. It never waits:
//! a daemon that is frozen (its queue fills after `net.unix.max_dgram_qlen` lines, usually 10), stopped or restarted
//! gives an error at once. A lost connection is made anew by the next line, but tried at most every 100 ms.

use super::backlog::Sent;
use super::resume::Resume;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(100);
/// A connection that has taken nothing for this long is made anew: a frozen daemon may have been replaced by another
/// on the same path.
const DEAF: Duration = Duration::from_secs(1);

/// The connection, or its absence.
#[derive(Debug)]
pub(super) struct Link {
    path: PathBuf,
    socket: Option<Socket>,
    resume: Resume,
    /// No attempt to connect before this.
    not_before: Option<Instant>,
    /// Nothing was taken since.
    deaf_since: Option<Instant>,
    /// Why the last attempt failed.
    trouble: Option<io::Error>,
}

#[derive(Debug)]
enum Socket {
    Datagram(UnixDatagram),
    Stream(UnixStream),
}

impl Link {
    /// Connects, or will try to with the next line.
    pub(super) fn new(path: PathBuf) -> Self {
        let resume = Resume::default();
        let mut new = Self { path, socket: None, resume, not_before: None, deaf_since: None, trouble: None };
        new.connect();
        new
    }

    /// Why there is no connection, if there is none.
    pub(super) fn trouble(&self) -> Option<&io::Error> {
        self.trouble.as_ref().filter(|_| self.socket.is_none())
    }

    /// Sends one line.
    pub(super) fn send(&mut self, line: &[u8]) -> Sent {
        for _ in 0..2 {
            if self.socket.is_none() && !self.connect() {
                return Sent::NotNow;
            }
            let sent = match &mut self.socket {
                Some(Socket::Datagram(socket)) => socket.send(line).map(drop),
                Some(Socket::Stream(stream)) => {
                    let framed = [line, b"\0"].concat(); // as libc's syslog(3) frames them
                    self.resume.send(&framed, |bytes| stream.write(bytes))
                }
                None => return Sent::NotNow,
            };
            match sent {
                Ok(()) => {
                    self.deaf_since = None;
                    return Sent::Taken;
                }
                Err(error) if too_long(&error) => return Sent::Never,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                    let since = *self.deaf_since.get_or_insert_with(monotonic);
                    if since.elapsed() < DEAF {
                        return Sent::NotNow;
                    }
                    self.deaf_since = None;
                    self.socket = None;
                }
                Err(_) => self.socket = None,
            }
        }
        Sent::NotNow
    }

    /// Sends what is left of a line that the stream took in part. True if nothing is left.
    pub(super) fn finish(&mut self) -> bool {
        if self.resume.is_done() {
            return true;
        }
        if self.socket.is_none() && !self.connect() {
            return false;
        }
        match &mut self.socket {
            Some(Socket::Stream(stream)) => {
                if let Err(error) = self.resume.finish(|bytes| stream.write(bytes))
                    && error.kind() != ErrorKind::WouldBlock
                {
                    self.socket = None;
                }
            }
            // The daemon that is there now takes datagrams; the half line died with the other one.
            Some(Socket::Datagram(_)) => self.resume = Resume::default(),
            None => {}
        }
        self.resume.is_done()
    }

    fn connect(&mut self) -> bool {
        let now = monotonic();
        if self.not_before.is_some_and(|not_before| now < not_before) {
            return false;
        }
        self.not_before = Some(now + PAUSE);
        self.resume.restart();
        match open(&self.path) {
            Ok(socket) => {
                self.socket = Some(socket);
                self.trouble = None;
                true
            }
            Err(error) => {
                self.trouble = Some(error);
                false
            }
        }
    }
}

fn open(path: &Path) -> io::Result<Socket> {
    let datagram = UnixDatagram::unbound()?;
    datagram.set_nonblocking(true)?;
    match datagram.connect(path) {
        Ok(()) => Ok(Socket::Datagram(datagram)),
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EPROTOTYPE as i32) => {
            // std's connect would wait for a full accept queue.
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let stream = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
            connect(stream.as_raw_fd(), &UnixAddr::new(path)?)?;
            Ok(Socket::Stream(UnixStream::from(stream)))
        }
        Err(error) => Err(error),
    }
}

fn too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::errno::Errno::EMSGSIZE as i32)
}

#[expect(clippy::disallowed_methods, reason = "everyone logs, nobody could hand in the time; it paces reconnects only")]
fn monotonic() -> Instant {
    Instant::now()
}
