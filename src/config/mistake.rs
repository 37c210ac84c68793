//! What is wrong with a configuration, and where: one line each, in the order in which a reader would go
//! through the layers. A mistake never shows a URL, since a password may stand in it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A layer that values come from. The order is that of the reports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A file: the main one has order 0, its drop-ins follow.
    File {
        /// Its place among the files that were read.
        order: usize,
        /// Its path.
        path: Arc<Path>,
    },
    /// An environment variable, by its name.
    Environment(String),
    /// The command line.
    CommandLine,
    /// Nobody set it.
    Default,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// The layer.
    pub origin: Origin,
    /// The line in a file, counted from 1; 0 means the layer as a whole.
    pub line: usize,
}

impl Origin {
    /// A place in this layer.
    pub fn at(&self, line: usize) -> Source {
        Source { origin: self.clone(), line }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::File { path, .. } if self.line == 0 => write!(f, "{}", path.display()),
            Origin::File { path, .. } => write!(f, "{}:{}", path.display(), self.line),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::CommandLine => f.write_str("command line"),
            Origin::Default => f.write_str("default"),
        }
    }
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where it stands.
    pub source: Source,
    /// The column, counted from 1, of a syntax error.
    pub column: Option<usize>,
    /// The full path of the key it concerns, if it concerns one.
    pub key: Option<String>,
    /// What is wrong, and what to do.
    pub what: String,
}

impl Mistake {
    /// A mistake about a key.
    pub(super) fn about(source: Source, key: impl Into<String>, what: impl Into<String>) -> Self {
        Self { source, column: None, key: Some(key.into()), what: what.into() }
    }

    /// A mistake about a whole layer.
    pub(super) fn whole(source: Source, what: impl Into<String>) -> Self {
        Self { source, column: None, key: None, what: what.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source)?;
        if let Some(column) = self.column {
            write!(f, ":{column}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ": {key}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// All mistakes of a configuration, in the order of the layers and their lines. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// Puts them in order. What stands on the line of a syntax error is most likely its echo and is left out.
    pub(super) fn new(mut all: Vec<Mistake>) -> Self {
        let broken: Vec<Source> = all.iter().filter(|m| m.column.is_some()).map(|m| m.source.clone()).collect();
        all.retain(|mistake| mistake.column.is_some() || !broken.contains(&mistake.source));
        all.sort_by(|a, b| (&a.source, a.column).cmp(&(&b.source, b.column)));
        all.dedup();
        Self(all)
    }

    /// Each mistake.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
    }
}

impl fmt::Display for Mistakes {
    /// One line each, without a line end after the last.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, mistake) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
