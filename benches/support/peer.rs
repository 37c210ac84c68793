//! What is measured beside the product: programs in C (compiled here, from `benches/peers`), in Python, or
//! of the system. A peer of ours ends with a line `runs=N failed=N peak_kb=N` on its output.

use super::cpu;
use super::kit::proc;
use super::kit::world::world;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// What one whole run of a peer took.
#[derive(Debug, Clone)]
pub struct Report {
    /// From before its start to its end.
    pub seconds: f64,
    /// Its own CPU seconds and its children's; the server's not.
    pub cpu: f64,
    /// What it has printed.
    pub output: String,
    peak_kb: f64,
}

impl Report {
    /// A figure of its last line: `runs`, `failed` or another.
    pub fn figure(&self, name: &str) -> Option<f64> {
        let line = self.output.lines().last()?;
        line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
    }

    /// Its peak memory in MB: as it tells, else as seen from outside.
    pub fn peak_mb(&self) -> f64 {
        self.figure("peak_kb").unwrap_or(self.peak_kb) / 1024.0
    }

    /// Fails unless it tells of `wanted` runs of which none failed.
    #[track_caller]
    pub fn expect_runs(&self, wanted: usize) {
        let told = (self.figure("runs"), self.figure("failed"));
        assert_eq!(told, (Some(wanted as f64), Some(0.0)), "a peer did not do its work: {}", self.output);
    }
}

/// A program in `benches/peers`, or a file of any other kind there.
pub fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers").join(name)
}

/// The program `benches/peers/NAME.c`, compiled with libpq into this world's folder at its first use.
pub fn compiled(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let program = FOLDER.get_or_init(|| world().folder("peers")).join(name);
    if !program.exists() {
        let flags = must(Command::new("pkg-config").args(["--cflags", "--libs", "libpq"]));
        let flags = String::from_utf8(flags.stdout).expect("flags");
        let mut cc = Command::new("cc");
        cc.args(["-O2", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-o"]).arg(&program);
        must(cc.arg(source(&format!("{name}.c"))).args(flags.split_whitespace()));
    }
    program
}

/// A Python that has psycopg2: Debian's own before whatever else PATH holds.
pub fn python() -> &'static str {
    let has = |python: &&str| {
        let look = Command::new(python).args(["-c", "import psycopg2"]).stderr(Stdio::null()).status();
        look.is_ok_and(|status| status.success())
    };
    ["/usr/bin/python3", "python3"].into_iter().find(has).expect("python3 with psycopg2 is missing: run `make deps`")
}

/// A peer's command: marked, so that nothing of it outlives the bench.
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    world().command(program, None)
}

/// Runs a peer to its end; fails unless it ends well. Nothing else may be waited for meanwhile.
pub fn run(mut command: Command) -> Report {
    let cpu = cpu::waited_for();
    let began = Instant::now();
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut pipe = child.stdout.take().expect("its output");
    let reader = std::thread::spawn(move || {
        let mut output = String::new();
        pipe.read_to_string(&mut output).map(|_| output)
    });
    let pid = child.id() as i32;
    let mut peak_kb = 0;
    // One small file of /proc now and then: its peak only ever grows.
    let watcher = std::thread::spawn(move || {
        while let now @ 1.. = proc::peak_kb(pid) {
            peak_kb = now.max(peak_kb);
            std::thread::sleep(Duration::from_millis(20));
        }
        peak_kb
    });
    let status = child.wait().expect("waiting for a peer");
    let seconds = began.elapsed().as_secs_f64();
    let output = reader.join().expect("its output").expect("its output");
    assert!(status.success(), "{command:?}: {status}\n{output}");
    let peak_kb = watcher.join().expect("its memory") as f64;
    Report { seconds, cpu: cpu::waited_for() - cpu, output, peak_kb }
}

fn must(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}: run `make deps`"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}
