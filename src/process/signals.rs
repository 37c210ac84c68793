//! Signals become meanings at the door: nobody behind it knows a signal's number. They arrive on a
//! descriptor, so that the loop waits for them as for anything else.
//!
//! Invariants: no handler does more than set a flag and write a byte; only the loop's thread receives signals, so that
//! blocking them there makes them wait for the next program ([`super::Program::replace`]). SIGPIPE is ignored by Rust's own
//! start code and stays so.

use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill};
use nix::unistd::Pid;
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
    /// Put the program that is on disk now in this one's place (SIGUSR2).
    Upgrade,
}

/// The signals that have arrived.
pub struct Signals {
    delivery: SignalDelivery<UnixStream, SignalOnly>,
}

impl Signals {
    /// Takes the signals over, those ignored or blocked by whoever started us too; what came while they were blocked comes
    /// now. They come to this thread: start others under [`SignalsBlocked`].
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

impl Meaning {
    /// Sends this process a signal of this meaning: while signals are blocked it waits, for the next program too.
    ///
    /// # Errors
    /// None that is known; what kill(2) answers.
    pub fn send(self) -> io::Result<()> {
        let signal = match self {
            Self::Child => Signal::SIGCHLD,
            Self::Stop => Signal::SIGTERM,
            Self::Drain => Signal::SIGQUIT,
            Self::Reload => Signal::SIGHUP,
            Self::Poll => Signal::SIGUSR1,
            Self::Upgrade => Signal::SIGUSR2,
        };
        Ok(kill(Pid::this(), signal)?)
    }
}

/// While it lives no signal reaches this thread, nor ever one that was started meanwhile.
#[must_use = "dropped, signals come again"]
pub struct SignalsBlocked {
    before: SigSet,
}

impl SignalsBlocked {
    /// From now on.
    ///
    /// # Errors
    /// None that is known; what pthread_sigmask(3) answers.
    pub fn begin() -> io::Result<Self> {
        Ok(Self { before: SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)? })
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // It cannot fail with a mask that the kernel gave.
        _ = self.before.thread_set_mask();
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
        _ => Meaning::Upgrade,
    }
}
