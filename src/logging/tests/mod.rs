//! Real sockets, pipes and files. Nothing sleeps: waiting is reading with a timeout, up to a deadline.

mod standard_error;
mod syslog_daemon;
mod tenant_log;

use std::time::{Duration, Instant};

/// Asks again and again until the answer is there.
fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = now() + Duration::from_secs(10);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(now() < deadline, "waited in vain for {what}");
    }
}

#[expect(clippy::disallowed_methods, reason = "deadlines of tests")]
fn now() -> Instant {
    Instant::now()
}
