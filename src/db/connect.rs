//! From a URL to a session, and back: resolve, connect, TLS with libpq's meanings, `target_session_attrs`,
//! all within one deadline shared among the hosts. No `SET` is sent and no start-up option of our own
//! (PgBouncer); nothing is retried here. Invariant: [`Connection::close`] returns only when the server's
//! process is gone or a second has passed, so that the pool's count is the server's count.

use super::error::{ConnectError, chain};
use super::statements::Prepared;
use super::stream::Stream;
use super::tls::connector;
use super::url::{DatabaseUrl, Host, Place, Session, Tls, TlsMode};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{NoTls, TlsConnect};
use tokio_postgres::{AsyncMessage, Client, Config, Notification, SimpleQueryMessage};

/// How long a polite goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);
/// How long asking the server to cancel may take.
const CANCEL: Duration = Duration::from_secs(5);

/// A session and the task that moves its bytes.
pub(crate) struct Connection {
    /// The session.
    pub client: Client,
    /// The statements of a busy minute, prepared here.
    pub prepared: Option<Arc<Prepared>>,
    /// Preparing was tried.
    pub tried_to_prepare: bool,
    driver: JoinHandle<()>,
    target: Target,
    /// None for a session in the clear.
    tls: Option<Tls>,
}

/// One address of one host.
#[derive(Debug, Clone)]
struct Target {
    place: Place,
    address: Address,
}

#[derive(Debug, Clone)]
enum Address {
    Socket(std::path::PathBuf),
    Tcp(SocketAddr),
}

/// Where notifications go, for the connection that listens.
pub(crate) type Ear = mpsc::UnboundedSender<Notification>;

impl Connection {
    /// Says goodbye and waits until the server's process has ended.
    pub async fn close(self) {
        drop(self.client);
        let mut driver = self.driver;
        if timeout(GOODBYE, &mut driver).await.is_err() {
            driver.abort();
        }
    }

    /// Gives the session up: asks the server to cancel what it is doing, as far as that can be asked, and cuts the line.
    pub fn abandon(self) {
        let token = self.client.cancel_token();
        self.driver.abort();
        let (target, tls) = (self.target, self.tls);
        tokio::spawn(timeout(CANCEL, async move {
            let Ok(stream) = Stream::connect(target.socket(), None, None).await else { return };
            // nobody learns whether it helped; the line is cut anyway
            let _ = match tls.as_ref().map(|tls| connector(tls, &target.place)) {
                None => token.cancel_query_raw(stream, NoTls).await,
                Some(Ok(connector)) => token.cancel_query_raw(stream, connector).await,
                Some(Err(_)) => Ok(()),
            };
        }));
    }
}

/// Opens a session within `limit`. Hosts are tried in order, each with its share of what time is left.
pub(crate) async fn connect(url: &DatabaseUrl, limit: Duration, ear: Option<Ear>) -> Result<Connection, ConnectError> {
    let started = Instant::now();
    let deadline = started + url.deadline(limit);
    let slow = || ConnectError::Silent(started.elapsed());
    let (mut last, mut targets) = (None, Vec::new());
    for place in &url.places {
        match timeout_at(deadline, resolve(place)).await.map_err(|_| slow())? {
            Ok(found) => targets.extend(found),
            Err(error) => last = Some(error),
        }
    }
    if url.shuffle {
        fastrand::shuffle(&mut targets);
    }
    // prefer-standby: first those that are standbys, then whoever answers
    let rounds: &[Session] = match url.session {
        Session::PreferStandby => &[Session::Standby, Session::Any],
        _ => std::slice::from_ref(&url.session),
    };
    let mut left = u32::try_from(targets.len() * rounds.len()).unwrap_or(u32::MAX);
    for wanted in rounds {
        for target in &targets {
            let share = deadline.saturating_duration_since(Instant::now()) / left.max(1);
            left = left.saturating_sub(1);
            match timeout(share, attempt(url, target, *wanted, ear.clone())).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => last = Some(error),
                Err(_) => last = Some(slow()),
            }
        }
    }
    Err(last.unwrap_or_else(slow))
}

async fn resolve(place: &Place) -> Result<Vec<Target>, ConnectError> {
    let target = |address| Target { place: place.clone(), address };
    match &place.host {
        Host::Socket(folder) => Ok(vec![target(Address::Socket(folder.join(format!(".s.PGSQL.{}", place.port))))]),
        Host::Tcp { address: Some(address), .. } => Ok(vec![target(Address::Tcp((*address, place.port).into()))]),
        Host::Tcp { name, address: None } => {
            let found = tokio::net::lookup_host((name.as_str(), place.port)).await;
            let found = found.map_err(|error| ConnectError::Name(name.clone(), error.to_string()))?;
            Ok(found.map(|address| target(Address::Tcp(address))).collect())
        }
    }
}

impl Target {
    fn socket(&self) -> Result<SocketAddr, &Path> {
        match &self.address {
            Address::Tcp(address) => Ok(*address),
            Address::Socket(path) => Err(path),
        }
    }
}

async fn attempt(
    url: &DatabaseUrl,
    target: &Target,
    wanted: Session,
    ear: Option<Ear>,
) -> Result<Connection, ConnectError> {
    // libpq never speaks TLS over a socket of this host
    let mode = match (&target.address, url.tls.mode) {
        (Address::Socket(_), _) | (_, TlsMode::Disable) => SslMode::Disable,
        (_, TlsMode::Prefer) => SslMode::Prefer,
        _ => SslMode::Require,
    };
    let first = login(url, target, mode, ear.clone()).await;
    let connection = match first {
        // libpq, too, goes on in the clear where TLS is only preferred
        Err(ConnectError::Tls(_)) if mode == SslMode::Prefer => login(url, target, SslMode::Disable, ear).await?,
        other => other?,
    };
    match suits(&connection.client, wanted).await {
        Ok(true) => Ok(connection),
        Ok(false) => {
            connection.close().await;
            Err(ConnectError::Session)
        }
        Err(error) => {
            connection.close().await;
            Err(error)
        }
    }
}

async fn login(
    url: &DatabaseUrl,
    target: &Target,
    mode: SslMode,
    ear: Option<Ear>,
) -> Result<Connection, ConnectError> {
    let stream = Stream::connect(target.socket(), url.keepalive, url.tcp_user_timeout)
        .await
        .map_err(|error| ConnectError::Line(error.to_string()))?;
    let password = url.password_for(&target.place);
    let mut config = Config::new();
    config.user(&url.user).dbname(&url.dbname).application_name(&url.application_name);
    config.ssl_mode(mode).channel_binding(url.channel_binding);
    if let Some(options) = &url.options {
        config.options(options);
    }
    if let Some(word) = &password.word {
        config.password(word);
    }
    let begun = match mode {
        SslMode::Disable => begin(&config, stream, NoTls, ear).await,
        _ => begin(&config, stream, connector(&url.tls, &target.place)?, ear).await,
    };
    let (client, driver) = begun.map_err(|error| {
        if error.as_db_error().is_none() && error.to_string().starts_with("error performing TLS handshake") {
            return ConnectError::Tls(chain(&error));
        }
        ConnectError::Login(error, password.problem)
    })?;
    let tls = (mode != SslMode::Disable).then(|| url.tls.clone());
    Ok(Connection { client, prepared: None, tried_to_prepare: false, driver, target: target.clone(), tls })
}

/// Logs in, and sets the task going that moves the bytes.
async fn begin<T>(
    config: &Config,
    stream: Stream,
    tls: T,
    ear: Option<Ear>,
) -> Result<(Client, JoinHandle<()>), tokio_postgres::Error>
where
    T: TlsConnect<Stream>,
    T::Stream: Send + 'static,
{
    let (client, mut connection) = config.connect_raw(stream, tls).await?;
    let driver = tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            let wanted = match (message, &ear) {
                (AsyncMessage::Notification(word), Some(ear)) => ear.send(word).is_ok(),
                _ => true,
            };
            if !wanted {
                break;
            }
        }
    });
    Ok((client, driver))
}

/// Whether the session is of the kind that `target_session_attrs` wants.
async fn suits(client: &Client, wanted: Session) -> Result<bool, ConnectError> {
    let (question, yes) = match wanted {
        Session::Any | Session::PreferStandby => return Ok(true),
        Session::ReadWrite => ("SHOW transaction_read_only", "off"),
        Session::ReadOnly => ("SHOW transaction_read_only", "on"),
        Session::Primary => ("SELECT pg_is_in_recovery()", "f"),
        Session::Standby => ("SELECT pg_is_in_recovery()", "t"),
    };
    let answer = client.simple_query(question).await.map_err(|error| ConnectError::Login(error, None))?;
    Ok(answer.iter().any(|message| matches!(message, SimpleQueryMessage::Row(row) if row.get(0) == Some(yes))))
}
