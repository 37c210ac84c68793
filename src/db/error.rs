//! Errors and what follows from them: SQLSTATE → wait, give up, tell a person; this database's, or its whole
//! server's. Every text names the database without its password, the reason, and what to do where something can be done.

use super::url::{DatabaseUrl, PassfileProblem};
use crate::model::{Trouble, TroubleKind};
use std::error::Error as _;
use std::time::Duration;
use std::{fmt, io};
use tokio_postgres::error::{Severity, SqlState};

/// No session.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// Nobody answered in time.
    Silent(Duration),
    /// The host's name is not known.
    Name(String, String),
    /// The line could not be opened.
    Line(String),
    /// TLS failed.
    Tls(String),
    /// A certificate or key could not be used.
    Files(String),
    /// The server refused, or the password file was of no use.
    Login(tokio_postgres::Error, Option<PassfileProblem>),
    /// Every server was of the wrong kind.
    Session,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent(wait) => write!(f, "no answer within {} s", wait.as_secs_f32().round()),
            Self::Name(name, why) => write!(f, "host {name} is not known: {why}"),
            Self::Line(why) => f.write_str(why),
            Self::Tls(why) => write!(f, "TLS: {why}"),
            Self::Files(why) => f.write_str(why),
            Self::Login(error, problem) => {
                f.write_str(&chain(error))?;
                problem.iter().try_for_each(|problem| write!(f, " ({problem})"))?;
                f.write_str(if is_about_password(error) { PASSWORD_HINT } else { "" })
            }
            Self::Session => f.write_str("no server of the kind that target_session_attrs asks for"),
        }
    }
}

impl ConnectError {
    /// True if the server could not even be spoken to.
    pub fn is_of_line(&self) -> bool {
        matches!(self, Self::Silent(_) | Self::Name(..) | Self::Line(_))
    }

    /// True if no other database of the server could be reached either.
    fn is_of_server(&self) -> bool {
        match self {
            Self::Silent(_) | Self::Name(..) | Self::Line(_) | Self::Tls(_) | Self::Session => true,
            Self::Files(_) => false,
            Self::Login(error, _) => is_of_server(error),
        }
    }
}

/// Where a password is looked for.
const PASSWORD_HINT: &str =
    "; give the right one in the URL, in PGPASSWORD, or in ~/.pgpass (host:port:database:user:password, mode 0600)";

fn is_about_password(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        Some(code) => *code == SqlState::INVALID_PASSWORD,
        None => chain(error).contains("password missing"),
    }
}

/// Why a piece of work on a session failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server said no and took everything back.
    Server(tokio_postgres::Error),
    /// The line broke, or the server ended the session: what was sent may have happened.
    Lost(tokio_postgres::Error),
    /// The server ended the session before the commit: nothing happened.
    Ended(tokio_postgres::Error),
    /// No answer in time.
    Late(Duration),
    /// It took so long that it had to give its place to a database whose leases run out.
    MadeWay(Duration),
    /// A person must act.
    Unfit(String),
    /// Somebody else was faster or holds a lock: again.
    Busy(String),
    /// It answers, and nothing can be written.
    ReadOnly,
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        let stays = error
            .as_db_error()
            .is_some_and(|db| !matches!(db.parsed_severity(), Some(Severity::Fatal | Severity::Panic)));
        // values that could not be encoded or decoded leave the session as it was, but that is our own mistake:
        // a new session is the safe answer
        if stays { Self::Server(error) } else { Self::Lost(error) }
    }
}

impl Failure {
    /// True if the session cannot be used again, or should not: a server that turned read-only is not the one wanted.
    pub fn ends_session(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::Ended(_) | Self::Late(_) | Self::MadeWay(_))
            || self.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
    }

    /// The server's code, if it gave one.
    pub fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Server(error) | Self::Lost(error) | Self::Ended(error) => error.code(),
            _ => None,
        }
    }

    /// True if the tables are not what they were when they were last looked at.
    pub fn tables_changed(&self) -> bool {
        matches!(self, Self::Server(_))
            && [
                &SqlState::UNDEFINED_TABLE,
                &SqlState::UNDEFINED_COLUMN,
                &SqlState::INVALID_COLUMN_REFERENCE,
                &SqlState::INVALID_SCHEMA_NAME,
                // a prepared statement whose table has another shape now, or that is not there
                &SqlState::FEATURE_NOT_SUPPORTED,
                &SqlState::INVALID_SQL_STATEMENT_NAME,
            ]
            .contains(&self.code().unwrap_or(&SqlState::SUCCESSFUL_COMPLETION))
    }

    /// What the scheduler hears. `wrote`: something that writes was sent.
    pub fn trouble(&self, url: &DatabaseUrl, wrote: bool) -> Trouble {
        let (kind, why) = match self {
            Self::Server(error) => {
                let (kind, hint) = of_code(error.code().unwrap_or(&SqlState::INTERNAL_ERROR));
                (kind, format!("{}{hint}", chain(error)))
            }
            Self::Ended(error) => (TroubleKind::Refused, chain(error)),
            Self::Lost(error) => (broken(wrote), format!("connection lost: {}", chain(error))),
            Self::Late(wait) => (broken(wrote), format!("no answer within {} s", wait.as_secs_f32().round())),
            Self::MadeWay(wait) => {
                let why = "no answer, and its connection was needed for runs whose leases must be confirmed";
                (broken(wrote), format!("{why}: after {} s", wait.as_secs_f32().round()))
            }
            Self::Unfit(why) => (TroubleKind::Unfit, why.clone()),
            Self::Busy(why) => (TroubleKind::Refused, why.clone()),
            Self::ReadOnly => (TroubleKind::Refused, format!("nothing can be written{READ_ONLY_HINT}")),
        };
        Trouble { kind, text: format!("database {url}: {why}"), whole_server: self.is_of_server() }
    }

    /// True if the other databases of the server cannot do any better.
    fn is_of_server(&self) -> bool {
        match self {
            Self::Server(error) | Self::Lost(error) | Self::Ended(error) => is_of_server(error),
            Self::Late(_) | Self::ReadOnly => true,
            Self::MadeWay(_) | Self::Unfit(_) | Self::Busy(_) => false,
        }
    }
}

fn broken(wrote: bool) -> TroubleKind {
    if wrote { TroubleKind::Interrupted } else { TroubleKind::Unreachable }
}

/// What the scheduler hears when there is no session.
pub(crate) fn unreachable(url: &DatabaseUrl, error: &ConnectError) -> Trouble {
    Trouble {
        kind: TroubleKind::Unreachable,
        text: format!("database {url}: cannot connect: {error}"),
        whole_server: error.is_of_server(),
    }
}

/// What to do about a server that cannot be written.
const READ_ONLY_HINT: &str = "; it is read-only (a standby?): target_session_attrs=read-write finds the primary";

/// What a server's code means, and what to do about it.
fn of_code(code: &SqlState) -> (TroubleKind, &'static str) {
    let class = code.code().get(..2).unwrap_or_default();
    match class {
        _ if *code == SqlState::READ_ONLY_SQL_TRANSACTION => (TroubleKind::Refused, READ_ONLY_HINT),
        _ if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            (TroubleKind::Unfit, "; grant the rights, or let an owner run `tenantcron migrate`")
        }
        _ if [&SqlState::UNDEFINED_TABLE, &SqlState::UNDEFINED_COLUMN, &SqlState::INVALID_COLUMN_REFERENCE]
            .contains(&code) =>
        {
            (TroubleKind::Unfit, "; run `tenantcron migrate`")
        }
        // transaction rollback, resources, limits, locks and cancelling, the system, the server's own faults
        "40" | "53" | "54" | "55" | "57" | "58" | "XX" | "08" | "25" => (TroubleKind::Refused, ""),
        // what is left are rows or rights that our statements do not fit
        _ => (TroubleKind::Unfit, ""),
    }
}

/// True if the server said or did this for all its databases.
fn is_of_server(error: &tokio_postgres::Error) -> bool {
    match error.as_db_error() {
        // A database's own CONNECTION LIMIT has the code of the server's; the function that refused tells them apart.
        Some(db) => code_is_of_server(db.code()) && db.routine() != Some("CheckMyDatabase"),
        None => error.is_closed() || error.source().is_some_and(|cause| cause.is::<io::Error>()),
    }
}

/// Shutting down, crashed, starting up; no disk, memory or connection left; read-only; the line itself.
fn code_is_of_server(code: &SqlState) -> bool {
    matches!(code.code(), "57P01" | "57P02" | "57P03" | "53100" | "53200" | "53300" | "25006")
        || code.code().starts_with("08")
}

/// An error with its causes.
pub(crate) fn chain(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        let detail = db.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
        return format!("{}{detail} [{}]", db.message(), db.code().code());
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_tells_whether_to_wait_or_to_call_a_person() {
        for (code, want) in [
            (SqlState::READ_ONLY_SQL_TRANSACTION, TroubleKind::Refused),
            (SqlState::T_R_DEADLOCK_DETECTED, TroubleKind::Refused),
            (SqlState::LOCK_NOT_AVAILABLE, TroubleKind::Refused),
            (SqlState::ADMIN_SHUTDOWN, TroubleKind::Refused),
            (SqlState::TOO_MANY_CONNECTIONS, TroubleKind::Refused),
            (SqlState::DISK_FULL, TroubleKind::Refused),
            (SqlState::INSUFFICIENT_PRIVILEGE, TroubleKind::Unfit),
            (SqlState::UNDEFINED_TABLE, TroubleKind::Unfit),
            (SqlState::CHECK_VIOLATION, TroubleKind::Unfit),
            (SqlState::NOT_NULL_VIOLATION, TroubleKind::Unfit),
        ] {
            assert_eq!(of_code(&code).0, want, "{code:?}");
        }
    }

    #[test]
    fn a_code_tells_a_server_that_fails_from_one_of_its_databases() {
        for (code, want) in [
            (SqlState::ADMIN_SHUTDOWN, true),
            (SqlState::CRASH_SHUTDOWN, true),
            (SqlState::CANNOT_CONNECT_NOW, true),
            (SqlState::TOO_MANY_CONNECTIONS, true),
            (SqlState::DISK_FULL, true),
            (SqlState::READ_ONLY_SQL_TRANSACTION, true),
            (SqlState::CONNECTION_FAILURE, true),
            (SqlState::PROTOCOL_VIOLATION, true),
            (SqlState::from_code("57P04"), false), // this database was dropped
            (SqlState::from_code("57P05"), false), // this session was idle for too long
            (SqlState::QUERY_CANCELED, false),
            (SqlState::UNDEFINED_DATABASE, false),
            (SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, false), // ALLOW_CONNECTIONS false
            (SqlState::INVALID_PASSWORD, false),
            (SqlState::INVALID_AUTHORIZATION_SPECIFICATION, false),
            (SqlState::INSUFFICIENT_PRIVILEGE, false),
            (SqlState::INVALID_COLUMN_REFERENCE, false), // no unique index on the key
            (SqlState::UNDEFINED_TABLE, false),
            (SqlState::T_R_DEADLOCK_DETECTED, false),
            (SqlState::LOCK_NOT_AVAILABLE, false),
        ] {
            assert_eq!(code_is_of_server(&code), want, "{code:?}");
        }
    }

    #[test]
    fn what_came_without_a_code_is_the_servers_but_for_what_a_person_must_mend_here() {
        let url = DatabaseUrl::parse("postgresql://u@h/d", &Default::default()).unwrap();
        let second = Duration::from_secs(1);
        for (error, want) in [
            (ConnectError::Silent(second), true),
            (ConnectError::Name("h".into(), "no such name".into()), true),
            (ConnectError::Line("refused".into()), true),
            (ConnectError::Tls("expired".into()), true),
            (ConnectError::Session, true),
            (ConnectError::Files("no such file".into()), false),
        ] {
            assert_eq!(unreachable(&url, &error).whole_server, want, "{error:?}");
        }
        for (failure, want) in [
            (Failure::Late(second), true),
            (Failure::ReadOnly, true),
            (Failure::Unfit("no index".into()), false),
            (Failure::Busy("a table is in use".into()), false),
        ] {
            assert_eq!(failure.trouble(&url, true).whole_server, want, "{failure:?}");
        }
    }
}
