//! What happened, in words; written only when asked for, so that ten thousand nights stay cheap.

use std::collections::VecDeque;

/// The last steps of a night, and a digest of all of them.
#[derive(Debug, Default)]
pub struct Trace {
    pub on: bool,
    lines: VecDeque<String>,
    pub steps: u64,
    pub digest: u64,
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

    pub fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

/// A value as Debug shows it, less what is empty in it.
pub fn short(value: &impl std::fmt::Debug) -> String {
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
