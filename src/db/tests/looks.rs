//! Short looks: what is not done is brought whatever its spelling, nobody else's key is, and the mark stands still only
//! while nothing was written.

use super::bench::{Bench, D, claim, settings};
use super::cluster::cluster;
use crate::db::{Answer, Settings, key_pattern};
use crate::model::*;
use postgres::Client;
use std::time::{Duration, Instant};

fn short(since: Option<&Mark>) -> Exchange {
    Exchange { poll: Some(Poll::NotDone { since: since.cloned() }), ..Exchange::default() }
}

fn look(bench: &Bench) -> Polled {
    *bench.exchange(short(None)).polled.unwrap()
}

/// Key and value of what was brought, in order.
fn told(polled: &Polled) -> Vec<String> {
    let mut told: Vec<_> = polled.rows.iter().map(|row| format!("{} {}", row.key, row.value.as_str())).collect();
    told.sort();
    told
}

#[expect(clippy::disallowed_methods, reason = "a wait has its deadline")]
fn now() -> Instant {
    Instant::now()
}

/// A look with a mark. Other tests write to this server all the time, and some hold what they wrote for long.
fn marked(bench: &Bench) -> (Polled, Mark) {
    let begun = now();
    loop {
        let mut polled = look(bench);
        if let Some(mark) = polled.mark.take() {
            return (polled, mark);
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "somebody writes all the time");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A look between which and the one before it nobody wrote anything anywhere.
fn undisturbed(bench: &Bench) -> (Polled, Mark) {
    let begun = now();
    loop {
        let (_, before) = marked(bench);
        let polled = bench.exchange(short(Some(&before))).polled.unwrap();
        if polled.mark.as_ref() == Some(&before) {
            return (*polled, before);
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "somebody writes all the time");
    }
}

/// Tenants who are done, and a session of somebody else's.
fn at_rest(keys: &[&str]) -> (Bench, Client) {
    let database = cluster().new_database();
    let bench = Bench::on(&database, settings("n1"));
    bench.poll(keys);
    let mut client = cluster().client(&database);
    client.batch_execute("UPDATE tenantcron_status SET value = 'done', updated_at = now()").unwrap();
    (bench, client)
}

#[test]
fn what_is_not_done_is_brought_and_nothing_else() {
    let (bench, mut client) = at_rest(&["a", "b", "c", "d", "e"]);
    let reply = bench.exchange(short(None));
    let polled = reply.polled.unwrap();
    assert!(reply.now.is_some(), "the time is told all the same");
    assert_eq!((polled.rows.len(), polled.runs.len()), (0, 0));
    client
        .batch_execute(
            "UPDATE tenantcron_status SET value = 'needed' WHERE key = 'a';
             UPDATE tenantcron_status SET value = 'running' WHERE key = 'b';
             INSERT INTO tenantcron_flag (key, paused_at) VALUES ('c', now()), ('a', now()), ('no row', now());
             INSERT INTO tenantcron_flag (key, requested_at) VALUES ('d', now()), ('b', now())",
        )
        .unwrap();
    let polled = look(&bench);
    assert_eq!(told(&polled), ["a needed", "b running", "c done"]);
    let flags: Vec<_> =
        ["a", "b", "c"].map(|key| polled.rows.iter().find(|row| row.key == key).unwrap()).into_iter().collect();
    assert_eq!(flags.iter().map(|row| row.paused).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(flags.iter().map(|row| row.requested_at.is_some()).collect::<Vec<_>>(), [false, true, false]);
    // as a whole look would tell of them
    let mut whole = bench.poll(&["a", "b", "c"]).rows;
    whole.sort_by(|one, other| one.key.cmp(&other.key));
    assert_eq!(flags.into_iter().cloned().collect::<Vec<_>>(), whole);
}

#[test]
fn open_runs_bring_their_rows_and_those_of_this_node_come_whatever_their_key() {
    let (bench, mut client) = at_rest(&["a", "b"]);
    client
        .batch_execute(
            "INSERT INTO tenantcron_run (key, instance, node, host, started_at, alive_at)
             VALUES ('a', 'wcs', 'n2', 'there', now(), now()), ('gone', 'wcs', 'n1', 'here', now(), now())",
        )
        .unwrap();
    let polled = look(&bench);
    assert_eq!(told(&polled), ["a done"]);
    let mut runs: Vec<_> = polled.runs.iter().map(|run| run.identity.key.as_str()).collect();
    runs.sort_unstable();
    assert_eq!(runs, ["a", "gone"]);
    for value in ["done", "running", "needed"] {
        client.execute("UPDATE tenantcron_status SET value = $1 WHERE key = 'a'", &[&value]).unwrap();
        let (polled, _) = undisturbed(&bench);
        assert_eq!((told(&polled), polled.runs.len()), (vec![format!("a {value}")], 2), "whatever was written");
    }
}

#[test]
fn odd_values_are_brought_and_keys_of_others_are_not() {
    let database = cluster().new_database();
    let mut client = cluster().client(&database);
    client
        .batch_execute(
            "CREATE TABLE meta (id serial, key varchar(128) UNIQUE, value varchar, updated_at timestamptz);
             INSERT INTO meta (key, value) VALUES ('w_cs-null', NULL), ('w_cs-odd', 'Done'), ('w_cs-space', 'done '),
                 ('w_cs-word', 'halted'), ('w_cs-empty', ''), ('w_cs-done', 'done'), ('wxcs-other', 'needed'),
                 ('sql_level', '107'), (NULL, 'needed')",
        )
        .unwrap();
    let key = Template::parse("{instance}-{tenant}", &["tenant", "instance"]).unwrap();
    let settings = Settings { status_table: "meta".into(), key_pattern: key_pattern(&key, "w_cs"), ..settings("n1") };
    let bench = Bench::on(&database, settings);
    let wanted = ["w_cs-empty ", "w_cs-null ", "w_cs-odd Done", "w_cs-space done ", "w_cs-word halted"];
    assert_eq!(told(&look(&bench)), wanted);
    client.batch_execute("CREATE INDEX ON meta (key text_pattern_ops) WHERE value IS DISTINCT FROM 'done'").unwrap();
    assert_eq!(told(&look(&bench)), wanted, "by the index that the manual names");
}

#[test]
fn rows_are_brought_again_only_if_something_was_written() {
    let (bench, mut client) = at_rest(&["a", "b"]);
    client.batch_execute("UPDATE tenantcron_status SET value = 'needed' WHERE key = 'a'").unwrap();
    assert_eq!(told(&marked(&bench).0), ["a needed"]);
    assert_eq!(told(&undisturbed(&bench).0), [""; 0], "the table is not read");

    let mut writer = client.transaction().unwrap();
    writer.execute("UPDATE tenantcron_status SET value = 'needed' WHERE key = 'b'", &[]).unwrap();
    let mark = look(&bench).mark;
    assert_eq!(told(&look(&bench)), ["a needed"]);
    writer.commit().unwrap();
    let polled = bench.exchange(short(mark.as_ref())).polled.unwrap();
    assert_eq!(told(&polled), ["a needed", "b needed"], "what was begun before the mark has ended after it");
    assert!(mark.is_none() || polled.mark != mark);
}

#[test]
fn no_mark_is_told_while_something_older_is_still_being_written() {
    let (bench, mut client) = at_rest(&["a", "b"]);
    let database: String = client.query_one("SELECT current_database()", &[]).unwrap().get(0);
    let mut writer = client.transaction().unwrap();
    writer.execute("UPDATE tenantcron_status SET value = 'needed' WHERE key = 'a'", &[]).unwrap();
    let mut other = cluster().client(&database);
    other.batch_execute("UPDATE tenantcron_status SET updated_at = now() WHERE key = 'b'").unwrap();
    assert_eq!(look(&bench).mark, None);
    writer.commit().unwrap();
    marked(&bench);
}

#[test]
fn what_an_exchange_did_is_told_by_its_own_short_look() {
    let (bench, mut client) = at_rest(&["a", "b"]);
    client.batch_execute("UPDATE tenantcron_status SET value = 'needed' WHERE key = 'a'").unwrap();
    let (_, mark) = marked(&bench);
    let reply = bench.exchange(Exchange { claim: Some(claim(&["a"], 1)), ..short(Some(&mark)) });
    let polled = reply.polled.unwrap();
    assert_eq!((told(&polled), polled.runs.len()), (vec!["a running".to_owned()], 1));
    assert_eq!(told(&bench.exchange(short(polled.mark.as_ref())).polled.unwrap()), ["a running"], "its own end counts");
    let end = bench.end(&reply.claimed[0], Outcome::Ok, Becomes::Done);
    let reply = bench.exchange(Exchange { finish: vec![end], ..short(None) });
    assert_eq!(told(&reply.polled.unwrap()), [""; 0]);
}

#[test]
fn the_index_on_who_is_paused_comes_with_the_table_or_by_migrate() {
    let (bench, mut client) = at_rest(&["a"]);
    let index =
        "SELECT indexname::text FROM pg_indexes WHERE tablename = 'tenantcron_flag' AND indexdef LIKE '%paused_at%'";
    let name: String = client.query_one(index, &[]).unwrap().get(0);
    client.batch_execute(&format!("DROP INDEX {name}")).unwrap();
    assert_eq!(look(&bench).rows.len(), 0, "it serves without");
    bench.engine().migrate(D);
    let Answer::Migrated { result, .. } = bench.next() else { panic!("no answer") };
    assert!(result.unwrap().iter().any(|text| text.contains("paused_at")));
    assert_eq!(client.query(index, &[]).unwrap().len(), 1);
}
