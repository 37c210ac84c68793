//! A node that falls silent in the middle of an exchange keeps the locks of what it has said so far: it must not keep
//! them for as long as it pleases the network.

use crate::support::cluster::Cluster;
use crate::support::daemon::Supervisor;
use crate::support::relay::{Relay, Way};
use crate::support::wait::{eventually, millis, secs};

/// An exchange's deadline, after which its sender has given it up.
const EXCHANGE: std::time::Duration = secs(30);

#[test]
fn a_node_silenced_in_the_middle_of_an_exchange_does_not_stop_the_others() {
    let cluster = Cluster::start_own(&[]);
    let database = cluster.own_databases(1, "half").remove(0);
    let relay = Relay::start(cluster.port());
    let tenants: Vec<String> = (0..12).map(|number| format!("t{number:02}")).collect();
    let both = Supervisor::builder().tenants(&tenants).set("workers", 4).set("limits.cluster", 8);
    let two = both.clone().set("node", "two").database(&database).start();
    let _one = both.set("node", "one").set("database.url", relay.url(&database.name)).start();
    let mut client = database.connect();
    let sql = "SELECT count(*) FROM pg_stat_activity a JOIN pg_locks l USING (pid) \
               WHERE a.state = 'idle in transaction' AND l.locktype = 'advisory' AND l.granted";
    eventually(secs(240), "node one has said its guard and no more", || {
        relay.heal();
        relay.go(Way::HangsAfter(fastrand::u64(200..8000)));
        std::thread::sleep(millis(1500));
        client.query_one(sql, &[]).unwrap().get::<_, i64>(0) == 1
    });
    let ran = || two.journal().read().runs.iter().filter(|run| run.node == "two").count();
    let before = ran();
    eventually(EXCHANGE + secs(10), "node two goes on", || {
        let (locks, now) = (client.query_one(sql, &[]).unwrap().get::<_, i64>(0), ran());
        if now > before + 4 {
            Ok(())
        } else {
            Err(format!("{} runs since, {locks} guards held by a silent node", now - before))
        }
    });
}
