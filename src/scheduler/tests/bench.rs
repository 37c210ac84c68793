//! A bench for the core: rows, locks and children that do as they are told, and a clock that a test moves. It
//! answers at once; what a test wants late it holds back ([`Bench::hold`]).

use crate::model::{
    DatabaseId, DbTime, Exchange, Finish, Identity, Moment, OpenRun, Repair, Reply, RowValue, RunId, RunIdentity,
    StatusRow, Tenant, TenantName, Trouble, TroubleKind,
};
use crate::scheduler::{
    Action, Closing, End, Event, Exit, ExitReason, Force, Listed, Mode, Notice, Rounds, Rules, Scheduler, StaleAction,
};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

pub(super) const MIN: Duration = Duration::from_secs(60);

/// The database's time when a test begins, in seconds: a slot begins here.
pub(super) const BEGIN: i64 = 1_200_000_000;

pub(super) fn at(seconds: i64) -> DbTime {
    DbTime((BEGIN + seconds) * 1_000_000)
}

pub(super) fn sec(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn name(name: &str) -> TenantName {
    TenantName::parse(name).unwrap()
}

pub(super) fn rules() -> Rules {
    Rules {
        identity: Identity { instance: "wcs".into(), node: "here".into(), host: "boot/1".into() },
        mode: Mode::Daemon,
        workers: 1,
        enabled: true,
        rounds: Rounds::Rolling,
        kill_after: sec(30),
        stale_after: sec(86_400),
        stale_action: StaleAction::Alert,
        stale_repeat: sec(3_600),
        cluster_limit: 0,
        group_limit: 0,
        poll: sec(10),
        look_size: 1_000,
        shared: true,
        lease: None,
        born: Moment(5_000_000),
        seed: 1,
    }
}

/// A tenant every 20 minutes, at the full slot.
pub(super) fn tenant(tenant: &str) -> Listed {
    Listed {
        tenant: Tenant::new(name(tenant), None, None).unwrap(),
        key: tenant.into(),
        database: DatabaseId(0),
        every: 20 * MIN,
        offset: Duration::ZERO,
        timeout: None,
        enabled: true,
    }
}

pub(super) struct Bench {
    pub core: Scheduler,
    pub now: Moment,
    pub rows: BTreeMap<String, StatusRow>,
    /// Open runs as the database has them.
    pub runs: Vec<OpenRun>,
    /// What was recorded, in order.
    pub finished: Vec<Finish>,
    pub undone: Vec<RunId>,
    /// Tenants in the order in which they were started.
    pub started: Vec<String>,
    pub closed: Vec<Closing>,
    pub signals: Vec<(String, Force)>,
    pub notices: Vec<Notice>,
    pub exit: Option<ExitReason>,
    /// Every exchange that was sent.
    pub exchanges: Vec<(DatabaseId, Exchange)>,
    /// What happened besides.
    pub others: Vec<Action>,
    /// Locks that other processes hold.
    pub held: Vec<TenantName>,
    /// Slots that are free on this host.
    pub slots: u32,
    pub down: bool,
    /// Rows that somebody holds locked.
    pub locked: Vec<String>,
    /// Locks and exchanges are not answered; they wait here.
    pub hold: bool,
    pub waiting: VecDeque<Action>,
    /// Children do not report that they live until told.
    pub slow_start: bool,
    /// The number of the last exchange that the core wanted.
    pub number: u64,
    /// Runs whose rows were set right again, with the identity told by the core.
    pub repaired: Vec<Repair>,
    /// How long every exchange takes, as its answer tells.
    pub took: Duration,
    pub next_run: i64,
}

impl Bench {
    pub fn new(rules: Rules) -> Self {
        Self {
            core: Scheduler::new(rules),
            now: Moment(5_000_000),
            rows: BTreeMap::new(),
            runs: Vec::new(),
            finished: Vec::new(),
            undone: Vec::new(),
            started: Vec::new(),
            closed: Vec::new(),
            signals: Vec::new(),
            notices: Vec::new(),
            exit: None,
            exchanges: Vec::new(),
            others: Vec::new(),
            held: Vec::new(),
            slots: 1_000,
            down: false,
            locked: Vec::new(),
            hold: false,
            waiting: VecDeque::new(),
            slow_start: false,
            number: 0,
            repaired: Vec::new(),
            took: Duration::ZERO,
            next_run: 1,
        }
    }

    /// With these rows: key, value, and the second of their `updated_at` since the beginning.
    pub fn with_rows(rules: Rules, rows: &[(&str, &str, i64)]) -> Self {
        let mut bench = Self::new(rules);
        for (key, value, updated_at) in rows {
            bench.row(key, value, *updated_at);
        }
        bench
    }

    /// With these rows, and their tenants listed.
    pub fn started(rules: Rules, rows: &[(&str, &str, i64)]) -> Self {
        let mut bench = Self::with_rows(rules, rows);
        bench.list(rows.iter().map(|(key, ..)| tenant(key)));
        bench
    }

    pub fn row(&mut self, key: &str, value: &str, updated_at: i64) -> &mut StatusRow {
        let value = RowValue::from_word(value);
        let row = StatusRow {
            key: key.into(),
            value,
            updated_at: at(updated_at),
            created_at: None,
            paused: false,
            requested_at: None,
        };
        self.rows.insert(key.into(), row);
        self.rows.get_mut(key).unwrap()
    }

    /// With a bystander beside a single tenant: a lonely row would be read at every look.
    pub fn list(&mut self, tenants: impl IntoIterator<Item = Listed>) {
        let mut tenants: Vec<_> = tenants.into_iter().collect();
        if tenants.len() == 1 && tenants[0].database == DatabaseId(0) && self.core.rules.mode == Mode::Daemon {
            self.row("zz", "done", 0);
            tenants.push(Listed { enabled: false, ..tenant("zz") });
        }
        self.tell(Event::TenantsListed(tenants));
    }

    pub fn db_now(&self) -> DbTime {
        at(0) + self.now.since(Moment(5_000_000))
    }

    /// A fact, and all that follows from it at once.
    pub fn tell(&mut self, event: Event) {
        self.hear(event);
        self.obey();
    }

    fn hear(&mut self, event: Event) {
        let actions = self.core.handle(self.now, event);
        self.notices.extend(self.core.take_notices());
        for action in &actions {
            if let Action::Exchange { exchange, .. } = action {
                self.number = exchange.number;
            }
        }
        self.waiting.extend(actions);
    }

    /// The exchange under way with the first database is answered so, or fails.
    pub fn answered(&mut self, result: Result<Reply, Trouble>) {
        self.tell(Event::Exchanged { database: DatabaseId(0), number: self.number, result });
    }

    fn obey(&mut self) {
        let mut later = VecDeque::new();
        while let Some(action) = self.waiting.pop_front() {
            assert!(self.exit.is_none() || matches!(action, Action::Exchange { .. }), "after the exit: {action:?}");
            if self.hold && matches!(action, Action::Lock { .. } | Action::Exchange { .. }) {
                later.push_back(action);
                continue;
            }
            if let Some(event) = self.perform(action) {
                self.hear(event);
            }
        }
        self.waiting = later;
    }

    /// What was held back is answered.
    pub fn release(&mut self) {
        self.hold = false;
        self.obey();
    }

    /// One of what is held back is answered; what follows from it is held back.
    pub fn answer_at(&mut self, place: usize) {
        let action = self.waiting.remove(place).unwrap();
        if let Some(event) = self.perform(action) {
            self.tell(event);
        }
    }

    pub fn answer_one(&mut self) {
        self.answer_at(0);
    }

    fn perform(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Lock { tenants, slots } => {
                let (held, won) = tenants.into_iter().partition::<Vec<_>, _>(|one| self.held.contains(one));
                let got = slots.min(self.slots);
                self.slots -= got;
                let won = if got > 0 || slots == 0 { won } else { Vec::new() };
                return Some(Event::Locked {
                    won,
                    held: held.into_iter().map(|one| (one, Some(77))).collect(),
                    slots: got,
                });
            }
            Action::Unlock { slots, .. } => self.slots += slots,
            Action::Exchange { database, exchange } => {
                self.exchanges.push((database, exchange.clone()));
                let result =
                    if self.down { Err(trouble(TroubleKind::Unreachable)) } else { Ok(self.answer(&exchange)) };
                return Some(Event::Exchanged { database, number: exchange.number, result });
            }
            Action::Start { tenant, .. } => {
                self.started.push(tenant.to_string());
                if !self.slow_start {
                    return Some(lives(tenant.as_str()));
                }
            }
            Action::Signal { tenant, force } => self.signals.push((tenant.to_string(), force)),
            Action::Close(closing) => {
                self.slots += 1;
                self.closed.push(closing);
            }
            Action::Exit { reason } => {
                assert!(self.exit.replace(reason).is_none(), "it exits twice");
            }
            Action::ProbeLock { tenant } => {
                let held = self.held.contains(&tenant);
                return Some(Event::LockProbed { tenant, held });
            }
            action @ (Action::CheckGroup { .. }
            | Action::Examine(_)
            | Action::Renumber { .. }
            | Action::Forget { .. }
            | Action::Upgrade) => self.others.push(action),
        }
        None
    }

    /// Time passes; the core is woken whenever it wants to be.
    pub fn pass(&mut self, wait: Duration) {
        let until = self.now + wait;
        let mut wakes = 0;
        while let Some(deadline) = self.core.next_deadline().filter(|at| *at < until) {
            self.now = self.now.max(deadline);
            self.tell(Event::Tick);
            wakes += 1;
            assert!(wakes < 100_000, "the core spins at {deadline:?}");
        }
        self.now = until;
        self.tell(Event::Tick);
    }

    pub fn ends(&mut self, tenant: &str, exit: Exit) {
        self.tell(ended(tenant, exit, false));
    }

    /// Notices of one kind that came since the last call, and forgets all.
    pub fn take(&mut self, wanted: impl Fn(&Notice) -> bool) -> usize {
        std::mem::take(&mut self.notices).iter().filter(|notice| wanted(notice)).count()
    }

    pub fn last_exchange(&self) -> &Exchange {
        &self.exchanges.last().unwrap().1
    }

    /// Claims that were sent: their keys and how many might be taken.
    pub fn claims(&self) -> Vec<(Vec<&str>, u32)> {
        let claims = self.exchanges.iter().filter_map(|(_, exchange)| exchange.claim.as_ref());
        claims.map(|claim| (claim.offers.iter().map(|offer| offer.key.as_str()).collect(), claim.limit)).collect()
    }

    /// Resets that were sent.
    pub fn resets(&self) -> Vec<(&str, DbTime)> {
        let resets = self.exchanges.iter().flat_map(|(_, exchange)| &exchange.reset);
        resets.map(|reset| (reset.key.as_str(), reset.slot)).collect()
    }
}

pub(super) fn open_run(key: &str, id: i64, started_at: DbTime) -> OpenRun {
    let Identity { instance, node, host } = rules().identity;
    let identity = RunIdentity { id: RunId(id), key: key.into(), instance, node, host, started_at };
    OpenRun { identity, group: None, pid: None, pid_start: None, alive_at: started_at, lease: None }
}

pub(super) fn trouble(kind: TroubleKind) -> Trouble {
    Trouble { kind, text: "gone".into(), whole_server: true }
}

pub(super) fn lives(tenant: &str) -> Event {
    Event::Started { tenant: name(tenant), pid: 900, pid_start: 9 }
}

pub(super) fn ended(tenant: &str, exit: Exit, group_left: bool) -> Event {
    Event::Ended { tenant: name(tenant), end: End { exit, cpu_seconds: Some(0.5), max_rss_kb: Some(10) }, group_left }
}
