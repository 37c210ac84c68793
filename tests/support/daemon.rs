//! The built binary as a daemon: a folder, a configuration and a journal of its own, and a world that is
//! gone when the test is: supervisor, children, what they left behind by setsid, orphans.
//! It knows the command line and the signals, and nothing of what the product is made of.

use super::configuration::Configuration;
use super::journal::Journal;
use super::notify::NotifySocket;
use super::proc;
use super::wait::{eventually, exit_within, millis, secs};
use super::world::{kill_marked, marked, signal, world};
use nix::sys::signal::Signal;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::thread::JoinHandle;
use std::time::Duration;

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_tenantcron");
const READY: Duration = secs(15);
const COMMAND_ENDS: Duration = secs(60);

/// A supervisor with its folder, running or not.
pub struct Supervisor {
    configuration: Configuration,
    folder: PathBuf,
    mark: String,
    child: Option<Child>,
    notify: NotifySocket,
    /// The user that it and its commands run as, if not the tests' own.
    user: Option<u32>,
}

impl Supervisor {
    /// Begins a configuration; see [`Configuration`] for what it holds unless told otherwise.
    pub fn builder() -> Configuration {
        Configuration::new()
    }

    /// Writes the configuration and starts nothing: for `run --once`, and for commands while it is down.
    pub(super) fn prepare(configuration: Configuration) -> Self {
        let folder = world().folder("sup");
        for name in ["state", "logs"] {
            fs::create_dir(folder.join(name)).expect("a folder of the supervisor");
        }
        let notify = NotifySocket::bind(folder.join("notify"));
        let user = (configuration.is_unprivileged() && nix::unistd::geteuid().is_root()).then(|| own_user(&folder));
        let supervisor = Self { configuration, folder, mark: world().fresh_mark(), child: None, notify, user };
        supervisor.write_configuration();
        supervisor
    }

    /// Starts the daemon and waits until it says READY.
    pub fn start(&mut self) -> &mut Self {
        self.spawn(&[]);
        eventually(READY, "the supervisor says READY", || {
            if let Some(status) = self.ended() {
                panic!("the supervisor ended at its start: {status}\n{}", self.log());
            }
            if self.notify.count("READY=1") > 0 { Ok(()) } else { Err(self.log()) }
        });
        self
    }

    /// Starts `run` with further arguments and waits for nothing.
    pub fn spawn(&mut self, args: &[&str]) -> &mut Self {
        assert!(self.ended().is_some() || self.child.is_none(), "it runs already");
        self.notify.clear();
        let log = File::options().create(true).append(true).open(self.folder.join("stderr")).expect("its log");
        let mut command = if self.configuration.is_elsewhere() { self.elsewhere() } else { self.plain_command() };
        command.arg("run").arg("--config").arg(self.config_path()).args(args);
        command.env("NOTIFY_SOCKET", self.notify.path()).stderr(log.try_clone().expect("its log")).stdout(log);
        let child = command.spawn().expect("starting the supervisor");
        world().watch(child.id() as i32);
        self.child = Some(child);
        self
    }

    /// Our first process there would take all others along when it dies, as the kernel has it: a shell stands in.
    fn elsewhere(&self) -> Command {
        let mut command = world().command("unshare", Some(&self.mark));
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "/bin/sh", "-c"]);
        command.args(["\"$0\" \"$@\" & wait $!", BINARY]);
        command.envs(self.configuration.environment().iter().cloned()).current_dir(&self.folder);
        command
    }

    /// The supervisor's pid.
    pub fn pid(&self) -> i32 {
        let pid = self.child.as_ref().expect("a started supervisor").id() as i32;
        if !self.configuration.is_elsewhere() {
            return pid;
        }
        eventually(secs(5), "the supervisor in its namespace", || {
            let shell = *proc::children(pid).first()?;
            proc::children(shell).into_iter().find(|one| proc::command_line(*one).contains("tenantcron"))
        })
    }

    /// Sends it a signal.
    pub fn signal(&self, which: Signal) {
        signal(self.pid(), which);
    }

    /// TERM, and its exit status; fails where it does not end.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait_exit(secs(45))
    }

    /// SIGKILL: its children live on.
    pub fn kill9(&mut self) {
        self.signal(Signal::SIGKILL);
        self.wait_exit(secs(5));
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait_exit(&mut self, deadline: Duration) -> ExitStatus {
        let child = self.child.as_mut().expect("a started supervisor");
        let Some(status) = exit_within(child, deadline) else {
            panic!("the supervisor did not end within {deadline:?}:\n{}", self.log())
        };
        status
    }

    /// Its exit status, if it was started and has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().expect("waiting for the supervisor")
    }

    /// Changes the configuration file; a HUP makes it count.
    pub fn reconfigure(&mut self, change: impl FnOnce(Configuration) -> Configuration) {
        self.configuration = change(self.configuration.clone());
        self.write_configuration();
    }

    /// Runs a verb of the same binary with the same configuration: `["status", "--json"]`. Never hangs.
    #[track_caller]
    pub fn command(&self, args: &[&str]) -> Output {
        self.command_within(COMMAND_ENDS, args)
    }

    /// The same with another deadline.
    #[track_caller]
    pub fn command_within(&self, deadline: Duration, args: &[&str]) -> Output {
        let (verb, rest) = args.split_first().expect("a verb");
        let mut command = self.plain_command();
        command.arg(verb).arg("--config").arg(self.config_path()).args(rest);
        output_within(command, deadline)
    }

    /// The binary with this supervisor's environment and no argument.
    pub fn plain_command(&self) -> Command {
        let mut command = match self.user {
            None => {
                let program = self.configuration.own_program().unwrap_or_else(|| Path::new(BINARY));
                world().command(program, Some(&self.mark))
            }
            Some(user) => {
                let mut command = world().command(binary_for_others(), Some(&self.mark));
                command.uid(user).gid(user);
                command
            }
        };
        command.envs(self.configuration.environment().iter().cloned()).current_dir(&self.folder);
        command
    }

    /// What it has written to stderr so far, over all its starts.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("stderr")).unwrap_or_default()
    }

    /// Waits until its log holds `text`, and returns that line.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str, deadline: Duration) -> String {
        eventually(deadline, &format!("the log says {text:?}"), || {
            let log = self.log();
            log.lines().find(|line| line.contains(text)).map(str::to_owned).ok_or(log)
        })
    }

    /// A tenant's log.
    pub fn tenant_log(&self, tenant: &str) -> String {
        let bytes = fs::read(self.folder.join("logs").join(format!("{tenant}.log"))).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What it tells its service manager.
    pub fn notify(&self) -> &NotifySocket {
        &self.notify
    }

    /// The jobs' own journal.
    pub fn journal(&self) -> &Journal {
        self.configuration.journal()
    }

    /// The configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.folder.join("test.toml")
    }

    /// Its folder: `test.toml`, `state`, `logs`, `stderr`, and room for whatever a test needs.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its state folder.
    pub fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// The mark in the environment of all that it started.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    fn write_configuration(&self) {
        fs::write(self.config_path(), self.configuration.render(&self.folder)).expect("writing the configuration");
    }

    /// What someone who reads a failure wants to see.
    fn explain(&self) {
        let mut pids: Vec<_> = marked(&self.mark).into_iter().collect();
        pids.sort_unstable();
        eprintln!("--- configuration\n{}", self.configuration.render(&self.folder));
        eprintln!("--- supervisor's log (end)\n{}", tail(&self.log(), 80));
        eprintln!("--- its processes");
        for pid in pids {
            let stat = proc::stat(pid);
            eprintln!("{pid} {} {}", stat.map_or('?', |stat| stat.state), proc::command_line(pid));
        }
        for url in self.configuration.some_databases() {
            eprintln!("--- rows of {url}\n{}", rows(&url));
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.explain();
        }
        if let Some(child) = &mut self.child {
            let family = proc::descendants(child.id() as i32);
            child.kill().ok();
            child.wait().ok();
            family.into_iter().for_each(|pid| signal(pid, Signal::SIGKILL));
        }
        kill_marked(&self.mark);
        fs::remove_dir_all(&self.folder).ok();
    }
}

/// A user that nobody else is, who owns all in a supervisor's folder.
fn own_user(folder: &Path) -> u32 {
    let user = 40_000 + world().number();
    for name in ["", "state", "logs", "notify"] {
        std::os::unix::fs::chown(folder.join(name), Some(user), Some(user)).expect("giving a folder away");
    }
    user
}

/// A copy of the binary where every user gets at it: the build may lie in a home folder.
fn binary_for_others() -> &'static Path {
    static COPY: OnceLock<PathBuf> = OnceLock::new();
    COPY.get_or_init(|| {
        let copy = world().folder("binary").join("tenantcron");
        fs::copy(BINARY, &copy).expect("copying the binary");
        copy
    })
}

/// Runs a command to its end; kills it and fails if that does not come in time.
#[track_caller]
pub fn output_within(command: Command, deadline: Duration) -> Output {
    try_output_within(command, deadline).unwrap_or_else(|why| panic!("{why}"))
}

fn try_output_within(mut command: Command, deadline: Duration) -> Result<Output, String> {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| format!("{error}: {command:?}"))?;
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let Some(status) = exit_within(&mut child, deadline) else {
        child.kill().ok();
        child.wait().ok();
        return Err(format!("not ended within {deadline:?}: {command:?}"));
    };
    // A grandchild may hold the pipes open: what came until then is the output.
    Ok(Output { status, stdout: finish(stdout), stderr: finish(stderr) })
}

type Collected = (std::sync::Arc<std::sync::Mutex<Vec<u8>>>, JoinHandle<()>);

fn collect(pipe: Option<impl Read + Send + 'static>) -> Collected {
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let into = seen.clone();
    let thread = std::thread::spawn(move || {
        let (Some(mut pipe), mut buffer) = (pipe, [0; 8192]) else { return };
        while let Ok(size @ 1..) = pipe.read(&mut buffer) {
            into.lock().expect("the output").extend_from_slice(buffer.get(..size).unwrap_or_default());
        }
    });
    (seen, thread)
}

fn finish((seen, thread): Collected) -> Vec<u8> {
    let begun = std::time::Instant::now();
    while !thread.is_finished() && begun.elapsed() < secs(2) {
        std::thread::sleep(millis(2));
    }
    std::mem::take(&mut seen.lock().expect("the output"))
}

fn rows(url: &str) -> String {
    let mut command = world().command("psql", None);
    command.env("PGCONNECT_TIMEOUT", "3").args(["-X", "-d", url]);
    for sql in ["TABLE tenantcron_status", "TABLE tenantcron_run", "TABLE tenantcron_flag"] {
        command.args(["-c", sql]);
    }
    // No panic here: a test is panicking already.
    let text = match try_output_within(command, secs(10)) {
        Ok(output) => [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat(),
        Err(why) => why,
    };
    tail(&text, 80)
}

fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
