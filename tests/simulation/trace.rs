//! What happened, in words; written only when asked for, so that ten thousand nights stay cheap.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::{Debug, Write};

/// The last steps of a night, and a digest of all of them.
#[derive(Debug, Default)]
pub struct Trace {
    pub on: bool,
    lines: VecDeque<String>,
    pub steps: u64,
    pub digest: u64,
    /// How often each kind of thing happened: a night in which nothing happens proves nothing.
    pub tally: BTreeMap<String, u64>,
}

const KEPT: usize = 160;

impl Trace {
    pub fn new(on: bool) -> Self {
        Self { on, ..Self::default() }
    }

    pub fn say(&mut self, now: u64, line: impl FnOnce() -> String) {
        self.steps += 1;
        if !self.on {
            return;
        }
        let line = format!("{:>11.6} {}", now as f64 / 1e6, line());
        self.digest =
            line.bytes().fold(self.digest, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        if self.lines.len() == KEPT && std::env::var_os("FULL").is_none() {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// Counts a thing by the first word that Debug gives it.
    pub fn count(&mut self, of: &str, thing: &impl Debug) {
        let mut word = FirstWord(format!("{of} "));
        let _ = write!(word, "{thing:?}");
        *self.tally.entry(word.0).or_default() += 1;
    }

    pub fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

/// Takes what is written up to the first word's end, so that the rest is never formatted.
struct FirstWord(String);

impl Write for FirstWord {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let word = text.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default();
        self.0.push_str(word);
        if word.len() == text.len() { Ok(()) } else { Err(std::fmt::Error) }
    }
}

/// A value as Debug shows it, less what is empty in it.
pub fn short(value: &impl Debug) -> String {
    let mut text = format!("{value:?}");
    for field in
        ["finish", "undo", "release", "refresh", "reset", "finished", "undone", "released", "refreshed", "claimed"]
    {
        text = text.replace(&format!(" {field}: [],"), "");
    }
    for empty in [
        " claim: None,",
        " poll: None",
        ", polled: None",
        ", runs: []",
        ", requested_at: None",
        ", foreign_in_group: []",
    ] {
        text = text.replace(empty, "");
    }
    text
}
