//! What happened becomes events: signals, children that ended, answers of databases, adopted runs' ends.

use super::event_loop::{Source, Supervisor};
use crate::db::Answer;
use crate::logging::ALERT;
use crate::model::{DatabaseId, OpenRun, Tenant, TenantName, Trouble, TroubleKind};
use crate::process::{self, Meaning};
use crate::scheduler::{End, Event, Exit, Listed, Mode};
use std::time::Duration;

impl Supervisor {
    /// Everything that the ready sources tell.
    pub(super) fn gather(&mut self, ready: &[Source]) {
        for meaning in self.signals.pending() {
            self.signalled(meaning);
        }
        if ready.contains(&Source::Answers)
            && let Err(error) = self.waker.clear()
        {
            log::error!("the wake-up of the database thread cannot be cleared: {error}");
        }
        while let Ok(answer) = self.answers.try_recv() {
            self.answered(answer);
        }
        self.adopted_ended(ready.contains(&Source::Adopted));
    }

    fn signalled(&mut self, meaning: Meaning) {
        match meaning {
            Meaning::Child => self.collect_children(),
            Meaning::Stop => {
                self.stop_is_asked();
                self.notify(|notifier| notifier.stopping());
                self.events.push_back(Event::StopAsked);
            }
            Meaning::Drain => {
                self.stop_is_asked();
                self.notify(|notifier| notifier.stopping());
                self.events.push_back(Event::DrainAsked);
            }
            Meaning::Reload => self.reload_wanted = true,
            Meaning::Poll => {
                let tenants = self.woken_tenants();
                self.events.push_back(Event::Woken(tenants));
            }
            Meaning::Upgrade => self.upgrade_asked(),
        }
    }

    /// It outweighs an upgrade.
    fn stop_is_asked(&mut self) {
        self.stop_asked = true;
        self.end_upgrade();
    }

    pub(super) fn collect_children(&mut self) {
        let reaped = match process::reap() {
            Ok(reaped) => reaped,
            Err(error) => {
                log::error!(target: ALERT, "ended children cannot be collected: {error}");
                return;
            }
        };
        for child in reaped {
            let exit = match child.exit {
                process::Exit::Code(code) => Exit::Code(code),
                process::Exit::Signal(signal) => Exit::Signal(signal),
            };
            if let Some(tenant) = self.runs.collected(child.pid) {
                let own_peak = self.runs.get(&tenant).map_or(0, |run| run.own_peak_kb);
                let end = End { exit, cpu_seconds: Some(child.cpu.as_secs_f64()), max_rss_kb: child.peak_kb(own_peak) };
                let group_left = process::has_living_members(child.pid).unwrap_or_else(|error| {
                    log::warn!("{tenant}: cannot see whether its process group is empty: {error}");
                    true
                });
                self.events.push_back(Event::Ended { tenant, end, group_left });
            } else if !self.lister.child_ended(child.pid, child.exit) && !self.trial_ended(child.pid, child.exit) {
                log::debug!("collected pid {}, a stranger", child.pid);
            }
        }
    }

    /// Names left in `wake/` by `tenantcron request`; each is taken once.
    fn woken_tenants(&self) -> Vec<TenantName> {
        let folder = self.state.wake();
        let Ok(entries) = std::fs::read_dir(&folder) else { return Vec::new() };
        let mut tenants = Vec::new();
        for entry in entries.flatten() {
            if let Err(error) = std::fs::remove_file(entry.path()) {
                log::warn!("{} cannot be removed: {error}", entry.path().display());
            }
            tenants.extend(entry.file_name().to_str().and_then(|name| TenantName::parse(name).ok()));
        }
        tenants
    }

    fn answered(&mut self, answer: Answer) {
        match answer {
            Answer::Exchanged { database, number, result } => {
                let refused = |trouble: &Trouble| matches!(trouble.kind, TroubleKind::Unfit | TroubleKind::Refused);
                if result.is_ok() && !self.outages.is_empty() {
                    self.answered_of_server(database);
                }
                self.met |= result.as_ref().map_or_else(refused, |_| true);
                if result.as_ref().is_ok_and(|reply| reply.polled.is_some()) {
                    self.prune_hourly(database);
                }
                if let Some(polled) = result.as_ref().ok().and_then(|reply| reply.polled.as_ref()) {
                    self.looked();
                    for run in &polled.runs {
                        self.find_unlisted(database, run);
                    }
                }
                self.events.push_back(Event::Exchanged { database, number, result });
            }
            Answer::Notified { database, key } => self.events.push_back(Event::Notified { database, key }),
            Answer::Tenants { result } => self.lister.query_answered(result),
            other => self.side_answer(other),
        }
    }

    /// While its server counts as down.
    fn answered_of_server(&mut self, database: DatabaseId) {
        if let Some(url) = self.registry.url(database) {
            self.outages.answered(database, &url.server(), self.clock.now());
        }
    }

    /// Before the core hears what a look told: what else there is to see on this host.
    fn looked(&mut self) {
        if self.mode != Mode::DryRun {
            self.mind_the_folder();
            self.look_for_ends();
        }
    }

    /// An open run of ours whose tenant is in no source any more is looked after all the same; its name is read
    /// back from the key.
    fn find_unlisted(&mut self, database: DatabaseId, run: &OpenRun) {
        let (key, ours) = (&run.identity.key, &self.identity);
        if run.identity.instance != ours.instance || run.identity.node != ours.node || self.core.knows(database, key) {
            return;
        }
        let name =
            self.config.database.key.tenant_of(key, &ours.instance).and_then(|name| TenantName::parse(&name).ok());
        let Some(tenant) = name.and_then(|name| Tenant::new(name, None, None).ok()) else {
            let text =
                format!("open run {} has the key {key:?}, which is no tenant's of this configuration", run.identity.id);
            return self.alert_hourly(key, &text);
        };
        let settings = self.config.for_tenant(&tenant.name, None);
        self.events.push_back(Event::UnlistedFound(Box::new(Listed {
            tenant,
            key: key.as_str().into(),
            database,
            every: settings.every,
            offset: Duration::ZERO,
            timeout: settings.timeout,
            enabled: false,
        })));
    }

    /// Answers that change nothing but a log line.
    fn side_answer(&self, answer: Answer) {
        match answer {
            Answer::Pruned { database, result } => match result {
                Ok(0) => {}
                Ok(number) => log::info!("database {}: {number} old runs pruned", self.shown(database)),
                Err(trouble) => {
                    log::warn!("database {}: old runs could not be pruned: {}", self.shown(database), trouble.text)
                }
            },
            Answer::Info { database, text } => log::info!("database {}: {text}", self.shown(database)),
            _ => log::debug!("an answer that nobody asked for"),
        }
    }

    pub(super) fn shown(&self, database: DatabaseId) -> String {
        self.registry.url(database).map_or_else(|| format!("#{}", database.0), |url| url.to_string())
    }

    /// Adopted runs: their main process's descriptor is ready, or (for what is left of a group) a look is due.
    fn adopted_ended(&mut self, ready: bool) {
        let now = self.clock.now();
        let look = ready || now.since(self.adopted_seen) >= Duration::from_secs(1);
        if !look {
            return;
        }
        self.adopted_seen = now;
        let mut ended = Vec::new();
        for (tenant, run) in self.runs.adopted() {
            let Some(adopted) = run.adopted.as_mut().filter(|_| !run.end_told) else { continue };
            // The main process first: `is_living` counts what is left of its group too.
            match adopted.process().is_alive().and_then(|alive| Ok((alive, adopted.is_living()?))) {
                Ok((true, true)) => {}
                Ok((_, group_left)) => {
                    run.end_told = true;
                    ended.push((tenant.clone(), group_left));
                }
                Err(error) => log::warn!("{tenant}: cannot see whether its adopted run lives: {error}"),
            }
        }
        for (tenant, group_left) in ended {
            let end = End { exit: Exit::Unknown, cpu_seconds: None, max_rss_kb: None };
            self.events.push_back(Event::Ended { tenant, end, group_left });
        }
    }
}
