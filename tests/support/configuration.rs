//! A supervisor's configuration in the making, key by key, so that a test says only what it is about.
//! It checks nothing: a wrong key reaches the product, which is there to refuse it.

use super::cluster::{Cluster, TestDatabase};
use super::daemon::Supervisor;
use super::journal::Journal;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// A configuration and what goes with it. Clones share the journal, but every supervisor prepared from
/// one has a folder of its own (so a clone with another `node` is another host as far as locks go).
#[derive(Debug, Clone)]
pub struct Configuration {
    table: Table,
    environment: Vec<(String, String)>,
    journal: Journal,
    raw: Option<String>,
    unprivileged: bool,
    elsewhere: bool,
    program: Option<PathBuf>,
}

impl Configuration {
    /// Unless told otherwise: two workers, node `node1`, a slot every two seconds from the epoch, a poll every second, the
    /// journal's job (which ends at once), logs in its own folder, messages to stderr.
    pub(super) fn new() -> Self {
        let journal = Journal::new();
        let job = vec![journal.job(), "{tenant}".to_owned()];
        Self {
            table: Table::new(),
            environment: Vec::new(),
            journal,
            raw: None,
            unprivileged: false,
            elsewhere: false,
            program: None,
        }
        .set("workers", 2)
        .set("node", "node1")
        .set("job.command", job)
        .set("job.kill_after", "2s")
        .set("schedule.every", "2s")
        .set("schedule.offset", "0s")
        .set("database.poll", "1s")
        .set("tenants.refresh", "1s")
        .set("log.target", "stderr")
    }

    /// Sets a key by its dotted name: `set("schedule.every", "1h")`.
    pub fn set(self, name: &str, value: impl Into<Value>) -> Self {
        self.set_at(&name.split('.').collect::<Vec<_>>(), value)
    }

    /// Sets a key by its path: `set_at(&["override", "*.big.example", "every"], "1h")`.
    pub fn set_at(mut self, path: &[&str], value: impl Into<Value>) -> Self {
        let (last, tables) = path.split_last().expect("a key");
        let mut table = &mut self.table;
        for name in tables {
            let inner = table.entry(*name).or_insert_with(|| Value::Table(Table::new()));
            table = inner.as_table_mut().expect("a table on the way to the key");
        }
        table.insert((*last).to_owned(), value.into());
        self
    }

    /// Takes a key out again.
    pub fn unset(mut self, name: &str) -> Self {
        let mut table = &mut self.table;
        let (tables, last) = name.rsplit_once('.').map_or((Vec::new(), name), |(t, l)| (t.split('.').collect(), l));
        for name in tables {
            let Some(inner) = table.get_mut(name).and_then(Value::as_table_mut) else { return self };
            table = inner;
        }
        table.remove(last);
        self
    }

    /// The tenants, by name.
    pub fn tenants<S: AsRef<str>>(self, names: &[S]) -> Self {
        self.set("tenants.list", names.iter().map(|name| name.as_ref().to_owned()).collect::<Vec<_>>())
    }

    /// One shared database.
    pub fn database(self, database: &TestDatabase) -> Self {
        self.set("database.url", database.url())
    }

    /// One database per tenant, which bears the tenant's name; sets the tenants too.
    pub fn database_each(self, cluster: &Cluster, databases: &[TestDatabase]) -> Self {
        let names: Vec<&str> = databases.iter().map(|database| database.name.as_str()).collect();
        self.set("database.url", cluster.url_of("{tenant}")).tenants(&names)
    }

    /// What every tenant without a plan of its own does: lines of shell.
    pub fn plan_for_all(self, shell: &str) -> Self {
        self.journal.plan_for_all(shell);
        self
    }

    /// What one tenant does: lines of shell, such as `sleep 20` or `exit 3`.
    pub fn plan(self, tenant: &str, shell: &str) -> Self {
        self.journal.plan(tenant, shell);
        self
    }

    /// A variable of the supervisor's and the commands' environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The file's text as it is, instead of the keys (for mistakes that a table cannot hold). `@FOLDER@` stands for the folder.
    pub fn raw(mut self, text: &str) -> Self {
        self.raw = Some(text.to_owned());
        self
    }

    /// The supervisor is not root, and is alone under its user: for what the kernel lets root do in spite of all limits.
    pub fn unprivileged(mut self) -> Self {
        self.unprivileged = true;
        self.journal.open_to_others();
        self
    }

    /// The supervisor is on a host of its own, as far as the product can tell: in a PID namespace. Needs root.
    pub fn elsewhere(mut self) -> Self {
        self.elsewhere = true;
        self
    }

    /// A copy of the binary, to be started by this path: it may be replaced while it runs.
    pub fn program(mut self, path: PathBuf) -> Self {
        self.program = Some(path);
        self
    }

    pub(super) fn own_program(&self) -> Option<&Path> {
        self.program.as_deref()
    }

    /// The jobs' journal.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Writes it all into a folder and starts nothing.
    pub fn prepare(self) -> Supervisor {
        Supervisor::prepare(self)
    }

    /// Writes it, starts the daemon, and waits until that says READY.
    pub fn start(self) -> Supervisor {
        let mut supervisor = self.prepare();
        supervisor.start();
        supervisor
    }

    pub(super) fn is_unprivileged(&self) -> bool {
        self.unprivileged
    }

    pub(super) fn is_elsewhere(&self) -> bool {
        self.elsewhere
    }

    pub(super) fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// The file's text for a supervisor in `folder`.
    pub(super) fn render(&self, folder: &Path) -> String {
        if let Some(raw) = &self.raw {
            return raw.replace("@FOLDER@", &folder.display().to_string());
        }
        let mut full = self.clone();
        for (name, value) in [("state", "state"), ("job.log", "logs/{tenant}.log")] {
            if full.lookup(name).is_none() {
                full = full.set(name, folder.join(value).display().to_string());
            }
        }
        toml::to_string(&full.table).expect("a table that TOML can hold")
    }

    /// The URLs of the first few databases, for whoever explains a failure.
    pub(super) fn some_databases(&self) -> Vec<String> {
        let Some(url) = self.lookup("database.url").and_then(Value::as_str) else { return Vec::new() };
        let tenants = self.lookup("tenants.list").and_then(Value::as_array).cloned().unwrap_or_default();
        let names = tenants.iter().filter_map(Value::as_str).take(3);
        let mut urls: Vec<String> = names
            .map(|name| url.replace("{tenant}", name).replace("{tenant_}", &name.replace(['.', '-'], "_")))
            .collect();
        urls.dedup();
        urls
    }

    fn lookup(&self, name: &str) -> Option<&Value> {
        let mut parts = name.split('.');
        let mut value = self.table.get(parts.next()?)?;
        for part in parts {
            value = value.get(part)?;
        }
        Some(value)
    }
}
