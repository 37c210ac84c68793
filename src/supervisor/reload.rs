//! SIGHUP: the configuration is read again. A bad one is reported, all its mistakes at once, and the old one
//! stays in force. Runs under way keep what they were started with.

use super::event_loop::Supervisor;
use super::start;
use crate::config::{self, Config};
use crate::logging::ALERT;
use crate::process::{self, ChildEnvironment};
use crate::scheduler::Event;
use std::sync::Arc;

impl Supervisor {
    pub(super) fn reload(&mut self) {
        self.notify(|notifier| notifier.reloading());
        match config::load(&self.request) {
            Ok(loaded) => self.take_configuration(loaded.config),
            Err(mistakes) => {
                for mistake in mistakes.iter() {
                    log::error!("{mistake}");
                }
                log::error!(target: ALERT, "the new configuration has mistakes, the old one stays in force");
            }
        }
        self.notify(|notifier| notifier.ready());
    }

    fn take_configuration(&mut self, mut new: Config) {
        for (key, changed) in self.fixed(&new) {
            if changed {
                log::warn!("{key} changes only by a restart: the old value stays");
            }
        }
        new.node.clone_from(&self.config.node);
        new.state.clone_from(&self.config.state);
        new.database = config::Database { poll: new.database.poll, ..self.config.database.clone() };
        let job = new.job.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        match ChildEnvironment::new(self.own_environment.clone(), job, &self.identity.node, &self.identity.instance) {
            Ok(environment) => self.environment = environment,
            Err(bad) => {
                log::error!(target: ALERT, "{bad}: the old configuration stays in force");
                return;
            }
        }
        let workers = new.workers.evaluate(process::usable_cpus());
        self.slots_above |= workers < self.workers;
        self.workers = workers;
        let (verbose, quiet) = self.verbosity;
        if let Err(error) = self.log.reconfigure(start::log_settings(&new, verbose, quiet)) {
            log::error!("{error}");
        }
        self.config = Arc::new(new);
        let rules = start::rules(&self.config, self.identity.clone(), self.mode, workers, self.clock.now(), 0);
        self.events.push_back(Event::Reloaded(Box::new(rules)));
        self.lister.reconfigure(&self.config, self.clock.now());
        log::info!("configuration reloaded, {workers} workers");
    }

    /// What a running supervisor is known by, or its connections were made for, stays as it is.
    fn fixed(&self, new: &Config) -> [(&'static str, bool); 9] {
        let old = &self.config;
        let (is, was) = (&new.database, &old.database);
        [
            ("node", new.node != old.node),
            ("state", new.state != old.state),
            ("database.url", is.url != was.url),
            ("database.status_table", is.status_table != was.status_table),
            ("database.run_table", is.run_table != was.run_table),
            ("database.key", is.key != was.key),
            ("database.migrate", is.migrate != was.migrate),
            ("database.connections", is.connections != was.connections),
            ("database.keep_runs", is.keep_runs != was.keep_runs),
        ]
    }
}
