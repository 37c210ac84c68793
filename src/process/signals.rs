//! Signals become meanings at the door: nobody behind it knows a signal's number. They arrive on a
//! descriptor, so that the loop waits for them as for anything else.
//!
//! Invariant: no handler does more than set a flag and write a byte. SIGPIPE is ignored by Rust's own
//! start code and stays so.

use nix::sys::signal::SigSet;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Meaning {
    /// A child has ended (SIGCHLD).
    Child,
    /// Start nothing more, end the children, leave (SIGTERM, SIGINT). A second one: at once.
    Stop,
    /// Start nothing more, wait for the children, leave (SIGQUIT).
    Drain,
    /// Read the configuration again (SIGHUP).
    Reload,
    /// Look now (SIGUSR1).
    Poll,
    /// A signal that has no meaning yet (SIGUSR2): to be logged; it must not kill.
    Unsupported,
}

/// The signals that have arrived.
pub struct Signals {
    delivery: SignalDelivery<UnixStream, SignalOnly>,
}

impl Signals {
    /// Takes the signals over, those ignored or blocked by whoever started us too. Call it before the first thread is started,
    /// so that none keeps a signal blocked.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn install() -> io::Result<Self> {
        let (read, write) = UnixStream::pair()?;
        read.set_nonblocking(true)?;
        write.set_nonblocking(true)?;
        let handled = [SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD];
        let delivery = SignalDelivery::with_pipe(read, write, SignalOnly, handled)?;
        SigSet::empty().thread_set_mask()?;
        Ok(Self { delivery })
    }

    /// What has arrived since the last call, children first, equal ones once. Never waits.
    pub fn pending(&mut self) -> Vec<Meaning> {
        let mut meanings: Vec<_> = self.delivery.pending().map(meaning).collect();
        meanings.sort_unstable();
        meanings.dedup();
        meanings
    }
}

impl AsFd for Signals {
    /// Readable when something is pending.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.delivery.get_read().as_fd()
    }
}

fn meaning(signal: i32) -> Meaning {
    match signal {
        SIGCHLD => Meaning::Child,
        SIGTERM | SIGINT => Meaning::Stop,
        SIGQUIT => Meaning::Drain,
        SIGHUP => Meaning::Reload,
        SIGUSR1 => Meaning::Poll,
        _ => Meaning::Unsupported,
    }
}
