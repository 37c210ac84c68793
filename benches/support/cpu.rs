//! CPU seconds by /proc: of one process, of a process with the children that it has waited for, of a whole
//! server. Differences of two readings count; a tick of /proc is a hundredth of a second.

use super::kit::cluster::Cluster;
use super::kit::proc;
use super::kit::wait::{eventually, secs};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

const OWN: [usize; 2] = [11, 12];
const WITH_CHILDREN: [usize; 4] = [11, 12, 13, 14];

/// The process's own, all its threads.
pub fn own(pid: i32) -> f64 {
    ticks(pid, &OWN).expect("a living process") / 100.0
}

/// The process's own and that of every child it has waited for (and their children).
pub fn with_children(pid: i32) -> f64 {
    ticks(pid, &WITH_CHILDREN).expect("a living process") / 100.0
}

/// That of all processes of the server, those that have ended included.
pub fn server(cluster: &Cluster) -> f64 {
    let postmaster = cluster.postmaster().expect("a running server");
    // Between a session's end and its burial by the postmaster its time might be counted twice or not at all.
    eventually(secs(10), "the server's sessions are settled", || {
        let before = proc::children(postmaster);
        let living: Option<f64> = before.iter().map(|pid| ticks(*pid, &OWN)).sum();
        let sum = ticks(postmaster, &WITH_CHILDREN)? + living?;
        (before == proc::children(postmaster) && proc::zombies(postmaster).is_empty()).then_some(sum / 100.0)
    })
}

/// That of all children that this process has waited for, to the microsecond.
pub fn waited_for() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("getrusage");
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    micros as f64 / 1e6
}

fn ticks(pid: i32, fields: &[usize]) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may itself hold spaces and parentheses.
    let all: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    fields.iter().map(|at| all.get(*at)?.parse::<f64>().ok()).sum()
}
