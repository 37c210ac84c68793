//! The effective configuration as lines `key = value   # from where`: each key whether it was set or not, in the
//! order of the manual. The lines are TOML again.
//!
//! Invariant: no password leaves here. It hides too much rather than too little.

use super::document::{Item, Value, quoted};
use super::keys::{JOB_ENV, KEYS, OVERRIDE_KEYS, OVERRIDES, Preset};
use super::layers::{Setting, Settings};

/// What stands in a secret's place.
const HIDDEN: &str = "***";

/// Where the comments begin, if the value leaves room.
const COLUMN: usize = 40;

/// One line for each key, override and variable.
pub(super) fn lines(settings: &Settings) -> Vec<String> {
    let mut lines = Vec::new();
    for key in &KEYS {
        match (settings.values.get(key.path), key.default) {
            (Some(setting), _) => lines.push(line(key.path, setting, &hide_urls(&setting.item))),
            (None, Preset::Unset(meaning)) => lines.push(format!("# {} is not set: {meaning}", key.path)),
            (None, _) => lines.push(format!("# {} is not set", key.path)),
        }
        if key.path == "job.log" {
            lines.extend(variables(settings));
        }
        if key.path == "tenants.refresh" {
            lines.extend(overrides(settings));
        }
    }
    lines
}

fn variables(settings: &Settings) -> Vec<String> {
    let all = settings.variables.iter();
    let lines = all.map(|(name, setting)| {
        let hidden = Item { value: Value::String(HIDDEN.to_owned()), line: 0 };
        let shown = if is_secret(name) { hidden } else { hide_urls(&setting.item) };
        line(&format!("{JOB_ENV}.{}", quoted(name)), setting, &shown)
    });
    let lines: Vec<_> = lines.collect();
    if lines.is_empty() { vec![format!("# {JOB_ENV} is not set: nothing is added")] } else { lines }
}

fn overrides(settings: &Settings) -> Vec<String> {
    let all = settings.exceptions.iter().flat_map(|one| {
        let own = OVERRIDE_KEYS.iter().filter_map(|key| one.keys.get(key).map(|setting| (*key, setting)));
        own.map(|(key, setting)| line(&format!("{OVERRIDES}.{}.{key}", quoted(&one.pattern)), setting, &setting.item))
    });
    let lines: Vec<_> = all.collect();
    if lines.is_empty() { vec![format!("# {OVERRIDES} is not set: all tenants are alike")] } else { lines }
}

fn line(key: &str, setting: &Setting, shown: &Item) -> String {
    format!("{:<COLUMN$} # {}", format!("{key} = {shown}"), setting.source)
}

/// True if a variable's name says that its value is a secret.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ["PASSWORD", "PASSWD", "SECRET", "TOKEN", "KEY", "CREDENTIAL"].iter().any(|word| name.contains(word))
}

fn hide_urls(item: &Item) -> Item {
    let value = match &item.value {
        Value::String(text) if text.contains("://") => Value::String(hide_password(text)),
        Value::Array(items) => Value::Array(items.iter().map(hide_urls).collect()),
        other => other.clone(),
    };
    Item { value, line: item.line }
}

/// A URL without its passwords: the one before the `@`, and those among the parameters.
fn hide_password(url: &str) -> String {
    let (address, query) = match url.split_once('?') {
        Some((address, query)) => (address, Some(query)),
        None => (url, None),
    };
    let mut shown = address.to_owned();
    for (place, parameter) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
        shown.push(if place == 0 { '?' } else { '&' });
        match parameter.split_once('=') {
            Some((name, _)) if is_password(name) => shown.extend([name, "=", HIDDEN]),
            _ => shown.push_str(parameter),
        }
    }
    // A password that was not encoded may hold any of `/?@`: everything up to the last '@' counts as its part.
    let Some((scheme, rest)) = shown.split_once("://") else { return shown };
    match rest.rsplit_once('@').and_then(|(login, host)| Some((login.split_once(':')?.0, host))) {
        Some((user, host)) => format!("{scheme}://{user}:{HIDDEN}@{host}"),
        None => shown,
    }
}

/// `password`, `sslpassword`; also when letters of it are percent-encoded.
fn is_password(name: &str) -> bool {
    let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy().to_ascii_lowercase();
    name.ends_with("password")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_in_a_url_is_shown() {
        for (url, want) in [
            ("postgresql:///wcs_{tenant_}", "postgresql:///wcs_{tenant_}"),
            ("postgresql://u@h:5432/d", "postgresql://u@h:5432/d"),
            ("postgresql://u:secret@h:5432/d", "postgresql://u:***@h:5432/d"),
            ("postgresql://:secret@h/d", "postgresql://:***@h/d"),
            ("postgresql://u:se@cr/et?x@h/d", "postgresql://u:***@h/d"),
            (
                "postgresql://h/d?user=u&password=secret&sslmode=require",
                "postgresql://h/d?user=u&password=***&sslmode=require",
            ),
            ("postgresql://h:1/d?password=sec@ret", "postgresql://h:1/d?password=***"),
            ("postgresql:///d?p%61ssword=secret", "postgresql:///d?p%61ssword=***"),
            ("postgresql:///d?sslpassword=secret&PASSWORD=secret", "postgresql:///d?sslpassword=***&PASSWORD=***"),
            ("postgresql://u:secret@h,i:2/d?password=secret", "postgresql://u:***@h,i:2/d?password=***"),
        ] {
            assert_eq!(hide_password(url), want);
        }
    }

    #[test]
    fn names_tell_secrets() {
        for name in ["PGPASSWORD", "api_token", "AWS_SECRET_ACCESS_KEY", "DjangoSecret"] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["LANG", "PGHOST", "PATH"] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
