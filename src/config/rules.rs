//! What holds for single keys: the expression of workers, the placeholders of each template, the words and
//! ranges that only one key has. It knows no key's path and no other key.

use super::document::{Item, Value};
use super::schema::{Cluster, Offset};
use super::values::{Read, array, duration, fault, span, template, text, url};
use super::workers::WorkersExpr;
use crate::model::{Template, Tenant, TenantName};
use std::time::Duration;

pub(super) const LEVELS: [(&str, log::LevelFilter); 5] = [
    ("error", log::LevelFilter::Error),
    ("warn", log::LevelFilter::Warn),
    ("info", log::LevelFilter::Info),
    ("debug", log::LevelFilter::Debug),
    ("trace", log::LevelFilter::Trace),
];

/// The rarest round: a year. Beyond this it is a slip of the pen.
const LONGEST_EVERY: Duration = Duration::from_secs(366 * 86_400);

pub(super) fn workers(item: &Item) -> Read<WorkersExpr> {
    let text = match &item.value {
        Value::Integer(number) => number.to_string(),
        Value::String(text) => text.clone(),
        other => {
            return fault(
                item,
                format!("expected a number or an expression such as \"cpu/2+1\", found {}", other.kind()),
            );
        }
    };
    WorkersExpr::parse(&text).or_else(|why| fault(item, why.to_string()))
}

pub(super) fn node(item: &Item) -> Read<String> {
    let named = TenantName::parse(&text(item)?).map(|name| name.to_string());
    named.or_else(|why| fault(item, format!("{why}; name this node by the key node or by --node")))
}

pub(super) fn every(item: &Item) -> Read<Duration> {
    let every = span(item)?;
    if every > LONGEST_EVERY { fault(item, "is longer than a year") } else { Ok(every) }
}

pub(super) fn offset(item: &Item) -> Read<Offset> {
    match &item.value {
        Value::String(text) if text == "auto" => Ok(Offset::Auto),
        Value::String(text) if text == "spread" => Ok(Offset::Spread),
        Value::String(text) if !text.starts_with(|first: char| first.is_ascii_digit()) => {
            fault(item, format!("{text:?} is neither \"auto\", \"spread\" nor a duration such as \"5min\""))
        }
        _ => duration(item).map(Offset::Fixed),
    }
}

pub(super) fn takeover(item: &Item) -> Read<Cluster> {
    match &item.value {
        Value::String(text) if text == "never" => Ok(Cluster { takeover_after: None }),
        _ => span(item).map(|lease| Cluster { takeover_after: Some(lease) }),
    }
}

pub(super) fn listen(item: &Item) -> Read<()> {
    match text(item)?.as_str() {
        "" => Ok(()),
        _ => fault(item, "the metrics listener is not in this version; only \"\" is accepted"),
    }
}

/// A program and its arguments, or nothing.
pub(super) fn program(item: &Item) -> Read<Vec<String>> {
    let words = array(text)(item)?;
    if words.first().is_some_and(String::is_empty) { fault(item, "the program is empty") } else { Ok(words) }
}

pub(super) fn command(item: &Item) -> Read<Vec<Template>> {
    const PLACES: [&str; 6] = ["tenant", "tenant_", "database", "group", "run_id", "instance"];
    if matches!(item.value, Value::String(_)) {
        return fault(item, "expected an array: there is no shell; write [\"/usr/bin/program\", \"argument\"]");
    }
    let words = array(template(&PLACES))(item)?;
    match words.first() {
        None => fault(item, "is empty; write [\"/usr/bin/program\", \"argument\"]"),
        Some(first) if first.source().is_empty() => fault(item, "the program is empty"),
        Some(_) => Ok(words),
    }
}

pub(super) fn log_file(item: &Item) -> Read<Template> {
    let log = template(&["tenant", "database", "group", "instance"])(item)?;
    if log.source().starts_with('/') { Ok(log) } else { fault(item, "must be an absolute path, beginning with '/'") }
}

pub(super) fn database_url(item: &Item) -> Read<Template> {
    url(item)?;
    template(&["tenant", "tenant_", "database", "group", "instance"])(item)
}

pub(super) fn row_key(item: &Item) -> Read<Template> {
    let key = template(&["tenant", "instance"])(item)?;
    // Of these two only the tenant makes it vary.
    if key.varies_by_tenant() {
        Ok(key)
    } else {
        fault(item, "must hold {tenant}, else all tenants would share one row")
    }
}

pub(super) fn group(item: &Item) -> Read<String> {
    let group = text(item)?;
    let Ok(anyone) = TenantName::parse("anyone") else { return Ok(group) };
    match Tenant::new(anyone, None, Some(group.clone())) {
        Ok(_) => Ok(group),
        Err(bad) => fault(item, format!("{:?} {}", bad.shown, bad.why)),
    }
}
