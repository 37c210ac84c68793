//! Every key that the configuration knows, with its default as it would be written in a file, and the nearest
//! known key for one that it does not know. A key that is not here is a mistake.

use std::borrow::Cow;

/// A known key.
#[derive(Debug)]
pub(super) struct Key {
    /// Its full path.
    pub path: &'static str,
    /// Its default, as TOML.
    pub default: Preset,
}

/// What a key is when nobody sets it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Preset {
    /// This, as TOML.
    Is(&'static str),
    /// Found out from the host when the configuration is loaded.
    Host,
    /// Nothing; what that means.
    Unset(&'static str),
    /// It must be set.
    Required,
}

const fn key(path: &'static str, default: Preset) -> Key {
    Key { path, default }
}

use Preset::{Host, Is, Required, Unset};

/// Every key but those of overrides and the names in `job.env`, in the order of the manual.
pub(super) const KEYS: [Key; 42] = [
    key("workers", Is("\"cpu/2+1\"")),
    key("node", Host),
    key("enabled", Is("true")),
    key("state", Unset("the folder that tenantcron(8) picks")),
    key("job.command", Required),
    key("job.user", Unset("the supervisor's user")),
    key("job.directory", Unset("the supervisor's folder")),
    key("job.timeout", Is("\"none\"")),
    key("job.kill_after", Is("\"30s\"")),
    key("job.nice", Is("0")),
    key("job.oom_score_adj", Is("500")),
    key("job.log", Host),
    key("schedule.every", Is("\"20min\"")),
    key("schedule.offset", Is("\"auto\"")),
    key("schedule.rounds", Is("\"rolling\"")),
    key("stale.after", Is("\"24h\"")),
    key("stale.action", Is("\"alert\"")),
    key("stale.repeat", Is("\"1h\"")),
    key("limits.cluster", Is("0")),
    key("limits.group", Is("0")),
    key("cluster.takeover_after", Is("\"never\"")),
    key("tenants.list", Is("[]")),
    key("tenants.directory", Unset("no such source")),
    key("tenants.query.url", Unset("no such source")),
    key("tenants.query.sql", Unset("no such source")),
    key("tenants.command", Is("[]")),
    key("tenants.exclude", Is("[]")),
    key("tenants.refresh", Is("\"1min\"")),
    key("database.url", Required),
    key("database.status_table", Is("\"tenantcron_status\"")),
    key("database.run_table", Is("\"tenantcron_run\"")),
    key("database.key", Is("\"{tenant}\"")),
    key("database.migrate", Is("\"auto\"")),
    key("database.connections", Is("8")),
    key("database.poll", Is("\"auto\"")),
    key("database.keep_runs", Is("\"30d\"")),
    key("log.target", Is("\"auto\"")),
    key("log.facility", Is("\"cron\"")),
    key("log.level", Is("\"info\"")),
    key("log.socket", Is("\"/dev/log\"")),
    key("metrics.listen", Is("\"\"")),
    key("metrics.per_tenant", Is("true")),
];

/// The keys of an override.
pub(super) const OVERRIDE_KEYS: [&str; 5] = ["every", "timeout", "group", "nice", "enabled"];

/// The table of overrides, by pattern.
pub(super) const OVERRIDES: &str = "override";

/// The table of the child's variables, by name.
pub(super) const JOB_ENV: &str = "job.env";

const SECTIONS: [&str; 11] = [
    "job",
    "schedule",
    "stale",
    "limits",
    "cluster",
    "tenants",
    "tenants.query",
    "database",
    "log",
    "metrics",
    OVERRIDES,
];

/// What may stand at a path.
#[derive(Debug)]
pub(super) enum Shape {
    /// A value.
    Value(&'static Key),
    /// A table of known keys.
    Section,
    /// Variables by name.
    Variables,
    /// Overrides by pattern.
    Overrides,
}

/// What may stand at a path; none if nothing may.
pub(super) fn shape(path: &str) -> Option<Shape> {
    match path {
        JOB_ENV => Some(Shape::Variables),
        OVERRIDES => Some(Shape::Overrides),
        _ if SECTIONS.contains(&path) => Some(Shape::Section),
        _ => KEYS.iter().find(|key| key.path == path).map(Shape::Value),
    }
}

/// What the variables that are read begin with.
pub(super) const PREFIX: &str = "TENANTCRON_";

/// Variables with our prefix that are the child's, not configuration.
pub(super) const NOT_CONFIGURATION: [&str; 4] =
    ["TENANTCRON_TENANT", "TENANTCRON_RUN_ID", "TENANTCRON_NODE", "TENANTCRON_INSTANCE"];

/// The environment variables that are read, each with the path it sets. `node` has none.
pub(super) fn variables() -> impl Iterator<Item = (String, &'static str)> {
    let tables = ["tenants.query", JOB_ENV];
    let paths = KEYS.iter().map(|key| key.path).chain(tables);
    paths
        .map(|path| (format!("{PREFIX}{}", path.replace('.', "_").to_ascii_uppercase()), path))
        .filter(|(name, _)| !NOT_CONFIGURATION.contains(&name.as_str()))
}

/// What to say about a path that is not known: the nearest that is, or those of its section.
pub(super) fn advice(unknown: &str) -> String {
    let known = KEYS.iter().map(|key| key.path).chain(SECTIONS).chain([JOB_ENV]);
    match nearest(unknown, known) {
        Some(near) => format!("; did you mean {near}?"),
        None => {
            let section = unknown.rsplit_once('.').map_or("", |(section, _)| section);
            let inside = KEYS.iter().map(|key| key.path).filter(|path| parent(path) == section);
            let names: Vec<_> = inside.map(|path| path.rsplit('.').next().unwrap_or(path)).collect();
            match (section, names.as_slice()) {
                (_, []) => String::new(),
                ("", names) => format!("; known outside sections: {}", names.join(", ")),
                (section, names) => format!("; known in [{section}]: {}", names.join(", ")),
            }
        }
    }
}

/// What to say about a key that an override does not know.
pub(super) fn override_advice(table: &str, unknown: &str) -> String {
    match nearest(unknown, OVERRIDE_KEYS) {
        Some(near) => format!("; did you mean {table}.{near}?"),
        None => format!("; an override knows {}", OVERRIDE_KEYS.join(", ")),
    }
}

/// What to say about a variable with our prefix that sets nothing.
pub(super) fn variable_advice(unknown: &str) -> String {
    let bare = |name: &str| name.trim_start_matches(PREFIX).to_owned();
    let near = nearest(&bare(unknown), variables().map(|(known, _)| bare(&known)));
    near.map(|near| format!("; did you mean {PREFIX}{near}?")).unwrap_or_default()
}

/// The nearest of `known`, if it is near: few letters apart, or the same key in another section.
pub(super) fn nearest<'k>(unknown: &str, known: impl IntoIterator<Item = impl Into<Cow<'k, str>>>) -> Option<String> {
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let allowed = 1 + last(unknown).chars().count() / 4;
    known
        .into_iter()
        .map(Into::into)
        .map(|path| {
            let whole = strsim::damerau_levenshtein(unknown, &path);
            // The right key in the wrong section comes after a slip of the pen and before anything else.
            let elsewhere = 1 + strsim::damerau_levenshtein(&last(unknown), &last(&path));
            (whole.min(elsewhere), whole, path)
        })
        .filter(|(distance, ..)| *distance <= allowed)
        .min()
        .map(|(.., path)| path.into_owned())
}

fn parent(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(section, _)| section)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_known_key_is_a_slip_away_or_in_another_section() {
        for (unknown, want) in [
            ("schedule.evry", Some("schedule.every")),
            ("every", Some("schedule.every")),
            ("job.workers", Some("workers")),
            ("worker", Some("workers")),
            ("databse.url", Some("database.url")),
            ("database.url_", Some("database.url")),
            ("job.nise", Some("job.nice")),
            ("schedul", Some("schedule")),
            ("overide", Some("override")),
            ("job.environment", None),
            ("colour", None),
        ] {
            let known = KEYS.iter().map(|key| key.path).chain(SECTIONS);
            assert_eq!(nearest(unknown, known).as_deref(), want, "{unknown}");
        }
        assert_eq!(advice("log.rotate"), "; known in [log]: target, facility, level, socket");
        assert_eq!(override_advice("override.\"*\"", "evry"), "; did you mean override.\"*\".every?");
    }

    #[test]
    fn every_key_has_a_section_a_variable_and_a_default_that_is_toml() {
        for key in &KEYS {
            assert!(parent(key.path).is_empty() || matches!(shape(parent(key.path)), Some(Shape::Section)));
            assert_eq!(variables().filter(|(_, path)| *path == key.path).count(), usize::from(key.path != "node"));
            if let Is(text) = key.default {
                assert!(super::super::document::parse_value(text).is_some(), "{}", key.path);
            }
        }
        let mut names: Vec<_> = variables().map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), KEYS.len() + 1);
    }
}
