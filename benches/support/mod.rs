//! What the benches share: a durable server, the line of conditions, CPU time with the server's and the
//! children's, peers compiled from C, and figures with their spread. Not a place for what only one measures.
//! A bench begins with `mod support;` and finds the test kit in `support::kit`.
#![allow(dead_code, unused_imports, reason = "each bench uses its own part of this")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench ends where the world is not as it should be, and measures by the host's clock"
)]

pub mod child;
pub mod cpu;
pub mod figures;
pub mod fine;
#[path = "../../tests/support/mod.rs"]
pub mod kit;
pub mod peer;

use kit::cluster::Cluster;
use std::time::{Duration, SystemTime};

/// False where `cargo test --benches` only wants to see that it builds.
pub fn is_measuring() -> bool {
    !std::env::args().any(|argument| argument == "--test")
}

/// A server with PostgreSQL's default durability, on the disk of `TC_TEST_BASE`, with further settings.
/// It lives until [`end`] (or the end of the process).
pub fn durable_cluster(settings: &[(&str, &str)]) -> &'static Cluster {
    let settings: Vec<(&str, &str)> = [("fsync", "on")].iter().chain(settings).copied().collect();
    Box::leak(Box::new(Cluster::start_own(&settings)))
}

/// Stops the server and removes its folder.
pub fn end(cluster: &Cluster) {
    cluster.stop_fast();
    std::fs::remove_dir_all(cluster.socket_folder()).ok();
}

/// Prints what a reader must know to compare: `what` is measured, on which machine, with which server.
pub fn conditions(cluster: &Cluster, what: &str) {
    let mut client = cluster.named("postgres").connect();
    let mut show = |name: &str| -> String { client.query_one(&format!("SHOW {name}"), &[]).expect("SHOW").get(0) };
    let names = ["fsync", "synchronous_commit", "commit_delay", "commit_siblings", "shared_buffers", "autovacuum"];
    let settings: Vec<String> = names.iter().map(|name| format!("{name} {}", show(name))).collect();
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    println!("{what}");
    println!("{cpus} CPUs ({}), kernel {}", cpu_model(), first_line("/proc/sys/kernel/osrelease"));
    println!("PostgreSQL {}: {}; data in {}", show("server_version"), settings.join(", "), cluster.data().display());
}

fn cpu_model() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or("model not told", |(_, model)| model).trim().to_owned()
}

fn first_line(file: &str) -> String {
    std::fs::read_to_string(file).unwrap_or_default().lines().next().unwrap_or_default().to_owned()
}

/// The host's clock, seconds since the epoch: the server on the same host reads the same one.
pub fn epoch() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}
