//! The types of a checked configuration. Their defaults stand in `keys`, as they would be written in a file.
//!
//! Invariant: every value is possible (nonzero where zero makes no sense, absolute paths, checked templates).

use super::{Source, WorkersExpr};
use crate::model::{Template, TenantName};
use glob::Pattern;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// A whole configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Most children at once on this node; default `cpu/2+1`.
    pub workers: WorkersExpr,
    /// This host's name in the rows; follows the rule of tenants' names. Default: the host's name.
    pub node: String,
    /// False on a standby node, which resets and starts nothing. Default true.
    pub enabled: bool,
    /// The state folder, absolute; none: the one that the contract's section 8 picks.
    pub state: Option<PathBuf>,
    /// What runs for a tenant, and how.
    pub job: Job,
    /// When it is due.
    pub schedule: Schedule,
    /// When a run is too long.
    pub stale: Stale,
    /// Most at once beyond this node.
    pub limits: Limits,
    /// What nodes do for each other.
    pub cluster: Cluster,
    /// Where tenants come from.
    pub tenants: Tenants,
    /// What differs for some tenants, in the order in which they apply: later wins.
    pub overrides: Vec<Override>,
    /// Where the rows are.
    pub database: Database,
    /// Where messages go.
    pub log: Log,
}

/// What runs for a tenant, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Program and arguments, at least the program; `{tenant} {tenant_} {database} {group} {run_id} {instance}`.
    pub command: Vec<Template>,
    /// Whom it runs as; not in this version, always none.
    pub user: Option<String>,
    /// Its working folder, absolute; none: the supervisor's.
    pub directory: Option<PathBuf>,
    /// After this long it gets SIGTERM; above zero. Default none.
    pub timeout: Option<Duration>,
    /// From SIGTERM to SIGKILL; above zero. Default 30 s.
    pub kill_after: Duration,
    /// −20 to 19, default 0.
    pub nice: i32,
    /// −1000 to 1000, default 500.
    pub oom_score_adj: i32,
    /// Its log file, absolute; `{tenant} {instance} {database} {group}`.
    /// Default `/var/log/tenantcron/{tenant}.log`, for others than root below `$XDG_STATE_HOME`.
    pub log: Template,
    /// Added to its environment.
    pub env: BTreeMap<String, String>,
}

/// When a tenant is due.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// From slot to slot; at least 1 ms. Default 20 min.
    pub every: Duration,
    /// Where in that time the slots lie. Default auto.
    pub offset: Offset,
    /// Which moments make done tenants needed. Default rolling.
    pub rounds: Rounds,
}

/// Where in `every` the slots lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offset {
    /// So long after the multiples of `every` since the epoch; may exceed `every`.
    Fixed(Duration),
    /// From the instance's name.
    Auto,
    /// From each tenant's name.
    Spread,
}

/// Which moments make done tenants needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounds {
    /// Each at its own slot.
    Rolling,
    /// When none is needed and fewer than `workers` run.
    Refill,
    /// When none is needed and nothing runs.
    Barrier,
}

/// When a run is too long, and what then.
#[derive(Debug, Clone, PartialEq)]
pub struct Stale {
    /// After this long; above zero. Default 24 h.
    pub after: Duration,
    /// What is done beside the alert. Default alert.
    pub action: StaleAction,
    /// From alert to alert; above zero. Default 1 h.
    pub repeat: Duration,
}

/// What is done about a stale run beside the alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StaleAction {
    /// Nothing.
    Alert,
    /// Its own node ends it.
    Kill,
    /// A claim whose owner cannot be asked is taken back.
    Release,
}

/// Most at once beyond this node; 0, the default, means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most tenants of the instance over all nodes.
    pub cluster: u32,
    /// Most tenants of one group.
    pub group: u32,
}

/// What nodes do for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cluster {
    /// The lease after which another node takes a run over; none is `never`. Longer than `kill_after` + 20 s.
    pub takeover_after: Option<Duration>,
}

/// Where tenants come from; at least one source is set.
#[derive(Debug, Clone, PartialEq)]
pub struct Tenants {
    /// Names as written, not yet checked: a bad one is reported when the source is read.
    pub list: Vec<String>,
    /// A folder (absolute) whose subfolders are tenants.
    pub directory: Option<PathBuf>,
    /// A query that lists them.
    pub query: Option<Query>,
    /// A program that prints them, with its arguments; empty: none.
    pub command: Vec<String>,
    /// Names to leave out.
    pub exclude: Vec<Pattern>,
    /// From reading to reading; above zero. Default 1 min.
    pub refresh: Duration,
}

/// A query that lists tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The database.
    pub url: String,
    /// The statement; its columns are taken by name, only `name` is required.
    pub sql: String,
}

/// What differs for the tenants that a pattern matches.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    /// On the tenant's name.
    pub pattern: Pattern,
    /// Instead of `schedule.every`.
    pub every: Option<Duration>,
    /// Instead of `job.timeout`; `Some(None)` is `"none"`.
    pub timeout: Option<Option<Duration>>,
    /// Instead of the group from the tenant's source; an empty text takes it away.
    pub group: Option<String>,
    /// Instead of `job.nice`.
    pub nice: Option<i32>,
    /// False: not started.
    pub enabled: Option<bool>,
    /// Where it stands.
    pub source: Source,
}

/// What holds for one tenant, overrides applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantSettings {
    /// From slot to slot.
    pub every: Duration,
    /// After this long it gets SIGTERM.
    pub timeout: Option<Duration>,
    /// What `limits.group` counts it by.
    pub group: Option<String>,
    /// Its niceness.
    pub nice: i32,
    /// False if an override disables this tenant. Whether this node starts anything at all is [`Config::enabled`].
    pub enabled: bool,
}

/// A run must end `kill_after` and this before its lease does, with time left to confirm it more than once.
pub const LEASE_MARGIN: Duration = Duration::from_secs(20);

impl Config {
    /// What holds for a tenant whose source gave it `group`.
    pub fn for_tenant(&self, tenant: &TenantName, group: Option<&str>) -> TenantSettings {
        let mut settings = TenantSettings {
            every: self.schedule.every,
            timeout: self.job.timeout,
            group: group.map(str::to_owned),
            nice: self.job.nice,
            enabled: true,
        };
        for one in self.overrides.iter().filter(|one| one.pattern.matches(tenant.as_str())) {
            settings.every = one.every.unwrap_or(settings.every);
            settings.timeout = one.timeout.unwrap_or(settings.timeout);
            settings.nice = one.nice.unwrap_or(settings.nice);
            settings.enabled = one.enabled.unwrap_or(settings.enabled);
            if let Some(group) = &one.group {
                settings.group = Some(group.clone()).filter(|text| !text.is_empty());
            }
        }
        settings
    }
}

/// Where the rows are.
#[derive(Debug, Clone, PartialEq)]
pub struct Database {
    /// `postgresql://…` with `{tenant} {tenant_} {database} {group} {instance}`; whether it varies by tenant decides the layout.
    pub url: Template,
    /// The status rows; default `tenantcron_status`.
    pub status_table: TableName,
    /// The runs; default `tenantcron_run`.
    pub run_table: TableName,
    /// A tenant's key: `{tenant}`, which always stands in it, and `{instance}`.
    pub key: Template,
    /// Whether `run` makes its tables and rows. Default auto.
    pub migrate: Migrate,
    /// Most connections at once, at least 1. Default 8.
    pub connections: u32,
    /// From poll to poll; none is `auto`, see [`Database::poll_interval`].
    pub poll: Option<Duration>,
    /// How long finished runs are kept. Default 30 days.
    pub keep_runs: Duration,
}

impl Database {
    /// From poll to poll of one database: `poll`, or 10 s where the database is shared and 1 min where each tenant has one.
    pub fn poll_interval(&self) -> Duration {
        let auto = if self.url.varies_by_tenant() { 60 } else { 10 };
        self.poll.unwrap_or(Duration::from_secs(auto))
    }
}

/// A table, perhaps with its schema; as written, to be quoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName {
    /// The schema; none: found by the search path.
    pub schema: Option<String>,
    /// The table, 1–63 bytes.
    pub name: String,
}

/// Whether `run` makes its tables and rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migrate {
    /// At first contact with a database.
    Auto,
    /// Only `tenantcron migrate` does.
    Manual,
}

/// Where messages go.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// Default auto.
    pub target: LogTarget,
    /// Default cron.
    pub facility: Facility,
    /// The least severe that is written; default info.
    pub level: log::LevelFilter,
    /// The syslog daemon's socket, absolute. Default /dev/log.
    pub socket: PathBuf,
}

/// Where messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard error on a terminal or under a journal, else syslog.
    Auto,
    /// The syslog daemon.
    Syslog,
    /// Standard error.
    Stderr,
}

/// A syslog facility.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facility {
    word: &'static str,
    number: u8,
}

impl Facility {
    /// Every facility that has a name of its own.
    pub const ALL: [Self; 20] = {
        const fn of(word: &'static str, number: u8) -> Facility {
            Facility { word, number }
        }
        [
            of("kern", 0),
            of("user", 1),
            of("mail", 2),
            of("daemon", 3),
            of("auth", 4),
            of("syslog", 5),
            of("lpr", 6),
            of("news", 7),
            of("uucp", 8),
            of("cron", 9),
            of("authpriv", 10),
            of("ftp", 11),
            of("local0", 16),
            of("local1", 17),
            of("local2", 18),
            of("local3", 19),
            of("local4", 20),
            of("local5", 21),
            of("local6", 22),
            of("local7", 23),
        ]
    };

    /// Its name, which the `syslog` crate reads too.
    pub fn as_str(self) -> &'static str {
        self.word
    }

    /// Its number, not yet multiplied by 8.
    pub fn number(self) -> u8 {
        self.number
    }
}
