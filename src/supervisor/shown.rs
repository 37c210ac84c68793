//! What others see of the supervisor: its title in ps, the service manager's status, why.json, alerts.

use super::event_loop::Supervisor;
use super::notify::Notifier;
use super::why_file::WhyFile;
use crate::logging::ALERT;
use crate::scheduler::Mode;
use std::time::Duration;

impl Supervisor {
    /// What others see of us: title, service manager, why.json, the log's backlog.
    pub(super) fn show(&mut self) {
        let now = self.clock.now();
        let shown = (self.core.running(), self.workers);
        if shown != self.shown && self.mode == Mode::Daemon {
            self.shown = shown;
            let text = format!("{} {}/{} running", self.identity.instance, shown.0, shown.1);
            if let Some(title) = &mut self.title {
                title.set(&format!("tenantcron: {text}"));
            }
            self.notify(|notifier| notifier.status(&text));
        }
        if self.watchdog_due.is_some_and(|due| due <= now) {
            self.notify(|notifier| notifier.watchdog());
            let interval = self.notifier.as_ref().and_then(Notifier::watchdog_interval);
            self.watchdog_due = interval.map(|interval| now + interval / 2);
        }
        if self.mode == Mode::Daemon && self.why_due <= now {
            self.why_due = now + Duration::from_secs(1);
            self.write_why();
        }
        if self.log.owes() {
            self.log.flush();
        }
    }

    fn write_why(&mut self) {
        let reasons =
            self.core.reasons().into_iter().map(|(tenant, why)| (tenant.to_string(), why.to_string())).collect();
        let why = WhyFile {
            pid: self.me.pid,
            pid_start: self.me.start,
            node: self.identity.node.clone(),
            running: self.core.running(),
            workers: self.workers,
            reasons,
        };
        if why == self.why_told {
            return;
        }
        match why.write(&self.state) {
            Ok(()) => self.why_told = why,
            Err(error) => {
                let text = format!("state folder {} cannot be written: {error}", self.state.path().display());
                self.alert_hourly("why.json", &text);
            }
        }
    }

    pub(super) fn notify(&mut self, say: impl FnOnce(&mut Notifier) -> Option<String>) {
        if let Some(notifier) = &mut self.notifier
            && let Some(trouble) = say(notifier)
        {
            log::warn!("{trouble}");
        }
    }

    /// An alert about `subject`, at most once an hour.
    pub(super) fn alert_hourly(&mut self, subject: &str, text: &str) {
        if !self.told_within_the_hour(subject) {
            self.alerted.insert(subject.to_owned(), self.clock.now());
            log::error!(target: ALERT, "{text}");
        }
    }

    pub(super) fn told_within_the_hour(&self, subject: &str) -> bool {
        let now = self.clock.now();
        self.alerted.get(subject).is_some_and(|told| now.since(*told) < Duration::from_secs(3600))
    }
}
