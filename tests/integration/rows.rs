//! Rows as a test reads and sets them, by its own connection, and an audit that the database itself keeps
//! of every `done` → `needed`: what cannot be seen from outside between two looks.

use crate::support::cluster::TestDatabase;
use postgres::Client;
use postgres::error::SqlState;
use postgres::types::{FromSql, ToSql};

/// The tables of one shared database.
pub struct Rows {
    client: Client,
}

/// What the database saw when rows became needed, one a statement.
#[derive(Debug)]
pub struct Reset {
    /// How many rows became needed by it.
    pub rows: i64,
    /// How many had been needed already.
    pub needed_before: i64,
    /// How many were running.
    pub running: i64,
    /// How many of the rows had another `updated_at` after it.
    pub moved: i64,
}

const AUDIT: &str = "
    CREATE TABLE audit (id serial, rows bigint, needed_before bigint, running bigint, moved bigint);
    CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE resets bigint; moves bigint;
    BEGIN
        SELECT count(*), count(*) FILTER (WHERE n.updated_at IS DISTINCT FROM o.updated_at) INTO resets, moves
        FROM old_rows o JOIN new_rows n USING (key) WHERE o.value = 'done' AND n.value = 'needed';
        IF resets > 0 THEN
            INSERT INTO audit (rows, needed_before, running, moved)
            SELECT resets, count(*) FILTER (WHERE value = 'needed') - resets, count(*) FILTER (WHERE value = 'running'), moves
            FROM tenantcron_status;
        END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER audit AFTER UPDATE ON tenantcron_status
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION audit()";

impl Rows {
    /// Opens a connection.
    pub fn of(database: &TestDatabase) -> Self {
        Self { client: database.connect() }
    }

    /// Runs statements.
    pub fn run(&mut self, sql: &str) {
        self.client.batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// One value of one row.
    #[track_caller]
    pub fn one<T: for<'a> FromSql<'a>>(&mut self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> T {
        self.client.query_one(sql, params).unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
    }

    /// Every row's first column; none where the table is not there yet.
    #[track_caller]
    pub fn list(&mut self, sql: &str) -> Vec<String> {
        match self.client.query(sql, &[]) {
            Ok(rows) => rows.iter().map(|row| row.get(0)).collect(),
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Vec::new(),
            Err(error) => panic!("{sql}: {error:?}"),
        }
    }

    /// The value of a row; none if there is no row, or no table yet.
    pub fn value(&mut self, key: &str) -> Option<String> {
        let sql = "SELECT value FROM tenantcron_status WHERE key = $1";
        self.client.query_opt(sql, &[&key]).ok()?.map(|row| row.get(0))
    }

    /// `updated_at` to the microsecond.
    #[track_caller]
    pub fn updated_at(&mut self, key: &str) -> String {
        self.one("SELECT updated_at::text FROM tenantcron_status WHERE key = $1", &[&key])
    }

    /// Makes a row, or sets it, with `updated_at` so long ago (`3 hours`).
    pub fn put(&mut self, key: &str, value: &str, ago: &str) {
        self.run(&format!(
            "INSERT INTO tenantcron_status (key, value, updated_at) VALUES ('{key}', '{value}', now() - interval '{ago}')
             ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at"
        ));
    }

    /// How many rows have this value.
    pub fn count(&mut self, value: &str) -> i64 {
        self.one("SELECT count(*) FROM tenantcron_status WHERE value = $1", &[&value])
    }

    /// The outcomes of a key's finished runs, in order.
    pub fn outcomes(&mut self, key: &str) -> Vec<String> {
        self.list(&format!(
            "SELECT outcome FROM tenantcron_run WHERE key = '{key}' AND finished_at IS NOT NULL ORDER BY started_at"
        ))
    }

    /// Begins the audit; the table must stand.
    pub fn audit(&mut self) {
        self.run(AUDIT);
    }

    /// What it saw so far.
    pub fn resets(&mut self) -> Vec<Reset> {
        let sql = "SELECT rows, needed_before, running, moved FROM audit ORDER BY id";
        let rows = self.client.query(sql, &[]).unwrap();
        rows.iter()
            .map(|row| Reset { rows: row.get(0), needed_before: row.get(1), running: row.get(2), moved: row.get(3) })
            .collect()
    }
}
