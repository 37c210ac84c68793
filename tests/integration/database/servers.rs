//! A database per tenant, and a server that goes with all of them: one alert when it goes, one when it is back.

use super::drain;
use crate::support::cluster::Cluster;
use crate::support::daemon::Supervisor;
use crate::support::wait::{eventually, secs};

const TENANTS: usize = 30;

/// Lines that hold all of these.
fn lines(supervisor: &Supervisor, words: &[&str]) -> Vec<String> {
    let log = supervisor.log();
    log.lines().filter(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned).collect()
}

#[test]
fn a_server_that_goes_with_all_its_databases_is_told_once_and_so_is_its_return() {
    let own = Cluster::start_own(&[]);
    let databases = own.own_databases(TENANTS, "beside");
    let mut tenants: Vec<String> = databases.iter().map(|database| database.name.clone()).collect();
    // One of them fails all the time, for a reason of its own.
    tenants.push("never.made".to_owned());
    let mut supervisor = Supervisor::builder()
        .tenants(&tenants)
        .set("database.url", format!("postgresql://postgres@127.0.0.1:{}/{{tenant}}", own.port()))
        .set("database.poll", "2s")
        .set("workers", 4)
        .set("schedule.every", "5s")
        .plan_for_all("true")
        .start();
    let have_run = |at_least: usize| {
        let record = supervisor.journal().read();
        let slow: Vec<_> = databases.iter().filter(|database| record.ended(&database.name) < at_least).collect();
        if slow.is_empty() { Ok(()) } else { Err(format!("{} have not\n{}", slow.len(), supervisor.log())) }
    };
    eventually(secs(60), "all have run", || have_run(1));
    let alone = supervisor.wait_for_log("/never.made is down, its tenants wait: ", secs(30));
    assert!(alone.contains("ALERT") && alone.contains("does not exist"), "{alone}");
    let server = format!("database server 127.0.0.1:{}", own.port());
    assert_eq!(lines(&supervisor, &[&server]), [""; 0]);

    own.stop_immediate();
    let each = |word: &str| lines(&supervisor, &["/beside", word]).into_iter().filter(|line| !line.contains(&server));
    eventually(secs(90), "every database counts as down", || {
        if each(" is down, its tenants wait: ").count() == TENANTS { Ok(()) } else { Err(supervisor.log()) }
    });
    own.start();
    eventually(secs(120), "the server is back", || {
        if lines(&supervisor, &[&server, " is back after"]).is_empty() { Err(supervisor.log()) } else { Ok(()) }
    });
    let before: Vec<usize> =
        databases.iter().map(|database| supervisor.journal().read().ended(&database.name)).collect();
    eventually(secs(60), "all run on", || {
        let record = supervisor.journal().read();
        databases.iter().zip(&before).all(|(database, before)| record.ended(&database.name) > *before)
    });

    let told = lines(&supervisor, &[&server]);
    let [down, up] = told.as_slice() else { panic!("{told:?}") };
    assert!(down.contains("ALERT") && down.contains(" is down, its 31 databases wait: "), "{down}");
    assert!(up.contains("ALERT") && up.contains(" is back after ") && !up.contains("do not answer"), "{up}");
    for word in [" is down", " is back after"] {
        assert_eq!(each(word).count(), TENANTS, "each is told below the alerts");
        assert!(each(word).all(|line| !line.contains("ALERT")), "an alert too many: {}", supervisor.log());
    }
    assert_eq!(lines(&supervisor, &["never.made", "ALERT"]).len(), 1, "it was told already, and is not back");
    assert_eq!(supervisor.journal().read().overlaps(), [""; 0]);
    drain(&mut supervisor);
}
