//! Tables: created at first contact, mended by `migrate`.

use super::bench::{Bench, D, poll, settings};
use super::cluster::cluster;
use crate::db::{Answer, Migrate, Settings};
use crate::model::*;

fn migrated(bench: &Bench) -> Result<Vec<String>, Trouble> {
    match bench.next() {
        Answer::Migrated { result, .. } => result,
        other => panic!("{other:?}"),
    }
}

fn foreign(rows: &str) -> (String, Bench) {
    let database = cluster().new_database();
    let create = "CREATE TABLE meta (key varchar, value varchar, updated_at timestamptz)";
    cluster().client(&database).batch_execute(&format!("{create}; INSERT INTO meta (key) VALUES {rows}")).unwrap();
    let bench = Bench::on(&database, Settings { status_table: "meta".into(), ..settings("n1") });
    (database, bench)
}

#[test]
fn a_foreign_table_without_a_unique_index_is_left_alone_until_migrate_adds_one() {
    let (database, bench) = foreign("('a'), ('b')");
    let trouble = bench.try_exchange(poll(&["a"])).unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Unfit);
    assert!(trouble.text.contains("run `tenantcron migrate`"), "{}", trouble.text);
    let tables = "SELECT count(*) FROM pg_class WHERE relname LIKE 'tenantcron%'";
    assert_eq!(cluster().client(&database).query_one(tables, &[]).unwrap().get::<_, i64>(0), 0, "nothing was created");

    bench.engine().plan_migration(D);
    let plan = migrated(&bench).unwrap();
    assert!(plan.iter().any(|text| text.contains(r#"CREATE UNIQUE INDEX ON "meta" (key)"#)), "{plan:?}");
    assert_eq!(
        cluster().client(&database).query_one(tables, &[]).unwrap().get::<_, i64>(0),
        0,
        "a plan changes nothing"
    );
    bench.engine().migrate(D);
    assert_eq!(migrated(&bench).unwrap(), plan);
    bench.engine().migrate(D);
    assert_eq!(migrated(&bench).unwrap(), Vec::<String>::new(), "once is enough");
    assert_eq!(bench.poll(&["a", "c"]).rows.len(), 2);
}

#[test]
fn keys_that_stand_more_than_once_are_named_and_nothing_is_changed() {
    let (database, bench) = foreign("('a'), ('b'), ('a'), ('c'), ('b'), ('b')");
    for dry in [true, false] {
        if dry {
            bench.engine().plan_migration(D)
        } else {
            bench.engine().migrate(D)
        }
        let trouble = migrated(&bench).unwrap_err();
        assert_eq!(trouble.kind, TroubleKind::Unfit);
        assert!(trouble.text.contains(r#""a" (2 times), "b" (3 times)"#), "{}", trouble.text);
    }
    let made = "SELECT count(*) FROM pg_class WHERE relname LIKE 'tenantcron%' OR relname LIKE 'meta_%'";
    assert_eq!(cluster().client(&database).query_one(made, &[]).unwrap().get::<_, i64>(0), 0);
}

#[test]
fn an_index_that_is_partial_or_not_on_key_alone_does_not_count() {
    let (database, bench) = foreign("('a')");
    let indexes = "CREATE UNIQUE INDEX ON meta (key) WHERE value = 'done'; CREATE UNIQUE INDEX ON meta (key, value);
                   CREATE UNIQUE INDEX ON meta (lower(key)); CREATE INDEX ON meta (key)";
    cluster().client(&database).batch_execute(indexes).unwrap();
    assert_eq!(bench.try_exchange(poll(&["a"])).unwrap_err().kind, TroubleKind::Unfit);
    cluster().client(&database).batch_execute("CREATE UNIQUE INDEX ON meta (key) INCLUDE (value)").unwrap();
    assert_eq!(bench.poll(&["a"]).rows.len(), 1);
}

#[test]
fn a_table_in_use_is_not_waited_for_longer_than_five_seconds() {
    let (database, bench) = foreign("('a')");
    let mut other = cluster().client(&database);
    let mut held = other.transaction().unwrap();
    held.execute("UPDATE meta SET value = 'x'", &[]).unwrap();
    bench.engine().migrate(D);
    let trouble = migrated(&bench).unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Refused);
    assert!(trouble.text.contains("within 5 s"), "{}", trouble.text);
}

#[test]
fn a_table_that_cannot_serve_is_told_by_its_columns() {
    let database = cluster().new_database();
    let create = "CREATE TABLE s1 (key text UNIQUE, value text); CREATE TABLE s2 (key text UNIQUE, value text, updated_at timestamp)";
    cluster().client(&database).batch_execute(create).unwrap();
    for (table, want) in [("s1", "lacks the columns \"updated_at\""), ("s2", "is timestamp without time zone")] {
        let bench = Bench::on(&database, Settings { status_table: table.into(), ..settings("n1") });
        let trouble = bench.try_exchange(poll(&["a"])).unwrap_err();
        assert_eq!(trouble.kind, TroubleKind::Unfit);
        assert!(trouble.text.contains(want), "{}", trouble.text);
    }
}

#[test]
fn many_that_meet_a_new_database_at_once_all_succeed() {
    let database = cluster().new_database();
    let schema = "CREATE SCHEMA cron";
    cluster().client(&database).batch_execute(schema).unwrap();
    std::thread::scope(|scope| {
        for n in 0..8 {
            let database = &database;
            scope.spawn(move || {
                let settings = Settings {
                    status_table: "cron.state".into(),
                    run_table: "cron.runs".into(),
                    ..settings(&format!("n{n}"))
                };
                let bench = Bench::on(database, settings);
                assert_eq!(bench.poll(&["c", "a", "b"]).rows.len(), 3);
                assert!(bench.claim(&["a", "b", "c"], 3).len() <= 3);
            });
        }
    });
    let flags = "SELECT count(*) FROM pg_tables WHERE schemaname = 'cron'";
    assert_eq!(cluster().client(&database).query_one(flags, &[]).unwrap().get::<_, i64>(0), 3);
}

#[test]
fn without_the_right_to_create_a_person_is_called() {
    let database = cluster().new_database();
    let mut client = cluster().client(&database);
    let role = format!("r_{database}");
    client.batch_execute(&format!("CREATE ROLE {role} LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC")).unwrap();
    let bench = Bench::start(Settings { migrate: Migrate::Auto, ..settings("n1") });
    let url = cluster().url(&database).replace("postgres@", &format!("{role}@"));
    bench.engine().database(D, Some(super::bench::url(&url)));
    let trouble = bench.try_exchange(poll(&["a"])).unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Unfit);
    assert!(trouble.text.contains("let an owner run `tenantcron migrate`"), "{}", trouble.text);
}
