//! What each layer sets and which wins: defaults → file → drop-ins in name order → environment → command line.
//! Key by key, later wins; arrays replace, tables merge. Each value remembers where it came from.
//!
//! Only the shape is judged here (unknown keys, a table where none may stand); what a value means is `check`'s.
//! An override that is written again in a later layer takes its keys along to its later place, so that
//! "in file order, later wins" holds over all files.

use super::document::{Entry, Item, Value, parse, parse_value, quoted};
use super::keys::{self, Shape};
use super::mistake::{Mistake, Origin, Source};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A value and the layer that set it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Setting {
    pub item: Item,
    pub source: Source,
}

/// The keys that one layer sets for one pattern.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Exception {
    pub pattern: String,
    pub source: Source,
    pub keys: BTreeMap<&'static str, Setting>,
}

/// What all layers together set.
#[derive(Debug, Default)]
pub(super) struct Settings {
    /// By the path of a known key.
    pub values: BTreeMap<&'static str, Setting>,
    /// `job.env`, by name.
    pub variables: BTreeMap<String, Setting>,
    /// In the order in which they apply.
    pub exceptions: Vec<Exception>,
    /// What was wrong so far.
    pub mistakes: Vec<Mistake>,
    /// A file could not be read (to its end): a key that is missing may stand in it.
    pub incomplete: bool,
}

impl Settings {
    /// The layer below all: what holds when nobody says anything. `host` has the defaults that depend on the host.
    pub(super) fn defaults(host: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let mut settings = Self::default();
        for key in &keys::KEYS {
            if let keys::Preset::Is(text) = key.default
                && let Some(item) = parse_value(text)
            {
                settings.assign(key.path, 0, item, &Origin::Default);
            }
        }
        for (path, text) in host {
            settings.assign(path, 0, Item { value: Value::String(text), line: 0 }, &Origin::Default);
        }
        settings
    }

    /// The main file, then `<stem>.d/*.toml` beside it in name order (hidden files are left out).
    pub(super) fn files(&mut self, main: &Path) {
        self.file(main, 0);
        let folder = main.with_extension("d");
        for (place, drop_in) in self.drop_ins(&folder).iter().enumerate() {
            self.file(drop_in, place + 1);
        }
    }

    fn drop_ins(&mut self, folder: &Path) -> Vec<PathBuf> {
        let listed = std::fs::read_dir(folder).and_then(|entries| {
            let paths: Result<Vec<_>, _> = entries.map(|entry| entry.map(|found| found.path())).collect();
            paths
        });
        let mut paths = match listed {
            Ok(paths) => paths,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                self.unreadable(folder, usize::MAX, &format!("cannot list the folder: {error}"));
                return Vec::new();
            }
        };
        let hidden = |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        paths.retain(|path| path.extension().is_some_and(|end| end == "toml") && !hidden(path));
        paths.sort();
        paths
    }

    fn file(&mut self, path: &Path, order: usize) {
        let text = match std::fs::read(path) {
            Ok(bytes) => String::from_utf8(bytes),
            Err(error) => return self.unreadable(path, order, &format!("cannot read the file: {error}")),
        };
        match text {
            Ok(text) => self.text(&text, &Origin::File { order, path: path.into() }),
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let line = 1 + error.as_bytes().iter().take(good).filter(|byte| **byte == b'\n').count();
                self.unreadable(path, order, &format!("cannot read the file: not UTF-8 in line {line}"));
            }
        }
    }

    fn unreadable(&mut self, path: &Path, order: usize, what: &str) {
        self.incomplete = true;
        let origin = Origin::File { order, path: path.into() };
        self.mistakes.push(Mistake::whole(origin.at(0), what));
    }

    /// The text of a file.
    pub(super) fn text(&mut self, text: &str, origin: &Origin) {
        let (entries, errors) = parse(text);
        self.incomplete |= !errors.is_empty();
        for error in errors {
            let source = origin.at(error.line);
            self.mistakes.push(Mistake { source, column: Some(error.column), key: None, what: error.what });
        }
        self.section("", &entries, origin);
    }

    /// Every variable with our prefix, each read as TOML, and if that fails as a string.
    pub(super) fn environment(&mut self, environment: &[(OsString, OsString)]) {
        // By name, so that TENANTS_QUERY_URL adds to TENANTS_QUERY, whatever the order of the environment.
        let mut sorted: Vec<_> = environment.iter().collect();
        sorted.sort();
        for (name, value) in sorted {
            let name = name.to_string_lossy().into_owned();
            if !name.starts_with(keys::PREFIX) || keys::NOT_CONFIGURATION.contains(&name.as_str()) {
                continue;
            }
            let source = Origin::Environment(name.clone()).at(0);
            let Some((_, path)) = keys::variables().find(|(known, _)| *known == name) else {
                let what = format!("matches no key of the configuration{}", keys::variable_advice(&name));
                self.mistakes.push(Mistake::whole(source, what));
                continue;
            };
            let Some(value) = value.to_str() else {
                self.mistakes.push(Mistake::about(source, path, "the variable's value is not UTF-8"));
                continue;
            };
            let text = || Item { value: Value::String(value.to_owned()), line: 0 };
            self.assign(path, 0, parse_value(value.trim()).unwrap_or_else(text), &source.origin);
        }
    }

    /// What the command line sets: key paths and texts.
    pub(super) fn arguments(&mut self, arguments: &[(String, String)]) {
        for (path, text) in arguments {
            let item = Item { value: Value::String(text.clone()), line: 0 };
            self.assign(path, 0, item, &Origin::CommandLine);
        }
    }

    fn section(&mut self, path: &str, entries: &[Entry], origin: &Origin) {
        for entry in entries {
            let key = quoted(&entry.key);
            let full = if path.is_empty() { key } else { format!("{path}.{key}") };
            self.assign(&full, entry.line, entry.item.clone(), origin);
        }
    }

    fn assign(&mut self, path: &str, line: usize, item: Item, origin: &Origin) {
        let source = origin.at(line);
        match (keys::shape(path), &item.value) {
            (Some(Shape::Value(key)), _) => {
                self.values.insert(key.path, Setting { item, source });
            }
            (Some(Shape::Section), Value::Table(entries)) => self.section(path, entries, origin),
            (Some(Shape::Variables), Value::Table(entries)) => {
                for entry in entries {
                    let setting = Setting { item: entry.item.clone(), source: origin.at(entry.line) };
                    self.variables.insert(entry.key.clone(), setting);
                }
            }
            (Some(Shape::Overrides), Value::Table(entries)) => self.overrides(entries, origin),
            (Some(_), other) => {
                let what = format!("expected a table, found {}", other.kind());
                self.mistakes.push(Mistake::about(source, path, what));
            }
            (None, _) => {
                let word = if matches!(item.value, Value::Table(_)) { "section" } else { "key" };
                let what = format!("unknown {word}{}", keys::advice(path));
                self.mistakes.push(Mistake::about(source, path, what));
            }
        }
    }

    fn overrides(&mut self, patterns: &[Entry], origin: &Origin) {
        for entry in patterns {
            let table = format!("{}.{}", keys::OVERRIDES, quoted(&entry.key));
            let source = origin.at(entry.line);
            let Value::Table(inside) = &entry.item.value else {
                let kind = entry.item.value.kind();
                let what = format!("expected a table, as in [{}.\"*.example\"], found {kind}", keys::OVERRIDES);
                self.mistakes.push(Mistake::about(source, table, what));
                continue;
            };
            let mut own = BTreeMap::new();
            for inner in inside {
                let source = origin.at(inner.line);
                match keys::OVERRIDE_KEYS.iter().find(|key| **key == inner.key) {
                    Some(key) => {
                        own.insert(*key, Setting { item: inner.item.clone(), source });
                    }
                    None => {
                        let what = format!("unknown key{}", keys::override_advice(&table, &inner.key));
                        self.mistakes.push(Mistake::about(source, format!("{table}.{}", quoted(&inner.key)), what));
                    }
                }
            }
            for earlier in self.exceptions.iter_mut().filter(|earlier| earlier.pattern == entry.key) {
                earlier.keys.retain(|key, _| !own.contains_key(key));
            }
            self.exceptions.push(Exception { pattern: entry.key.clone(), source, keys: own });
        }
    }
}

/// The file that a mistake about nothing in particular names.
pub(super) fn whole_file(path: &Path) -> Source {
    Origin::File { order: 0, path: Arc::from(path) }.at(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(order: usize) -> Origin {
        Origin::File { order, path: Path::new("f.toml").into() }
    }

    fn shown(settings: &Settings, key: &str) -> String {
        settings.values.get(key).map(|s| format!("{} # {}", s.item, s.source)).unwrap_or_default()
    }

    #[test]
    fn later_layers_win_key_by_key_and_arrays_replace() {
        let mut settings = Settings::defaults([("node", "host".to_owned())]);
        settings.text("workers = 2\n[job]\ncommand = [\"a\", \"b\"]\nenv = { A = \"1\", B = \"1\" }\n", &origin(0));
        settings.text("[job]\ncommand = [\"c\"]\n[job.env]\nB = \"2\"\n", &origin(1));
        settings.environment(&[
            ("TENANTCRON_WORKERS".into(), "4".into()),
            ("TENANTCRON_SCHEDULE_EVERY".into(), "1h".into()),
            ("TENANTCRON_JOB_ENV".into(), "{ C = \"3\" }".into()),
            ("TENANTCRON_NODE".into(), "child".into()),
            ("HOME".into(), "/root".into()),
        ]);
        settings.arguments(&[("workers".into(), "cpu".into())]);
        assert_eq!(settings.mistakes, []);
        assert_eq!(shown(&settings, "workers"), "\"cpu\" # command line");
        assert_eq!(shown(&settings, "job.command"), "[\"c\"] # f.toml:2");
        assert_eq!(shown(&settings, "schedule.every"), "\"1h\" # environment TENANTCRON_SCHEDULE_EVERY");
        assert_eq!(shown(&settings, "node"), "\"host\" # default");
        let env: Vec<_> = settings.variables.iter().map(|(name, s)| format!("{name}={}", s.item)).collect();
        assert_eq!(env, ["A=\"1\"", "B=\"2\"", "C=\"3\""]);
    }

    #[test]
    fn an_override_written_again_moves_its_keys_to_the_later_place() {
        let mut settings = Settings::default();
        settings.text("[override.\"*\"]\nevery = \"1h\"\nnice = 1\n[override.a]\nevery = \"2h\"\n", &origin(0));
        settings.text("[override.\"*\"]\nevery = \"3h\"\n", &origin(1));
        let order: Vec<_> = settings
            .exceptions
            .iter()
            .map(|one| format!("{} {:?}", one.pattern, one.keys.keys().collect::<Vec<_>>()))
            .collect();
        assert_eq!(order, ["* [\"nice\"]", "a [\"every\"]", "* [\"every\"]"]);
    }

    #[test]
    fn what_has_no_place_is_named_with_the_nearest_that_has() {
        let mut settings = Settings::default();
        let text = "job = 3\n[schedul]\nevery = \"1h\"\n[stale]\naftr = 1\n[override.x]\nevry = 1\n";
        settings.text(text, &origin(0));
        settings.environment(&[
            ("TENANTCRON_SCHEDULE_EVRY".into(), "1h".into()),
            ("TENANTCRON_COLOUR".into(), "red".into()),
        ]);
        let told: Vec<_> = settings.mistakes.iter().map(ToString::to_string).collect();
        for want in [
            "f.toml:1: job: expected a table, found an integer",
            "f.toml:2: schedul: unknown section; did you mean schedule?",
            "f.toml:5: stale.aftr: unknown key; did you mean stale.after?",
            "f.toml:7: override.x.evry: unknown key; did you mean override.x.every?",
            "environment TENANTCRON_SCHEDULE_EVRY: matches no key of the configuration; did you mean TENANTCRON_SCHEDULE_EVERY?",
            "environment TENANTCRON_COLOUR: matches no key of the configuration",
        ] {
            assert!(told.contains(&want.to_owned()), "{want}\nnot in\n{}", told.join("\n"));
        }
    }
}
