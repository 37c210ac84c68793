//! The loop: wait until something happens or the core's deadline passes, gather, let the core decide, obey.

use super::announce::{Names, announce, announce_returned};
use super::begin::StartError;
use super::clock::Clock;
use super::follow::{self, Follow};
use super::keeping::Keeping;
use super::listing::Lister;
use super::notify::Notifier;
use super::outages::Outages;
use super::registry::Registry;
use super::runs::{Ended, Runs};
use super::upgrade::Upgrade;
use super::why_file::WhyFile;
use crate::config::{Config, Request};
use crate::db::{Answer, Engine};
use crate::logging::Log;
use crate::model::{DatabaseId, Identity, Moment, TenantName};
use crate::process::{
    self, ChildEnvironment, Process, Program, Signals, SlotLock, Slots, Spawner, StateFolder, SupervisorLock,
    TenantLock, Title, Waker,
};
use crate::scheduler::{Action, Event, ExitReason, Mode, Scheduler};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

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
    pub(super) place: Option<SupervisorLock>,
    pub(super) slot_files: Slots,
    pub(super) workers: u32,
    /// Slots above our number may be held.
    pub(super) slots_above: bool,
    /// Slots taken for the claim that is being made.
    pub(super) slots: Vec<SlotLock>,
    /// Of runs whose end is being recorded.
    pub(super) ended: HashMap<TenantName, Ended>,
    /// Locks of tenants that are offered.
    pub(super) locks: HashMap<TenantName, TenantLock>,
    pub(super) runs: Runs,
    /// Ends that no database has taken.
    pub(super) keeping: Keeping,
    /// Daemons that still hold a tenant's lock file and were named.
    pub(super) left_behind: HashMap<TenantName, Vec<Process>>,
    /// When slots were last searched for such daemons.
    pub(super) slots_searched: Option<Moment>,
    pub(super) spawner: Spawner,
    pub(super) environment: ChildEnvironment,
    pub(super) own_environment: Vec<(OsString, OsString)>,
    pub(super) null: File,
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
    pub(super) outages: Outages,
    pub(super) pruned: HashMap<DatabaseId, Moment>,
    pub(super) adopted_seen: Moment,
    pub(super) reload_wanted: bool,
    /// A stop or drain was asked for by a signal.
    pub(super) stop_asked: bool,
    pub(super) upgrade: Upgrade,
    /// When the first of the programs in this place began.
    pub(super) born: Moment,
    /// How this program was started.
    pub(super) program: Program,
    pub(super) leaving: Option<ExitReason>,
    pub(super) worst_exit: i32,
    /// Runs that are over.
    pub(super) closed: usize,
    /// Tenants were left out for what their sources say of them.
    pub(super) left_out: bool,
    /// Some database answered, if only to refuse.
    pub(super) met: bool,
}

impl Supervisor {
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
        if self.mode != Mode::DryRun {
            self.look_for_ends();
        }
        while self.leaving.is_none() {
            if let Err(error) = self.step() {
                self.keep_ends_of_a_failure();
                return Err(error);
            }
        }
        self.leave()
    }

    fn step(&mut self) -> Result<(), StartError> {
        let now = self.clock.now();
        self.lister.ask(now, &self.engine, &self.spawner, &self.environment, &self.waker);
        self.take_listing()?;
        self.mind_the_upgrade();
        if std::mem::take(&mut self.reload_wanted) {
            self.reload();
        }
        if self.events.is_empty() {
            self.events.push_back(Event::Tick);
        }
        // Children last: what there is to say to a database is on its way while they are started.
        let mut starts = Vec::new();
        while !(self.events.is_empty() && starts.is_empty()) && self.leaving.is_none() {
            if self.events.is_empty() {
                starts.drain(..).for_each(|start| self.perform(start));
            }
            let events = std::mem::take(&mut self.events);
            for action in self.decide(events) {
                match action {
                    Action::Start { .. } => starts.push(action),
                    other => self.perform(other),
                }
            }
            self.announce();
            if self.events.is_empty() && starts.is_empty() {
                self.replace_program();
            }
        }
        self.keep_ends();
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
            self.upgrade_deadline(),
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
