//! What is to be said to each database, and how it fares: poll due, exchange in flight, down and backing off.

use super::backoff::Backoff;
use super::carried::Hold;
use super::found::Found;
use super::looks::Polls;
use super::notice::Notice;
use super::resets::Resets;
use super::rules::REFRESH_EVERY;
use super::state::{Scheduler, Timer};
use super::tenant::TenantId;
use super::together::Together;
use crate::model::{DatabaseId, DbTime, Mark, Moment, Release, Trouble, TroubleKind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// While the process only waits for ends to be recorded, a database that is down is asked again after this at most.
const LEAVING_RETRY: Duration = Duration::from_secs(2);

/// One database.
#[derive(Debug, Default)]
pub(super) struct Database {
    /// The keys of its tenants.
    pub keys: Arc<[Arc<str>]>,
    /// Its `now()`, and when it told it.
    pub clock: Option<(DbTime, Moment)>,
    /// What it told last, and when it was asked for that.
    pub asked: Option<(DbTime, Moment)>,
    /// What it told the first time.
    pub first_told: Option<DbTime>,
    pub health: Health,
    /// Since when it is down, as people were told.
    told_down: Option<Moment>,
    /// It can be read, and refused the last time it was written: no look makes it good again.
    pub refuses: bool,
    backoff: Backoff,
    /// An exchange is under way.
    pub in_flight: Option<InFlight>,
    /// The number of the last exchange.
    pub number: u64,
    /// Its next claim's locks are being taken.
    pub awaiting_locks: bool,
    /// When it is looked at next; none before it has tenants.
    pub poll_due: Option<Moment>,
    polled_before: bool,
    /// From when on that look is a whole one; none: the next is.
    pub whole_due: Option<Moment>,
    /// The whole look that is under way goes on at this key; 0: none is.
    pub whole_from: usize,
    /// What the last short look told of the server's history.
    pub mark: Option<Mark>,
    /// Its tenants that are not known to be done and at rest: of whom a short look must tell.
    pub not_done: BTreeSet<TenantId>,
    /// Keys to look at before that.
    pub look_at: BTreeSet<Arc<str>>,
    /// Keys to look at from these moments on: rows that somebody held locked.
    pub look_later: BTreeMap<Arc<str>, Moment>,
    /// Runs of ours that live.
    pub runs: BTreeSet<TenantId>,
    /// Runs of ours that ended and are not recorded.
    pub to_record: Vec<TenantId>,
    /// Other ends to record.
    pub found: Vec<Found>,
    /// Runs of ours whose rows disagree.
    pub repairs: BTreeSet<TenantId>,
    pub resets: Resets,
    pub releases: Vec<Release>,
    pub claim: Pending,
    /// Others claim here too, as a claim that lost offers has shown: until then more is offered than there are slots.
    pub contended_until: Moment,
    pub together: Together,
    pub filed: Option<Moment>,
}

/// The next claim: locks are held.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub offers: Vec<TenantId>,
    pub limit: u32,
}

/// How a database fares.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    /// Not asked yet.
    #[default]
    Unknown,
    /// Its last exchange was answered.
    Up,
    /// Its last exchange failed.
    Down { since: Moment, retry_at: Moment },
}

/// What the exchange under way says.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    pub number: u64,
    /// When it was sent, or a little earlier.
    pub sent: Moment,
    /// The lease that its claims carry.
    pub lease: Option<Duration>,
    pub finish: Vec<TenantId>,
    pub found: Vec<Found>,
    pub repair: Vec<TenantId>,
    pub undo: Vec<TenantId>,
    pub refresh: Vec<TenantId>,
    pub resets: Vec<TenantId>,
    pub releases: Vec<String>,
    pub claim: Pending,
    pub polls: Polls,
}

impl InFlight {
    /// Ends and a claim alone: what is said of every run, and takes as long as the database does.
    pub fn is_turn(&self) -> bool {
        let says = !self.finish.is_empty() || !self.claim.offers.is_empty();
        says && self.resets.is_empty() && self.polls == Polls::Nothing
    }

    /// It says more than a look.
    pub fn writes(&self) -> bool {
        let Self {
            number: _,
            sent: _,
            lease: _,
            finish,
            found,
            repair,
            undo,
            refresh,
            resets,
            releases,
            claim,
            polls: _,
        } = self;
        let empty = [finish, repair, undo, refresh, resets, &claim.offers].iter().all(|tenants| tenants.is_empty());
        !empty || !found.is_empty() || !releases.is_empty()
    }
}

impl Database {
    /// An answer tells a time between its sending and its coming. Where the clock that was carried forward lies between
    /// the two as well, it is the better one: an answer may have been held back for long.
    fn tell_time(&mut self, told: DbTime, sent: Moment, came: Moment) {
        let carried = self.clock.map(|(then, at)| then + came.since(at));
        if carried.is_none_or(|carried| carried < told || carried > told + came.since(sent)) {
            self.clock = Some((told, came));
        }
        self.asked = Some((told, sent));
    }

    pub fn poll_by(&mut self, moment: Moment) {
        if !self.keys.is_empty() {
            self.poll_due = Some(self.poll_due.map_or(moment, |due| due.min(moment)));
        }
    }

    /// Slots that its claims hold.
    pub fn slots_offered(&self) -> u32 {
        self.claim.limit + self.in_flight.as_ref().map_or(0, |flight| flight.claim.limit)
    }

    /// Answered, or failed, at least once.
    pub fn tried(&self) -> bool {
        self.health != Health::Unknown
    }

    /// Its rows are known, or that they cannot be.
    pub fn looked(&self) -> bool {
        self.tried() && self.whole_from == 0
    }
}

impl Scheduler {
    pub(super) fn databases_mut(&mut self, id: DatabaseId) -> &mut Database {
        let place = id.0 as usize;
        if place >= self.databases.len() {
            self.databases.resize_with(place + 1, Database::default);
        }
        self.dirty.insert(id);
        &mut self.databases[place]
    }

    pub(super) fn database(&self, id: DatabaseId) -> Option<&Database> {
        self.databases.get(id.0 as usize)
    }

    pub(super) fn is_up(&self, id: DatabaseId) -> bool {
        self.database(id).is_some_and(|database| database.health == Health::Up)
    }

    /// A claim for it would go at once.
    pub(super) fn can_talk(&self, id: DatabaseId) -> bool {
        self.database(id).is_some_and(|database| {
            let waits = database.together.until().is_some() || database.resets.go_next();
            database.health == Health::Up && database.in_flight.is_none() && !waits
        })
    }

    /// The database's time now, as it last told it, carried forward.
    pub(super) fn database_now(&self, id: DatabaseId) -> Option<DbTime> {
        let (told, at) = self.database(id)?.clock?;
        Some(told + self.now.since(at))
    }

    /// When the database's clock will show `time`; now if it has passed.
    pub(super) fn moment_of(&self, id: DatabaseId, time: DbTime) -> Option<Moment> {
        let (told, at) = self.database(id)?.clock?;
        Some(at + time.since(told))
    }

    pub(super) fn file_database(&mut self, id: DatabaseId) {
        let deadline = self.database_deadline(id);
        let Some(database) = self.databases.get_mut(id.0 as usize) else { return };
        let old = std::mem::replace(&mut database.filed, deadline);
        if old != deadline {
            if let Some(at) = old {
                self.timers.remove(&(at, Timer::Database(id)));
            }
            if let Some(at) = deadline {
                self.timers.insert((at, Timer::Database(id)));
            }
        }
    }

    /// When the next life of a run in it must be confirmed.
    pub(super) fn refresh_due(&self, id: DatabaseId) -> Option<Moment> {
        let runs = self.database(id)?.runs.iter();
        runs.filter_map(|tenant| self.tenants.get(*tenant)?.run()?.refresh_at()).min()
    }

    /// When the next end is to be recorded in it.
    pub(super) fn record_due(&self, id: DatabaseId) -> Option<Moment> {
        let waiting = self.database(id)?.to_record.iter();
        waiting.filter_map(|tenant| Some(self.tenants.get(*tenant)?.run()?.record_not_before)).min()
    }

    /// The next moment at which there is something to say to it.
    fn database_deadline(&self, id: DatabaseId) -> Option<Moment> {
        let database = self.database(id)?;
        if database.in_flight.is_some() || database.awaiting_locks || self.hold == Hold::AtRest {
            return None;
        }
        let look = database.look_later.values().min().copied();
        let next = match self.hold {
            Hold::No if database.together.until().is_some() => [database.together.until(), None, None, None, None],
            Hold::No => [database.poll_due, look, self.refresh_due(id), self.record_due(id), self.found_due(id)],
            Hold::ComingToRest | Hold::AtRest => [self.refresh_due(id), None, None, None, None],
        };
        let next = next.into_iter().flatten().min()?;
        match database.health {
            Health::Down { retry_at, .. } => Some(next.max(retry_at)),
            Health::Unknown | Health::Up => Some(next),
        }
    }

    /// An exchange was answered: the database is up.
    pub(super) fn database_answered(&mut self, id: DatabaseId, now: Option<DbTime>, flight: &InFlight, looked: bool) {
        let polled = looked && matches!(flight.polls, Polls::All(_) | Polls::NotDone);
        let (moment, poll, shared) = (self.now, self.rules.poll, self.rules.shared);
        let spread = self.rng.f64();
        let database = self.databases_mut(id);
        if let Some(now) = now {
            database.tell_time(now, flight.sent, moment);
            database.first_told.get_or_insert(now);
        }
        database.refuses &= !flight.writes();
        let told = if database.refuses { None } else { database.told_down.take() };
        if !database.refuses {
            database.backoff.reset();
        }
        let before = std::mem::replace(&mut database.health, Health::Up);
        if polled {
            // The first look is at once; the second spreads the databases evenly over the interval.
            let first = !std::mem::replace(&mut database.polled_before, true);
            let next = if first && !shared { poll.mul_f64(spread) } else { poll };
            database.poll_by(moment + next);
        } else if before != Health::Up {
            database.poll_by(moment);
        }
        if let Some(since) = told {
            self.notices.push(Notice::DatabaseUp { database: id, down_for: moment.since(since) });
        }
        if before != Health::Up {
            self.touch_all_of(id);
        }
    }

    /// An exchange failed: the database is down and asked again after a growing, jittered delay.
    pub(super) fn database_failed(&mut self, id: DatabaseId, trouble: &Trouble) {
        let now = self.now;
        let (first, longest) = match trouble.kind {
            // Only ends are waited for, and not for long.
            _ if self.record_by.is_some() => (Duration::from_millis(500), LEAVING_RETRY),
            TroubleKind::Unreachable | TroubleKind::Interrupted | TroubleKind::Refused => {
                let longest = self.database(id).map_or(REFRESH_EVERY, |database| self.longest_delay(database));
                (Duration::from_millis(500), longest)
            }
            TroubleKind::Unfit => (self.rules.poll, self.rules.poll.max(Duration::from_secs(60))),
        };
        let mut rng = self.rng.clone();
        let database = self.databases_mut(id);
        let retry_at = database.backoff.next(now, first, longest, &mut rng);
        let before = database.health;
        let since = if let Health::Down { since, .. } = before { since } else { now };
        database.health = Health::Down { since, retry_at };
        // It may come back as another copy.
        database.look_whole(retry_at);
        database.mark = None;
        // A single statement that the server refused (a deadlock, a cancel) is a hiccup; twice in a row is an outage.
        let is_outage = trouble.kind != TroubleKind::Refused || matches!(before, Health::Down { .. });
        let tell = is_outage && database.told_down.is_none();
        if tell {
            database.told_down = Some(since);
        }
        self.rng = rng;
        if tell {
            let (text, whole_server) = (trouble.text.clone(), trouble.whole_server);
            self.notices.push(Notice::DatabaseDown { database: id, text, whole_server });
        }
        if !matches!(before, Health::Down { .. }) {
            self.touch_all_of(id);
        }
    }

    /// Nothing is left to do but to record: databases that are down are asked again soon, whatever their delay was.
    pub(super) fn ask_again_soon(&mut self) {
        let soon = self.now + LEAVING_RETRY;
        for place in (0..self.databases.len()).filter_map(|place| u32::try_from(place).ok()) {
            let database = self.databases_mut(DatabaseId(place));
            if let Health::Down { retry_at, .. } = &mut database.health
                && !database.to_record.is_empty()
            {
                *retry_at = soon.min(*retry_at);
                self.file_database(DatabaseId(place));
            }
        }
    }

    fn touch_all_of(&mut self, id: DatabaseId) {
        let tenants: Vec<_> =
            self.tenants.iter().filter(|(_, tenant)| tenant.listed.database == id).map(|(id, _)| id).collect();
        for tenant in tenants {
            self.touch(tenant);
        }
    }
}
