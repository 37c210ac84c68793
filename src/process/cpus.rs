//! How many CPUs this process may use: its affinity, and the CPU quota of its control groups (version 1 or
//! 2). `workers` counts in these, so that a container on a large host does not start sixty-four at once.
//!
//! Invariant: at least one; what cannot be read limits nothing.

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use std::path::{Path, PathBuf};

/// CPUs that this process may use: at least 1. A quota of 1.5 CPUs counts as 2.
pub fn usable_cpus() -> u32 {
    let quota = quotas("/proc/self/cgroup".as_ref(), "/proc/self/mountinfo".as_ref()).into_iter().min();
    affinity().min(quota.unwrap_or(u32::MAX)).max(1)
}

fn affinity() -> u32 {
    let allowed = sched_getaffinity(Pid::from_raw(0))
        .map(|set| (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).count());
    // More CPUs than the set has room for: the standard library knows better, floors quotas, and will do.
    let count = allowed.ok().or_else(|| std::thread::available_parallelism().ok().map(usize::from));
    count.and_then(|count| u32::try_from(count).ok()).unwrap_or(1)
}

/// The quota of every control group around this process, in whole CPUs, rounded up.
fn quotas(membership: &Path, mounts: &Path) -> Vec<u32> {
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let (membership, mounts) = (read(membership), read(mounts));
    let mut found = Vec::new();
    for line in membership.lines() {
        // hierarchy:controllers:path
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let unified = controllers.is_empty();
        if !unified && !controllers.split(',').any(|controller| controller == "cpu") {
            continue;
        }
        for (root, mount_point) in mounts.lines().filter_map(|line| mount(line, unified)) {
            let inside = path.strip_prefix(root.trim_end_matches('/')).unwrap_or_default();
            let own = mount_point.join(inside.trim_start_matches('/'));
            let around = own.ancestors().take_while(|folder| folder.starts_with(&mount_point));
            found.extend(around.filter_map(|folder| quota(folder, unified)));
        }
    }
    found
}

/// Root and mount point of a line of mountinfo, if it is the hierarchy that holds CPU quotas.
fn mount(line: &str, unified: bool) -> Option<(&str, PathBuf)> {
    let (place, kind) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (root, point) = (place.next()?, place.next()?);
    let mut kind = kind.split(' ');
    let (system, options) = (kind.next()?, kind.nth(1)?);
    let matches = if unified {
        system == "cgroup2"
    } else {
        system == "cgroup" && options.split(',').any(|option| option == "cpu")
    };
    matches.then(|| (root, PathBuf::from(point)))
}

fn quota(folder: &Path, unified: bool) -> Option<u32> {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
    let (limit, period) = if unified {
        let text = read("cpu.max")?;
        let (limit, period) = text.split_once(' ')?;
        (number(limit)?, number(period)?)
    } else {
        // -1, no limit, is no number here.
        (number(&read("cpu.cfs_quota_us")?)?, number(&read("cpu.cfs_period_us")?)?)
    };
    (period > 0).then(|| u32::try_from(limit.div_ceil(period)).unwrap_or(u32::MAX).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_quota_around_counts_rounded_up() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display();
        let membership = folder.path().join("cgroup");
        let mounts = folder.path().join("mountinfo");
        std::fs::write(&membership, "3:cpu,cpuacct:/docker/x/y\n2:memory:/m\n0::/a/b\n").unwrap();
        let lines = format!(
            "30 23 0:28 /docker/x {at}/v1 rw - cgroup cgroup rw,cpu,cpuacct\n\
             31 23 0:29 / {at}/memory rw - cgroup cgroup rw,memory\n\
             32 23 0:30 / {at}/v2 rw shared:1 - cgroup2 cgroup2 rw\n"
        );
        std::fs::write(&mounts, lines).unwrap();
        for path in ["v1/y", "v2/a/b"] {
            std::fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        let write = |path: &str, text: &str| std::fs::write(folder.path().join(path), text).unwrap();
        assert!(quotas(&membership, &mounts).is_empty());
        write("v2/a/cpu.max", "150000 100000\n");
        write("v2/a/b/cpu.max", "max 100000\n");
        assert_eq!(quotas(&membership, &mounts), [2]);
        write("v1/cpu.cfs_quota_us", "-1\n");
        write("v1/cpu.cfs_period_us", "100000\n");
        write("v1/y/cpu.cfs_quota_us", "20000\n");
        write("v1/y/cpu.cfs_period_us", "100000\n");
        assert_eq!(quotas(&membership, &mounts), [1, 2]);
    }

    #[test]
    fn this_process_may_use_at_least_one() {
        assert!(usable_cpus() >= 1);
    }
}
