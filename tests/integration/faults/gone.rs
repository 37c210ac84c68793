//! The database server is gone for a minute in which children end: nothing is lost, two alerts tell of it, and waiting
//! costs next to nothing.

use crate::rows::Rows;
use crate::support::cluster::{Cluster, TestDatabase};
use crate::support::configuration::Configuration;
use crate::support::daemon::Supervisor;
use crate::support::proc;
use crate::support::syslogd::Syslogd;
use crate::support::wait::{eventually, millis, secs};
use crate::support::world::world;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const OUTAGE: Duration = secs(60);

/// What each of the five does once its file is there, and what its row must say.
const ENDS: [(&str, &str); 5] = [
    ("exit 0", "ok 0 -"),
    ("exit 3", "failed 3 -"),
    ("exit 255", "failed 255 -"),
    ("ulimit -c 0; kill -SEGV $$; sleep 60", "killed - 11"),
    ("kill -KILL $$; sleep 60", "killed - 9"),
];

/// Five tenants at work.
struct Night {
    supervisor: Supervisor,
    syslogd: Syslogd,
    go: PathBuf,
    tenants: Vec<String>,
}

impl Night {
    fn begin(configuration: Configuration, tenants: &[String]) -> Self {
        let (syslogd, go) = (Syslogd::start(), world().folder("go"));
        let mut supervisor = configuration
            .set("workers", 8)
            .set("schedule.every", "365d")
            .set("log.target", "syslog")
            .set("log.socket", syslogd.socket().display().to_string())
            .prepare();
        for (tenant, (end, _)) in tenants.iter().zip(ENDS) {
            let wait = format!("while [ ! -e {}/$TENANTCRON_TENANT ]; do sleep 0.1; done", go.display());
            supervisor.journal().plan(tenant, &format!("{wait}; {end}"));
        }
        supervisor.start();
        let tenants: Vec<String> = tenants.iter().take(ENDS.len()).cloned().collect();
        let night = Self { supervisor, syslogd, go, tenants };
        eventually(secs(30), "five are at work and all others have run", || {
            let record = night.supervisor.journal().read();
            night.tenants.iter().all(|tenant| record.runs_of(tenant).len() == 1)
        });
        night
    }

    /// The texts of all alerts so far, and how many lines of any kind there are.
    fn alerts(&self) -> (Vec<String>, usize) {
        let messages = self.syslogd.messages();
        let all = messages.len();
        let alerts = messages.into_iter().filter(|message| message.severity == "alert").map(|message| message.text);
        (alerts.collect(), all)
    }

    /// The server goes, the five end one after the other, the minute passes. What the supervisor used of a CPU in it.
    fn outage(&self, own: &Cluster) -> f64 {
        let pid = self.supervisor.pid();
        let jobs = self.supervisor.journal().read().runs;
        let (begun, before) = (Instant::now(), proc::cpu_time(pid));
        own.stop_fast();
        for (at, tenant) in self.tenants.iter().enumerate() {
            while begun.elapsed() < OUTAGE / 6 * (at as u32 + 1) {
                std::thread::sleep(millis(100));
            }
            std::fs::write(self.go.join(tenant), "").unwrap();
            let job = jobs.iter().find(|job| job.tenant == *tenant).unwrap();
            eventually(secs(20), "it ends and leaves no zombie", || proc::stat(job.pid).is_none());
        }
        while begun.elapsed() < OUTAGE {
            std::thread::sleep(millis(100));
        }
        let used = proc::cpu_time(pid) - before;
        own.start();
        used.as_secs_f64() / begun.elapsed().as_secs_f64()
    }

    /// Each of the five ended as it did, in its row too.
    fn ends_are_recorded(&self, database_of: impl Fn(&str) -> TestDatabase) {
        for (tenant, (_, wanted)) in self.tenants.iter().zip(ENDS) {
            let database = database_of(tenant);
            let mut rows = Rows::of(&database);
            let sql = format!(
                "SELECT concat_ws(' ', outcome, coalesce(exit_code::text, '-'), coalesce(signal::text, '-'))
                 FROM tenantcron_run WHERE key = '{tenant}' AND finished_at IS NOT NULL"
            );
            eventually(secs(60), &format!("the end of {tenant} is recorded"), || {
                let found = rows.list(&sql);
                if found == [wanted] { Ok(()) } else { Err(format!("{found:?}")) }
            });
            assert_eq!(rows.value(tenant).as_deref(), Some("done"));
        }
        let record = self.supervisor.journal().read();
        assert!(self.tenants.iter().all(|tenant| record.runs_of(tenant).len() == 1), "run again: {record:?}");
    }
}

#[test]
fn a_minute_without_the_server_loses_no_end_and_is_told_by_two_alerts() {
    let own = Cluster::start_own(&[]);
    let database = own.own_databases(1, "gone").remove(0);
    let tenants: Vec<String> = (1..=5).map(|number| format!("t{number}")).collect();
    let mut night = Night::begin(Supervisor::builder().database(&database).tenants(&tenants), &tenants);
    let (before, lines_before) = night.alerts();
    assert_eq!(before, [""; 0]);
    let used = night.outage(&own);
    night.ends_are_recorded(|_| own.named(&database.name));
    eventually(secs(40), "the end of the outage is told", || night.alerts().0.len() >= 2);
    let (alerts, lines) = night.alerts();
    assert!(night.supervisor.stop().success());
    println!("{:.2} % of a CPU; {} lines, {alerts:#?}", used * 100.0, lines - lines_before);
    assert!(
        alerts.len() == 2 && alerts[0].contains(" is down") && alerts[1].contains(" is back after "),
        "{alerts:#?}"
    );
    // And a line for each end.
    assert_eq!(lines - lines_before, 2 + ENDS.len(), "{:#?}", night.syslogd.messages());
    assert!(used < 0.01, "{:.2} % of a CPU while it waited", used * 100.0);
}

#[test]
fn a_minute_without_the_server_of_twenty_databases_is_told_by_two_alerts_too() {
    let own = Cluster::start_own(&[]);
    let databases = own.own_databases(20, "gone");
    let tenants: Vec<String> = databases.iter().map(|database| database.name.clone()).collect();
    let configuration = Supervisor::builder().database_each(&own, &databases).set("database.poll", "5s");
    let mut night = Night::begin(configuration, &tenants);
    eventually(secs(30), "all others have run", || {
        let record = night.supervisor.journal().read();
        tenants.iter().skip(ENDS.len()).all(|tenant| record.ended(tenant) == 1)
    });
    let used = night.outage(&own);
    night.ends_are_recorded(|tenant| own.named(tenant));
    for tenant in &tenants {
        Rows::of(&own.named(tenant)).run("UPDATE tenantcron_status SET value = 'needed'");
        std::fs::write(night.go.join(tenant), "").unwrap();
    }
    eventually(secs(60), "all have run once more: every database is known to be back", || {
        let record = night.supervisor.journal().read();
        tenants.iter().all(|tenant| record.runs_of(tenant).len() == 2)
    });
    assert!(night.supervisor.stop().success());
    let (alerts, _) = night.alerts();
    let [downs, ups] = [" is down", " is back after "].map(|text| alerts.iter().filter(|it| it.contains(text)).count());
    println!("{:.2} % of a CPU; {downs} alerts when it went, {ups} when it was back", used * 100.0);
    assert!(used < 0.01, "{:.2} % of a CPU while it waited", used * 100.0);
    assert_eq!((downs, ups), (1, 1), "{alerts:#?}");
}
