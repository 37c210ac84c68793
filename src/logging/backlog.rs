//! What a log that does not take it is owed: a bounded queue of lines, and a count of those that found no room.
//! When the log takes lines again it gets the queue in order, then the count, then what is new.
//!
//! A full queue makes room for a line at `err` or worse by dropping the oldest milder one: a night with a frozen
//! daemon must not lose its alerts to chatter.

use super::severity::Severity;
use std::collections::VecDeque;

/// The most lines that wait: two for each of 2,000 tenants, since a daemon in the best of health is outrun by a burst.
pub(super) const MOST_LINES: usize = 4096;
/// The most bytes that wait.
const MOST_BYTES: usize = 1024 * 1024;

/// Where lines go.
pub(super) trait Sink {
    /// What it is called in the message about dropped lines.
    const NAME: &'static str;

    /// The line as it goes out, with the time of now.
    fn format(&self, severity: Severity, message: &str) -> Vec<u8>;

    /// Gives out one line, without ever waiting.
    fn send(&mut self, line: &[u8]) -> Sent;

    /// Gives out what is left of a line that was taken in part. True if nothing is left.
    fn finish(&mut self) -> bool {
        true
    }
}

/// What became of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Sent {
    /// It was taken.
    Taken,
    /// Not now.
    NotNow,
    /// Never: this line cannot go this way.
    Never,
}

/// The lines that wait, and how many could not.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    waiting: VecDeque<(Severity, Vec<u8>)>,
    bytes: usize,
    dropped: u64,
    half: bool,
}

impl Backlog {
    /// Gives out a message, or keeps it, or drops and counts it.
    pub(super) fn deliver(&mut self, sink: &mut impl Sink, severity: Severity, message: &str) {
        let line = sink.format(severity, message);
        if !self.flush(sink) {
            return self.keep(severity, line);
        }
        match sink.send(&line) {
            Sent::Taken => self.half = !sink.finish(),
            Sent::NotNow => self.keep(severity, line),
            Sent::Never => self.dropped += 1,
        }
    }

    /// Gives out what waits, as far as it is taken. True if nothing is owed any more.
    pub(super) fn flush<S: Sink>(&mut self, sink: &mut S) -> bool {
        while let Some((_, line)) = self.waiting.front() {
            match sink.send(line) {
                Sent::Taken => {}
                Sent::NotNow => return false,
                Sent::Never => self.dropped += 1,
            }
            if let Some((_, line)) = self.waiting.pop_front() {
                self.bytes -= line.len();
            }
        }
        if self.dropped > 0 {
            let (n, name) = (self.dropped, S::NAME);
            let were = if n == 1 { "message was" } else { "messages were" };
            let text = format!("{n} log {were} dropped while {name} did not take them");
            match sink.send(&sink.format(Severity::Warning, &text)) {
                Sent::NotNow => return false,
                Sent::Taken | Sent::Never => self.dropped = 0,
            }
        }
        self.half = !sink.finish();
        !self.half
    }

    /// True if lines or parts of one wait, or a count is to be said.
    pub(super) fn owes(&self) -> bool {
        !self.waiting.is_empty() || self.dropped > 0 || self.half
    }

    /// What still waits and matters: warnings and worse.
    pub(super) fn worst(&self) -> impl Iterator<Item = &[u8]> {
        self.waiting.iter().filter(|(severity, _)| *severity <= Severity::Warning).map(|(_, line)| line.as_slice())
    }

    /// Gives up what waits; how many lines never went out.
    pub(super) fn abandon(self) -> u64 {
        self.dropped + self.waiting.len() as u64
    }

    /// Counts lines that were lost on another way.
    pub(super) fn count_dropped(&mut self, lines: u64) {
        self.dropped += lines;
    }

    fn keep(&mut self, severity: Severity, line: Vec<u8>) {
        while self.waiting.len() >= MOST_LINES || self.bytes + line.len() > MOST_BYTES {
            let milder = self.waiting.iter().position(|(other, _)| *other > Severity::Error);
            let gone = milder.filter(|_| severity <= Severity::Error).and_then(|at| self.waiting.remove(at));
            self.dropped += 1;
            match gone {
                Some((_, gone)) => self.bytes -= gone.len(),
                None => return,
            }
        }
        self.bytes += line.len();
        self.waiting.push_back((severity, line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes lines while it has room.
    #[derive(Default)]
    struct Paper {
        room: usize,
        lines: Vec<String>,
    }

    impl Sink for Paper {
        const NAME: &'static str = "paper";
        fn format(&self, severity: Severity, message: &str) -> Vec<u8> {
            format!("{} {message}", severity.number()).into_bytes()
        }
        fn send(&mut self, line: &[u8]) -> Sent {
            if line.ends_with(b"unsendable") {
                return Sent::Never;
            }
            if self.room == 0 {
                return Sent::NotNow;
            }
            self.room -= 1;
            self.lines.push(String::from_utf8_lossy(line).into_owned());
            Sent::Taken
        }
    }

    #[test]
    fn lines_wait_in_order_and_the_count_of_the_others_is_said_after_them() {
        let (mut backlog, mut paper) = (Backlog::default(), Paper::default());
        for n in 0..MOST_LINES + 7 {
            backlog.deliver(&mut paper, Severity::Info, &n.to_string());
        }
        assert!(backlog.owes() && paper.lines.is_empty());
        paper.room = MOST_LINES;
        assert!(!backlog.flush(&mut paper), "the count is still owed");
        paper.room = 10;
        backlog.deliver(&mut paper, Severity::Info, "new");
        let last: Vec<_> = paper.lines.iter().skip(MOST_LINES - 1).collect();
        assert_eq!(
            last,
            [&format!("6 {}", MOST_LINES - 1), "4 7 log messages were dropped while paper did not take them", "6 new"]
        );
        assert!(!backlog.owes());
    }

    #[test]
    fn a_full_queue_drops_chatter_before_alerts() {
        let (mut backlog, mut paper) = (Backlog::default(), Paper::default());
        for n in 0..MOST_LINES {
            backlog.deliver(&mut paper, Severity::Info, &n.to_string());
        }
        backlog.deliver(&mut paper, Severity::Alert, "stale");
        backlog.deliver(&mut paper, Severity::Warning, "too late");
        paper.room = usize::MAX;
        assert!(backlog.flush(&mut paper));
        assert_eq!(paper.lines.len(), MOST_LINES + 1);
        assert_eq!(paper.lines[0], "6 1");
        assert_eq!(paper.lines[MOST_LINES - 1], "1 stale");
        assert!(paper.lines[MOST_LINES].starts_with("4 2 log messages were dropped"));
    }

    #[test]
    fn it_is_bounded_in_bytes_and_a_line_that_cannot_go_holds_up_nobody() {
        let (mut backlog, mut paper) = (Backlog::default(), Paper::default());
        backlog.deliver(&mut paper, Severity::Info, "unsendable");
        backlog.deliver(&mut paper, Severity::Info, "one");
        for _ in 0..200 {
            backlog.deliver(&mut paper, Severity::Error, &"x".repeat(8000));
        }
        assert!(backlog.bytes <= MOST_BYTES && backlog.waiting.len() > 100);
        assert_eq!(backlog.waiting.iter().map(|(_, line)| line.len()).sum::<usize>(), backlog.bytes);
        assert_eq!(Backlog::default().abandon(), 0);
        assert_eq!(backlog.abandon(), 202);
    }
}
