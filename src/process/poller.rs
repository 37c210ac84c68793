//! The one place that waits: for descriptors, a wake-up from another thread, or a time. It keeps no set
//! of its own; whoever waits says what for, each time (poll(2) with hundreds of descriptors is cheap).
//!
//! Invariant: an error is returned, never swallowed. Waking early is harmless, so a signal merely ends the wait.

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Waits until one of the descriptors is readable (or has failed) or `timeout` has passed; `None` waits without end. Answers with the
/// tokens of those that are ready: none after the time or a signal.
///
/// # Errors
/// What ppoll(2) answers; EBADF if a descriptor is not open.
pub fn wait<T: Copy>(watched: &[(T, BorrowedFd<'_>)], timeout: Option<Duration>) -> io::Result<Vec<T>> {
    let mut polled: Vec<_> = watched.iter().map(|(_, file)| PollFd::new(*file, PollFlags::POLLIN)).collect();
    match ppoll(&mut polled, timeout.map(TimeSpec::from_duration), None) {
        Ok(0) | Err(Errno::EINTR) => return Ok(Vec::new()),
        Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    let mut ready = Vec::new();
    for ((token, _), polled) in watched.iter().zip(&polled) {
        // Flags that this nix does not know count as ready: whoever reads will learn more.
        let flags = polled.revents().unwrap_or(PollFlags::POLLERR);
        if flags.contains(PollFlags::POLLNVAL) {
            return Err(Errno::EBADF.into());
        }
        if !flags.is_empty() {
            ready.push(*token);
        }
    }
    Ok(ready)
}

/// Wakes the loop from another thread. Cheap to call often: only the first wake-up before the loop has
/// answered costs a system call.
#[derive(Debug, Clone)]
pub struct Waker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    event: EventFd,
    set: AtomicBool,
}

impl Waker {
    /// Makes one; its clones wake the same loop.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn new() -> io::Result<Self> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self { shared: Arc::new(Shared { event, set: AtomicBool::new(false) }) })
    }

    /// Makes the descriptor readable. Call it after what the loop shall find has been put in its place.
    ///
    /// # Errors
    /// None that is known; what write(2) answers.
    pub fn wake(&self) -> io::Result<()> {
        if !self.shared.set.swap(true, Ordering::AcqRel) {
            self.shared.event.write(1)?;
        }
        Ok(())
    }

    /// Makes it unreadable again. Call it before looking at what was put there: then nothing is missed.
    ///
    /// # Errors
    /// None that is known; what read(2) answers.
    pub fn clear(&self) -> io::Result<()> {
        match self.shared.event.read() {
            Ok(_) | Err(Errno::EAGAIN) => {}
            Err(error) => return Err(error.into()),
        }
        // After the read: a wake-up between the two finds the flag still set, writes nothing, and what it
        // announced is seen by the look that follows this swap.
        self.shared.set.swap(false, Ordering::AcqRel);
        Ok(())
    }
}

impl AsFd for Waker {
    /// Readable when woken.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_ready(waker: &Waker) -> bool {
        !wait(&[((), waker.as_fd())], Some(Duration::ZERO)).unwrap().is_empty()
    }

    #[test]
    fn many_wake_ups_are_one_and_none_is_missed_after_clearing() {
        let waker = Waker::new().unwrap();
        assert!(!is_ready(&waker));
        waker.wake().unwrap();
        waker.clone().wake().unwrap();
        assert!(is_ready(&waker));
        waker.clear().unwrap();
        assert!(!is_ready(&waker));
        waker.wake().unwrap();
        assert!(is_ready(&waker));
        waker.clear().unwrap();
        waker.clear().unwrap();
        assert!(!is_ready(&waker));
    }

    #[test]
    fn another_thread_ends_a_wait_without_end() {
        let waker = Waker::new().unwrap();
        let other = waker.clone();
        let thread = std::thread::spawn(move || other.wake());
        assert_eq!(wait(&[(7, waker.as_fd())], None).unwrap(), [7]);
        thread.join().unwrap().unwrap();
    }
}
