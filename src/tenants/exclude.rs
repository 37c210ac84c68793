//! `tenants.exclude`: shell globs on names. What they match is left out, and not reported either: excluding
//! `lost+found` is how one silences the report about it.

use glob::Pattern;

/// A glob that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{glob}\" is no shell glob: {why}")]
pub struct BadGlob {
    /// The glob as configured.
    pub glob: String,
    /// What is wrong with it.
    pub why: String,
}

/// The compiled globs.
#[derive(Debug, Clone, Default)]
pub struct Excludes {
    patterns: Vec<Pattern>,
}

impl Excludes {
    /// Compiles the globs.
    ///
    /// # Errors
    /// [`BadGlob`] names the first that cannot be read.
    pub fn new(globs: &[String]) -> Result<Self, BadGlob> {
        let compile =
            |glob: &String| Pattern::new(glob).map_err(|error| BadGlob { glob: glob.clone(), why: error.to_string() });
        Ok(Self { patterns: globs.iter().map(compile).collect::<Result<_, _>>()? })
    }

    /// True if a glob matches the whole name.
    pub fn matches(&self, name: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_names_dots_included() {
        let excludes = Excludes::new(&["*.test.example".to_owned(), "lost+found".into(), "[ab]?".into()]).unwrap();
        let table = [
            ("x.test.example", true),
            ("a.b.test.example", true),
            (".hidden.test.example", true),
            ("test.example", false),
            ("x.test.example.org", false),
            ("X.TEST.example", false),
            ("lost+found", true),
            ("b7", true),
            ("b77", false),
        ];
        for (name, excluded) in table {
            assert_eq!(excludes.matches(name), excluded, "{name}");
        }
        assert!(!Excludes::default().matches("anything"));
    }

    #[test]
    fn a_glob_that_cannot_be_read_is_named() {
        let bad = Excludes::new(&["ok*".to_owned(), "a[".into()]).unwrap_err();
        assert_eq!(bad.glob, "a[");
    }
}
