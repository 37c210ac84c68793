//! Which tables stand, which are missing and what would create them.

use super::{Look, Statements, each_row};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};

/// What stands in a database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Inspection {
    /// The status table's columns, `name type`; empty if there is none.
    status: Vec<String>,
    /// The run table's columns.
    run: Vec<String>,
    /// The flag table's columns.
    flag: Vec<String>,
    /// `key` has a plain valid unique index.
    status_key: bool,
    /// The unique index on open runs stands.
    run_open: bool,
    /// The index on key and start stands.
    run_key: bool,
    /// The index on who is paused stands.
    flag_paused: bool,
}

const RUN_COLUMNS: [&str; 17] = [
    "id",
    "key",
    "instance",
    "node",
    "host",
    "group",
    "pid",
    "pid_start",
    "started_at",
    "alive_at",
    "lease",
    "finished_at",
    "outcome",
    "exit_code",
    "signal",
    "cpu_seconds",
    "max_rss_kb",
];
const FLAG_COLUMNS: [&str; 5] = ["key", "paused_at", "paused_by", "reason", "requested_at"];

impl Inspection {
    /// What may be read here; none without a status table.
    pub fn look(&self) -> Option<Look> {
        (!self.status.is_empty()).then(|| Look {
            created_at: self.status.iter().any(|column| column.starts_with("created_at ")),
            runs: !self.run.is_empty() && !self.flag.is_empty(),
        })
    }

    /// True if every table stands.
    pub fn is_whole(&self) -> bool {
        self.look().is_some_and(|look| look.runs)
    }

    /// True if the status table stands without a unique index on its key.
    pub fn lacks_status_key(&self) -> bool {
        !self.status.is_empty() && !self.status_key
    }

    /// True if the index that creation and claim count on is missing from a table that stands.
    pub fn lacks_index(&self) -> bool {
        self.lacks_status_key() || (!self.run.is_empty() && !self.run_open)
    }
}

impl Statements {
    /// Reads what stands.
    pub async fn inspect(&self, client: &Client) -> Result<Inspection, Error> {
        let tables = &self.texts.tables;
        let mut found = Inspection::default();
        let params =
            &[(&tables.status as _, Type::TEXT), (&tables.run as _, Type::TEXT), (&tables.flag as _, Type::TEXT)];
        each_row(client, &self.texts.inspect, params, |row| {
            found = Inspection {
                status: row.try_get(0)?,
                run: row.try_get(1)?,
                flag: row.try_get(2)?,
                status_key: row.try_get(3)?,
                run_open: row.try_get(4)?,
                run_key: row.try_get(5)?,
                flag_paused: row.try_get(6)?,
            };
            Ok(())
        })
        .await?;
        Ok(found)
    }

    /// Holds whoever else would create tables here until this transaction ends.
    pub async fn migrate_lock(&self, client: &Client) -> Result<(), Error> {
        each_row(client, &self.texts.migrate_lock, &[(&self.migrate_lock, Type::INT8)], |_| Ok(())).await
    }

    /// The texts that create the tables missing from `found`.
    pub fn missing_tables(&self, found: &Inspection) -> Vec<&str> {
        let mut texts = Vec::new();
        if found.status.is_empty() {
            texts.push(self.texts.create_status.as_str());
        }
        if found.run.is_empty() {
            texts.extend(
                [&self.texts.create_run, &self.texts.create_run_open, &self.texts.create_run_key].map(String::as_str),
            );
        }
        if found.flag.is_empty() {
            texts.extend([&self.texts.create_flag, &self.texts.create_flag_paused].map(String::as_str));
        }
        texts
    }

    /// The texts that add the indexes missing from tables in `found`.
    pub fn missing_indexes(&self, found: &Inspection) -> Vec<&str> {
        let mut texts = Vec::new();
        if !found.status.is_empty() && !found.status_key {
            texts.push(self.texts.create_status_key.as_str());
        }
        if !found.run.is_empty() && !found.run_open {
            texts.push(&self.texts.create_run_open);
        }
        if !found.run.is_empty() && !found.run_key {
            texts.push(&self.texts.create_run_key);
        }
        if !found.flag.is_empty() && !found.flag_paused {
            texts.push(&self.texts.create_flag_paused);
        }
        texts
    }

    /// What no migration mends: columns that are missing or of another type.
    pub fn misfit(&self, found: &Inspection) -> Option<String> {
        let tables = &self.texts.tables;
        let lacking = |columns: &[String], wanted: &[&'static str]| {
            let lacking: Vec<_> = wanted.iter().filter(|name| !columns.iter().any(|column| column == *name)).collect();
            (!columns.is_empty() && !lacking.is_empty())
                .then(|| lacking.into_iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", "))
        };
        let names: Vec<String> =
            found.status.iter().filter_map(|column| column.split_once(' ')).map(|(name, _)| name.to_owned()).collect();
        for (table, columns, wanted) in [
            (&tables.status, &names, ["key", "value", "updated_at"].as_slice()),
            (&tables.run, &found.run, RUN_COLUMNS.as_slice()),
            (&tables.flag, &found.flag, FLAG_COLUMNS.as_slice()),
        ] {
            if let Some(lacking) = lacking(columns, wanted) {
                return Some(format!("table {table} lacks the columns {lacking}; add them or name another table"));
            }
        }
        let clock = found.status.iter().find_map(|column| column.strip_prefix("updated_at "))?;
        (clock != "timestamp with time zone").then(|| {
            format!("column \"updated_at\" of table {} is {clock}; it must be timestamp with time zone", tables.status)
        })
    }

    /// The keys that stand more than once in the status table, and how often.
    pub async fn duplicates(&self, client: &Client) -> Result<Vec<(String, i64)>, Error> {
        let mut list = Vec::new();
        each_row(client, &self.texts.duplicates, &[], |row| {
            list.push((row.try_get(0)?, row.try_get(1)?));
            Ok(())
        })
        .await?;
        Ok(list)
    }

    /// Runs one of the texts above.
    pub async fn run(&self, client: &Client, text: &str) -> Result<(), Error> {
        client.batch_execute(text).await
    }

    /// The tables in `found` that lack an index, for messages.
    pub fn tables_of(&self, found: &Inspection) -> String {
        if found.lacks_status_key() { &self.texts.tables.status } else { &self.texts.tables.run }.clone()
    }

    /// The status table's quoted name, for messages.
    pub fn status_table(&self) -> &str {
        &self.texts.tables.status
    }
}
