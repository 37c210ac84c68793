//! One value to one type: durations, paths, templates, words, ranges. Each says what it expected and what it
//! found; it knows neither the key nor the file, which the caller adds. No message shows a URL.

use super::document::{Item, Value};
use super::keys::nearest;
use super::schema::TableName;
use crate::model::Template;
use std::path::PathBuf;
use std::time::Duration;

/// What is wrong with a value, and on which line: in an array that may be another than the key's.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub line: usize,
    pub what: String,
}

/// A value, or everything that is wrong with it.
pub(super) type Read<T> = Result<T, Vec<Fault>>;

/// Longer than any work: beyond this, adding times could overflow, and it is a slip of the pen.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 86_400);

pub(super) fn fault<T>(item: &Item, what: impl Into<String>) -> Read<T> {
    Err(vec![Fault { line: item.line, what: what.into() }])
}

fn other_kind<T>(item: &Item, expected: &str) -> Read<T> {
    fault(item, format!("expected {expected}, found {}", item.value.kind()))
}

/// Any text without NUL, which no argument, path or statement can hold.
pub(super) fn text(item: &Item) -> Read<String> {
    match &item.value {
        Value::String(text) if text.contains('\0') => fault(item, "holds a NUL character"),
        Value::String(text) => Ok(text.clone()),
        _ => other_kind(item, "a string"),
    }
}

/// A text that is not empty.
pub(super) fn full_text(item: &Item) -> Read<String> {
    let text = text(item)?;
    if text.trim().is_empty() { fault(item, "is empty") } else { Ok(text) }
}

pub(super) fn boolean(item: &Item) -> Read<bool> {
    match item.value {
        Value::Boolean(flag) => Ok(flag),
        _ => other_kind(item, "true or false"),
    }
}

/// An integer from `least` to `most`.
pub(super) fn integer<T: TryFrom<i64> + Copy + Into<i64>>(least: T, most: T) -> impl Fn(&Item) -> Read<T> {
    move |item| match item.value {
        Value::Integer(number) => match T::try_from(number) {
            Ok(good) if (least.into()..=most.into()).contains(&number) => Ok(good),
            _ => fault(item, format!("{number} is outside {} to {}", least.into(), most.into())),
        },
        _ => other_kind(item, &format!("an integer from {} to {}", least.into(), most.into())),
    }
}

/// A duration, zero included.
pub(super) fn duration(item: &Item) -> Read<Duration> {
    let text = match &item.value {
        Value::String(text) => text.trim(),
        other => {
            let found = other.kind();
            return fault(item, format!("expected a duration with its unit, such as \"20min\", found {found}"));
        }
    };
    // The parser panics where seconds and nanoseconds overflow together; no honest number is so long.
    let digits = text.split(|letter: char| !letter.is_ascii_digit()).map(str::len).max().unwrap_or(0);
    if digits > 15 || text.len() > 100 {
        return fault(item, "the duration is too long");
    }
    match humantime::parse_duration(text) {
        Ok(time) if time > LONGEST => fault(item, format!("\"{text}\" is longer than 100 years")),
        Ok(time) => Ok(time),
        Err(why) => fault(item, format!("{text:?} is not a duration ({why}); write it as in \"20min\"")),
    }
}

/// A duration of at least a millisecond: what the scheduler counts in.
pub(super) fn span(item: &Item) -> Read<Duration> {
    let time = duration(item)?;
    let whole = time.subsec_nanos() % 1_000_000 == 0;
    match time {
        Duration::ZERO => fault(item, "must be longer than zero"),
        _ if !whole => fault(item, "is finer than a millisecond"),
        time => Ok(time),
    }
}

/// A duration of at least a millisecond, or the word that stands for none.
pub(super) fn span_or(word: &'static str) -> impl Fn(&Item) -> Read<Option<Duration>> {
    move |item| match &item.value {
        Value::String(text) if text == word => Ok(None),
        Value::String(text) if !text.starts_with(|first: char| first.is_ascii_digit()) => {
            fault(item, format!("{text:?} is neither {word:?} nor a duration such as \"20min\""))
        }
        Value::String(_) => span(item).map(Some),
        other => {
            let found = other.kind();
            fault(item, format!("expected {word:?} or a duration with its unit, such as \"20min\", found {found}"))
        }
    }
}

/// One of a few words.
pub(super) fn word<T: Copy>(words: &[(&'static str, T)]) -> impl Fn(&Item) -> Read<T> {
    move |item| {
        let all = || words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
        let Value::String(text) = &item.value else {
            return other_kind(item, &format!("one of {}", all()));
        };
        match words.iter().find(|(word, _)| word == text) {
            Some((_, meaning)) => Ok(*meaning),
            None => {
                let near = nearest(text, words.iter().map(|(word, _)| *word));
                let advice = near.map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
                fault(item, format!("{text:?} is not one of {}{advice}", all()))
            }
        }
    }
}

/// An absolute path.
pub(super) fn absolute_path(item: &Item) -> Read<PathBuf> {
    let path = PathBuf::from(text(item)?);
    if path.is_absolute() { Ok(path) } else { fault(item, "must be an absolute path, beginning with '/'") }
}

/// A text with these placeholders.
pub(super) fn template(allowed: &'static [&'static str]) -> impl Fn(&Item) -> Read<Template> {
    move |item| Template::parse(&text(item)?, allowed).or_else(|why| fault(item, why.to_string()))
}

/// Each element of an array.
pub(super) fn array<T>(each: impl Fn(&Item) -> Read<T>) -> impl Fn(&Item) -> Read<Vec<T>> {
    move |item| {
        let Value::Array(items) = &item.value else {
            return other_kind(item, "an array, as in [\"…\", \"…\"]");
        };
        let mut good = Vec::with_capacity(items.len());
        let mut faults = Vec::new();
        for (place, one) in items.iter().enumerate() {
            match each(one) {
                Ok(value) => good.push(value),
                Err(all) => faults.extend(
                    all.into_iter()
                        .map(|bad| Fault { line: bad.line, what: format!("element {}: {}", place + 1, bad.what) }),
                ),
            }
        }
        if faults.is_empty() { Ok(good) } else { Err(faults) }
    }
}

/// A shell glob.
pub(super) fn glob(item: &Item) -> Read<glob::Pattern> {
    let text = full_text(item)?;
    glob::Pattern::new(&text).or_else(|why| fault(item, bad_glob(&text, &why)))
}

/// What to say about a bad glob.
pub(super) fn bad_glob(text: &str, why: &glob::PatternError) -> String {
    format!("{text:?} is not a shell glob: {} at character {}", why.msg, why.pos + 1)
}

/// A URL of a database, not shown when wrong: a password may stand in it.
pub(super) fn url(item: &Item) -> Read<String> {
    let text = full_text(item)?;
    if text.starts_with("postgresql://") || text.starts_with("postgres://") {
        return Ok(text);
    }
    match text.split_once("://") {
        Some((scheme, _)) if scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+.-".contains(&b)) => {
            fault(item, format!("the URL begins with {scheme}://; it must begin with postgresql://"))
        }
        _ => fault(item, "not a URL; it must begin with postgresql://"),
    }
}

/// `name` or `schema.name`.
pub(super) fn table_name(item: &Item) -> Read<TableName> {
    let text = text(item)?;
    let (schema, name) = match text.split_once('.') {
        Some((schema, name)) => (Some(schema), name),
        None => (None, text.as_str()),
    };
    for part in schema.into_iter().chain([name]) {
        let odd = |letter: char| !(letter.is_alphanumeric() || "_$-".contains(letter));
        let why = match part {
            "" => "a part is empty",
            _ if part.len() > 63 => "a part is longer than 63 bytes",
            _ if part.contains(odd) => "only letters, digits and _ $ - are allowed; it is quoted for you",
            _ => continue,
        };
        return fault(item, format!("{text:?} is not \"name\" or \"schema.name\": {why}"));
    }
    Ok(TableName { schema: schema.map(str::to_owned), name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::document::parse_value;

    fn item(toml: &str) -> Item {
        parse_value(toml).unwrap()
    }

    fn wrong<T: std::fmt::Debug>(read: Read<T>) -> String {
        read.unwrap_err().into_iter().map(|fault| fault.what).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn durations_carry_a_unit() {
        for (toml, want) in [("\"90s\"", 90), ("\"20min\"", 1200), ("\"24h\"", 86_400), ("\"1h 30m\"", 5400)] {
            assert_eq!(span(&item(toml)), Ok(Duration::from_secs(want)));
        }
        assert_eq!(span_or("none")(&item("\"none\"")), Ok(None));
        assert_eq!(duration(&item("\"0s\"")), Ok(Duration::ZERO));
        for toml in ["20", "\"20\"", "\"20 minuts\"", "\"\"", "true", "\"-1s\""] {
            assert!(wrong(span(&item(toml))).contains("\"20min\""), "{toml}");
            assert!(wrong(span_or("none")(&item(toml))).contains("\"20min\""), "{toml}");
        }
        for toml in
            ["\"0s\"", "\"1ns\"", "\"101years\"", "\"18446744073709551615s 1000000000ns\"", "\"99999999999999y\""]
        {
            assert!(span(&item(toml)).is_err(), "{toml}");
        }
    }

    #[test]
    fn a_wrong_type_names_what_was_expected_and_what_was_found() {
        for (told, want) in [
            (wrong(text(&item("1"))), "expected a string, found an integer"),
            (wrong(boolean(&item("\"yes\""))), "expected true or false, found a string"),
            (wrong(integer(-20, 19)(&item("1.5"))), "expected an integer from -20 to 19, found a float"),
            (wrong(integer(-20, 19)(&item("20"))), "20 is outside -20 to 19"),
            (wrong(integer(1, 9u32)(&item("-1"))), "-1 is outside 1 to 9"),
            (wrong(array(text)(&item("\"a\""))), "expected an array, as in [\"…\", \"…\"], found a string"),
            (
                wrong(array(text)(&item("[1, \"a\", {}]"))),
                "element 1: expected a string, found an integer | element 3: expected a string, found a table",
            ),
            (
                wrong(word(&[("auto", 1), ("manual", 2)])(&item("\"aut\""))),
                "\"aut\" is not one of \"auto\", \"manual\"; did you mean \"auto\"?",
            ),
            (wrong(word(&[("auto", 1)])(&item("1"))), "expected one of \"auto\", found an integer"),
            (wrong(text(&item("\"a\\u0000\""))), "holds a NUL character"),
        ] {
            assert_eq!(told, want);
        }
    }

    #[test]
    fn table_names_have_one_or_two_plain_parts() {
        let name = |schema: Option<&str>, name: &str| TableName { schema: schema.map(Into::into), name: name.into() };
        assert_eq!(table_name(&item("\"wcs_meta\"")), Ok(name(None, "wcs_meta")));
        assert_eq!(table_name(&item("\"public.wcs_meta\"")), Ok(name(Some("public"), "wcs_meta")));
        let long = format!("\"{}\"", "a".repeat(64));
        for bad in ["\"\"", "\".a\"", "\"a.\"", "\"a.b.c\"", "\"a b\"", "'a\"b'", "\"a;b\"", &long] {
            assert!(table_name(&item(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn urls_are_postgresql_and_a_bad_one_is_not_shown() {
        for good in ["\"postgresql:///x\"", "\"postgres://u:p@h/d\""] {
            assert!(url(&item(good)).is_ok());
        }
        for bad in ["\"mysql://u:secret@h/d\"", "\"host=h password=secret\"", "\"u:secret@h://x\"", "\"\""] {
            assert!(!wrong(url(&item(bad))).contains("secret"), "{bad}");
        }
    }

    #[test]
    fn globs_and_paths_are_checked() {
        assert!(glob(&item("\"*.example\"")).unwrap().matches("a.example"));
        assert_eq!(wrong(glob(&item("\"[a\""))), "\"[a\" is not a shell glob: invalid range pattern at character 1");
        assert!(absolute_path(&item("\"/run/x\"")).is_ok());
        assert!(absolute_path(&item("\"run/x\"")).is_err());
    }
}
