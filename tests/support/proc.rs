//! What /proc tells of processes. A process that is gone is an empty answer, never a failure.

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

/// The fields of /proc/PID/stat that tests ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// `R`, `S`, `Z` and so on.
    pub state: char,
    /// The parent.
    pub parent: i32,
    /// The process group.
    pub group: i32,
    /// The session.
    pub session: i32,
    /// Field 22, clock ticks since boot: with the pid it names one process for ever.
    pub started: u64,
}

/// Reads /proc/PID/stat.
pub fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may itself hold spaces and parentheses.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<i64>().ok();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: number(1)? as i32,
        group: number(2)? as i32,
        session: number(3)? as i32,
        started: number(19)? as u64,
    })
}

/// CPU time that a process has used so far, by its own code and by the kernel for it; nothing once it is gone.
pub fn cpu_time(pid: i32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = text.rsplit_once(')').map_or(Vec::new(), |(_, rest)| rest.split_whitespace().collect());
    let ticks: u64 = [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<u64>().ok()).sum();
    // A tick of /proc is a hundredth of a second on every Linux that runs Rust.
    Duration::from_millis(ticks * 10)
}

/// Every process there is.
pub fn all() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// True if the process exists and is not a zombie.
pub fn is_alive(pid: i32) -> bool {
    stat(pid).is_some_and(|stat| stat.state != 'Z')
}

/// The children of a process, zombies included.
pub fn children(pid: i32) -> Vec<i32> {
    all().into_iter().filter(|child| stat(*child).is_some_and(|stat| stat.parent == pid)).collect()
}

/// The children of a process that have ended and were not waited for.
pub fn zombies(pid: i32) -> Vec<i32> {
    children(pid).into_iter().filter(|child| stat(*child).is_some_and(|stat| stat.state == 'Z')).collect()
}

/// The children of a process that live.
pub fn living_children(pid: i32) -> Vec<i32> {
    children(pid).into_iter().filter(|child| is_alive(*child)).collect()
}

/// The children of a process, their children, and so on.
pub fn descendants(pid: i32) -> HashSet<i32> {
    let parents: Vec<(i32, i32)> = all().into_iter().filter_map(|pid| Some((pid, stat(pid)?.parent))).collect();
    let mut found = HashSet::new();
    let mut fresh = vec![pid];
    while let Some(parent) = fresh.pop() {
        fresh.extend(
            parents.iter().filter(|(_, its)| *its == parent).map(|(pid, _)| *pid).filter(|pid| found.insert(*pid)),
        );
    }
    found
}

/// The command line, arguments joined by blanks; empty for a zombie.
pub fn command_line(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let parts: Vec<_> = bytes.split(|b| *b == 0).map(String::from_utf8_lossy).filter(|part| !part.is_empty()).collect();
    parts.join(" ")
}

/// The environment a process was started with, `NAME=value` each.
pub fn environment(pid: i32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    bytes.split(|b| *b == 0).filter(|part| !part.is_empty()).map(|b| String::from_utf8_lossy(b).into_owned()).collect()
}

/// How many descriptors a process has open.
pub fn descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// What a process's descriptors point to, by number.
pub fn open_files(pid: i32) -> Vec<(i32, String)> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let mut files: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            Some((number, fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned()))
        })
        .collect();
    files.sort();
    files
}

/// Peak memory (VmHWM), KiB.
pub fn peak_kb(pid: i32) -> u64 {
    status_kb(pid, "VmHWM:")
}

/// Memory now (VmRSS), KiB.
pub fn resident_kb(pid: i32) -> u64 {
    status_kb(pid, "VmRSS:")
}

fn status_kb(pid: i32, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}
