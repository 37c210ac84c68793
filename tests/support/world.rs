//! All that one test process starts: one folder, one mark in the environment, and one guardian that
//! outlives it and clears both away, whether the test process ends well, panics or is killed.
//! The guardian learns of the end by a pipe that the kernel closes; nothing has to be run for it.

use super::proc;
use nix::sys::signal::{Signal, kill};
use nix::sys::statvfs::{FsFlags, Statvfs, statvfs};
use nix::unistd::Pid;
use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

const ROOM_WANTED: u64 = 2 << 30;

/// This test process's world.
pub struct World {
    root: PathBuf,
    mark: String,
    guardian: Mutex<Child>, // never waited for: it outlives us
    count: AtomicU32,
}

/// The world, made at its first use.
pub fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(World::make)
}

impl World {
    fn make() -> Self {
        let mark = format!("{}-{:08x}.", std::process::id(), fastrand::u32(..));
        let root = base_folder().join(format!("tenantcron-test-{}", mark.trim_end_matches('.')));
        let guardian = Command::new("/bin/sh")
            .args(["-c", include_str!("guardian.sh"), "tenantcron-test-guardian"])
            .arg(&root)
            .arg(&mark)
            .env_remove("TC_TEST_ID") // a world within a world
            .process_group(0) // a Ctrl-C on the terminal must not reach it
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starting the guardian");
        make_folder(&root);
        Self { root, mark, guardian: Mutex::new(guardian), count: AtomicU32::new(0) }
    }

    /// The folder in which everything lies; on memory where there is room.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A fresh number, different at every call.
    pub fn number(&self) -> u32 {
        self.count.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A fresh folder.
    pub fn folder(&self, what: &str) -> PathBuf {
        let folder = self.root.join(format!("{what}-{}", self.number()));
        make_folder(&folder);
        folder
    }

    /// A fresh mark: the value of `TC_TEST_ID` for one part of this world.
    pub fn fresh_mark(&self) -> String {
        format!("{}{}.", self.mark, self.number())
    }

    /// A command that carries `mark` (the world's own if none) and nothing of the caller's settings for us or PostgreSQL.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>, mark: Option<&str>) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if ["TENANTCRON_", "PG", "NOTIFY_", "WATCHDOG_"].iter().any(|prefix| text.starts_with(prefix)) {
                command.env_remove(&name);
            }
        }
        command.env("TC_TEST_ID", mark.unwrap_or(&self.mark)).env("LC_ALL", "C").stdin(Stdio::null());
        command
    }

    /// Tells the guardian of a process whose mark may not be readable (it writes its title over it).
    pub fn watch(&self, pid: i32) {
        if let Some(stat) = proc::stat(pid) {
            let mut guardian = self.guardian.lock().expect("the guardian");
            let pipe = guardian.stdin.as_mut().expect("the guardian's pipe");
            writeln!(pipe, "{pid} {}", stat.started).expect("telling the guardian");
        }
    }
}

/// Every process that carries `mark`, or a longer one that begins with it.
pub fn marked(mark: &str) -> HashSet<i32> {
    let wanted = format!("TC_TEST_ID={mark}");
    let carries = |pid: &i32| proc::environment(*pid).iter().any(|entry| entry.starts_with(&wanted));
    proc::all().into_iter().filter(carries).collect()
}

/// Sends a signal; a process that is gone is no failure.
pub fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).ok();
}

/// Kills every process that carries `mark`, again until none is left.
pub fn kill_marked(mark: &str) {
    for _ in 0..200 {
        let left = marked(mark);
        if left.is_empty() {
            return;
        }
        left.into_iter().for_each(|pid| signal(pid, Signal::SIGKILL));
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn make_folder(folder: &Path) {
    fs::create_dir(folder).unwrap_or_else(|error| panic!("making {}: {error}", folder.display()));
    // Others must get through: the server runs as another user where the tests run as root.
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("opening the folder to others");
}

/// `TC_TEST_BASE` names another place: benches that measure durable commits want a disk.
fn base_folder() -> PathBuf {
    if let Some(base) = std::env::var_os("TC_TEST_BASE") {
        return base.into();
    }
    let shm = Path::new("/dev/shm");
    // Jobs are scripts in it: some container engines mount it noexec.
    let usable = |stat: &Statvfs| !stat.flags().contains(FsFlags::ST_NOEXEC);
    let room = statvfs(shm).ok().filter(usable).map_or(0, |stat| stat.blocks_available() * stat.fragment_size());
    let writable = nix::unistd::access(shm, nix::unistd::AccessFlags::W_OK).is_ok();
    if writable && room >= ROOM_WANTED { shm.to_owned() } else { std::env::temp_dir() }
}
