//! The program's one logger. The `log` crate takes a logger once and for good, so this one stays and what it writes
//! to can be replaced: a reload may change target, facility, socket and level.

use super::backlog::{Backlog, Sink as _};
use super::line::clean;
use super::severity::Severity;
use super::stderr::{Stderr, Style};
use super::syslog::Syslog;
use super::wall::LocalZone;
use log::{LevelFilter, Metadata, Record};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use syslog::Facility;

/// `log::error!(target: ALERT, "…")` is an alert.
pub const ALERT: &str = "alert";

/// `log.target`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Target {
    /// Standard error if it is a terminal or a journal, else syslog.
    #[default]
    Auto,
    /// A syslog daemon.
    Syslog,
    /// Standard error.
    Stderr,
}

/// What `[log]` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// Where to.
    pub target: Target,
    /// The name of a syslog facility: `cron`, `daemon`, `local0` …
    pub facility: String,
    /// The mildest level shown.
    pub level: LevelFilter,
    /// The syslog daemon's socket.
    pub socket: PathBuf,
    /// The program's name in syslog lines.
    pub name: String,
}

/// Why logging could not be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// No such facility.
    #[error(
        "log.facility: \"{0}\" is no syslog facility; known are kern user mail daemon auth syslog lpr news uucp cron authpriv ftp local0 to local7"
    )]
    Facility(String),
    /// Another logger sits in this process.
    #[error("the log was set up by somebody else in this process already")]
    Taken,
}

/// The level after so many `-v` and `-q`. Errors, alerts among them, cannot be made silent this way.
pub fn level_after(level: LevelFilter, verbose: u8, quiet: u8) -> LevelFilter {
    let steps = i32::from(verbose) - i32::from(quiet);
    let number = (level as i32).saturating_add(steps).clamp(LevelFilter::Error as i32, LevelFilter::Trace as i32);
    LevelFilter::iter().find(|level| *level as i32 == number).unwrap_or(level)
}

static LOG: Log = Log::new();
static INSTALLED: OnceLock<bool> = OnceLock::new();

/// Makes ours the program's logger, or, if it is already, [`Log::reconfigure`]s it.
///
/// # Errors
/// [`LogError`]; the log stays as it was.
pub fn install(settings: LogSettings) -> Result<&'static Log, LogError> {
    if !INSTALLED.get_or_init(|| log::set_logger(&LOG).is_ok()) {
        return Err(LogError::Taken);
    }
    LOG.reconfigure(settings)?;
    Ok(&LOG)
}

/// The logger.
#[derive(Debug)]
pub struct Log {
    level: AtomicUsize,
    inner: Mutex<Option<Inner>>,
}

#[derive(Debug)]
struct Inner {
    settings: LogSettings,
    way: Way,
    backlog: Backlog,
}

#[derive(Debug)]
enum Way {
    Stderr(Stderr<std::io::Stderr>),
    Syslog(Box<Syslog>),
}

impl Log {
    pub(super) const fn new() -> Self {
        Self { level: AtomicUsize::new(LevelFilter::Off as usize), inner: Mutex::new(None) }
    }

    /// Takes new settings. What still waits for a place that is left behind is offered to it once more, then counted
    /// as dropped.
    ///
    /// # Errors
    /// [`LogError::Facility`]; the log stays as it was.
    pub fn reconfigure(&self, settings: LogSettings) -> Result<(), LogError> {
        let facility =
            Facility::from_str(&settings.facility).map_err(|()| LogError::Facility(settings.facility.clone()))?;
        let mut inner = self.lock();
        self.level.store(settings.level as usize, Relaxed);
        log::set_max_level(settings.level);
        if let Some(now) = inner.as_mut()
            && (LogSettings { level: settings.level, ..now.settings.clone() }) == settings
        {
            now.settings = settings;
            return Ok(());
        }
        let mut backlog = Backlog::default();
        if let Some(mut before) = inner.take() {
            before.flush();
            backlog.count_dropped(before.backlog.abandon());
        }
        let way = Way::open(&settings, facility);
        *inner = Some(Inner { settings, way, backlog });
        Ok(())
    }

    /// Offers what waits once more; never waits itself. Call it every now and then while [`Log::owes`].
    pub fn flush(&self) {
        if let Some(inner) = self.lock().as_mut() {
            inner.flush();
        }
    }

    /// The process ends: what syslog did not take, and matters, goes to standard error, as far as that takes it at once.
    /// Where no syslog daemon is, a crontab's mail or a container's log is the last chance to say why.
    pub fn close(&self) {
        let mut inner = self.lock();
        let Some(inner) = inner.as_mut() else { return };
        inner.flush();
        if matches!(inner.way, Way::Stderr(_)) {
            return;
        }
        let mut stderr = Stderr::new(std::io::stderr(), Style::Plain);
        for line in inner.backlog.worst() {
            let text = line.iter().position(|&byte| byte == b'>').and_then(|at| line.get(at + 1..)).unwrap_or(line);
            _ = stderr.send(&[text, b"\n"].concat());
        }
    }

    /// True if messages wait, or a count of dropped ones is to be said.
    pub fn owes(&self) -> bool {
        self.lock().as_ref().is_some_and(|inner| inner.backlog.owes())
    }

    /// True if messages go to standard error now.
    pub fn is_on_stderr(&self) -> bool {
        self.lock().as_ref().is_some_and(|inner| matches!(inner.way, Way::Stderr(_)))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Inner>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Way {
    fn open(settings: &LogSettings, facility: Facility) -> Self {
        let variable = |name: &str| std::env::var(name).ok();
        let style = Style::of(std::io::stderr(), variable);
        let mut stderr = Stderr::new(std::io::stderr(), style);
        let to_stderr = match settings.target {
            Target::Stderr => true,
            Target::Syslog => false,
            Target::Auto => style == Style::Journal || std::io::stderr().is_terminal(),
        };
        if to_stderr {
            return Self::Stderr(stderr);
        }
        let zone = LocalZone::read(variable("TZ").as_deref());
        let syslog = Syslog::new(facility, &settings.name, settings.socket.clone(), zone);
        if let Some(trouble) = syslog.trouble() {
            let text = format!(
                "no syslog daemon takes messages at {} ({trouble}): they are kept in memory, up to a limit, until one \
                 does; log.target = \"stderr\" would show them here",
                settings.socket.display()
            );
            Backlog::default().deliver(&mut stderr, Severity::Warning, &clean(&text));
        }
        Self::Syslog(Box::new(syslog))
    }
}

impl Inner {
    fn deliver(&mut self, severity: Severity, message: &str) {
        match &mut self.way {
            Way::Stderr(stderr) => self.backlog.deliver(stderr, severity, message),
            Way::Syslog(syslog) => self.backlog.deliver(syslog.as_mut(), severity, message),
        }
    }

    fn flush(&mut self) {
        match &mut self.way {
            Way::Stderr(stderr) => self.backlog.flush(stderr),
            Way::Syslog(syslog) => self.backlog.flush(syslog.as_mut()),
        };
    }
}

/// True for our own messages; a library's are shown at trace level only: they are not written for administrators, and at
/// debug level they would drown the core's events.
fn is_ours(target: &str) -> bool {
    target == ALERT || target.strip_prefix("tenantcron").is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

impl log::Log for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let level = self.level.load(Relaxed);
        metadata.level() as usize <= level && (level >= LevelFilter::Trace as usize || is_ours(metadata.target()))
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // Formatted before the lock is taken: a Display that logs would wait for itself.
        let message = if is_ours(record.target()) {
            clean(&record.args().to_string())
        } else {
            clean(&format!("{}: {}", record.target(), record.args()))
        };
        if let Some(inner) = self.lock().as_mut() {
            inner.deliver(Severity::of(record.metadata()), &message);
        }
    }

    fn flush(&self) {
        Log::flush(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v_and_q_move_the_level_within_its_bounds() {
        use LevelFilter::{Debug, Error, Info, Trace, Warn};
        let table =
            [(Info, 1, 0, Debug), (Info, 9, 0, Trace), (Info, 0, 1, Warn), (Warn, 0, 9, Error), (Info, 2, 2, Info)];
        for (level, verbose, quiet, expected) in table {
            assert_eq!(level_after(level, verbose, quiet), expected);
        }
    }

    #[test]
    fn it_is_installed_once_and_may_be_asked_for_again() {
        let settings = LogSettings {
            target: Target::Stderr,
            facility: "cron".into(),
            level: LevelFilter::Off,
            socket: "/dev/log".into(),
            name: "tenantcron".into(),
        };
        let first = install(settings.clone()).unwrap();
        let second = install(settings.clone()).unwrap();
        assert!(std::ptr::eq(first, second) && !first.owes());
        assert!(install(LogSettings { facility: "corn".into(), ..settings }).is_err());
    }
}
