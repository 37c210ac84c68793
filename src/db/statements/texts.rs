//! The texts of the statements, with the tables' names filled in once. The only reader of `sql/`.
//! Invariant: a name reaches a text only quoted.

use super::super::Settings;
use std::fmt;

/// The tables by their quoted names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tables {
    /// The status table.
    pub status: String,
    /// The runs.
    pub run: String,
    /// The flags, beside the runs.
    pub flag: String,
}

/// A table's name that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("database.{key} = \"{name}\": a table is `name` or `schema.name`, each of 1 to 63 bytes")]
pub struct BadTable {
    /// The configuration key.
    pub key: &'static str,
    /// What it says.
    pub name: String,
}

impl Tables {
    fn of(settings: &Settings) -> Result<Self, BadTable> {
        let status = quote(&settings.status_table, "status_table")?;
        let run = quote(&settings.run_table, "run_table")?;
        let flag = match settings.run_table.split_once('.') {
            Some((schema, _)) => quote(&format!("{schema}.tenantcron_flag"), "run_table")?,
            None => quote("tenantcron_flag", "run_table")?,
        };
        Ok(Self { status, run, flag })
    }
}

fn quote(name: &str, key: &'static str) -> Result<String, BadTable> {
    let mut quoted = String::new();
    let parts = match name.split_once('.') {
        Some((schema, table)) => [Some(schema), Some(table)],
        None => [None, Some(name)],
    };
    for part in parts.into_iter().flatten() {
        if part.is_empty() || part.len() > 63 || part.contains(['\0', '.']) {
            return Err(BadTable { key, name: name.to_owned() });
        }
        if !quoted.is_empty() {
            quoted.push('.');
        }
        quoted.push('"');
        quoted.push_str(&part.replace('"', "\"\""));
        quoted.push('"');
    }
    Ok(quoted)
}

macro_rules! texts {
    ($($name:ident),+ $(,)?) => {
        /// Every text that does not depend on what a database's status table looks like.
        pub(crate) struct Texts { pub tables: Tables, $(pub $name: String,)+ pub looks: [Looks; 2] }

        impl Texts {
            /// Fills the names in.
            ///
            /// # Errors
            /// [`BadTable`] names the key whose table has an impossible name.
            pub fn of(settings: &Settings) -> Result<Self, BadTable> {
                let tables = Tables::of(settings)?;
                let fill = |text: &str| {
                    text.trim_end()
                        .replace("{status}", &tables.status)
                        .replace("{run}", &tables.run)
                        .replace("{flag}", &tables.flag)
                };
                $(let $name = fill(include_str!(concat!("../sql/", stringify!($name), ".sql")));)+
                let looks = [Looks::of(&fill, "NULL::timestamptz", "", ""),
                             Looks::of(&fill, "s.created_at::timestamptz", ", created_at", ", now()")];
                Ok(Self { $($name,)+ looks, tables })
            }
        }
    };
}

texts!(
    claim,
    claim_guard,
    claim_limited,
    create_flag,
    create_flag_paused,
    create_run,
    create_run_key,
    create_run_open,
    create_status,
    create_status_key,
    duplicates,
    finish,
    finish_rest,
    inspect,
    migrate_lock,
    notify,
    now,
    prune,
    refresh,
    release,
    repair,
    request,
    reset,
    turn,
    undo,
);

/// Texts that differ where the status table has a column `created_at`.
pub(crate) struct Looks {
    /// See the file.
    pub poll: String,
    /// See the file.
    pub poll_short: String,
    /// See the file.
    pub poll_bare: String,
    /// See the file.
    pub view: String,
    /// See the file.
    pub create_rows: String,
}

impl Looks {
    fn of(fill: &impl Fn(&str) -> String, read: &str, column: &str, now: &str) -> Self {
        let fill = |text: &str| {
            fill(text).replace("{created_at}", read).replace("{and_created_at}", column).replace("{and_now}", now)
        };
        Self {
            poll: fill(include_str!("../sql/poll.sql")),
            poll_short: fill(include_str!("../sql/poll_short.sql")),
            poll_bare: fill(include_str!("../sql/poll_bare.sql")),
            view: fill(include_str!("../sql/view.sql")),
            create_rows: fill(include_str!("../sql/create_rows.sql")),
        }
    }
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tables.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_impossible_ones_refused() {
        assert_eq!(quote("tenantcron_run", "run_table").unwrap(), "\"tenantcron_run\"");
        assert_eq!(quote("a.b\"; drop table x", "run_table").unwrap(), "\"a\".\"b\"\"; drop table x\"");
        for bad in ["", ".", "a.", ".b", "a.b.c", "x\0y", &"y".repeat(64)] {
            assert!(quote(bad, "run_table").is_err(), "{bad:?}");
        }
    }
}
