//! TOML text to a tree whose every part knows its line, in the order of the file. It knows the language only,
//! no key; the order matters, since of two overrides the later wins.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// `"text"`
    String(String),
    /// `42`
    Integer(i64),
    /// `4.2`, as written
    Float(String),
    /// `true`
    Boolean(bool),
    /// `2026-11-24`, as written
    Datetime(String),
    /// `[1, 2]`
    Array(Vec<Item>),
    /// `{ a = 1 }`, and every section
    Table(Vec<Entry>),
}

/// A value and the line where it begins (from 1; 0 outside files).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub value: Value,
    pub line: usize,
}

/// A key and its value. Its line is the key's.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub key: String,
    pub line: usize,
    pub item: Item,
}

/// What the language does not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub line: usize,
    pub column: usize,
    pub what: String,
}

impl Value {
    /// What it is, for "found …".
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Boolean(_) => "a boolean",
            Self::Datetime(_) => "a date",
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
        }
    }
}

impl std::fmt::Display for Item {
    /// As TOML would write it on one line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.value {
            Value::String(text) => write!(f, "{}", toml::Value::String(text.clone())),
            Value::Integer(number) => write!(f, "{number}"),
            Value::Float(text) | Value::Datetime(text) => f.write_str(text),
            Value::Boolean(flag) => write!(f, "{flag}"),
            Value::Array(items) => {
                f.write_str("[")?;
                for (place, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if place > 0 { ", " } else { "" })?;
                }
                f.write_str("]")
            }
            Value::Table(entries) => {
                f.write_str("{")?;
                for (place, entry) in entries.iter().enumerate() {
                    let comma = if place > 0 { "," } else { "" };
                    write!(f, "{comma} {} = {}", quoted(&entry.key), entry.item)?;
                }
                f.write_str(" }")
            }
        }
    }
}

/// A key as TOML writes it: bare where it may be.
pub(super) fn quoted(key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if bare { key.to_owned() } else { toml::Value::String(key.to_owned()).to_string() }
}

/// Reads a whole file. After a syntax error the rest is read as well as it can be, so that its mistakes are told too.
pub(super) fn parse(text: &str) -> (Vec<Entry>, Vec<SyntaxError>) {
    let lines = Lines::of(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut errors: Vec<SyntaxError> = errors
        .iter()
        .map(|error| {
            let (line, column) = lines.place(error.span().map_or(text.len(), |span| span.start));
            SyntaxError { line, column, what: format!("not TOML: {}", error.message()) }
        })
        .collect();
    // One slip often confuses the parser several times over on the same line; the first is the one to mend.
    errors.dedup_by_key(|error| error.line);
    let entries = lines.table(table.get_ref(), &mut errors);
    (entries, errors)
}

/// Reads one value, as an environment variable holds it; none if it is not TOML. Its lines are 0.
pub(super) fn parse_value(text: &str) -> Option<Item> {
    let value = DeValue::parse(text).ok()?;
    let mut errors = Vec::new();
    let item = Lines { text: "", starts: Vec::new() }.item(&value, &mut errors);
    errors.is_empty().then_some(item)
}

/// Where the lines of a text begin; without any, every line is 0.
struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn of(text: &'t str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(ends).collect() }
    }

    /// Line and column, both from 1, of a byte.
    fn place(&self, offset: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = line.checked_sub(1).and_then(|before| self.starts.get(before)).copied().unwrap_or(0);
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count()) + 1;
        (line, column)
    }

    fn table(&self, table: &DeTable<'_>, errors: &mut Vec<SyntaxError>) -> Vec<Entry> {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        entries
            .into_iter()
            .map(|(key, value)| Entry {
                key: key.get_ref().to_string(),
                line: self.place(key.span().start).0,
                item: self.item(value, errors),
            })
            .collect()
    }

    fn item(&self, value: &Spanned<DeValue<'_>>, errors: &mut Vec<SyntaxError>) -> Item {
        let (line, column) = self.place(value.span().start);
        let value = match value.get_ref() {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::Integer(number),
                Err(_) => {
                    let what = "not TOML: an integer that does not fit into 64 bits".to_owned();
                    if errors.iter().all(|error| error.line != line) {
                        errors.push(SyntaxError { line, column, what });
                    }
                    Value::Integer(0)
                }
            },
            DeValue::Float(number) => Value::Float(number.as_str().to_owned()),
            DeValue::Boolean(flag) => Value::Boolean(*flag),
            DeValue::Datetime(date) => Value::Datetime(date.to_string()),
            DeValue::Array(items) => Value::Array(items.iter().map(|item| self.item(item, errors)).collect()),
            DeValue::Table(table) => Value::Table(self.table(table, errors)),
        };
        Item { value, line }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_knows_its_line_and_tables_keep_the_order_of_the_file() {
        let text = "z = 1\n[s]\nb = [\n  \"x\",\n  \"y\",\n]\n[o.\"*.z\"]\nk = 1\n[o.\"*.a\"]\nk = 2\n";
        let (entries, errors) = parse(text);
        assert_eq!(errors, []);
        assert_eq!(
            entries.iter().map(|e| (e.key.as_str(), e.line)).collect::<Vec<_>>(),
            [("z", 1), ("s", 2), ("o", 7)]
        );
        let Value::Table(section) = &entries[1].item.value else { panic!("a table") };
        let Value::Array(items) = &section[0].item.value else { panic!("an array") };
        assert_eq!(items.iter().map(|i| i.line).collect::<Vec<_>>(), [4, 5]);
        let Value::Table(globs) = &entries[2].item.value else { panic!("a table") };
        assert_eq!(globs.iter().map(|e| (e.key.as_str(), e.line)).collect::<Vec<_>>(), [("*.z", 7), ("*.a", 9)]);
    }

    #[test]
    fn a_syntax_error_has_line_and_column_and_the_rest_is_still_read() {
        let (entries, errors) = parse("a = 1\nb = = 2\nc = 3\n");
        assert_eq!(errors.iter().map(|e| (e.line, e.column)).collect::<Vec<_>>(), [(2, 5)]);
        assert!(entries.iter().any(|e| e.key == "c" && e.item.value == Value::Integer(3)));
        let (_, errors) = parse("a = 99999999999999999999\n");
        assert_eq!(errors.iter().map(|e| e.line).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn one_value_is_read_alone_and_written_as_it_was() {
        for text in ["4", "\"a\"", "true", "[\"a\", 1]", "{ a = 1, \"b c\" = \"x\" }", "1.5"] {
            assert_eq!(parse_value(text).unwrap().to_string(), text);
        }
        for text in ["cpu*2", "", "postgresql:///x", "{tenant}", "none", "20min", "/var/lib"] {
            assert_eq!(parse_value(text), None, "{text}");
        }
    }
}
