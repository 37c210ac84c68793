//! Nothing lost, nothing twice: supervisors killed, servers gone, hosts rebooted, disks full, several nodes.
//! Each test breaks something on purpose and judges by the jobs' own journal, the rows and the log.

mod cluster_limit;
mod fourth;
mod gone;
mod immediate_restart;
mod kills;
mod reboot;
mod spawn;

use crate::support::daemon::Supervisor;
use nix::fcntl::{Flock, FlockArg};
use std::fs::File;

/// What a tenant's lock file tells: who claims, which run, which process (pid and start time).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct LockWords {
    supervisor: Option<i32>,
    run: Option<i64>,
    process: Option<(i32, u64)>,
}

impl LockWords {
    fn of(supervisor: &Supervisor, tenant: &str) -> Self {
        let path = supervisor.state().join(format!("tenants/{tenant}.lock"));
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let words = |name: &str| -> Option<Vec<&str>> {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.split_whitespace().collect())
        };
        let first = |name: &str| words(name)?.first()?.parse::<i64>().ok();
        Self {
            supervisor: first("supervisor ").map(|pid| pid as i32),
            run: first("run "),
            process: words("pid ").and_then(|pair| Some((pair.first()?.parse().ok()?, pair.get(1)?.parse().ok()?))),
        }
    }
}

/// True if anybody holds the lock of a file in the state folder. Tries the lock: only while nobody else does.
fn is_held(supervisor: &Supervisor, name: &str) -> bool {
    let Ok(file) = File::open(supervisor.state().join(name)) else { return false };
    Flock::lock(file, FlockArg::LockExclusiveNonblock).is_err()
}

/// The seed of a test's dice: `SEED=n`, or a new one; printed, so that a failure can be thrown again.
fn dice(test: &str) -> fastrand::Rng {
    let seed = std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("{test}: SEED={seed}");
    fastrand::Rng::with_seed(seed)
}
