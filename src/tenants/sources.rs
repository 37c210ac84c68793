//! The sources together: keeps the last good answer of each and merges them into one list. What it tells, it tells
//! once: a source when it begins to fail and when it is back, a refusal until it changes.

use super::{Candidate, Excludes, Listing};
use crate::model::{Fields, Tenant};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// Refusals told at once: a wrong folder may hold a hundred thousand bad names, and the log is for people.
const MOST_TOLD: usize = 100;

/// A source, in the order in which they give a tenant its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceKind {
    /// `tenants.list`.
    List,
    /// `tenants.directory`.
    Directory,
    /// `tenants.query`.
    Query,
    /// `tenants.command`.
    Command,
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::List => "tenants.list",
            Self::Directory => "tenants.directory",
            Self::Query => "tenants.query",
            Self::Command => "tenants.command",
        })
    }
}

/// What is to be said about a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceNotice {
    /// It began to fail; its last answer, if it ever gave one, stays.
    Failing {
        /// Which.
        source: SourceKind,
        /// Why.
        why: String,
        /// True if it has never answered: then the list is not complete.
        never_answered: bool,
    },
    /// It answers again.
    Back {
        /// Which.
        source: SourceKind,
    },
}

impl fmt::Display for SourceNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failing { source, why, never_answered: false } => {
                write!(f, "{source} fails, its last answer is kept: {why}")
            }
            Self::Failing { source, why, never_answered: true } => {
                write!(f, "{source} fails and has not answered yet, its tenants are not known: {why}")
            }
            Self::Back { source } => write!(f, "{source} answers again"),
        }
    }
}

/// The tenants by all sources, and what is new to tell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Merged {
    /// The tenants, sorted by name, each once.
    pub tenants: Vec<Tenant>,
    /// False while a source has never answered: then a tenant missing here may well exist.
    pub complete: bool,
    /// Refusals not told before.
    pub refused: Vec<String>,
    /// Sources that began to fail or came back since the last time.
    pub notices: Vec<SourceNotice>,
}

#[derive(Debug, Default)]
struct Source {
    answer: Option<Listing>,
    failing: Option<String>,
}

/// The configured sources and their last good answers.
#[derive(Debug)]
pub struct Sources {
    sources: BTreeMap<SourceKind, Source>,
    exclude: Excludes,
    told: BTreeSet<String>,
    notices: Vec<SourceNotice>,
}

impl Sources {
    /// The sources that are configured; none of them has answered yet.
    pub fn new(configured: &[SourceKind], exclude: Excludes) -> Self {
        let mut new = Self { sources: BTreeMap::new(), exclude, told: BTreeSet::new(), notices: Vec::new() };
        new.reconfigure(configured, new.exclude.clone());
        new
    }

    /// A new configuration: sources that are still there keep their last answer (a source that now points elsewhere
    /// does so too, until it has answered), others are forgotten.
    pub fn reconfigure(&mut self, configured: &[SourceKind], exclude: Excludes) {
        let mut before = std::mem::take(&mut self.sources);
        self.sources = configured.iter().map(|&kind| (kind, before.remove(&kind).unwrap_or_default())).collect();
        self.exclude = exclude;
    }

    /// Takes the answer of a source. That of one that is not configured (any more) is dropped. True where there is
    /// something new: to one that says the same as before [`Sources::merged`] has nothing to add.
    pub fn update(&mut self, kind: SourceKind, answer: Result<Listing, String>) -> bool {
        let Some(source) = self.sources.get_mut(&kind) else { return false };
        match answer {
            Ok(mut listing) => {
                let back = source.failing.take().is_some();
                if back {
                    self.notices.push(SourceNotice::Back { source: kind });
                }
                if source.answer.as_ref() == Some(&listing) {
                    return back;
                }
                listing.candidates.shrink_to_fit();
                source.answer = Some(listing);
            }
            Err(why) => {
                if source.failing.replace(why.clone()).is_none() {
                    let never_answered = source.answer.is_none();
                    self.notices.push(SourceNotice::Failing { source: kind, why, never_answered });
                }
            }
        }
        true
    }

    /// True once every configured source has answered at least once.
    pub fn all_answered_once(&self) -> bool {
        self.sources.values().all(|source| source.answer.is_some())
    }

    /// The sources that fail now, and why.
    pub fn failing(&self) -> impl Iterator<Item = (SourceKind, &str)> {
        self.sources.iter().filter_map(|(kind, source)| Some((*kind, source.failing.as_deref()?)))
    }

    /// The tenants by the last good answers, and what was not told yet.
    pub fn merged(&mut self) -> Merged {
        let mut refusals = BTreeSet::new();
        let mut named: Vec<&Candidate> = Vec::new();
        for (kind, source) in &self.sources {
            let Some(answer) = &source.answer else { continue };
            named.extend(answer.candidates.iter().filter(|candidate| !self.exclude.matches(candidate.name.as_str())));
            for refusal in &answer.refused {
                if !refusal.name.as_ref().is_some_and(|name| self.exclude.matches(name)) {
                    refusals.insert(format!("{kind}: {}, left out", refusal.text));
                }
            }
        }
        // Those of one name stay in the order of the sources.
        named.sort_by(|a, b| a.name.cmp(&b.name));
        let mut tenants = Vec::with_capacity(named.len());
        for same in named.chunk_by(|a, b| a.name == b.name) {
            let Some(first) = same.first() else { continue };
            match Tenant::of(first.name.clone(), fields_of(same)) {
                Ok(tenant) => tenants.push(tenant),
                Err(bad) => _ = refusals.insert(format!("{bad}, left out")),
            }
        }
        let mut refused: Vec<_> = refusals.difference(&self.told).cloned().collect();
        if let Some(more) = refused.len().checked_sub(MOST_TOLD).filter(|&more| more > 0) {
            refused.truncate(MOST_TOLD);
            refused.push(format!("{more} more tenants are left out for reasons of this kind"));
        }
        self.told = refusals;
        Merged { tenants, complete: self.all_answered_once(), refused, notices: std::mem::take(&mut self.notices) }
    }
}

/// What the first says, and of what it does not say, the next.
fn fields_of(same: &[&Candidate]) -> Option<Arc<Fields>> {
    let mut said = same.iter().filter_map(|candidate| candidate.fields.as_ref());
    let first = Arc::clone(said.next()?);
    Some(said.fold(first, |known, more| {
        if (known.database.is_some() || more.database.is_none()) && (known.group.is_some() || more.group.is_none()) {
            return known;
        }
        let or = |known: &Option<String>, more: &Option<String>| known.as_ref().or(more.as_ref()).cloned();
        Arc::new(Fields { database: or(&known.database, &more.database), group: or(&known.group, &more.group) })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenants::{command, list, query};

    fn names(merged: &Merged) -> Vec<&str> {
        merged.tenants.iter().map(|tenant| tenant.name.as_str()).collect()
    }

    fn listed(names: &[&str]) -> Result<Listing, String> {
        Ok(list::listing(&names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()))
    }

    fn printed(lines: &str) -> Result<Listing, String> {
        command::listing(command::CommandEnd::Exited(0), lines.as_bytes(), b"")
    }

    #[test]
    fn the_first_source_gives_the_fields_and_later_ones_fill_what_is_empty() {
        let mut sources =
            Sources::new(&[SourceKind::Command, SourceKind::Query, SourceKind::List], Excludes::default());
        sources.update(SourceKind::Command, printed("a database=cmd group=cmd\nb group=cmd\nc"));
        let row = |name: &str, database: &str, group: &str| query::Row {
            name: Some(name.into()),
            database: Some(database.into()),
            group: Some(group.into()),
        };
        sources.update(SourceKind::Query, Ok(query::listing(vec![row("a", "sql", ""), row("b", "sql", "sql")])));
        sources.update(SourceKind::List, listed(&["b", "d"]));
        let merged = sources.merged();
        let seen: Vec<_> = merged.tenants.iter().map(|t| (t.name.as_str(), t.database(), t.group())).collect();
        let expected =
            [("a", Some("sql"), Some("cmd")), ("b", Some("sql"), Some("sql")), ("c", None, None), ("d", None, None)];
        assert_eq!(seen, expected);
        assert!(merged.complete && merged.refused.is_empty() && merged.notices.is_empty());
    }

    #[test]
    fn a_failing_source_keeps_its_last_answer_and_is_told_once() {
        let mut sources = Sources::new(&[SourceKind::List, SourceKind::Directory], Excludes::default());
        sources.update(SourceKind::List, listed(&["a"]));
        sources.update(SourceKind::Directory, listed(&["b", "c"]));
        assert_eq!(names(&sources.merged()), ["a", "b", "c"]);
        for (round, told) in [(1, 1), (2, 0), (3, 0)] {
            sources.update(SourceKind::Directory, Err(format!("broken {round}")));
            let merged = sources.merged();
            assert_eq!(names(&merged), ["a", "b", "c"]);
            assert_eq!(merged.notices.len(), told, "round {round}");
            assert!(merged.complete);
            assert_eq!(sources.failing().count(), 1);
        }
        sources.update(SourceKind::Directory, listed(&["c"]));
        let merged = sources.merged();
        assert_eq!(merged.notices, [SourceNotice::Back { source: SourceKind::Directory }]);
        assert_eq!(names(&merged), ["a", "c"]);
        assert_eq!(sources.failing().count(), 0);
    }

    #[test]
    fn could_not_list_is_not_there_are_none() {
        let mut sources = Sources::new(&[SourceKind::List, SourceKind::Query], Excludes::default());
        assert!(!sources.merged().complete);
        sources.update(SourceKind::List, listed(&["a"]));
        sources.update(SourceKind::Query, Err("refused".into()));
        let merged = sources.merged();
        assert!(!merged.complete && !sources.all_answered_once());
        assert_eq!(names(&merged), ["a"]);
        assert!(merged.notices[0].to_string().contains("has not answered yet"), "{}", merged.notices[0]);
        sources.update(SourceKind::Query, Ok(Listing::default()));
        assert!(sources.merged().complete);
        assert!(Sources::new(&[], Excludes::default()).merged().complete);
    }

    #[test]
    fn a_refusal_is_told_once_until_it_changes() {
        let mut sources = Sources::new(&[SourceKind::List, SourceKind::Command], Excludes::default());
        sources.update(SourceKind::List, listed(&["-rf", "a"]));
        sources.update(SourceKind::Command, printed("a database=x/y\nb"));
        let merged = sources.merged();
        assert_eq!(names(&merged), ["b"]);
        assert_eq!(
            merged.refused,
            [
                "tenant a: database \"x/y\" holds a '/', left out",
                "tenants.list: bad name \"-rf\": it starts with '-' or '.', left out"
            ]
        );
        assert!(sources.merged().refused.is_empty());
        sources.update(SourceKind::Command, printed("a database=x/z\nb"));
        assert_eq!(sources.merged().refused, ["tenant a: database \"x/z\" holds a '/', left out"]);
        sources.update(SourceKind::Command, printed("a database=good"));
        let merged = sources.merged();
        assert_eq!((names(&merged), merged.refused.len()), (vec!["a"], 0));
        sources.update(SourceKind::Command, printed("a database=x/z"));
        assert_eq!(sources.merged().refused.len(), 1, "it came back and is told again");
    }

    #[test]
    fn a_flood_of_bad_names_is_summed_up() {
        let mut sources = Sources::new(&[SourceKind::Command], Excludes::default());
        sources.update(SourceKind::Command, printed(&(0..5000).map(|n| format!("-{n}\n")).collect::<String>()));
        let refused = sources.merged().refused;
        assert_eq!(refused.len(), MOST_TOLD + 1);
        assert!(refused[MOST_TOLD].starts_with("4900 more"));
        assert!(sources.merged().refused.is_empty());
    }

    #[test]
    fn excluded_names_are_left_out_and_silent() {
        let exclude = Excludes::new(&["*.test".to_owned(), "lost+found".into()]).unwrap();
        let mut sources = Sources::new(&[SourceKind::Directory], exclude);
        sources.update(SourceKind::Directory, listed(&["a", "a.test", "lost+found"]));
        let merged = sources.merged();
        assert_eq!(names(&merged), ["a"]);
        assert!(merged.refused.is_empty());
    }

    #[test]
    fn a_reload_keeps_the_answers_of_sources_that_stay() {
        let mut sources = Sources::new(&[SourceKind::List, SourceKind::Query], Excludes::default());
        sources.update(SourceKind::List, listed(&["a"]));
        sources.update(SourceKind::Query, listed(&["b"]));
        sources.reconfigure(&[SourceKind::Query, SourceKind::Command], Excludes::default());
        let merged = sources.merged();
        assert_eq!((names(&merged), merged.complete), (vec!["b"], false));
        sources.update(SourceKind::List, listed(&["a"]));
        assert_eq!(names(&sources.merged()), ["b"], "an answer that comes too late changes nothing");
    }
}
