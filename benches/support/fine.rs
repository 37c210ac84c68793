//! CPU time to the nanosecond, by /proc/PID/schedstat, where a tick of /proc/PID/stat (10 ms) is too coarse:
//! an idle minute costs a few of those in all. Only what lives is seen; what has ended counts by ticks.

use super::kit::cluster::Cluster;
use super::kit::proc;
use super::kit::wait::{eventually, secs};
use postgres::Client;

/// Of a process, all its threads that live.
pub fn own(pid: i32) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("a living process").flatten();
    tasks.filter_map(|task| on_cpu(&task.path().join("schedstat"))).sum()
}

/// Of children that a process has waited for; by ticks.
pub fn buried(pid: i32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a living process");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("stat").1.split_whitespace().collect();
    fields[13..15].iter().map(|ticks| ticks.parse::<f64>().expect("ticks")).sum::<f64>() / 100.0
}

/// Of a whole server less that of one session, the bench's own.
pub fn server(cluster: &Cluster, observer: &mut Client) -> f64 {
    let observer: i32 = observer.query_one("SELECT pg_backend_pid()", &[]).expect("SELECT").get(0);
    let postmaster = cluster.postmaster().expect("a running server");
    let of = |pid: &i32| on_cpu(format!("/proc/{pid}/schedstat").as_ref());
    // Between a session's end and its burial by the postmaster its time might be counted twice or not at all.
    eventually(secs(10), "the server's sessions are settled", || {
        let before = proc::children(postmaster);
        let living: Option<f64> = before.iter().filter(|pid| **pid != observer).map(of).sum();
        let sum = of(&postmaster)? + buried(postmaster) + living?;
        (before == proc::children(postmaster) && proc::zombies(postmaster).is_empty()).then_some(sum)
    })
}

fn on_cpu(file: &std::path::Path) -> Option<f64> {
    let text = std::fs::read_to_string(file).ok()?;
    Some(text.split_whitespace().next()?.parse::<f64>().ok()? / 1e9)
}
