//! The loop: wait until something happens or the core's deadline passes, gather, let the core decide, obey.

use super::announce::{Names, announce, announce_returned};
use super::clock::Clock;
use super::follow::{self, Follow};
use super::listing::Lister;
use super::notify::Notifier;
use super::outages::Outages;
use super::registry::Registry;
use super::runs::Runs;
use super::start;
use super::why_file::WhyFile;
use crate::config::{Config, Loaded, Request};
use crate::db::{Access, Answer, Engine};
use crate::logging::{ALERT, Log};
use crate::model::{DatabaseId, Identity, Moment, Tenant, TenantName};
use crate::process::{
    self, ChildEnvironment, Holder, Places, Process, Signals, SlotLock, Slots, Spawner, StateFolder, SupervisorLock,
    TenantLock, Title, Waker,
};
use crate::scheduler::{Action, Event, ExitReason, Mode, Scheduler};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// What `run` was asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purpose {
    /// The mode of the core.
    pub mode: Mode,
    /// `run TENANT…`: whom.
    pub tenants: Vec<TenantName>,
}

/// Why the supervisor could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another one is there.
    #[error("another supervisor of instance {instance} runs on node {node} here{}: only one may", pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    Held {
        /// The instance.
        instance: String,
        /// The node.
        node: String,
        /// Its pid, if its lock tells.
        pid: Option<i32>,
    },
    /// The host refused something.
    #[error("{0}")]
    Host(String),
    /// No such tenants.
    #[error("no tenant of this configuration is named {0}; tenantcron config lists them")]
    NoSuchTenant(String),
}

/// A source of the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Signals,
    Answers,
    Adopted,
}

/// The shell: everything that the core must not have.
pub struct Supervisor {
    pub(super) core: Scheduler,
    pub(super) clock: Clock,
    pub(super) mode: Mode,
    pub(super) config: Arc<Config>,
    pub(super) request: Request,
    pub(super) identity: Identity,
    pub(super) wanted: Vec<TenantName>,
    pub(super) me: Process,
    pub(super) state: StateFolder,
    pub(super) _lock: Option<SupervisorLock>,
    pub(super) slot_files: Slots,
    pub(super) workers: u32,
    /// Slots above our number may be held.
    pub(super) slots_above: bool,
    /// Slots taken for the claim that is being made.
    pub(super) slots: Vec<SlotLock>,
    /// Locks of tenants that are offered.
    pub(super) locks: HashMap<TenantName, TenantLock>,
    pub(super) runs: Runs,
    /// Daemons that still hold a tenant's lock file and were named.
    pub(super) left_behind: HashMap<TenantName, Vec<Process>>,
    pub(super) spawner: Spawner,
    pub(super) environment: ChildEnvironment,
    pub(super) own_environment: Vec<(OsString, OsString)>,
    pub(super) null: File,
    pub(super) tenants: HashMap<TenantName, Tenant>,
    pub(super) lister: Lister,
    pub(super) listed_once: bool,
    pub(super) registry: Registry,
    pub(super) engine: Engine,
    pub(super) answers: Receiver<Answer>,
    pub(super) waker: Waker,
    pub(super) signals: Signals,
    pub(super) events: VecDeque<Event>,
    pub(super) follow: Follow,
    pub(super) log: &'static Log,
    pub(super) verbosity: (u8, u8),
    pub(super) title: Option<Title>,
    pub(super) notifier: Option<Notifier>,
    pub(super) watchdog_due: Option<Moment>,
    pub(super) shown: (usize, u32),
    pub(super) why_due: Moment,
    pub(super) why_told: WhyFile,
    pub(super) alerted: BTreeMap<String, Moment>,
    outages: Outages,
    pub(super) pruned: HashMap<DatabaseId, Moment>,
    pub(super) adopted_seen: Moment,
    pub(super) reload_wanted: bool,
    pub(super) leaving: Option<ExitReason>,
    pub(super) worst_exit: i32,
    /// Runs that are over.
    pub(super) closed: usize,
    /// Tenants were left out for what their sources say of them.
    pub(super) left_out: bool,
    /// Some database answered, if only to refuse.
    pub(super) met: bool,
}

/// What the process gave to the supervisor before anything else ran.
pub struct Given {
    /// The ps title, if it can be written.
    pub title: Option<Title>,
    /// The environment at the start.
    pub environment: Vec<(OsString, OsString)>,
    /// The log.
    pub log: &'static Log,
    /// How often -v and -q were given.
    pub verbosity: (u8, u8),
}

impl Supervisor {
    /// Takes its place: state folder, lock, signals, engine. Nothing is asked of a database yet.
    ///
    /// # Errors
    /// [`StartError`] says what stands in the way.
    pub fn start(loaded: Loaded, request: Request, purpose: Purpose, given: Given) -> Result<Self, StartError> {
        let host = |what: &str| {
            let what = what.to_owned();
            move |error: std::io::Error| StartError::Host(format!("{what}: {error}"))
        };
        if !process::proc_is_of_this_namespace().map_err(host("/proc"))? {
            let text = "/proc belongs to another PID namespace: mount this one's (unshare --mount-proc), or processes cannot be told apart";
            return Err(StartError::Host(text.to_owned()));
        }
        let config = Arc::new(loaded.config.clone());
        let identity = start::host_identity(&loaded).map_err(host("/proc"))?;
        let me = Process::me().map_err(host("/proc"))?;
        let clock = Clock;
        let take = if purpose.mode == Mode::DryRun { StateFolder::look } else { StateFolder::make };
        let state = take(config.state.as_deref(), &loaded.instance, &Places::here())
            .map_err(|why| StartError::Host(why.to_string()))?;
        let lock = if purpose.mode == Mode::Daemon { Some(take_place(&state, &identity, me)?) } else { None };
        let signals = Signals::install().map_err(host("signals"))?;
        let waker = Waker::new().map_err(host("eventfd"))?;
        let (sender, answers) = channel();
        let wake = waker.clone();
        let access = if purpose.mode == Mode::DryRun { Access::Rehearsal } else { Access::ReadWrite };
        let settings = start::engine_settings(&config, identity.clone(), access);
        let answer = move |answer| {
            if sender.send(answer).is_ok()
                && let Err(error) = wake.wake()
            {
                log::error!("the loop cannot be woken: {error}");
            }
        };
        let engine = Engine::start(settings, Box::new(answer)).map_err(host("the thread of the database engine"))?;
        let job = config.job.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let environment = ChildEnvironment::new(given.environment.clone(), job, &identity.node, &identity.instance)
            .map_err(|bad| StartError::Host(bad.to_string()))?;
        let workers = config.workers.evaluate(process::usable_cpus());
        let seed = u64::from(me.pid.unsigned_abs()) ^ me.start.unsigned_abs().rotate_left(32);
        let variable =
            |name: &str| given.environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let notifier = match Notifier::new(variable, std::process::id()) {
            Ok(notifier) => Some(notifier).filter(Notifier::is_wanted),
            Err(why) => {
                log::warn!("{why}");
                None
            }
        };
        let watchdog_due = notifier.as_ref().and_then(Notifier::watchdog_interval).map(|_| Moment::default());
        let rules = start::rules(&config, identity.clone(), purpose.mode, workers, clock.now(), seed);
        log::debug!("core begins with {rules:?}");
        Ok(Self {
            core: Scheduler::new(rules),
            clock,
            mode: purpose.mode,
            request,
            wanted: purpose.tenants,
            me,
            slot_files: Slots::new(&state, &identity.node),
            state,
            _lock: lock,
            workers,
            slots_above: true,
            slots: Vec::new(),
            locks: HashMap::new(),
            runs: Runs::default(),
            left_behind: HashMap::new(),
            spawner: Spawner::new().map_err(host("spawning"))?,
            environment,
            own_environment: given.environment,
            null: super::perform::null().map_err(host("/dev/null"))?,
            tenants: HashMap::new(),
            lister: Lister::new(&config),
            listed_once: false,
            registry: Registry::default(),
            engine,
            answers,
            waker,
            signals,
            events: VecDeque::new(),
            follow: Follow::new(matches!(purpose.mode, Mode::Named { .. })),
            log: given.log,
            verbosity: given.verbosity,
            title: given.title,
            notifier,
            watchdog_due,
            shown: (usize::MAX, 0),
            why_due: Moment::default(),
            why_told: WhyFile::default(),
            alerted: BTreeMap::new(),
            outages: Outages::default(),
            pruned: HashMap::new(),
            adopted_seen: Moment::default(),
            reload_wanted: false,
            leaving: None,
            worst_exit: 0,
            closed: 0,
            left_out: false,
            met: false,
            identity,
            config,
        })
    }

    /// Supervises until the core says that nothing is left to do; answers with the exit code.
    ///
    /// # Errors
    /// The host refuses to let it wait, or a tenant that was asked for does not exist.
    pub fn run(mut self) -> Result<i32, StartError> {
        log::info!(
            "supervising instance {} on node {} with {} workers, state in {}",
            self.identity.instance,
            self.identity.node,
            self.workers,
            self.state.path().display()
        );
        // Whoever hears that we are ready finds us in ps by our title.
        self.show();
        self.notify(|notifier| notifier.ready());
        while self.leaving.is_none() {
            self.step()?;
        }
        self.leave()
    }

    fn step(&mut self) -> Result<(), StartError> {
        let now = self.clock.now();
        self.lister.ask(now, &self.engine, &self.spawner, &self.environment, &self.waker);
        self.take_listing()?;
        if std::mem::take(&mut self.reload_wanted) {
            self.reload();
        }
        if self.events.is_empty() {
            self.events.push_back(Event::Tick);
        }
        while !self.events.is_empty() && self.leaving.is_none() {
            let events = std::mem::take(&mut self.events);
            for action in self.decide(events) {
                self.perform(action);
            }
            self.announce();
        }
        self.show();
        if self.leaving.is_some() {
            return Ok(());
        }
        let ready = self.wait()?;
        self.follow.copy();
        self.gather(&ready);
        Ok(())
    }

    /// The core decides. At debug level each event is told with its actions, so that a report from the field can be
    /// replayed; a tick for which the core had nothing due says nothing.
    fn decide(&mut self, events: VecDeque<Event>) -> Vec<Action> {
        let now = self.clock.now();
        let told = log::log_enabled!(log::Level::Debug).then(|| {
            let due = self.core.next_deadline().is_some_and(|at| at <= now);
            (due || events.iter().any(|event| *event != Event::Tick), format!("{events:?}"))
        });
        let actions = self.core.handle_all(now, events);
        if let Some((due, events)) = told
            && (due || !actions.is_empty())
        {
            log::debug!("core at {}us: {events} -> {actions:?}", now.0);
        }
        actions
    }

    fn announce(&mut self) {
        let now = self.clock.now();
        let mut outages = std::mem::take(&mut self.outages);
        for notice in self.core.take_notices() {
            if self.mode == Mode::DryRun
                && let crate::scheduler::Notice::Would { tenant, what } = &notice
            {
                follow::print(format!("{tenant}: {what}\n").as_bytes());
                continue;
            }
            announce(&notice, self, &mut outages, now);
        }
        announce_returned(&mut outages, self, now);
        self.outages = outages;
    }

    fn wait(&mut self) -> Result<Vec<Source>, StartError> {
        let now = self.clock.now();
        let soon = |wanted: bool, wait: Duration| wanted.then_some(now + wait);
        let deadlines = [
            self.core.next_deadline(),
            Some(self.lister.deadline()),
            self.watchdog_due,
            soon(self.follow.is_active(), Duration::from_millis(100)),
            soon(self.log.owes(), Duration::from_millis(500)),
            soon(self.runs.iter().any(|(_, run)| run.adopted.is_some()), Duration::from_secs(1)),
            (self.mode == Mode::Daemon).then_some(self.why_due),
        ];
        let deadline = deadlines.into_iter().flatten().min();
        let timeout = deadline.map(|at| at.since(now));
        let mut watched: Vec<(Source, BorrowedFd<'_>)> =
            vec![(Source::Signals, self.signals.as_fd()), (Source::Answers, self.waker.as_fd())];
        for (_, run) in self.runs.iter() {
            if let Some(adopted) = run.adopted.as_ref().filter(|_| !run.end_told).and_then(|adopted| adopted.watch()) {
                watched.push((Source::Adopted, adopted));
            }
        }
        process::wait(&watched, timeout).map_err(|error| StartError::Host(format!("cannot wait for events: {error}")))
    }

    fn leave(mut self) -> Result<i32, StartError> {
        self.lister.end();
        self.engine.stop(Duration::from_secs(2));
        let looked_once = matches!(self.mode, Mode::Once | Mode::DryRun);
        let incomplete = looked_once && (self.left_out || !self.lister.is_complete());
        let code = match self.leaving {
            Some(ExitReason::Done) | None => i32::from(incomplete),
            Some(ExitReason::Unrecorded(number)) => {
                log::error!(
                    target: ALERT,
                    "{number} ends could not be recorded, their database does not answer: the next supervisor will call these runs lost and run them again"
                );
                1
            }
            Some(ExitReason::NoDatabase) if self.met => {
                log::error!("no database at all could be used; what each of them said stands above");
                1
            }
            Some(ExitReason::NoDatabase) => {
                log::error!("no database at all could be reached");
                crate::exit::UNAVAILABLE
            }
            Some(ExitReason::Refused | ExitReason::Rival) => 1,
        };
        self.log.flush();
        self.follow.finish();
        if !matches!(self.mode, Mode::Named { .. }) || code > 1 {
            return Ok(code);
        }
        // Interrupted before all were run: not done.
        let unfinished = i32::from(self.closed < self.wanted.len());
        Ok(self.worst_exit.max(code).max(unfinished))
    }
}

fn take_place(state: &StateFolder, identity: &Identity, me: Process) -> Result<SupervisorLock, StartError> {
    match SupervisorLock::take(state, &identity.node, me).map_err(|error| StartError::Host(error.to_string()))? {
        Ok(lock) => Ok(lock),
        Err(holder) => Err(StartError::Held {
            instance: identity.instance.clone(),
            node: identity.node.clone(),
            pid: if let Holder::Process(process) = holder { Some(process.pid) } else { None },
        }),
    }
}

impl Names for Supervisor {
    fn database(&self, id: DatabaseId) -> String {
        self.shown(id)
    }

    fn server(&self, id: DatabaseId) -> Option<(String, usize)> {
        let url = self.registry.url(id)?;
        let beside = self.registry.beside(url);
        (beside > 1).then(|| (url.server(), beside))
    }

    fn log_of(&self, tenant: &TenantName) -> String {
        self.log_path(tenant).map_or_else(|| "?".to_owned(), |path| path.display().to_string())
    }
}
