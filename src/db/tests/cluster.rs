//! A real PostgreSQL for these tests: started once a test process, in memory, on a port and a socket of
//! its own, with TLS by a CA of its own; stopped and removed by a guardian when the test process is gone,
//! however it went. Each test makes its own database.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

const BIN: &str = "/usr/lib/postgresql/15/bin";

/// The running cluster.
pub(crate) struct Cluster {
    /// Holds data, sockets, certificates.
    pub folder: PathBuf,
    /// On 127.0.0.1, and in the socket's name.
    pub port: u16,
    /// Ends the cluster when its standard input closes, which the kernel does for us.
    _guardian: Child,
}

/// The cluster of this process.
pub(crate) fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(start)
}

fn start() -> Cluster {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let memory = if Path::new("/dev/shm").is_dir() { PathBuf::from("/dev/shm") } else { std::env::temp_dir() };
    let folder = memory.join(format!("tenantcron-db-test-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    certificates(&folder);
    let root = nix::unistd::geteuid().is_root();
    let prefix = if root {
        assert!(Command::new("chown").args(["-R", "postgres"]).arg(&folder).status().unwrap().success());
        "runuser -u postgres -- "
    } else {
        ""
    };
    let shown = folder.display();
    // started first, so that nothing can be left behind
    let guardian = Command::new("sh")
        .arg("-c")
        .arg(format!(
            "cd /; read never; {prefix}{BIN}/pg_ctl -D {shown}/data stop -m immediate >/dev/null 2>&1; rm -rf {shown}"
        ))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let settings = format!(
        "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{shown}'\nfsync = off\ndynamic_shared_memory_type = mmap\n\
         max_connections = 60\nssl = on\nssl_cert_file = '{shown}/server.crt'\nssl_key_file = '{shown}/server.key'\n"
    );
    let access = "local all all trust\nhost secret all 127.0.0.1/32 scram-sha-256\nhostssl tls_only all 127.0.0.1/32 trust\n\
                  host tls_only all 127.0.0.1/32 reject\nhost all all 127.0.0.1/32 trust\n";
    sh(&format!("cd / && {prefix}{BIN}/initdb -N -A trust -U postgres --no-locale -E UTF8 -D {shown}/data"));
    append(&folder.join("data/postgresql.conf"), &settings);
    std::fs::write(folder.join("data/pg_hba.conf"), access).unwrap();
    sh(&format!("cd / && {prefix}{BIN}/pg_ctl -D {shown}/data -l {shown}/log -w start"));
    Cluster { folder, port, _guardian: guardian }
}

fn append(path: &Path, text: &str) {
    std::fs::OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// A CA, and a server certificate for the name `db.test`.
fn certificates(folder: &Path) {
    let shown = folder.display();
    let new = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30";
    sh(&format!(
        "{new} -keyout {shown}/ca.key -out {shown}/ca.crt -subj /CN=test-ca && \
         {new} -keyout {shown}/other.key -out {shown}/other.crt -subj /CN=other-ca && \
         {new} -keyout {shown}/server.key -out {shown}/server.crt -subj /CN=db.test -addext subjectAltName=DNS:db.test \
         -CA {shown}/ca.crt -CAkey {shown}/ca.key -addext basicConstraints=critical,CA:FALSE && \
         chmod 600 {shown}/server.key && chmod 644 {shown}/ca.crt"
    ));
}

/// Runs a command line; what it says is shown if it fails.
pub(crate) fn sh(line: &str) {
    let out = Command::new("sh").arg("-c").arg(line).output().unwrap();
    assert!(
        out.status.success(),
        "{line}\n{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
}

impl Cluster {
    /// A new database; its name.
    pub fn new_database(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        self.named_database(&name);
        name
    }

    /// A new database of this name, if there is none.
    pub fn named_database(&self, name: &str) {
        let mut client = self.client("postgres");
        if client.query("SELECT FROM pg_database WHERE datname = $1", &[&name]).unwrap().is_empty() {
            client.batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
        }
    }

    /// A blocking session of the test's own.
    pub fn client(&self, database: &str) -> postgres::Client {
        let config = format!("host={} port={} user=postgres dbname={database}", self.folder.display(), self.port);
        postgres::Client::connect(&config, postgres::NoTls).unwrap()
    }

    /// The URL of a database by the socket.
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://postgres@/{database}?host={}&port={}", self.folder.display(), self.port)
    }
}
