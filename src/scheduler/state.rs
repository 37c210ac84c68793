//! The state machine's frame: an event goes in with the time, actions and notices come out. Handlers record
//! facts; [`Scheduler::handle`] then settles: it draws the consequences, whatever the event was, so that no
//! handler needs to remember "now start the next one". The price is a settle per event; it looks only at
//! what was touched.

use super::action::Action;
use super::carried::Hold;
use super::databases::Database;
use super::event::Event;
use super::limits::{Counts, Locking};
use super::notice::Notice;
use super::queue::Place;
use super::rules::{Mode, Rules};
use super::shelf::Shelf;
use super::stopping::Stop;
use super::tenant::{TenantId, TenantState};
use crate::model::{DatabaseId, Moment, RowValue, TenantName};
use std::collections::{BTreeSet, HashMap, HashSet};

/// The core. It has no clock, process, socket or thread, and it does not fail.
#[derive(Debug)]
pub struct Scheduler {
    pub(super) rules: Rules,
    pub(super) now: Moment,
    pub(super) tenants: Shelf,
    pub(super) databases: Vec<Database>,
    /// Databases that something happened to since the last settle.
    pub(super) dirty: BTreeSet<DatabaseId>,
    pub(super) queue: BTreeSet<Place>,
    pub(super) timers: BTreeSet<(Moment, Timer)>,
    /// Done tenants whose slot has come and who wait for the round to end (refill, barrier).
    pub(super) due: BTreeSet<TenantId>,
    pub(super) counts: Counts,
    pub(super) locking: Option<Locking>,
    pub(super) slots_blocked_until: Moment,
    pub(super) late_now: Vec<TenantName>,
    pub(super) stop: Stop,
    pub(super) record_by: Option<Moment>,
    pub(super) opening_until: Option<Moment>,
    pub(super) opened_once: bool,
    /// `--once`: the one look is not over yet.
    pub(super) resets_open: bool,
    /// `run TENANT…`: those that were run or refused, and those refused.
    pub(super) tried: HashSet<TenantId>,
    pub(super) refused: HashSet<TenantId>,
    pub(super) exited: bool,
    /// Examinations that are not answered yet.
    pub(super) examining: usize,
    /// An upgrade in place is under way.
    pub(super) hold: Hold,
    /// Dead supervisors' files, and how many of their ends are not recorded yet.
    pub(super) files: HashMap<u64, usize>,
    /// Modes that end by themselves wait so long for those.
    pub(super) found_until: Option<Moment>,
    pub(super) unrecorded_version: u64,
    /// Ends wait to be recorded, and it is watched how long.
    pub(super) watching_ends: bool,
    /// Another machine bears our name, and we leave.
    pub(super) rival: bool,
    pub(super) rival_told: Option<Moment>,
    pub(super) rng: fastrand::Rng,
    pub(super) actions: Vec<Action>,
    pub(super) notices: Vec<Notice>,
}

/// Whose turn a timer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    Tenant(TenantId),
    Database(DatabaseId),
    Fill,
    Leave,
    Keep,
}

impl Scheduler {
    /// A core that knows its rules and nothing of the world yet.
    pub fn new(rules: Rules) -> Self {
        let rng = fastrand::Rng::with_seed(rules.seed);
        Self {
            rules,
            now: Moment::default(),
            tenants: Shelf::default(),
            databases: Vec::new(),
            dirty: BTreeSet::new(),
            queue: BTreeSet::new(),
            timers: BTreeSet::new(),
            due: BTreeSet::new(),
            counts: Counts::default(),
            locking: None,
            slots_blocked_until: Moment::default(),
            late_now: Vec::new(),
            stop: Stop::No,
            record_by: None,
            opening_until: None,
            opened_once: false,
            resets_open: true,
            tried: HashSet::new(),
            refused: HashSet::new(),
            exited: false,
            examining: 0,
            hold: Hold::No,
            files: HashMap::new(),
            found_until: None,
            unrecorded_version: 0,
            watching_ends: false,
            rival: false,
            rival_told: None,
            rng,
            actions: Vec::new(),
            notices: Vec::new(),
        }
    }

    /// Takes in one fact at `now` and says what is to be done, in order. Notices gather until
    /// [`Scheduler::take_notices`].
    pub fn handle(&mut self, now: Moment, event: Event) -> Vec<Action> {
        self.handle_all(now, [event])
    }

    /// The same for what happened at once: children that ended together are recorded together.
    pub fn handle_all(&mut self, now: Moment, events: impl IntoIterator<Item = Event>) -> Vec<Action> {
        self.now = self.now.max(now);
        for event in events {
            self.record(event);
        }
        self.settle();
        if cfg!(debug_assertions) {
            self.assert_invariants();
        }
        std::mem::take(&mut self.actions)
    }

    /// When [`Event::Tick`] is wanted at the latest.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// What there is to tell since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    fn record(&mut self, event: Event) {
        match event {
            Event::Tick => {}
            Event::TenantsListed(tenants) => self.listed(tenants),
            Event::Locked { won, held, slots } => self.locked(&won, &held, slots),
            Event::UnlistedFound(listed) => self.unlisted_found(*listed),
            Event::LockProbed { tenant, held } => self.lock_probed(&tenant, held),
            Event::Exchanged { database, number, result } => self.exchanged(database, number, result),
            Event::Started { tenant, pid, pid_start } => self.started(&tenant, pid, pid_start),
            Event::NotStarted { tenant, why } => self.not_started(&tenant, why),
            Event::Ended { tenant, end, group_left } => self.ended(&tenant, end, group_left),
            Event::GroupEmptied { tenant } => self.group_emptied(&tenant),
            Event::Examined { tenant, run, verdict } => self.examined(&tenant, run, verdict),
            Event::Notified { database, key } => self.notified(database, key),
            Event::Woken(tenants) => self.woken(&tenants),
            Event::StopAsked => self.stop(),
            Event::DrainAsked => self.drain(),
            Event::Reloaded(rules) => self.reloaded(*rules),
            Event::EndsFound { file, ends } => self.ends_found(file, ends),
            Event::Carried { listed, run } => self.carried(*listed, *run),
            Event::UpgradeAsked => self.upgrade_asked(),
            Event::UpgradeFailed => self.upgrade_failed(),
        }
    }

    fn settle(&mut self) {
        self.pop_timers();
        if !self.opened_once && self.opened() {
            self.opened_once = true;
        }
        self.begin_round();
        self.wait_for_ends();
        self.fill();
        self.talk();
        if self.resets_open && self.opened_once && !self.resets_pending() {
            self.close_resets();
        }
        self.tell_late();
        self.come_to_rest();
        self.leave();
    }

    /// Ticks whose time has come, each once.
    fn pop_timers(&mut self) {
        let later = self.timers.split_off(&(Moment(self.now.0 + 1), Timer::Tenant(TenantId(0))));
        for (_, timer) in std::mem::replace(&mut self.timers, later) {
            match timer {
                Timer::Tenant(id) => {
                    if let Some(tenant) = self.tenants.get_mut(id) {
                        tenant.filed.timer = None;
                        self.tick_tenant(id);
                    }
                }
                Timer::Database(id) => self.databases_mut(id).filed = None,
                Timer::Keep => self.keep_slow_ends(),
                Timer::Fill | Timer::Leave => {}
            }
        }
    }

    fn notified(&mut self, id: DatabaseId, key: Option<String>) {
        let now = self.now;
        if self.database(id).is_none() {
            return;
        }
        match key {
            Some(key) if self.tenants.by_key(id, &key).is_some() => {
                self.databases_mut(id).look_at.insert(key.into());
            }
            // Another instance's or program's key in a table that we share: nothing of ours changed.
            Some(_) => {}
            None => self.databases_mut(id).poll_by(now),
        }
    }

    fn woken(&mut self, tenants: &[TenantName]) {
        let now = self.now;
        if tenants.is_empty() {
            for id in (0..self.databases.len()).filter_map(|place| u32::try_from(place).ok()) {
                self.databases_mut(DatabaseId(id)).look_whole(now);
            }
        }
        for name in tenants {
            let Some(tenant) = self.tenants.by_name(name).and_then(|id| self.tenants.get(id)) else { continue };
            let (database, key) = (tenant.listed.database, tenant.listed.key.clone());
            self.databases_mut(database).look_at.insert(key);
        }
    }

    fn reloaded(&mut self, rules: Rules) {
        let (mode, born) = (self.rules.mode, self.rules.born);
        self.rules = Rules { mode, born, ..rules };
        let poll_by = self.now + self.rules.poll;
        for database in &mut self.databases {
            if database.poll_due.is_some() {
                database.poll_by(poll_by);
            }
            database.whole_due = None;
        }
        self.dirty.extend((0u32..).map(DatabaseId).take(self.databases.len()));
        for id in self.tenants.ids().collect::<Vec<_>>() {
            if let Some(tenant) = self.tenants.get_mut(id) {
                // What waits for a round's end is looked at again under the new rule.
                tenant.filed.due = false;
            }
            self.due.remove(&id);
            self.touch(id);
        }
    }

    /// `run TENANT…`: this one has had its run.
    pub(super) fn is_tried(&self, tenant: &TenantState) -> bool {
        self.tenants.by_name(tenant.name()).is_some_and(|id| self.tried.contains(&id))
    }

    /// `--once`: done rows that its one look makes needed are still on their way.
    pub(super) fn resets_pending(&self) -> bool {
        self.rules.mode == Mode::Once
            && self.resets_open
            && (!self.opened()
                || self.tenants.iter().any(|(_, tenant)| {
                    tenant.resetting
                        || (tenant.value() == Some(&RowValue::Done)
                            && tenant.filed.timer.is_some_and(|at| at <= self.now))
                }))
    }

    fn close_resets(&mut self) {
        self.resets_open = false;
        if self.rules.mode == Mode::Once {
            for id in self.tenants.ids().collect::<Vec<_>>() {
                self.touch(id);
            }
        }
    }
}
