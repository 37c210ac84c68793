//! What happened, in words; written only when asked for, so that ten thousand nights stay cheap.

mod events;
mod exchanges;

pub use events::{action, event, notice};
pub use exchanges::{deeds, plan};

use std::collections::BTreeMap;
use std::fmt::{Debug, Write};

/// The lines of a night, a digest of them, and how often what happened.
#[derive(Debug, Default)]
pub struct Trace {
    pub on: bool,
    lines: Vec<String>,
    /// What is being done, should it break.
    pub doing: String,
    pub steps: u64,
    pub digest: u64,
    /// How often each kind of thing happened: a night in which nothing happens proves nothing.
    pub tally: BTreeMap<String, u64>,
}

impl Trace {
    pub fn new(on: bool) -> Self {
        Self { on, ..Self::default() }
    }

    pub fn say(&mut self, now: u64, line: String) {
        let line = format!("{:>11.6} {line}", now as f64 / 1e6);
        self.digest =
            line.bytes().fold(self.digest, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        self.lines.push(line);
    }

    /// Counts a thing by the first word that Debug gives it.
    pub fn count(&mut self, of: &str, thing: &impl Debug) {
        let mut word = FirstWord(format!("{of} "));
        let _ = write!(word, "{thing:?}");
        *self.tally.entry(word.0).or_default() += 1;
    }

    /// The last lines.
    pub fn text(&self, most: usize) -> String {
        let left_out = self.lines.len().saturating_sub(most);
        let note = if left_out > 0 { format!("({left_out} lines before these)\n") } else { String::new() };
        let doing = if self.doing.is_empty() { String::new() } else { format!("        ... {}\n", self.doing) };
        note + &self.lines[left_out..].iter().map(|line| format!("{line}\n")).collect::<String>() + &doing
    }
}

/// Takes what is written up to the first word's end, so that the rest is never formatted.
struct FirstWord(String);

impl Write for FirstWord {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let text = text.strip_prefix("Some(").unwrap_or(text);
        let text = if self.0.ends_with(' ') { text.trim_start_matches('"') } else { text };
        let word = text.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default();
        self.0.push_str(word);
        if word.len() == text.len() { Ok(()) } else { Err(std::fmt::Error) }
    }
}
