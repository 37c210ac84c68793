//! `postgresql://[user[:password]@][host[:port][,…]][/dbname][?parameter=value&…]` to a [`DatabaseUrl`].
//! What the URL leaves open comes from the environment, then from libpq's defaults.

use super::{DatabaseUrl, Environment, Host, Keepalive, Place, Root, Session, Tls, TlsMode};
use percent_encoding::percent_decode_str;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use tokio_postgres::config::ChannelBinding;

/// Where Debian's libpq looks for sockets.
pub(super) const SOCKETS: &str = "/var/run/postgresql";

/// What may be a piece of a password is not shown.
const ESCAPE: &str = " (a password's `/ ? # @ :` must be percent-encoded)";

/// Parameters and the variables that stand in for them.
const KNOWN: [(&str, &str); 30] = [
    ("host", "PGHOST"),
    ("hostaddr", "PGHOSTADDR"),
    ("port", "PGPORT"),
    ("dbname", "PGDATABASE"),
    ("user", "PGUSER"),
    ("password", "PGPASSWORD"),
    ("passfile", "PGPASSFILE"),
    ("options", "PGOPTIONS"),
    ("application_name", ""),
    ("fallback_application_name", ""),
    ("client_encoding", ""),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("keepalives", ""),
    ("keepalives_idle", ""),
    ("keepalives_interval", ""),
    ("keepalives_count", ""),
    ("tcp_user_timeout", ""),
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("sslsni", "PGSSLSNI"),
    ("sslcompression", ""),
    ("gssencmode", ""),
    ("krbsrvname", ""),
    ("channel_binding", "PGCHANNELBINDING"),
    ("target_session_attrs", "PGTARGETSESSIONATTRS"),
    ("load_balance_hosts", "PGLOADBALANCEHOSTS"),
    ("ssl_min_protocol_version", ""),
    ("require_auth", ""),
];

/// The URL without its passwords. One that was not escaped may hold any of `/?@`: everything up to the last `@`
/// counts as its part.
pub(super) fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "(not a URL)".to_owned() };
    let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
    let kept: Vec<&str> = query
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.split('=').next().is_some_and(|name| name.contains("password")))
        .collect();
    let mark = if kept.is_empty() { "" } else { "?" };
    let rest = format!("{before}{mark}{}", kept.join("&"));
    match rest.rsplit_once('@').and_then(|(login, tail)| Some((login.split_once(':')?.0, tail))) {
        Some((user, tail)) => format!("{scheme}://{user}@{tail}"),
        None => format!("{scheme}://{rest}"),
    }
}

pub(super) fn parse(url: &str, environment: &Environment) -> Result<DatabaseUrl, String> {
    let given = parameters(url)?;
    let given = Given { given, environment };
    let user = match given.get("user") {
        Some(user) => user.to_owned(),
        None => environment.user.clone().ok_or("no user: name one in the URL or in PGUSER")?,
    };
    let seconds = |name| -> Result<Option<u32>, String> { given.number(name) };
    Ok(DatabaseUrl {
        source: url.to_owned(),
        shown: shown(url),
        places: places(&given)?,
        dbname: given.get("dbname").unwrap_or(&user).to_owned(),
        user,
        password: given.get("password").map(str::to_owned),
        passfile: given.get("passfile").map(PathBuf::from).or_else(|| environment.in_home(".pgpass")),
        options: given.get("options").map(str::to_owned),
        application_name: given.get("application_name").unwrap_or("tenantcron").to_owned(),
        tls: tls(&given)?,
        // libpq's oldest habit: one second is too short and counts as two, zero is no limit
        connect_timeout: seconds("connect_timeout")?.filter(|s| *s > 0).map(|s| Duration::from_secs(s.max(2).into())),
        session: given.word("target_session_attrs", Session::Any, |word| match word {
            "any" => Some(Session::Any),
            "read-write" => Some(Session::ReadWrite),
            "read-only" => Some(Session::ReadOnly),
            "primary" => Some(Session::Primary),
            "standby" => Some(Session::Standby),
            "prefer-standby" => Some(Session::PreferStandby),
            _ => None,
        })?,
        shuffle: given.word("load_balance_hosts", false, |word| match word {
            "disable" => Some(false),
            "random" => Some(true),
            _ => None,
        })?,
        keepalive: match seconds("keepalives")? {
            Some(0) => None,
            _ => Some(Keepalive {
                idle: seconds("keepalives_idle")?.filter(|s| *s > 0).unwrap_or(30),
                interval: seconds("keepalives_interval")?.filter(|s| *s > 0).unwrap_or(10),
                count: seconds("keepalives_count")?.filter(|n| *n > 0).unwrap_or(3),
            }),
        },
        tcp_user_timeout: seconds("tcp_user_timeout")?.filter(|ms| *ms > 0).map(|ms| Duration::from_millis(ms.into())),
        channel_binding: given.word("channel_binding", ChannelBinding::Prefer, |word| match word {
            "disable" => Some(ChannelBinding::Disable),
            "prefer" => Some(ChannelBinding::Prefer),
            "require" => Some(ChannelBinding::Require),
            _ => None,
        })?,
    })
}

/// Splits the URL into named values, percent-decoded; later ones win, as in libpq.
fn parameters(url: &str) -> Result<BTreeMap<String, String>, String> {
    let rest = url
        .strip_prefix("postgresql://")
        .or_else(|| url.strip_prefix("postgres://"))
        .ok_or("it must begin with postgresql://")?;
    let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = before.split_at(before.find('/').unwrap_or(before.len()));
    let mut given = BTreeMap::new();
    let hosts = match authority.rsplit_once('@') {
        Some((login, hosts)) => {
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            keep(&mut given, "user", user)?;
            keep(&mut given, "password", password)?;
            hosts
        }
        None => authority,
    };
    let (names, ports): (Vec<_>, Vec<_>) = hosts.split(',').map(split_port).unzip();
    keep(&mut given, "host", &names.join(","))?;
    keep(&mut given, "port", &ports.join(","))?;
    keep(&mut given, "dbname", path.strip_prefix('/').unwrap_or_default())?;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(|| format!("a parameter has no value{ESCAPE}"))?;
        match name {
            "ssl" if value == "true" => keep(&mut given, "sslmode", "require")?,
            "service" | "requirepeer" | "sslcrl" | "sslcrldir" | "sslpassword" | "sslnegotiation" => {
                return Err(format!("parameter `{name}` is not supported"));
            }
            _ if KNOWN.iter().any(|(known, _)| *known == name) => {
                given.remove(name);
                keep(&mut given, name, value)?;
            }
            _ if query.contains('@') => return Err(format!("unknown parameter{ESCAPE}")),
            _ => return Err(format!("unknown parameter `{name}`")),
        }
    }
    if given.get("gssencmode").is_some_and(|mode| mode == "require") {
        return Err("gssencmode=require is not supported".to_owned());
    }
    Ok(given)
}

/// `host:port`, where the host may be an address in brackets.
fn split_port(place: &str) -> (&str, &str) {
    if let Some((address, rest)) = place.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        return (address, rest.strip_prefix(':').unwrap_or_default());
    }
    place.split_once(':').unwrap_or((place, ""))
}

fn keep(given: &mut BTreeMap<String, String>, name: &str, value: &str) -> Result<(), String> {
    let value = percent_decode_str(value).decode_utf8().map_err(|_| format!("`{name}` is not UTF-8"))?;
    if value.contains('\0') {
        return Err(format!("`{name}` holds a zero byte"));
    }
    if value.chars().any(|letter| letter != ',') {
        given.insert(name.to_owned(), value.into_owned());
    }
    Ok(())
}

/// What was given, with the environment behind it.
struct Given<'a> {
    given: BTreeMap<String, String>,
    environment: &'a Environment,
}

impl Given<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        let variable = KNOWN.iter().find(|(known, _)| *known == name).map_or("", |(_, variable)| variable);
        self.given.get(name).map(String::as_str).or_else(|| self.environment.variable(variable))
    }

    fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, String> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.trim().parse().map(Some).map_err(|_| format!("`{name}` must be a number, not `{value}`"))
    }

    fn word<T>(&self, name: &str, default: T, read: impl Fn(&str) -> Option<T>) -> Result<T, String> {
        let Some(value) = self.get(name) else { return Ok(default) };
        read(value).ok_or_else(|| format!("`{name}` cannot be `{value}`"))
    }
}

fn places(given: &Given<'_>) -> Result<Vec<Place>, String> {
    let list =
        |name| given.get(name).map(|value| value.split(',').map(str::trim).collect::<Vec<_>>()).unwrap_or_default();
    let (hosts, addresses, ports) = (list("host"), list("hostaddr"), list("port"));
    let count = hosts.len().max(addresses.len()).max(1);
    if (!hosts.is_empty() && !addresses.is_empty() && hosts.len() != addresses.len())
        || (ports.len() > 1 && ports.len() != count)
    {
        return Err(format!(
            "{} hosts, {} hostaddrs and {} ports do not match",
            hosts.len(),
            addresses.len(),
            ports.len()
        ));
    }
    let place = |at: usize| {
        let port = match ports.get(at).or(ports.first()).copied().unwrap_or_default() {
            "" => 5432,
            port => {
                port.parse().ok().filter(|port| *port > 0).ok_or_else(|| format!("the port is not a number{ESCAPE}"))?
            }
        };
        let host = hosts.get(at).copied().unwrap_or_default();
        let address = match addresses.get(at).copied().unwrap_or_default() {
            "" => None,
            address => Some(IpAddr::from_str(address).map_err(|_| format!("hostaddr `{address}` is not an address"))?),
        };
        let host = match address {
            None if host.is_empty() => Host::Socket(PathBuf::from(SOCKETS)),
            None if host.starts_with('/') => Host::Socket(PathBuf::from(host)),
            Some(address) if host.is_empty() => Host::Tcp { name: address.to_string(), address: Some(address) },
            _ => Host::Tcp { name: host.to_owned(), address },
        };
        Ok(Place { host, port })
    };
    (0..count).map(place).collect()
}

fn tls(given: &Given<'_>) -> Result<Tls, String> {
    let default = |file: &str| given.environment.in_home(&format!(".postgresql/{file}"));
    let system = given.get("sslrootcert") == Some("system");
    let mode =
        given.word("sslmode", if system { TlsMode::VerifyFull } else { TlsMode::Prefer }, |word| match word {
            "disable" => Some(TlsMode::Disable),
            "allow" | "prefer" => Some(TlsMode::Prefer),
            "require" => Some(TlsMode::Require),
            "verify-ca" => Some(TlsMode::VerifyCa),
            "verify-full" => Some(TlsMode::VerifyFull),
            _ => None,
        })?;
    if system && mode != TlsMode::VerifyFull {
        return Err("sslrootcert=system needs sslmode=verify-full".to_owned());
    }
    let file = |name, default| given.get(name).map(PathBuf::from).or(default);
    Ok(Tls {
        mode,
        root: match file("sslrootcert", default("root.crt")) {
            _ if system => Root::System,
            Some(path) => Root::File(path),
            None => Root::Nowhere,
        },
        certificate: file("sslcert", default("postgresql.crt")),
        key: file("sslkey", default("postgresql.key")),
        certificate_wanted: given.get("sslcert").is_some(),
        server_name: given.number::<u8>("sslsni")? != Some(0),
    })
}
