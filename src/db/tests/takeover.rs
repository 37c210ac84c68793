//! Runs of another node whose lease is over: taken by the database's time alone, and only if nobody was faster.

use super::bench::{Bench, D, claim, poll, settings};
use super::cluster::cluster;
use crate::db::Answer;
use crate::model::*;
use std::time::Duration;

const LEASE: Duration = Duration::from_secs(90);

/// A database in which a node has claimed this with a lease, and another node that looks on.
struct Two {
    database: String,
    owner: Bench,
    taker: Bench,
    run: RunIdentity,
}

impl Two {
    fn new() -> Self {
        let database = cluster().new_database();
        let (owner, taker) = (Bench::on(&database, settings("n1")), Bench::on(&database, settings("n2")));
        taker.poll(&["a"]);
        let run = Self::claim(&owner);
        Self { database, owner, taker, run }
    }

    fn claim(owner: &Bench) -> RunIdentity {
        let claim = Some(Claim { lease: Some(LEASE), done_too: true, ..claim(&["a"], 1) });
        owner.run(&owner.exchange(Exchange { claim, ..Exchange::default() }).claimed[0])
    }

    fn sql(&self, sql: &str) {
        cluster().client(&self.database).batch_execute(sql).unwrap();
    }

    /// The last refresh was so many microseconds before the database's time.
    fn silent(&self, micros: u128) {
        self.sql(&format!("UPDATE tenantcron_run SET alive_at = now() - interval '{micros} microseconds'"));
    }

    fn release(&self) -> Exchange {
        let said = Release {
            key: "a".into(),
            updated_at: self.run.started_at,
            run: Some(self.run.clone()),
            silent_for: LEASE,
        };
        Exchange { release: vec![said], ..Exchange::default() }
    }

    fn taken(&self) -> bool {
        self.taker.exchange(self.release()).released == ["a"]
    }

    fn refresh(&self) -> Exchange {
        let life = Refresh { run: self.run.clone(), pid: None, pid_start: None };
        Exchange { refresh: vec![life], ..Exchange::default() }
    }

    fn refreshed(&self) -> Refreshed {
        self.owner.exchange(self.refresh()).refreshed[0]
    }

    fn finish(&self) -> Exchange {
        let finish = super::bench::end(self.run.clone(), Outcome::Ok, Becomes::Done);
        Exchange { finish: vec![finish], ..Exchange::default() }
    }

    fn finished(&self) -> Finished {
        self.owner.exchange(self.finish()).finished[0]
    }

    /// Every row and every run, with what tells whether it was touched.
    fn everything(&self) -> Vec<String> {
        let sql = "SELECT t::text || t.xmin::text FROM tenantcron_run t
                   UNION ALL SELECT t::text || t.xmin::text FROM tenantcron_status t";
        cluster().client(&self.database).query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
    }

    fn value(&self) -> RowValue {
        self.taker.poll(&["a"]).rows.remove(0).value
    }
}

#[test]
fn a_claim_carries_its_lease_and_everybody_reads_it() {
    let two = Two::new();
    for bench in [&two.owner, &two.taker] {
        assert_eq!(bench.poll(&["a"]).runs[0].lease, Some(LEASE));
    }
    let without = Bench::on(&cluster().new_database(), settings("n1"));
    without.poll(&["a"]);
    without.claim(&["a"], 1);
    assert_eq!(without.poll(&["a"]).runs[0].lease, None);
    let limited = Claim { lease: Some(LEASE), cluster_limit: 3, ..claim(&["b"], 1) };
    without.poll(&["b"]);
    let reply = without.exchange(Exchange { claim: Some(limited), ..poll(&["b"]) });
    let run = reply.polled.unwrap().runs.into_iter().find(|run| run.identity.key == "b").unwrap();
    assert_eq!(run.lease, Some(LEASE), "with a limit too");
}

#[test]
fn a_run_is_taken_over_once_its_lease_is_over_and_no_sooner() {
    let two = Two::new();
    assert!(!two.taken(), "it was claimed a moment ago");
    two.silent((LEASE - Duration::from_secs(5)).as_micros());
    assert!(!two.taken());
    assert_eq!(two.value(), RowValue::Running);
    two.silent((LEASE + Duration::from_millis(1)).as_micros());
    assert!(two.taken());
    let polled = two.taker.poll(&["a"]);
    assert_eq!((polled.runs.len(), &polled.rows[0].value), (0, &RowValue::Needed));
    assert_eq!(polled.rows[0].updated_at, two.run.started_at, "it goes behind those that waited");
    assert_eq!(two.taker.claim(&["a"], 1).len(), 1);
}

#[test]
fn at_the_very_microsecond_at_which_a_lease_ends_the_run_is_still_its_owners() {
    let two = Two::new();
    // Looked at through a view the last refresh lies as long ago as we say, at whatever moment.
    let view = |micros: u128| {
        format!(
            "CREATE OR REPLACE VIEW tenantcron_run AS SELECT id, key, instance, node, host, \"group\", pid, pid_start, started_at,
             now() - interval '{micros} microseconds' AS alive_at, lease, finished_at, outcome FROM the_runs"
        )
    };
    two.sql("ALTER TABLE tenantcron_run RENAME TO the_runs");
    two.sql(&view(LEASE.as_micros()));
    assert!(!two.taken());
    two.sql(&view(LEASE.as_micros() + 1));
    assert!(two.taken());
}

#[test]
fn a_refresh_that_is_just_being_said_keeps_the_run() {
    let two = Two::new();
    two.silent(LEASE.as_micros() * 2);
    let mut client = cluster().client(&two.database);
    let mut refresh = client.transaction().unwrap();
    refresh.execute("UPDATE tenantcron_run SET alive_at = now()", &[]).unwrap();
    assert!(!two.taken(), "it is not waited for");
    refresh.commit().unwrap();
    assert!(!two.taken());
    assert_eq!(two.refreshed(), Refreshed::Confirmed);
}

#[test]
fn whoever_was_taken_over_is_told_and_changes_nothing_more() {
    let two = Two::new();
    two.silent(LEASE.as_micros() * 2);
    assert!(two.taken());
    let before = two.everything();
    assert_eq!(two.refreshed(), Refreshed::Closed);
    assert_eq!(two.finished(), Finished::ClosedByAnother);
    assert!(!two.taken(), "nor is it taken twice");
    assert_eq!(two.everything(), before);

    let repair = Repair { run: two.run.clone(), group: None, pid: None, pid_start: None, lease: Some(LEASE) };
    let reply = two.owner.exchange(Exchange { repair: vec![repair], ..Exchange::default() });
    assert_eq!((reply.repaired, two.everything()), (vec![Repaired::Closed], before));
}

/// Both said at the same moment; what the owner and the taker heard.
fn at_once(two: &Two, owners: Exchange, taker_first: bool) -> (Reply, bool) {
    let mut said = [(&two.owner, owners), (&two.taker, two.release())];
    if taker_first {
        said.reverse();
    }
    for (bench, exchange) in said {
        bench.engine().exchange(D, exchange);
    }
    let heard = |bench: &Bench| match bench.next() {
        Answer::Exchanged { result, .. } => result.unwrap(),
        other => panic!("{other:?}"),
    };
    (heard(&two.owner), heard(&two.taker).released == ["a"])
}

#[test]
fn of_an_owner_and_a_taker_at_the_same_moment_exactly_one_wins() {
    let mut two = Two::new();
    let mut taken_over = [0; 2];
    for round in 0..120 {
        two.silent(LEASE.as_micros() * 2);
        let ends = round % 2 == 0;
        let (reply, taken) = at_once(&two, if ends { two.finish() } else { two.refresh() }, round % 4 < 2);
        taken_over[round % 2] += u32::from(taken);
        // Who did not get the row just then says it again, and hears how it stands.
        if ends {
            let answer = reply.finished[0];
            let answer = if answer == Finished::NotNow { two.finished() } else { answer };
            assert_eq!(taken, answer == Finished::ClosedByAnother, "{answer:?}");
            assert_eq!(!taken, matches!(answer, Finished::Recorded { row: Some(_) }), "{answer:?}");
            assert_eq!(two.value(), if taken { RowValue::Needed } else { RowValue::Done });
        } else {
            let answer = reply.refreshed[0];
            let answer = if answer == Refreshed::NotNow { two.refreshed() } else { answer };
            assert_eq!(answer, if taken { Refreshed::Closed } else { Refreshed::Confirmed });
            assert_eq!(two.value(), if taken { RowValue::Needed } else { RowValue::Running });
            if !taken {
                assert!(matches!(two.finished(), Finished::Recorded { .. }));
            }
        }
        two.run = Two::claim(&two.owner);
    }
    assert!(taken_over.iter().all(|number| (1..60).contains(number)), "no race: {taken_over:?}");
}
