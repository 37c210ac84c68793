//! A database's URL, with libpq's parameters and meanings. Parsed whole here, because the client crate
//! refuses `verify-full`, `sslrootcert`, `passfile` and a URL without a host. Reads no file and no
//! environment: both come in as data. Invariant: nothing printed from here holds a password.

mod environment;
mod parse;
mod passfile;

use crate::model::{Template, Values};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use environment::Environment;
pub(crate) use passfile::PassfileProblem;

/// Why a URL cannot be used; holds no password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("database URL {shown}: {why}")]
pub struct BadUrl {
    /// The URL without its password.
    pub shown: String,
    /// What is wrong with it.
    pub why: String,
}

/// Where a database is and how to get in. Two URLs are the same database if they are written the same.
#[derive(Clone)]
pub struct DatabaseUrl {
    source: String,
    shown: String,
    pub(crate) places: Vec<Place>,
    pub(crate) user: String,
    pub(crate) dbname: String,
    pub(crate) password: Option<String>,
    pub(crate) passfile: Option<PathBuf>,
    pub(crate) options: Option<String>,
    pub(crate) application_name: String,
    pub(crate) tls: Tls,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) session: Session,
    pub(crate) shuffle: bool,
    pub(crate) keepalive: Option<Keepalive>,
    pub(crate) tcp_user_timeout: Option<Duration>,
    pub(crate) channel_binding: tokio_postgres::config::ChannelBinding,
}

/// One host of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub host: Host,
    pub port: u16,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Socket(folder) => write!(f, "{}:{}", folder.display(), self.port),
            Host::Tcp { name, .. } if name.contains(':') => write!(f, "[{name}]:{}", self.port),
            Host::Tcp { name, .. } => write!(f, "{name}:{}", self.port),
        }
    }
}

/// How a host is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    /// By the folder of its socket.
    Socket(PathBuf),
    /// By name, or by `address` where that is given (the name then serves TLS and the password file).
    Tcp { name: String, address: Option<IpAddr> },
}

/// TLS as the URL wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tls {
    pub mode: TlsMode,
    pub root: Root,
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// False where certificate and key are the defaults, which need not exist.
    pub certificate_wanted: bool,
    pub server_name: bool,
}

/// `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsMode {
    Disable,
    /// `allow` too: TLS if the server has it.
    Prefer,
    /// TLS, whoever answers.
    Require,
    /// The certificate is signed by the root; its name does not matter.
    VerifyCa,
    /// And bears the host's name.
    VerifyFull,
}

/// Whom `verify-ca` and `verify-full` trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Root {
    /// This file alone.
    File(PathBuf),
    /// What the system trusts (`sslrootcert=system`).
    System,
    /// No home folder, hence no default file.
    Nowhere,
}

/// `target_session_attrs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Session {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

/// TCP keepalives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keepalive {
    pub idle: u32,
    pub interval: u32,
    pub count: u32,
}

/// Everything but unreserved characters (RFC 3986).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The URL of one tenant: each placeholder's value is percent-encoded.
pub fn render(template: &Template, values: Values<'_>) -> String {
    template.render_with(values, |value| utf8_percent_encode(value, ESCAPED).into())
}

impl DatabaseUrl {
    /// Parses a rendered URL.
    ///
    /// # Errors
    /// [`BadUrl`] says what is wrong, without the password.
    pub fn parse(url: &str, environment: &Environment) -> Result<Self, BadUrl> {
        parse::parse(url, environment).map_err(|why| BadUrl { shown: parse::shown(url), why })
    }

    /// The URL as it was written, password included: the identity of the database, never for a log.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The server behind it, as its hosts and ports.
    pub fn server(&self) -> String {
        let places: Vec<String> = self.places.iter().map(ToString::to_string).collect();
        places.join(",")
    }

    /// True if both are databases of one server, as far as their URLs tell.
    pub fn is_beside(&self, other: &Self) -> bool {
        self.places == other.places
    }

    /// How long a connect may take: `connect_timeout` where it is shorter than `most`.
    pub(crate) fn deadline(&self, most: Duration) -> Duration {
        self.connect_timeout.map_or(most, |timeout| timeout.min(most))
    }
}

impl PartialEq for DatabaseUrl {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for DatabaseUrl {}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests;
