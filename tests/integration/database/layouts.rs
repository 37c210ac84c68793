//! One shared database, one per tenant, some that share one by placeholder, and a table that belongs to
//! somebody else: the same rounds in all of them, and nothing touched that is not ours.

use super::{drain, number, texts};
use crate::support::cluster::{TestDatabase, cluster};
use crate::support::configuration::Configuration;
use crate::support::daemon::Supervisor;
use crate::support::wait::{eventually, secs};
use postgres::Client;

/// Two rounds of everybody, whatever the layout; the rows agree with the jobs.
fn two_rounds(configuration: Configuration, tenants: &[&str], place_of: impl Fn(&str) -> Client) {
    let mut supervisor = configuration.start();
    eventually(secs(60), "every tenant has run twice", || {
        let record = supervisor.journal().read();
        let waiting: Vec<_> = tenants.iter().filter(|tenant| record.ended(tenant) < 2).collect();
        if waiting.is_empty() { Ok(()) } else { Err(format!("{waiting:?}")) }
    });
    drain(&mut supervisor);
    let record = supervisor.journal().read();
    assert_eq!(record.overlaps(), [""; 0]);
    for tenant in tenants {
        let told: Vec<i64> = record.runs_of(tenant).iter().map(|run| run.run).collect();
        let mut client = place_of(tenant);
        let sql = "SELECT id FROM tenantcron_run WHERE key = $1 AND finished_at IS NOT NULL ORDER BY id";
        let kept: Vec<i64> = client.query(sql, &[tenant]).unwrap().iter().map(|row| row.get(0)).collect();
        assert_eq!(told, kept, "{tenant}: the jobs and the rows tell of different runs");
    }
}

#[test]
fn tenants_of_one_shared_database_run_round_by_round() {
    let database = cluster().database();
    let tenants = ["a.example", "b.example", "c-1"];
    two_rounds(Supervisor::builder().tenants(&tenants).database(&database), &tenants, |_| database.connect());
    let mut client = database.connect();
    assert_eq!(texts(&mut client, "SELECT key FROM tenantcron_status ORDER BY key"), tenants);
}

#[test]
fn tenants_with_a_database_each_run_round_by_round() {
    let databases = cluster().databases(4, "each");
    let tenants: Vec<&str> = databases.iter().map(|database| database.name.as_str()).collect();
    let configuration = Supervisor::builder().database_each(cluster(), &databases);
    two_rounds(configuration, &tenants, |tenant| cluster().named(tenant).connect());
    for database in &databases {
        let keys = texts(&mut database.connect(), "SELECT key FROM tenantcron_status");
        assert_eq!(keys, [database.name.as_str()], "a database knows only its own tenant");
    }
}

#[test]
fn tenants_whose_placeholders_give_one_url_share_that_database() {
    let [both, alone] = [cluster().database(), cluster().database()];
    let lines = format!("a database={0}\nb database={0}\nc database={1}", both.name, alone.name);
    let configuration = Supervisor::builder()
        .set("tenants.command", vec!["printf".to_owned(), format!("{lines}\\n")])
        .set("database.url", cluster().url_of("{database}"));
    two_rounds(configuration, &["a", "b", "c"], |tenant| if tenant == "c" { &alone } else { &both }.connect());
    assert_eq!(texts(&mut both.connect(), "SELECT key FROM tenantcron_status ORDER BY key"), ["a", "b"]);
    assert_eq!(texts(&mut alone.connect(), "SELECT key FROM tenantcron_status"), ["c"]);
}

/// The table of w.c.s. with keys of its own, and status rows of which one tenant has none yet.
pub fn wcs_meta(database: &TestDatabase, status_rows: &str) {
    let text = "CREATE TABLE wcs_meta (id serial PRIMARY KEY, key varchar UNIQUE, value varchar,
                    created_at timestamptz, updated_at timestamptz);
                INSERT INTO wcs_meta (key, value, created_at, updated_at) VALUES
                    ('sql_level', '55', now(), now()), ('a', 'needed', NULL, NULL), ('b', 'done', NULL, 'epoch'),
                    ('cron-status-of-somebody-else', 'done', NULL, '2020-01-01'), ('cron-status-', 'running', NULL, NULL),
                    (NULL, 'done', NULL, NULL), (NULL, NULL, NULL, NULL), ('xcron-status-a', 'needed', NULL, NULL),
                    ('reindex', NULL, '1999-12-31', 'infinity');";
    database.connect().batch_execute(&format!("{text} {status_rows}")).unwrap();
}

const NOT_OURS: &str = "FROM wcs_meta WHERE key IS NULL OR key NOT IN ('cron-status-a', 'cron-status-b')";

#[test]
fn a_foreign_table_serves_and_what_is_not_ours_in_it_stays_as_it_is() {
    let database = cluster().database();
    wcs_meta(
        &database,
        "INSERT INTO wcs_meta (key, value, created_at, updated_at) VALUES ('cron-status-a', 'done', '2021-02-03', '2021-02-03')",
    );
    let mut client = database.connect();
    // The system's columns too: not even a version of a row may have been written, nor the table rewritten or altered.
    let look = |client: &mut Client| {
        let rows = texts(
            client,
            &format!("SELECT concat_ws(' ', ctid, xmin, xmax, row_to_json(wcs_meta)) {NOT_OURS} ORDER BY id"),
        );
        let shape = [
            "SELECT row_to_json(a)::text FROM pg_attribute a WHERE attrelid = 'wcs_meta'::regclass ORDER BY attnum",
            "SELECT row_to_json(i)::text FROM pg_index i WHERE indrelid = 'wcs_meta'::regclass ORDER BY indexrelid",
            "SELECT row_to_json(c)::text FROM pg_constraint c WHERE conrelid = 'wcs_meta'::regclass ORDER BY oid",
            "SELECT tgname::text FROM pg_trigger WHERE tgrelid = 'wcs_meta'::regclass",
            "SELECT concat_ws(' ', relfilenode, relnatts, reloptions, relhastriggers) FROM pg_class WHERE oid = 'wcs_meta'::regclass",
        ];
        (rows, shape.map(|sql| texts(client, sql)))
    };
    let before = look(&mut client);
    assert_eq!(before.0.len(), 9);

    let mut supervisor = Supervisor::builder()
        .tenants(&["a", "b"])
        .database(&database)
        .set("database.status_table", "wcs_meta")
        .set("database.key", "cron-status-{tenant}")
        .start();
    eventually(secs(60), "both have run twice", || {
        let record = supervisor.journal().read();
        record.ended("a") >= 2 && record.ended("b") >= 2
    });
    let requested = supervisor.command(&["request", "--wait", "--all"]);
    assert!(requested.status.success(), "{requested:?}");
    drain(&mut supervisor);

    assert_eq!(look(&mut client), before);
    // `needed` where the slot came while it drained.
    let ours = "SELECT concat_ws(' ', key, value IN ('done', 'needed'), created_at::date, updated_at > now() - interval '5 min')
                FROM wcs_meta WHERE key IN ('cron-status-a', 'cron-status-b') ORDER BY key";
    let today = texts(&mut client, "SELECT current_date::text").remove(0);
    let wanted = ["cron-status-a t 2021-02-03 t".to_owned(), format!("cron-status-b t {today} t")];
    assert_eq!(texts(&mut client, ours), wanted);
    assert_eq!(number(&mut client, "SELECT count(*) FROM pg_class WHERE relname = 'tenantcron_status'"), 0);
    let keys = texts(&mut client, "SELECT DISTINCT key FROM tenantcron_run ORDER BY key");
    assert_eq!(keys, ["cron-status-a", "cron-status-b"]);
}
