//! What commands that ask databases share: the tenants of all sources, and an engine to ask with. It waits
//! for answers on the command's own thread; every answer has its deadline in the engine.

use super::Process;
use crate::config::{Config, Loaded};
use crate::db::{Access, Answer, Engine, Migrate};
use crate::exit;
use crate::model::{DatabaseId, Identity};
use crate::process::{self, ChildEnvironment, Meaning, Places, Signals, Spawner, StateFolder, Waker};
use crate::scheduler::Listed;
use crate::supervisor::{Clock, Lister, Registry, engine_settings, host_identity, list_tenant};
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Why a command could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The host refused something, or a signal interrupted.
    #[error("{0}")]
    Failed(String),
    /// No source knows this tenant.
    #[error("no tenant of this configuration is named {0:?}; tenantcron config lists them")]
    NoSuchTenant(String),
}

impl From<String> for AskError {
    fn from(text: String) -> Self {
        Self::Failed(text)
    }
}

impl AskError {
    /// What the process exits with.
    pub fn code(&self) -> i32 {
        match self {
            Self::Failed(_) => exit::FAILED,
            Self::NoSuchTenant(_) => exit::USAGE,
        }
    }
}

/// What a command may do to databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum May {
    /// Read.
    Look,
    /// Write rows; tables only as `database.migrate` says.
    Ask,
    /// Make tables, and every tenant's row: that is what the operator called it for.
    Migrate,
}

/// A command's view of the world.
pub struct Desk<'a> {
    pub config: &'a Config,
    pub identity: Identity,
    pub registry: Registry,
    pub engine: Engine,
    answers: Receiver<Answer>,
    waker: Waker,
    signals: Signals,
    spawner: Spawner,
    environment: ChildEnvironment,
    clock: Clock,
    /// Sources that failed: what is shown is not all there is.
    pub incomplete: bool,
}

impl<'a> Desk<'a> {
    /// Ready to ask.
    ///
    /// # Errors
    /// The host refused something.
    pub fn open(loaded: &'a Loaded, process: &Process, may: May) -> Result<Self, String> {
        let config = &loaded.config;
        let signals = Signals::install().map_err(|error| format!("signals: {error}"))?;
        let identity = host_identity(loaded).map_err(|error| format!("/proc: {error}"))?;
        let waker = Waker::new().map_err(|error| format!("eventfd: {error}"))?;
        let (sender, answers) = channel();
        let wake = waker.clone();
        let answer = move |answer| {
            if sender.send(answer).is_ok() {
                _ = wake.wake();
            }
        };
        let access = if may == May::Look { Access::ReadOnly } else { Access::ReadWrite };
        let mut settings = engine_settings(config, identity.clone(), access);
        if may == May::Migrate {
            settings.migrate = Migrate::Auto;
        }
        let engine = Engine::start(settings, Box::new(answer))
            .map_err(|error| format!("the thread of the database engine: {error}"))?;
        let environment = ChildEnvironment::new(process.environment.clone(), [], &identity.node, &identity.instance)
            .map_err(|bad| bad.to_string())?;
        let spawner = Spawner::new().map_err(|error| format!("spawning: {error}"))?;
        let clock = Clock;
        Ok(Self {
            config,
            identity,
            registry: Registry::default(),
            engine,
            answers,
            waker,
            signals,
            spawner,
            environment,
            clock,
            incomplete: false,
        })
    }

    /// The tenants of all sources, each with its database made known to the engine. Bad ones are told on standard error.
    ///
    /// # Errors
    /// Interrupted by a signal.
    pub fn tenants(&mut self) -> Result<Vec<Listed>, String> {
        let mut lister = Lister::new(self.config);
        let tenants = loop {
            lister.ask(self.clock.now(), &self.engine, &self.spawner, &self.environment, &self.waker);
            let tenants = lister.take(self.clock.now());
            if lister.has_heard_all(self.config)
                && let Some(tenants) = tenants
            {
                break tenants;
            }
            for answer in self.wait(&mut lister)? {
                if let Answer::Tenants { result } = answer {
                    lister.query_answered(result);
                }
            }
        };
        self.incomplete = !lister.is_complete();
        let mut listed = Vec::with_capacity(tenants.len());
        for tenant in tenants {
            match list_tenant(self.config, &self.identity.instance, tenant, &mut self.registry) {
                Ok(one) => listed.push(one),
                Err(why) => {
                    self.incomplete = true;
                    log::error!("{why}");
                }
            }
        }
        for (id, url) in self.registry.news() {
            self.engine.database(id, Some(url));
        }
        Ok(listed)
    }

    fn wait(&mut self, lister: &mut Lister) -> Result<Vec<Answer>, String> {
        let watched = [((), self.signals.as_fd()), ((), self.waker.as_fd())];
        process::wait(&watched, Some(Duration::from_millis(500))).map_err(|error| format!("cannot wait: {error}"))?;
        for meaning in self.signals.pending() {
            match meaning {
                Meaning::Child => {
                    for child in process::reap().map_err(|error| format!("children: {error}"))? {
                        lister.child_ended(child.pid, child.exit);
                    }
                }
                Meaning::Stop | Meaning::Drain => return Err("interrupted".to_owned()),
                Meaning::Reload | Meaning::Poll | Meaning::Upgrade => {}
            }
        }
        self.waker.clear().map_err(|error| format!("cannot wait: {error}"))?;
        Ok(self.answers.try_iter().collect())
    }

    /// Waits for so many answers.
    ///
    /// # Errors
    /// Interrupted by a signal.
    pub fn answers(&mut self, number: usize) -> Result<Vec<Answer>, String> {
        let mut none = Lister::new(self.config);
        let mut all = Vec::with_capacity(number);
        while all.len() < number {
            let new = self.wait(&mut none)?;
            all.extend(new.into_iter().filter(|answer| {
                !matches!(answer, Answer::Info { .. } | Answer::Notified { .. } | Answer::Tenants { .. })
            }));
        }
        Ok(all)
    }

    /// Waits a moment, or for a signal.
    ///
    /// # Errors
    /// Interrupted by a signal.
    pub fn pause(&mut self, time: Duration) -> Result<(), String> {
        let until = self.clock.now() + time;
        let mut none = Lister::new(self.config);
        while self.clock.now() < until {
            self.wait(&mut none)?;
        }
        Ok(())
    }

    /// The supervisor's folder, if there is one.
    pub fn state(&self) -> Option<StateFolder> {
        StateFolder::find(self.config.state.as_deref(), &self.identity.instance, &Places::here()).ok().flatten()
    }
}

/// Tenants by database.
pub fn by_database(listed: &[Listed]) -> BTreeMap<DatabaseId, Vec<&Listed>> {
    let mut databases: BTreeMap<DatabaseId, Vec<&Listed>> = BTreeMap::new();
    for tenant in listed {
        databases.entry(tenant.database).or_default().push(tenant);
    }
    databases
}

/// Those of `listed` that were named; all if none was.
///
/// # Errors
/// [`AskError::NoSuchTenant`] for the first name that no source knows.
pub fn select(listed: Vec<Listed>, names: &[String]) -> Result<Vec<Listed>, AskError> {
    if names.is_empty() {
        return Ok(listed);
    }
    let known = |name: &&String| listed.iter().any(|one| one.tenant.name.as_str() == **name);
    if let Some(missing) = names.iter().find(|name| !known(name)) {
        return Err(AskError::NoSuchTenant(missing.clone()));
    }
    Ok(listed.into_iter().filter(|one| names.iter().any(|name| name == one.tenant.name.as_str())).collect())
}
