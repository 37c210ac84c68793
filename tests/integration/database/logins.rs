//! How a session gets in: TLS with an authority of the test's own, sockets, password files and variables;
//! and that no password comes out anywhere.

use super::drain;
use crate::support::cluster::{Cluster, TestDatabase};
use crate::support::configuration::Configuration;
use crate::support::daemon::Supervisor;
use crate::support::proc;
use crate::support::wait::{eventually, secs};
use crate::support::world::world;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// With every letter that a URL must escape.
const PASSWORD: &str = "Gehe1m/p@ss:w%rd?#x";
const PASSWORD_IN_URL: &str = "Gehe1m%2Fp%40ss%3Aw%25rd%3F%23x";
/// What may stand in no output, whichever way it was escaped.
const SECRET: &str = "Gehe1m";

/// A server that lets `safe` in by password and TLS (or socket) only, and `certified` by certificate.
struct Secured {
    cluster: Cluster,
    database: TestDatabase,
    folder: PathBuf,
}

/// The one of this test process; the guardian clears it away.
fn secured() -> &'static Secured {
    static SECURED: OnceLock<Secured> = OnceLock::new();
    SECURED.get_or_init(Secured::start)
}

impl Secured {
    fn start() -> Self {
        let (cluster, folder) = (Cluster::start_own(&[]), world().folder("tls"));
        let server = "subjectAltName=DNS:db.test";
        authority(&folder, "ca");
        authority(&folder, "stranger");
        certificate(&folder, "server", "/CN=db.test", server);
        certificate(&folder, "client", "/CN=certified", "extendedKeyUsage=clientAuth");
        let data = cluster.data();
        let owner = fs::metadata(&data).unwrap();
        for name in ["ca.crt", "server.crt", "server.key"] {
            fs::copy(folder.join(name), data.join(name)).unwrap();
            fs::set_permissions(data.join(name), fs::Permissions::from_mode(0o600)).unwrap();
            chown(data.join(name), Some(owner.uid()), Some(owner.gid())).unwrap();
        }
        let rules = "local all safe scram-sha-256\nlocal all all trust\nhostssl all safe all scram-sha-256\n\
                     hostssl all certified all cert\nhostnossl all safe all reject\nhost all postgres all trust\n";
        fs::write(data.join("pg_hba.conf"), rules).unwrap();
        let database = cluster.own_databases(1, "secured").remove(0);
        cluster.admin(&format!("CREATE ROLE safe LOGIN PASSWORD '{PASSWORD}'"));
        cluster.admin(&format!("CREATE ROLE certified LOGIN; ALTER DATABASE \"{}\" OWNER TO safe", database.name));
        for setting in ["ssl = on", "ssl_ca_file = 'ca.crt'"] {
            cluster.admin(&format!("ALTER SYSTEM SET {setting}"));
        }
        cluster.admin("SELECT pg_reload_conf()");
        eventually(secs(10), "the server speaks TLS", || {
            let mut psql = world().command("psql", None);
            psql.env("PGCONNECT_TIMEOUT", "3").args(["-X", "-qtc", "SELECT 1", "-d"]);
            psql.arg(format!("{}?sslmode=require", database.url())).output().unwrap().status.success()
        });
        Self { cluster, database, folder }
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// The URL of a user (with or without password) by TCP.
    fn url(&self, login: &str, host: &str, rest: &str) -> String {
        format!("postgresql://{login}@{host}:{}/{}?{rest}", self.cluster.port(), self.database.name)
    }
}

fn openssl(folder: &Path, args: &str) {
    let output = Command::new("openssl").current_dir(folder).args(args.split(' ')).output().expect("openssl");
    assert!(output.status.success(), "openssl {args}: {}", String::from_utf8_lossy(&output.stderr));
}

fn authority(folder: &Path, name: &str) {
    openssl(
        folder,
        &format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={name} -keyout {name}.key -out {name}.crt"
        ),
    );
}

fn certificate(folder: &Path, name: &str, subject: &str, extension: &str) {
    openssl(
        folder,
        &format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj {subject} -keyout {name}.key -out {name}.csr"
        ),
    );
    fs::write(folder.join(format!("{name}.ext")), extension).unwrap();
    openssl(
        folder,
        &format!(
            "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile {name}.ext -out {name}.crt"
        ),
    );
}

fn with(url: &str) -> Configuration {
    Supervisor::builder().tenants(&["a"]).set("database.url", url)
}

/// Whether the binary gets in: an exit code and what it says.
#[track_caller]
fn try_in(configuration: Configuration) -> (i32, String) {
    let output = configuration.prepare().command(&["migrate", "--dry-run"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    for bytes in [&output.stdout, &output.stderr] {
        assert!(!String::from_utf8_lossy(bytes).contains(SECRET), "{said}");
    }
    (output.status.code().unwrap_or(-1), said)
}

#[track_caller]
fn gets_in(configuration: Configuration) {
    assert_eq!(try_in(configuration), (0, String::new()));
}

#[track_caller]
fn is_refused(configuration: Configuration, because: &[&str]) {
    let (code, said) = try_in(configuration);
    assert_eq!(code, 69, "no database at all could be reached: {said}");
    for word in because {
        assert!(said.to_lowercase().contains(&word.to_lowercase()), "{word:?} is not in {said}");
    }
}

#[test]
fn sslmode_means_what_it_means_to_libpq() {
    let it = secured();
    let safe = |host: &str, rest: &str| with(&it.url(&format!("safe:{PASSWORD_IN_URL}"), host, rest));
    let (ca, stranger) =
        (format!("sslrootcert={}", it.file("ca.crt")), format!("sslrootcert={}", it.file("stranger.crt")));
    let here = "hostaddr=127.0.0.1";

    is_refused(safe("127.0.0.1", "sslmode=disable"), &["pg_hba", "no encryption"]);
    gets_in(safe("127.0.0.1", "sslmode=require"));
    gets_in(safe("127.0.0.1", ""));
    gets_in(safe("wrong.test", &format!("sslmode=verify-ca&{ca}&{here}")));
    is_refused(safe("db.test", &format!("sslmode=verify-ca&{stranger}&{here}")), &["TLS", "certificate verify failed"]);
    gets_in(safe("db.test", &format!("sslmode=verify-full&{ca}&{here}")));
    is_refused(
        safe("wrong.test", &format!("sslmode=verify-full&{ca}&{here}")),
        &["TLS", "hostname mismatch", "wrong.test"],
    );
    is_refused(safe("127.0.0.1", &format!("sslmode=verify-full&{ca}")), &["TLS", "mismatch", "127.0.0.1"]);
    is_refused(
        safe("db.test", &format!("sslmode=verify-full&{stranger}&{here}")),
        &["TLS", "certificate verify failed"],
    );
    let missing = format!("sslmode=verify-full&sslrootcert=/nowhere/ca.crt&{here}");
    is_refused(safe("db.test", &missing), &["/nowhere/ca.crt", "cannot be read"]);
    let shown = format!("sslcert={}&sslkey={}", it.file("client.crt"), it.file("client.key"));
    gets_in(with(&it.url("certified", "db.test", &format!("sslmode=verify-full&{ca}&{here}&{shown}"))));
    is_refused(with(&it.url("certified", "127.0.0.1", "sslmode=require")), &["certificate"]);
}

#[test]
fn a_tenant_runs_over_a_verified_session() {
    let it = secured();
    let rest = format!("sslmode=verify-full&sslrootcert={}&hostaddr=127.0.0.1", it.file("ca.crt"));
    // The database is that of the tests beside this one, the tenant its own.
    let url = it.url(&format!("safe:{PASSWORD_IN_URL}"), "db.test", &rest);
    let supervisor = with(&url).tenants(&["alone"]).prepare();
    let output = supervisor.command(&["run", "--once", "-v"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(supervisor.journal().read().ended("alone"), 1, "{}", String::from_utf8_lossy(&output.stderr));
}

/// A password file in a folder of its own.
fn passfile(name: &str, line: &str, mode: u32) -> PathBuf {
    let path = world().folder("home").join(name);
    fs::write(&path, line).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

#[test]
fn a_password_comes_from_a_file_a_variable_or_the_url() {
    let it = secured();
    let plain = || with(&it.url("safe", "127.0.0.1", "sslmode=require"));
    let escaped = PASSWORD.replace('\\', "\\\\").replace(':', "\\:");
    let line = format!("# ours\nother:*:*:*:no\n127.0.0.1:{}:{}:safe:{escaped}\n", it.cluster.port(), it.database.name);
    let home = |file: &Path| file.parent().unwrap().display().to_string();

    gets_in(plain().env("HOME", &home(&passfile(".pgpass", &line, 0o600))));
    gets_in(plain().env("PGPASSFILE", &passfile("elsewhere", &line, 0o400).display().to_string()));
    let own = passfile("own", &line, 0o600).display().to_string();
    gets_in(with(&it.url("safe", "127.0.0.1", &format!("sslmode=require&passfile={own}"))));
    gets_in(plain().env("PGPASSWORD", PASSWORD));
    gets_in(with(&it.url("safe", "127.0.0.1", &format!("sslmode=require&password={PASSWORD_IN_URL}"))));
    // The URL before the variable, the variable before the file.
    gets_in(with(&it.url(&format!("safe:{PASSWORD_IN_URL}"), "127.0.0.1", "")).env("PGPASSWORD", "wrong"));

    let open = passfile(".pgpass", &line, 0o644);
    is_refused(plain().env("HOME", &home(&open)), &["password", ".pgpass", "chmod 0600"]);
    let nowhere = world().folder("home").display().to_string();
    is_refused(plain().env("HOME", &nowhere), &["password", "PGPASSWORD", ".pgpass"]);
    let wrong = plain().env("HOME", &nowhere).env("PGPASSWORD", &format!("{SECRET}-wrong"));
    is_refused(wrong, &["password authentication failed", "safe", "PGPASSWORD", ".pgpass"]);
}

#[test]
fn a_socket_is_found_by_the_url_or_by_pghost() {
    let it = secured();
    let (folder, port) = (it.cluster.socket_folder().display().to_string(), it.cluster.port().to_string());
    let name = &it.database.name;
    gets_in(with(&format!("postgresql://postgres@/{name}?host={folder}&port={port}")));
    gets_in(with(&format!("postgresql://postgres@{}:{port}/{name}", folder.replace('/', "%2F"))));
    gets_in(
        with(&format!("postgresql:///{name}")).env("PGHOST", &folder).env("PGPORT", &port).env("PGUSER", "postgres"),
    );
    gets_in(with(&format!("postgresql://safe:{PASSWORD_IN_URL}@/{name}")).env("PGHOST", &folder).env("PGPORT", &port));
    let nobody = with(&format!("postgresql:///{name}")).env("PGHOST", "/nowhere").env("PGUSER", "postgres");
    is_refused(nobody, &["/nowhere/.s.PGSQL.5432"]);
}

/// All that others may read while a supervisor and a job of it run.
fn readable(supervisor: &Supervisor, job: i32) -> Vec<(String, String)> {
    let mut found = vec![
        ("its log".to_owned(), supervisor.log()),
        ("the tenant's log".to_owned(), supervisor.tenant_log("a")),
        ("its command line".to_owned(), proc::command_line(supervisor.pid())),
        ("the job's command line".to_owned(), proc::command_line(job)),
        ("the job's environment".to_owned(), proc::environment(job).join("\n")),
        ("its notifications".to_owned(), format!("{:?}", supervisor.notify().lines())),
    ];
    for args in
        [&["status"][..], &["status", "--json"], &["config"], &["migrate"], &["request", "a"], &["run", "--dry-run"]]
    {
        let output = supervisor.command(args);
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        found.push((format!("{args:?}"), text));
    }
    let mut folders = vec![supervisor.state()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                found.push((entry.path().display().to_string(), fs::read_to_string(entry.path()).unwrap_or_default()));
            }
        }
    }
    found
}

#[test]
fn no_password_comes_out_anywhere() {
    let it = secured();
    let bare = it.url("safe", "127.0.0.1", "sslmode=require");
    let full = it.url(&format!("safe:{PASSWORD_IN_URL}"), "127.0.0.1", "sslmode=require");
    let wrong = it.url(&format!("safe:{PASSWORD_IN_URL}x"), "127.0.0.1", "");
    let base = |url: &str| {
        with(url).set("log.level", "debug").plan_for_all("env; tr '\\0' '\\n' </proc/$PPID/cmdline; sleep 60")
    };
    for (what, configuration) in [
        ("in the URL", base(&full)),
        ("in a parameter", base(&it.url("safe", "127.0.0.1", &format!("password={PASSWORD_IN_URL}")))),
        ("in our own variable", base(&bare).env("TENANTCRON_DATABASE_URL", &full)),
        ("in PGPASSWORD", base(&bare).env("PGPASSWORD", PASSWORD)),
    ] {
        let mut supervisor = configuration.start();
        supervisor.command(&["request", "a"]);
        let job = eventually(secs(30), "the job runs", || supervisor.journal().read().runs.last().map(|run| run.pid));
        for (place, text) in readable(&supervisor, job) {
            assert!(!text.contains(SECRET), "given {what}, it stands in {place}:\n{text}");
        }
        assert!(supervisor.stop().success());
        let log = supervisor.log() + &supervisor.tenant_log("a");
        assert!(!log.contains(SECRET), "given {what}, it stands in a log:\n{log}");
    }
    let mut refused = base(&wrong).start();
    let told = refused.wait_for_log("is down", secs(20));
    assert!(told.contains("password authentication failed") && told.contains("safe"), "{told}");
    for (place, text) in readable(&refused, refused.pid()) {
        assert!(!text.contains(SECRET) || place == "the job's environment", "refused, it stands in {place}:\n{text}");
    }
    drain(&mut refused);
    // A password that was not escaped makes another URL of it, which is shown nowhere either.
    for raw in [format!("safe:{PASSWORD}"), format!("safe:{SECRET}/x"), format!("safe:{SECRET}"), format!("{SECRET}:")]
    {
        let shown = with(&it.url(&raw, "127.0.0.1:x", "")).prepare();
        for args in [&["status"][..], &["config"], &["run", "--once"]] {
            let output = shown.command(args);
            let text =
                [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
            assert!(!text.contains(SECRET) || raw.starts_with(SECRET), "{raw}: {args:?}: {text}");
        }
    }
}
