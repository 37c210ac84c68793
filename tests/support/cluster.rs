//! A private PostgreSQL: one for the test process, and one of its own for a test that stops or freezes it.
//! It runs as an unprivileged user, without fsync, on a port and socket of its own, and never outlives the
//! test process (see `world`). A database belongs to one test and is dropped with its [`TestDatabase`].

use super::proc;
use super::wait::{eventually, secs};
use super::world::{signal, world};
use nix::sys::signal::Signal;
use postgres::{Client, NoTls};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};

const START_TRIES: usize = 5;
const DEFAULTS: [(&str, &str); 8] = [
    ("fsync", "off"),
    ("max_connections", "400"),
    ("listen_addresses", "'127.0.0.1'"),
    ("unix_socket_permissions", "0777"),
    ("timezone", "'UTC'"),
    ("log_line_prefix", "'%m [%p] %a %d '"),
    ("max_wal_size", "'4GB'"),
    ("autovacuum_naptime", "'5min'"),
];

/// A running (or stopped) server.
pub struct Cluster {
    folder: PathBuf,
    binaries: PathBuf,
    port: u16,
    admin: Mutex<Option<Client>>,
    gone: AtomicBool,
}

/// A database of one test; dropped with it where the cluster is the shared one.
pub struct TestDatabase {
    /// Its name, which serves as a tenant's name too.
    pub name: String,
    url: String,
    socket_url: String,
    owner: Option<&'static Cluster>,
}

/// The cluster of this test process, started at its first use.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::start_own(&[]))
}

impl Cluster {
    /// A server of the test's own, with further settings (as in postgresql.conf); gone when dropped.
    pub fn start_own(settings: &[(&str, &str)]) -> Self {
        let folder = world().folder("pg");
        let mut cluster =
            Self { binaries: binaries(), port: 0, admin: Mutex::new(None), gone: AtomicBool::new(false), folder };
        if let Some(user) = server_user() {
            std::os::unix::fs::chown(&cluster.folder, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("chown");
        }
        let data = cluster.data();
        let data = data.to_str().expect("an ASCII path");
        cluster.must_run("initdb", &["-N", "-A", "trust", "-U", "postgres", "--no-locale", "-E", "UTF8", "-D", data]);
        let socket = format!("'{}'", cluster.folder.display());
        let mut text = String::new();
        for (name, value) in DEFAULTS.iter().chain([&("unix_socket_directories", socket.as_str())]).chain(settings) {
            text.push_str(&format!("{name} = {value}\n"));
        }
        append(&cluster.data().join("postgresql.conf"), &text);
        for _ in 0..START_TRIES {
            cluster.port = free_port();
            if cluster.try_start() {
                return cluster;
            }
        }
        panic!("PostgreSQL does not start:\n{}", cluster.log())
    }

    /// Starts it again after a stop, on the same port.
    pub fn start(&self) {
        eventually(secs(20), "PostgreSQL starts", || if self.try_start() { Ok(()) } else { Err(self.log()) });
        self.gone.store(false, Ordering::SeqCst);
    }

    /// Stops it as a crash would (`immediate`); the next start recovers.
    pub fn stop_immediate(&self) {
        self.stop("immediate");
    }

    /// Stops it as an administrator would (`fast`): clients are told.
    pub fn stop_fast(&self) {
        self.stop("fast");
    }

    fn stop(&self, mode: &str) {
        self.admin.lock().expect("the admin connection").take();
        self.sigcont();
        self.gone.store(true, Ordering::SeqCst); // after the thaw, which says the contrary
        if self.postmaster().is_some() {
            let data = self.data();
            self.must_run("pg_ctl", &["stop", "-w", "-m", mode, "-D", data.to_str().expect("an ASCII path")]);
        }
    }

    /// Freezes the postmaster: the kernel still accepts connections, nobody answers them; open ones go on.
    pub fn sigstop_postmaster(&self) {
        self.gone.store(true, Ordering::SeqCst);
        signal(self.postmaster().expect("a running server"), Signal::SIGSTOP);
    }

    /// Freezes the postmaster and every session: open connections hang too.
    pub fn sigstop_all(&self) {
        self.sigstop_postmaster();
        let postmaster = self.postmaster().expect("a running server");
        proc::children(postmaster).into_iter().for_each(|pid| signal(pid, Signal::SIGSTOP));
    }

    /// Thaws whatever was frozen.
    pub fn sigcont(&self) {
        let Some(postmaster) = self.postmaster() else { return };
        proc::children(postmaster).into_iter().for_each(|pid| signal(pid, Signal::SIGCONT));
        signal(postmaster, Signal::SIGCONT);
        self.gone.store(false, Ordering::SeqCst);
    }

    /// A fresh, empty database.
    pub fn database(&'static self) -> TestDatabase {
        self.databases(1, "t").pop().expect("one database")
    }

    /// `count` fresh, empty databases; their names begin with `prefix` and serve as tenants' names.
    pub fn databases(&'static self, count: usize, prefix: &str) -> Vec<TestDatabase> {
        self.create("template0", count, prefix).into_iter().map(|name| self.named_of(name, Some(self))).collect()
    }

    /// `count` copies of `template`, to which nobody may be connected.
    pub fn databases_like(&'static self, template: &TestDatabase, count: usize, prefix: &str) -> Vec<TestDatabase> {
        self.create(&template.name, count, prefix).into_iter().map(|name| self.named_of(name, Some(self))).collect()
    }

    /// The same for a server of the test's own: the databases go with the server.
    pub fn own_databases(&self, count: usize, prefix: &str) -> Vec<TestDatabase> {
        self.create("template0", count, prefix).into_iter().map(|name| self.named(name)).collect()
    }

    fn create(&self, template: &str, count: usize, prefix: &str) -> Vec<String> {
        let batch = world().number();
        let names: Vec<String> = (1..=count).map(|at| format!("{prefix}{batch}_{at}")).collect();
        for name in &names {
            self.admin(&format!("CREATE DATABASE \"{name}\" TEMPLATE \"{template}\" STRATEGY file_copy"));
        }
        names
    }

    /// A database that is there already (or never will be), by its name.
    pub fn named(&self, name: impl Into<String>) -> TestDatabase {
        self.named_of(name.into(), None)
    }

    fn named_of(&self, name: String, owner: Option<&'static Cluster>) -> TestDatabase {
        TestDatabase { url: self.url_of(&name), socket_url: self.socket_url_of(&name), owner, name }
    }

    /// The URL of a database by TCP; `name` may be a placeholder such as `{tenant}`.
    pub fn url_of(&self, name: &str) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/{name}", self.port)
    }

    /// The URL of a database by the Unix socket; `name` may be a placeholder.
    pub fn socket_url_of(&self, name: &str) -> String {
        format!("postgresql://postgres@/{name}?host={}&port={}", self.folder.display(), self.port)
    }

    /// Runs one statement in the database `postgres`.
    pub fn admin(&self, sql: &str) {
        let mut admin = self.admin.lock().expect("the admin connection");
        if admin.as_ref().is_none_or(Client::is_closed) {
            *admin = Some(connect(&self.url_of("postgres")));
        }
        let client = admin.as_mut().expect("a connection");
        client.batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of the Unix socket.
    pub fn socket_folder(&self) -> &Path {
        &self.folder
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The postmaster, if it runs.
    pub fn postmaster(&self) -> Option<i32> {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        text.lines().next()?.parse().ok().filter(|pid| proc::is_alive(*pid))
    }

    /// What the server has written to its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn try_start(&self) -> bool {
        let (data, log) = (self.data(), self.folder.join("log"));
        let port = format!("-p {}", self.port);
        let (data, log) = (data.to_str().expect("an ASCII path"), log.to_str().expect("an ASCII path"));
        self.program("pg_ctl")
            .args(["start", "-s", "-w", "-t", "30", "-D", data, "-l", log, "-o", &port])
            .status()
            .expect("running pg_ctl")
            .success()
    }

    fn must_run(&self, program: &str, args: &[&str]) {
        let output = self.program(program).args(args).output().unwrap_or_else(|error| panic!("{program}: {error}"));
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A PostgreSQL program, run as the server's user.
    fn program(&self, name: &str) -> Command {
        let path = self.binaries.join(name);
        let mut command = match server_user() {
            Some(user) => {
                let mut command = world().command("runuser", None);
                command.args(["-u", &user.name, "--"]).arg(path);
                command
            }
            None => world().command(path, None),
        };
        command.current_dir("/");
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop_immediate();
            fs::remove_dir_all(&self.folder).ok();
        } // else the guardian does it: a failure here would hide the first one
    }
}

impl TestDatabase {
    /// Its URL by TCP.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its URL by the Unix socket.
    pub fn socket_url(&self) -> &str {
        &self.socket_url
    }

    /// A connection; statements end after 60 s, so that no test hangs.
    pub fn connect(&self) -> Client {
        connect(&self.url)
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let Some(owner) = self.owner else { return };
        if !owner.gone.load(Ordering::SeqCst) && !std::thread::panicking() {
            owner.admin(&format!("DROP DATABASE IF EXISTS \"{}\" WITH (FORCE)", self.name));
        }
    }
}

fn connect(url: &str) -> Client {
    let mut config: postgres::Config = url.parse().expect("a URL of our own");
    config.connect_timeout(secs(5)).application_name("test").options("-c statement_timeout=60s");
    config.connect(NoTls).unwrap_or_else(|error| panic!("connecting to {url}: {error:?}"))
}

fn append(file: &Path, text: &str) {
    let mut all = fs::read_to_string(file).expect("postgresql.conf");
    all.push_str(text);
    fs::write(file, all).expect("postgresql.conf");
}

/// The user whom root runs the server as; none where the tests are not run by root.
fn server_user() -> Option<nix::unistd::User> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    let find = |name| nix::unistd::User::from_name(name).expect("the user database");
    Some(find("postgres").or_else(|| find("nobody")).expect("a user postgres or nobody"))
}

/// The programs of the newest installed PostgreSQL, else whatever PATH holds.
pub fn binaries() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok().map(|version| (version, entry.path())))
        .filter(|(_, path)| path.join("bin/initdb").exists())
        .max();
    if let Some((_, path)) = newest {
        return path.join("bin");
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .find(|folder| folder.join("initdb").exists())
        .expect("PostgreSQL's initdb is not installed: run `make deps`")
}

/// A port that nobody listens on, below those that the kernel hands out for outgoing connections.
fn free_port() -> u16 {
    (0..200)
        .map(|_| fastrand::u16(15_000..32_000))
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}
