//! How a supervisor takes its place: state folder, lock, signals, engine.

use super::clock::Clock;
use super::event_loop::Supervisor;
use super::follow::Follow;
use super::keeping::Keeping;
use super::listing::Lister;
use super::notify::Notifier;
use super::registry::Registry;
use super::runs::Runs;
use super::start;
use super::why_file::WhyFile;
use crate::config::{Loaded, Request};
use crate::db::{Access, Engine};
use crate::logging::Log;
use crate::model::{Moment, TenantName};
use crate::process::{
    self, ChildEnvironment, OwnEnds, Places, Process, Signals, Slots, Spawner, StateFolder, Title, Waker,
};
use crate::scheduler::{Mode, Scheduler};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::OsString;
use std::sync::Arc;
use std::sync::mpsc::channel;

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
        let lock =
            if purpose.mode == Mode::Daemon { Some(super::place::take_place(&state, &identity, me)?) } else { None };
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
        let keeping =
            Keeping::new(OwnEnds::new(&state, me, &identity.host)).map_err(host("the folder `unrecorded`"))?;
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
            place: lock,
            workers,
            slots_above: true,
            slots: Vec::new(),
            ended: HashMap::new(),
            locks: HashMap::new(),
            runs: Runs::default(),
            keeping,
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
}
