//! How a supervisor takes its place: state folder, lock, signals, engine.

use super::clock::Clock;
use super::event_loop::Supervisor;
use super::follow::Follow;
use super::handover::Handover;
use super::keeping::Keeping;
use super::listing::Lister;
use super::notify::Notifier;
use super::registry::Registry;
use super::runs::Runs;
use super::start;
use super::upgrade::Upgrade;
use super::why_file::WhyFile;
use crate::config::{Loaded, Request};
use crate::db::{Access, Engine};
use crate::logging::Log;
use crate::model::{Identity, Moment, TenantName};
use crate::process::{
    self, ChildEnvironment, Inherited, OwnEnds, Places, Process, Program, Signals, SignalsBlocked, Slots, Spawner,
    StateFolder, SupervisorLock, Title, Waker,
};
use crate::scheduler::{Mode, Scheduler};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::{OsStr, OsString};
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
    /// What it was called with, its name first.
    pub arguments: Vec<OsString>,
    /// Where the program that this one replaces left what it hands over.
    pub resume: Option<OsString>,
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
        let mut taken = taken_over(given.resume.as_deref(), &loaded, &identity, &state)?;
        let place = match (&mut taken, purpose.mode) {
            (Some((handover, inherited)), Mode::Daemon) => Some(
                SupervisorLock::take_over(inherited, &state, &identity.node, handover.place)
                    .map_err(host("our place"))?,
            ),
            (None, Mode::Daemon) => Some(super::place::take_place(&state, &identity, me)?),
            (_, Mode::Once | Mode::Named { .. } | Mode::DryRun) => None,
        };
        let variable =
            |name: &str| given.environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let program = Program::of_this_process(given.arguments, variable("PATH").as_deref()).map_err(host("/proc"))?;
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
        let engine = {
            let _blocked = SignalsBlocked::begin().map_err(host("signals"))?;
            Engine::start(settings, Box::new(answer)).map_err(host("the thread of the database engine"))?
        };
        let job = config.job.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let environment = ChildEnvironment::new(given.environment.clone(), job, &identity.node, &identity.instance)
            .map_err(|bad| StartError::Host(bad.to_string()))?;
        let workers = config.workers.evaluate(process::usable_cpus());
        let seed = u64::from(me.pid.unsigned_abs()) ^ me.start.unsigned_abs().rotate_left(32);
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
        let born = taken.as_ref().map_or_else(|| clock.now(), |(handover, _)| handover.born);
        let rules = start::rules(&config, identity.clone(), purpose.mode, workers, born, seed);
        log::debug!("core begins with {rules:?}");
        let mut supervisor = Self {
            core: Scheduler::new(rules),
            clock,
            mode: purpose.mode,
            request,
            wanted: purpose.tenants,
            me,
            slot_files: Slots::new(&state, &identity.node),
            state,
            place,
            workers,
            slots_above: true,
            slots: Vec::new(),
            ended: HashMap::new(),
            locks: HashMap::new(),
            runs: Runs::default(),
            keeping,
            left_behind: HashMap::new(),
            slots_searched: None,
            spawner: Spawner::new().map_err(host("spawning"))?,
            environment,
            own_environment: given.environment,
            null: super::perform::null().map_err(host("/dev/null"))?,
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
            stop_asked: false,
            upgrade: Upgrade::No,
            born,
            program,
            leaving: None,
            worst_exit: 0,
            closed: 0,
            left_out: false,
            met: false,
            outages: super::outages::Outages::default(),
            identity,
            config,
        };
        if let Some((handover, inherited)) = taken {
            supervisor.resume(handover, inherited);
        }
        Ok(supervisor)
    }
}

/// What the program before this one handed over, if there was one. It has been found to fit, as a rule a moment ago.
fn taken_over(
    number: Option<&OsStr>,
    loaded: &Loaded,
    identity: &Identity,
    state: &StateFolder,
) -> Result<Option<(Handover, Inherited)>, StartError> {
    let Some(number) = number else { return Ok(None) };
    let taken = Handover::take(number).and_then(|handover| {
        handover.fits(&loaded.config, identity, state)?;
        let inherited = Inherited::take(handover.numbers());
        Ok((handover, inherited))
    });
    let cannot = |why| StartError::Host(format!("cannot go on for the program before: {why}; start anew"));
    taken.map(Some).map_err(cannot)
}
