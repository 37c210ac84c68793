//! One answer of one source: the tenants it names, and what of it was refused. Not yet the truth about a tenant,
//! whose fields may come from several sources; that is made in `sources`.

use crate::model::{Fields, TenantName};
use std::sync::Arc;

/// A tenant as one source names it. Its fields are checked once they are merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub name: TenantName,
    /// What the source says beside it, none of it empty; shared with the candidate before where that says the same.
    pub fields: Option<Arc<Fields>>,
}

/// Something in an answer that names no tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The name as it stood there, so that `tenants.exclude` can silence it; none where there was no name to see.
    pub name: Option<String>,
    /// What was refused and why, safe for a log.
    pub text: String,
}

/// All that one source said at one time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// The tenants, in the source's order.
    pub candidates: Vec<Candidate>,
    /// What was left out.
    pub refused: Vec<Refusal>,
}

impl Listing {
    /// The one door for a name: it becomes a candidate, or a refusal.
    pub(super) fn add(&mut self, name: &[u8], database: Option<String>, group: Option<String>) {
        match TenantName::parse_bytes(name) {
            Ok(name) => {
                let fields = self.fields(database, group);
                self.candidates.push(Candidate { name, fields });
            }
            Err(bad) => {
                // Longer than any name can be is of no use to a glob either.
                let name = std::str::from_utf8(name).ok().filter(|name| name.len() <= 4 * TenantName::LONGEST);
                self.refused.push(Refusal { name: name.map(str::to_owned), text: bad.to_string() });
            }
        }
    }

    fn fields(&self, database: Option<String>, group: Option<String>) -> Option<Arc<Fields>> {
        let filled = |field: Option<String>| field.filter(|text| !text.is_empty());
        let fields = Fields { database: filled(database), group: filled(group) };
        if fields == Fields::default() {
            return None;
        }
        let before = self.candidates.last().and_then(|before| before.fields.as_ref());
        Some(before.filter(|before| ***before == fields).map_or_else(|| Arc::new(fields), Arc::clone))
    }

    /// Leaves out something that is no tenant at all.
    pub(super) fn refuse(&mut self, text: String) {
        self.refused.push(Refusal { name: None, text });
    }
}
