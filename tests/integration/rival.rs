//! Two machines that bear one node's name: the newcomer drains and leaves, the older goes on, nothing of the other's is
//! touched. Each is a host of its own: a PID namespace.

use crate::support::cluster::cluster;
use crate::support::daemon::Supervisor;
use crate::support::rows;
use crate::support::wait::{eventually, secs, throughout};
use crate::support::world::world;
use std::fs;

#[test]
fn the_newcomer_drains_and_exits_1_naming_the_other_and_the_older_goes_on() {
    let database = cluster().database();
    let go = world().folder("go");
    let both = Supervisor::builder()
        .database(&database)
        .tenants(&["a", "b"])
        .set("schedule.every", "365d")
        .set("workers", 1)
        .set("job.directory", go.display().to_string())
        .plan_for_all("while [ ! -e $TENANTCRON_TENANT ]; do sleep 0.05; done")
        .elsewhere();
    let mut client = database.connect();
    let mut older = both.clone().start();
    eventually(secs(20), "the older one works", || older.journal().read().runs.len() == 1);
    // Within its first 75 s it would be a newcomer itself.
    throughout(secs(76), "the older one lives", || older.ended().is_none());
    let mut newcomer = both.clone().start();
    eventually(secs(20), "the newcomer works", || newcomer.journal().read().runs.len() == 2);
    let told = newcomer.wait_for_log("another machine bears the node name node1", secs(75));
    let host: String = client.query_one("SELECT host FROM tenantcron_run ORDER BY id LIMIT 1", &[]).unwrap().get(0);
    assert!(told.contains(&host) && told.contains("leaves"), "{told}");
    older.wait_for_log("this supervisor was here before and goes on", secs(75));
    assert!(newcomer.ended().is_none(), "it waits for its child");
    let asked: Vec<_> = rows::runs(&mut client).into_iter().filter(|run| run.finished_at.is_some()).collect();
    assert!(asked.is_empty(), "a run of the other was touched: {asked:?}");

    // The newcomer's tenant ends; the other's goes on.
    let record = newcomer.journal().read();
    let theirs = record.runs.iter().max_by_key(|run| run.begin).unwrap().tenant.clone();
    let ours = if theirs == "a" { "b" } else { "a" };
    fs::write(go.join(&theirs), "").unwrap();
    let status = newcomer.wait_exit(secs(20));
    assert_eq!(status.code(), Some(1), "{}", newcomer.log());
    assert_eq!(rows::runs_of(&mut client, &theirs)[0].how(), ("ok", Some(0), None));
    assert!(older.ended().is_none() && rows::runs_of(&mut client, ours)[0].finished_at.is_none());
    fs::write(go.join(ours), "").unwrap();
    eventually(secs(20), "the older one records its own", || rows::finished(&mut client) == 2);
    assert_eq!(rows::runs_of(&mut client, ours)[0].how(), ("ok", Some(0), None));
    assert_eq!(older.journal().read().overlaps(), [""; 0]);
    assert!(older.stop().success());
}
