//! The only reader of the monotonic clock.

use crate::model::Moment;
use std::time::Instant;

/// Counts from its making.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// Starts counting.
    #[expect(clippy::disallowed_methods, reason = "this is the room in which the clock is read")]
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// The time since then.
    #[expect(clippy::disallowed_methods, reason = "this is the room in which the clock is read")]
    pub fn now(self) -> Moment {
        Moment(u64::try_from(Instant::now().duration_since(self.origin).as_micros()).unwrap_or(u64::MAX))
    }
}
