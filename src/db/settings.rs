//! What the configuration and the process say to this floor: who claims, which tables, how many
//! connections. Not read from any file here; the same for every database of this supervisor.

use crate::model::{Identity, Template};
use std::time::Duration;

/// The settings of an [`Engine`](super::Engine).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Who claims.
    pub identity: Identity,
    /// `database.status_table`: `name` or `schema.name`.
    pub status_table: String,
    /// `database.run_table`: `name` or `schema.name`; the flags stand beside it.
    pub run_table: String,
    /// Which keys are this instance's, as a LIKE pattern: see [`key_pattern`].
    pub key_pattern: String,
    /// `database.migrate`.
    pub migrate: Migrate,
    /// Whether anything may be written.
    pub access: Access,
    /// `database.connections`: most open at once, LISTEN and `tenants.query` included; at least 1.
    pub connections: u32,
    /// `database.keep_runs`.
    pub keep_runs: Duration,
    /// The contract's deadlines; shorter ones serve tests.
    pub deadlines: Deadlines,
}

/// Who creates missing tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migrate {
    /// Whoever comes first.
    Auto,
    /// An operator, by `tenantcron migrate`.
    Manual,
}

/// Whether anything may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The supervisor and the commands that act.
    ReadWrite,
    /// A dry run: nothing is created or claimed, and what a supervisor would refuse is refused too.
    Rehearsal,
    /// Commands that only look (`status`): no table and no row is created, nothing is claimed.
    ReadOnly,
}

/// How long a database may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// From the first look-up of a name to a session that answers; a shorter `connect_timeout` counts.
    pub connect: Duration,
    /// One exchange, or one question of a command.
    pub exchange: Duration,
    /// A connect that takes longer than this makes way for those that wait, any work for runs with a lease that wait.
    pub patience: Duration,
    /// A connection that nobody used for so long is closed.
    pub idle: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            exchange: Duration::from_secs(30),
            patience: Duration::from_secs(2),
            idle: Duration::from_secs(60),
        }
    }
}

/// The LIKE pattern that the keys made from `key` match: `{instance}` is filled in, every other placeholder is `%`.
pub fn key_pattern(key: &Template, instance: &str) -> String {
    let mut pattern = String::new();
    let mut rest = key.source();
    while let Some(at) = rest.find(['{', '}']) {
        let (text, from) = rest.split_at(at);
        escape_like(text, &mut pattern);
        if let Some(after) = from.strip_prefix("{{") {
            pattern.push('{');
            rest = after;
        } else if let Some(after) = from.strip_prefix("}}") {
            pattern.push('}');
            rest = after;
        } else if let Some((name, after)) = from.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            if name == "instance" {
                escape_like(instance, &mut pattern)
            } else {
                pattern.push('%')
            }
            rest = after;
        } else {
            rest = from.get(1..).unwrap_or_default();
        }
    }
    escape_like(rest, &mut pattern);
    pattern
}

fn escape_like(text: &str, pattern: &mut String) {
    for letter in text.chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_pattern_matches_the_keys_of_the_template_and_no_wildcards_of_its_text() {
        for (key, want) in [
            ("{tenant}", "%"),
            ("cron-status-{tenant}", "cron-status-%"),
            ("{instance}_{tenant}", r"w\_cs\_%"),
            (r"100%{{{tenant}}}\", r"100\%{%}\\"),
        ] {
            let key = Template::parse(key, &["tenant", "instance"]).unwrap();
            assert_eq!(key_pattern(&key, "w_cs"), want);
        }
    }
}
