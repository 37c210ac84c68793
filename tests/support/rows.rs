//! What the tables say: runs and status rows, as a test asks for them. Times are microseconds since the epoch.

use postgres::Client;

/// A row of tenantcron_run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRow {
    /// Its id.
    pub id: i64,
    /// Its tenant's key.
    pub key: String,
    /// Its node.
    pub node: String,
    /// The main process, once known.
    pub pid: Option<i32>,
    /// The claim.
    pub started_at: i64,
    /// The end; none while it is open.
    pub finished_at: Option<i64>,
    /// How it ended.
    pub outcome: Option<String>,
    /// Exit status.
    pub exit_code: Option<i32>,
    /// Signal.
    pub signal: Option<i32>,
    /// CPU time.
    pub cpu_seconds: Option<f64>,
    /// Peak memory.
    pub max_rss_kb: Option<i64>,
}

impl RunRow {
    /// Outcome, exit status and signal: what SPEC's table speaks of. `("", None, None)` while open.
    pub fn how(&self) -> (&str, Option<i32>, Option<i32>) {
        (self.outcome.as_deref().unwrap_or_default(), self.exit_code, self.signal)
    }
}

/// Every run, by id; none before there is a table.
pub fn runs(client: &mut Client) -> Vec<RunRow> {
    if !exists(client, "tenantcron_run") {
        return Vec::new();
    }
    let sql = "SELECT id, key, node, pid, (extract(epoch FROM started_at) * 1000000)::int8, \
               (extract(epoch FROM finished_at) * 1000000)::int8, outcome, exit_code, signal, cpu_seconds, max_rss_kb \
               FROM tenantcron_run ORDER BY id";
    let rows = client.query(sql, &[]).expect("reading tenantcron_run");
    rows.iter()
        .map(|row| RunRow {
            id: row.get(0),
            key: row.get(1),
            node: row.get(2),
            pid: row.get(3),
            started_at: row.get(4),
            finished_at: row.get(5),
            outcome: row.get(6),
            exit_code: row.get(7),
            signal: row.get(8),
            cpu_seconds: row.get(9),
            max_rss_kb: row.get(10),
        })
        .collect()
}

/// The runs of one tenant, by id.
pub fn runs_of(client: &mut Client, key: &str) -> Vec<RunRow> {
    runs(client).into_iter().filter(|run| run.key == key).collect()
}

/// How many runs are finished.
pub fn finished(client: &mut Client) -> usize {
    runs(client).iter().filter(|run| run.finished_at.is_some()).count()
}

/// A status row's value and `updated_at`; none where there is no such row.
pub fn status(client: &mut Client, key: &str) -> Option<(String, i64)> {
    if !exists(client, "tenantcron_status") {
        return None;
    }
    let sql = "SELECT value, (extract(epoch FROM updated_at) * 1000000)::int8 FROM tenantcron_status WHERE key = $1";
    let row = client.query_opt(sql, &[&key]).expect("reading tenantcron_status")?;
    Some((row.get(0), row.get(1)))
}

/// Makes a row needed as an application does, and tells.
pub fn ask(client: &mut Client, key: &str) {
    client
        .execute("UPDATE tenantcron_status SET value = 'needed' WHERE key = $1 AND value = 'done'", &[&key])
        .expect("asking for a run");
    client.batch_execute("NOTIFY tenantcron").expect("telling of it");
}

fn exists(client: &mut Client, table: &str) -> bool {
    let row = client.query_one("SELECT to_regclass($1::text) IS NOT NULL", &[&table]).expect("looking for a table");
    row.get(0)
}
