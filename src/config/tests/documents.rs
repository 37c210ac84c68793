//! The sample and the manual page say what the code does: every key, with its real default.

use super::{load_text, request};
use crate::config::document::{Item, Value, parse};
use crate::config::keys::{JOB_ENV, KEYS, OVERRIDE_KEYS, Preset};
use crate::config::load;
use std::collections::BTreeMap;
use std::path::Path;

/// In the sample only to say that it is not in this version: in force it is a mistake.
const NOT_YET: &str = "user = ";

fn sample() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("etc/tenantcron.toml");
    std::fs::read_to_string(path).unwrap()
}

/// The sample with every key in force.
fn uncommented() -> String {
    let is_setting = |line: &str| {
        let word = line.split([' ', '=', '.']).next().unwrap_or_default();
        line.starts_with('[')
            || (line.contains(" = ") && !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
    };
    sample()
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if is_setting(rest) && !rest.starts_with(NOT_YET) => rest,
            _ => line,
        })
        .collect::<Vec<_>>()
        .join("\n")
}

fn flatten(path: &str, item: &Item, all: &mut BTreeMap<String, Item>) {
    let Value::Table(entries) = &item.value else {
        all.insert(path.to_owned(), item.clone());
        return;
    };
    for entry in entries {
        let full = if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
        flatten(&full, &entry.item, all);
    }
}

#[test]
fn the_sample_loads_as_it_is_shipped() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("etc/tenantcron.toml");
    let loaded = load(&request(&file)).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(loaded.instance, "tenantcron");
    assert_eq!(loaded.config.node, "web1");
}

#[test]
fn the_sample_loads_with_every_key_in_force() {
    load_text(&uncommented()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
}

#[test]
fn the_sample_has_every_key_with_its_default() {
    let (entries, errors) = parse(&uncommented());
    assert_eq!(errors, []);
    let mut all = BTreeMap::new();
    flatten("", &Item { value: Value::Table(entries), line: 0 }, &mut all);
    for key in &KEYS {
        if key.path == "job.user" {
            assert!(sample().contains(&format!("#{NOT_YET}")));
            continue;
        }
        let Some(item) = all.get(key.path) else { panic!("{} is not in the sample", key.path) };
        // The list stands there as an example: a configuration needs some source.
        if let (Preset::Is(default), false) = (key.default, key.path == "tenants.list") {
            assert_eq!(item.to_string(), default, "{}", key.path);
        }
    }
    for key in OVERRIDE_KEYS {
        assert!(all.keys().any(|path| path.starts_with("override.") && path.ends_with(&format!(".{key}"))), "{key}");
    }
    assert!(all.keys().any(|path| path.starts_with(JOB_ENV)));
}

#[test]
fn the_manual_has_every_key_with_its_default() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("man/tenantcron.toml.5");
    let manual = std::fs::read_to_string(path).unwrap();
    let items: Vec<&str> = manual.lines().filter_map(|line| line.strip_prefix(".It Sy ")).collect();
    let mut wanted: Vec<String> = KEYS.iter().map(|key| key.path.to_owned()).collect();
    wanted.push(JOB_ENV.to_owned());
    wanted.extend(OVERRIDE_KEYS.map(|key| format!("override.PATTERN.{key}")));
    for key in &wanted {
        assert!(items.iter().any(|item| item.split(' ').next() == Some(key)), "{key} is not in the manual page");
    }
    for item in &items {
        let name = item.split(' ').next().unwrap_or_default();
        assert!(wanted.iter().any(|key| key == name), "{name} of the manual page is no key");
    }
    for key in &KEYS {
        if let Preset::Is(default) = key.default {
            let line = format!(".It Sy {} No = Li {}", key.path, default.replace('"', "\\(dq"));
            assert!(manual.lines().any(|found| found == line), "no line {line}");
        }
    }
}
