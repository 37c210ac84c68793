//! Tenants and their names. A name is checked once, here; whoever holds a [`TenantName`] may put it
//! into a path, an argument or a statement.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// A tenant's name, proved harmless: 1–240 characters of `A-Z a-z 0-9 . _ -`, not starting with `-` or `.`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantName(Arc<str>);

/// Why a name was refused. Its text shows the name escaped and shortened, so that it is safe in a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad name \"{shown}\": {why}")]
pub struct BadName {
    /// The name, escaped, at most 60 characters of it.
    pub shown: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl TenantName {
    /// The longest name, in characters (which are bytes here).
    pub const LONGEST: usize = 240;

    /// Checks a name. The same rule serves nodes and instances.
    ///
    /// # Errors
    /// [`BadName`] says which rule the name breaks.
    pub fn parse(name: &str) -> Result<Self, BadName> {
        Self::parse_bytes(name.as_bytes())
    }

    /// Checks a name that may not even be UTF-8 (a folder's).
    ///
    /// # Errors
    /// [`BadName`] says which rule the name breaks.
    pub fn parse_bytes(name: &[u8]) -> Result<Self, BadName> {
        let why = match name {
            [] => "it is empty",
            [b'-' | b'.', ..] => "it starts with '-' or '.'",
            _ if name.len() > Self::LONGEST => "it is longer than 240 characters",
            _ if !name.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b)) => {
                "only A-Z a-z 0-9 . _ - are allowed"
            }
            _ => match std::str::from_utf8(name) {
                Ok(text) => return Ok(Self(text.into())),
                Err(_) => "it is not UTF-8",
            },
        };
        let mut shown: String = name.escape_ascii().to_string();
        if shown.len() > 60 {
            shown.truncate(57);
            shown.push_str("...");
        }
        Err(BadName { shown, why })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as a text that is shared with it.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// The name with every `.` and `-` as `_`: the placeholder `{tenant_}`.
    pub fn underscored(&self) -> String {
        self.0.replace(['.', '-'], "_")
    }
}

impl TryFrom<String> for TenantName {
    type Error = BadName;
    fn try_from(name: String) -> Result<Self, BadName> {
        Self::parse(&name)
    }
}

impl From<TenantName> for String {
    fn from(name: TenantName) -> Self {
        name.as_str().to_owned()
    }
}

impl fmt::Display for TenantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TenantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A tenant as its sources describe it. Copies share what they hold: there may be very many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Plain", into = "Plain")]
pub struct Tenant {
    /// Its name.
    pub name: TenantName,
    /// Checked by [`Tenant::of`]; none where both are absent, as with most tenants.
    fields: Option<Arc<Fields>>,
}

/// What a source may say of a tenant beside its name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fields {
    /// Its database, for the placeholder `{database}`.
    pub database: Option<String>,
    /// The group that `limits.group` counts by.
    pub group: Option<String>,
}

/// A tenant as a file has it.
#[derive(Serialize, Deserialize)]
struct Plain {
    name: TenantName,
    database: Option<String>,
    group: Option<String>,
}

impl TryFrom<Plain> for Tenant {
    type Error = BadField;
    fn try_from(Plain { name, database, group }: Plain) -> Result<Self, BadField> {
        Self::new(name, database, group)
    }
}

impl From<Tenant> for Plain {
    fn from(tenant: Tenant) -> Self {
        let Fields { database, group } = tenant.fields.as_deref().cloned().unwrap_or_default();
        Self { name: tenant.name, database, group }
    }
}

/// Why a tenant's `database` or `group` was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("tenant {tenant}: {field} {shown:?} {why}")]
pub struct BadField {
    /// Whose field it is.
    pub tenant: TenantName,
    /// `database` or `group`.
    pub field: &'static str,
    /// The value, shortened.
    pub shown: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl Tenant {
    /// Puts a tenant together, or says which field may reach no path, argument or URL. Empty fields count as absent.
    ///
    /// # Errors
    /// [`BadField`] for a `/`, a control character, a leading `-` or `.`, or a database name over 63 bytes.
    pub fn new(name: TenantName, database: Option<String>, group: Option<String>) -> Result<Self, BadField> {
        let database = database.filter(|text| !text.is_empty());
        let group = group.filter(|text| !text.is_empty());
        let fields = (database.is_some() || group.is_some()).then(|| Arc::new(Fields { database, group }));
        Self::of(name, fields)
    }

    /// The same of fields that may be shared. None of them is an empty text.
    ///
    /// # Errors
    /// As [`Tenant::new`].
    pub fn of(name: TenantName, fields: Option<Arc<Fields>>) -> Result<Self, BadField> {
        let Some(given) = &fields else { return Ok(Self { name, fields }) };
        for (field, value, longest) in [("database", &given.database, 63), ("group", &given.group, 240)] {
            let Some(text) = value else { continue };
            let why = if text.contains('/') {
                "holds a '/'"
            } else if text.chars().any(char::is_control) {
                "holds a control character"
            } else if text.starts_with(['-', '.']) {
                "starts with '-' or '.'"
            } else if text.len() > longest {
                "is too long"
            } else {
                continue;
            };
            return Err(BadField { tenant: name, field, shown: text.chars().take(60).collect(), why });
        }
        Ok(Self { name, fields })
    }

    /// Its database, for the placeholder `{database}`.
    pub fn database(&self) -> Option<&str> {
        self.fields.as_ref()?.database.as_deref()
    }

    /// The group that `limits.group` counts by.
    pub fn group(&self) -> Option<&str> {
        self.fields.as_ref()?.group.as_deref()
    }

    /// The same tenant in the group that the configuration gives it.
    pub fn in_group(self, group: Option<String>) -> Self {
        if self.group() == group.as_deref() {
            return self;
        }
        let database = self.database().map(str::to_owned);
        let fields = (database.is_some() || group.is_some()).then(|| Arc::new(Fields { database, group }));
        Self { name: self.name, fields }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_reach_a_path_an_option_or_sql_are_refused() {
        let long = "a".repeat(241);
        for bad in ["", "../../etc/x", "-rf", ".hidden", "a b", "x;drop table", "é", "a\0b", "a/b", &long] {
            assert!(TenantName::parse(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(TenantName::parse_bytes(b"a\xff").is_err());
        for good in ["a", "a.example", "A-1_b", &long[..240]] {
            assert_eq!(TenantName::parse(good).map(|n| n.to_string()), Ok(good.to_owned()));
        }
    }

    #[test]
    fn fields_that_could_leave_a_folder_are_refused() {
        let name = TenantName::parse("a").unwrap();
        for bad in ["a/b", "..", "-x", "a\nb"] {
            assert!(Tenant::new(name.clone(), Some(bad.into()), None).is_err());
            assert!(Tenant::new(name.clone(), None, Some(bad.into())).is_err());
        }
        assert!(Tenant::new(name.clone(), Some("d".repeat(64)), None).is_err());
        assert!(Tenant::new(name, Some("d".repeat(63)), Some(String::new())).unwrap().group().is_none());
    }
}
