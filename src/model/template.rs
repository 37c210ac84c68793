//! Texts with placeholders: `{tenant}` and its kin, `{{` and `}}` for braces. Parsed once, with the
//! configuration, so that a misspelt placeholder is a configuration error and never a surprise at night.

use super::Tenant;

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
    source: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Place(Place),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Tenant,
    Underscored,
    Database,
    Group,
    RunId,
    Instance,
}

const PLACES: [(&str, Place); 6] = [
    ("tenant", Place::Tenant),
    ("tenant_", Place::Underscored),
    ("database", Place::Database),
    ("group", Place::Group),
    ("run_id", Place::RunId),
    ("instance", Place::Instance),
];

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A placeholder that this key does not know.
    #[error("unknown placeholder {{{0}}}; known here: {1} ({{{{ and }}}} are braces)")]
    Unknown(String, String),
    /// A brace without its partner.
    #[error("a single '{0}'; write '{0}{0}' for a brace")]
    Unpaired(char),
}

/// What the placeholders stand for. Missing ones are empty.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    /// The tenant: its name, database and group.
    pub tenant: &'a Tenant,
    /// The instance.
    pub instance: &'a str,
    /// The run, where there is one.
    pub run_id: Option<i64>,
}

impl Template {
    /// Parses `source`, in which only the placeholders named in `allowed` may stand.
    ///
    /// # Errors
    /// [`TemplateError`] names the placeholder or the brace.
    pub fn parse(source: &str, allowed: &[&str]) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = source;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            text.push_str(before);
            if let Some(after) = from.strip_prefix("{{") {
                text.push('{');
                rest = after;
            } else if let Some(after) = from.strip_prefix("}}") {
                text.push('}');
                rest = after;
            } else if let Some((name, after)) = from.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
                let place = PLACES.iter().find(|(word, _)| *word == name && allowed.contains(word));
                let Some((_, place)) = place else {
                    let known = allowed.iter().map(|word| format!("{{{word}}}")).collect::<Vec<_>>().join(" ");
                    return Err(TemplateError::Unknown(name.to_owned(), known));
                };
                if !text.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut text)));
                }
                parts.push(Part::Place(*place));
                rest = after;
            } else {
                return Err(TemplateError::Unpaired(if from.starts_with('{') { '{' } else { '}' }));
            }
        }
        text.push_str(rest);
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        Ok(Self { parts, source: source.to_owned() })
    }

    /// The text as it was configured.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// True if the result differs from tenant to tenant.
    pub fn varies_by_tenant(&self) -> bool {
        self.parts.iter().any(|part| match part {
            Part::Text(_) | Part::Place(Place::Instance) => false,
            Part::Place(Place::Tenant | Place::Underscored | Place::Database | Place::Group | Place::RunId) => true,
        })
    }

    /// True if `{database}` stands in it.
    pub fn needs_database(&self) -> bool {
        self.parts.contains(&Part::Place(Place::Database))
    }

    /// The tenant's name in a text that this template gave: it must stand in it once, as `{tenant}`, and nothing else
    /// may vary by tenant.
    pub fn tenant_of(&self, text: &str, instance: &str) -> Option<String> {
        let (mut before, mut after, mut met) = (String::new(), String::new(), false);
        for part in &self.parts {
            let fixed = if met { &mut after } else { &mut before };
            match part {
                Part::Text(text) => fixed.push_str(text),
                Part::Place(Place::Instance) => fixed.push_str(instance),
                Part::Place(Place::Tenant) if !met => met = true,
                Part::Place(_) => return None,
            }
        }
        let name = text.strip_prefix(&before)?.strip_suffix(&after)?;
        met.then(|| name.to_owned())
    }

    /// The text with its placeholders filled in.
    pub fn render(&self, values: Values<'_>) -> String {
        self.render_with(values, |value| value.into())
    }

    /// The text with each placeholder's value passed through `escape` first (percent-encoding, quoting).
    pub fn render_with<'v>(&self, values: Values<'v>, escape: impl Fn(&str) -> std::borrow::Cow<'_, str>) -> String {
        let mut out = String::with_capacity(self.source.len() + 32);
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Place(place) => {
                    let value: std::borrow::Cow<'v, str> = match place {
                        Place::Tenant => values.tenant.name.as_str().into(),
                        Place::Underscored => values.tenant.name.underscored().into(),
                        Place::Database => values.tenant.database().unwrap_or_default().into(),
                        Place::Group => values.tenant.group().unwrap_or_default().into(),
                        Place::RunId => values.run_id.map(|id| id.to_string()).unwrap_or_default().into(),
                        Place::Instance => values.instance.into(),
                    };
                    out.push_str(&escape(&value));
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TenantName;

    #[test]
    fn placeholders_are_filled_and_doubled_braces_are_braces() {
        let tenant = Tenant::new(TenantName::parse("a-b.example").unwrap(), Some("db1".into()), None).unwrap();
        let values = Values { tenant: &tenant, instance: "wcs", run_id: Some(7) };
        let all = ["tenant", "tenant_", "database", "group", "run_id", "instance"];
        for (source, want) in [
            ("{tenant}/{tenant_}", "a-b.example/a_b_example"),
            ("{{{run_id}}} {database}{group}.{instance}", "{7} db1.wcs"),
            ("plain", "plain"),
            ("", ""),
        ] {
            assert_eq!(Template::parse(source, &all).unwrap().render(values), want);
        }
        let key = Template::parse("cron-{instance}-{tenant}-x", &all).unwrap();
        assert_eq!(key.tenant_of("cron-wcs-a-b.example-x", "wcs").as_deref(), Some("a-b.example"));
        assert_eq!(key.tenant_of("cron-wcs-a", "wcs"), None);
        assert!(matches!(Template::parse("{tennant}", &all), Err(TemplateError::Unknown(..))));
        assert!(matches!(Template::parse("{run_id}", &["tenant"]), Err(TemplateError::Unknown(..))));
        assert_eq!(Template::parse("a{", &all), Err(TemplateError::Unpaired('{')));
        assert_eq!(Template::parse("a}b", &all), Err(TemplateError::Unpaired('}')));
    }
}
