//! How bad a line is: the five of syslog's eight severities that we use, with their numbers, which the journal's
//! `<n>` prefix shares.

use super::ALERT;
use log::{Level, Metadata};

/// A severity; the discriminant is syslog's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    Alert = 1,
    Error = 3,
    Warning = 4,
    Info = 6,
    Debug = 7,
}

impl Severity {
    pub(super) fn of(metadata: &Metadata<'_>) -> Self {
        match metadata.level() {
            Level::Error if metadata.target() == ALERT => Self::Alert,
            Level::Error => Self::Error,
            Level::Warn => Self::Warning,
            Level::Info => Self::Info,
            Level::Debug | Level::Trace => Self::Debug,
        }
    }

    /// The number in `<n>`.
    pub(super) fn number(self) -> u8 {
        self as u8
    }

    /// The word on a terminal.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Alert => "ALERT",
            Self::Error => "error",
            Self::Warning => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }

    /// The sequence that begins its colour.
    pub(super) fn colour(self) -> &'static str {
        match self {
            Self::Alert => "\x1b[1;41;37m",
            Self::Error => "\x1b[1;31m",
            Self::Warning => "\x1b[33m",
            Self::Info => "\x1b[32m",
            Self::Debug => "\x1b[2m",
        }
    }
}

impl From<Severity> for syslog::Severity {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Alert => Self::LOG_ALERT,
            Severity::Error => Self::LOG_ERR,
            Severity::Warning => Self::LOG_WARNING,
            Severity::Info => Self::LOG_INFO,
            Severity::Debug => Self::LOG_DEBUG,
        }
    }
}
