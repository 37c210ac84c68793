//! The only reader of the monotonic clock: the one that counts suspension too, since a lease runs on while this host
//! sleeps, and that a program which replaces this one goes on reading.

use crate::model::Moment;
use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// The time since this host booted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clock;

impl Clock {
    /// The time now. The kernel has this clock since 2.6.39; without it time would stand still, which starts nothing.
    pub fn now(self) -> Moment {
        let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
        Moment(u64::try_from(now.as_micros()).unwrap_or(u64::MAX))
    }
}
