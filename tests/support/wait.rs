//! Waiting on a condition, never for a time. Every wait has a deadline and says what it saw last.

use std::fmt::Display;
use std::process::{Child, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(20);

/// Seconds, as tests write them.
pub const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Milliseconds, as tests write them.
pub const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// What a look may answer: `bool`, `Option<T>`, or `Result<T, what was seen instead>`.
pub trait Look {
    /// What it found.
    type Found;
    /// The thing found, or what was seen instead.
    fn found(self) -> Result<Self::Found, String>;
}

impl Look for bool {
    type Found = ();
    fn found(self) -> Result<(), String> {
        if self { Ok(()) } else { Err("it was not so".to_owned()) }
    }
}

impl<T> Look for Option<T> {
    type Found = T;
    fn found(self) -> Result<T, String> {
        self.ok_or_else(|| "nothing was there".to_owned())
    }
}

impl<T, E: Display> Look for Result<T, E> {
    type Found = T;
    fn found(self) -> Result<T, String> {
        self.map_err(|seen| seen.to_string())
    }
}

/// Looks until `look` finds, and fails with `what` and what was seen last once `deadline` has passed.
#[track_caller]
pub fn eventually<L: Look>(deadline: Duration, what: &str, mut look: impl FnMut() -> L) -> L::Found {
    let begun = Instant::now();
    loop {
        match look().found() {
            Ok(found) => return found,
            Err(seen) if begun.elapsed() >= deadline => {
                panic!("not within {deadline:?}: {what}; last seen: {seen}")
            }
            Err(_) => sleep(PAUSE),
        }
    }
}

/// Looks for the whole of `time` and fails as soon as `holds` does not find.
#[track_caller]
pub fn throughout<L: Look>(time: Duration, what: &str, mut holds: impl FnMut() -> L) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        if let Err(seen) = holds().found() {
            panic!("held only for {:?}: {what}; seen: {seen}", begun.elapsed());
        }
        sleep(PAUSE);
    }
}

/// Waits for a child's end; none if it still runs at the deadline.
pub fn exit_within(child: &mut Child, deadline: Duration) -> Option<ExitStatus> {
    let begun = Instant::now();
    loop {
        match child.try_wait().expect("waiting for a child") {
            Some(status) => return Some(status),
            None if begun.elapsed() >= deadline => return None,
            None => sleep(millis(5)),
        }
    }
}
