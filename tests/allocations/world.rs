//! A shared database, locks and children that do as they are told at once, around the real core. What is counted is
//! the core's own steps alone: answers are made before a step begins and actions are obeyed after it.

use super::ALLOCATOR;
use std::collections::VecDeque;
use std::time::Duration;
use tenantcron::model::{
    Claimed, DatabaseId, DbTime, Exchange, Finished, Identity, Mark, Moment, OpenRun, Poll, Polled, Refreshed, Reply,
    RowValue, RunId, RunIdentity, StatusRow, Tenant, TenantName,
};
use tenantcron::scheduler::{Action, End, Event, Exit, LOOK_SIZE, Listed, Mode, Rounds, Rules, Scheduler, StaleAction};

const BORN: Moment = Moment(5_000_000);
/// The database's time at that moment, microseconds.
const BEGIN: DbTime = DbTime(1_200_000_000_000_000);
/// The next slot is months away from the beginning.
const EVERY: Duration = Duration::from_secs(365 * 86_400);

pub struct World {
    core: Scheduler,
    now: Moment,
    waiting: VecDeque<Action>,
    /// The only tenant that is not done.
    needed: Option<String>,
    open: Option<OpenRun>,
    next_run: i64,
    looks: usize,
    /// Rows told by looks since it came to rest.
    pub rows_read: usize,
    /// Runs closed and recorded.
    pub ended: usize,
    /// Allocations and bytes of the core's steps.
    pub spent: (usize, usize),
}

impl World {
    /// So many tenants, all done and all read.
    pub fn at_rest(tenants: usize) -> Self {
        let mut world = Self {
            core: Scheduler::new(rules()),
            now: BORN,
            waiting: VecDeque::new(),
            needed: None,
            open: None,
            next_run: 1,
            looks: 0,
            rows_read: 0,
            ended: 0,
            spent: (0, 0),
        };
        world.tell(Event::TenantsListed((0..tenants).map(|at| listed(&key(at))).collect()));
        // The first short look brings the mark; after it nothing is read that did not change.
        while world.looks < tenants.div_ceil(LOOK_SIZE) + 3 {
            world.tick();
        }
        assert!(world.rows_read >= tenants, "only {} rows were read", world.rows_read);
        world.rows_read = 0;
        world
    }

    /// Time passes until the next look was answered.
    pub fn look(&mut self) {
        let before = self.looks;
        while self.looks == before {
            self.tick();
        }
    }

    /// A tenant becomes needed, is claimed, started, ends and is recorded.
    pub fn run(&mut self, tenant: usize) {
        let (key, before) = (key(tenant), self.ended);
        self.needed = Some(key.clone());
        self.tell(Event::Notified { database: DatabaseId(0), key: Some(key.clone()) });
        while self.open.is_none() {
            self.tick();
        }
        let end = End { exit: Exit::Code(0), cpu_seconds: Some(0.5), max_rss_kb: Some(10) };
        self.tell(Event::Ended { tenant: name(&key), end, group_left: false });
        while self.ended == before || self.open.is_some() {
            self.tick();
        }
    }

    fn tick(&mut self) {
        self.now = self.now.max(self.core.next_deadline().unwrap());
        self.tell(Event::Tick);
    }

    fn tell(&mut self, event: Event) {
        self.step(event);
        while let Some(action) = self.waiting.pop_front() {
            if let Some(event) = self.obey(action) {
                self.step(event);
            }
        }
    }

    fn step(&mut self, event: Event) {
        let before = ALLOCATOR.stats();
        let actions = self.core.handle(self.now, event);
        drop(self.core.take_notices());
        let after = ALLOCATOR.stats();
        self.spent.0 += after.allocations + after.reallocations - before.allocations - before.reallocations;
        self.spent.1 += after.bytes_allocated - before.bytes_allocated;
        self.waiting.extend(actions);
    }

    fn obey(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Lock { tenants, slots } => Some(Event::Locked { won: tenants, held: Vec::new(), slots }),
            Action::Exchange { database, exchange } => {
                let result = Ok(self.answer(&exchange));
                Some(Event::Exchanged { database, number: exchange.number, result })
            }
            Action::Start { tenant, .. } => Some(Event::Started { tenant, pid: 900, pid_start: 9 }),
            Action::Close(_) => {
                self.ended += 1;
                None
            }
            Action::Unlock { .. } => None,
            other => panic!("nothing calls for {other:?}"),
        }
    }

    fn answer(&mut self, exchange: &Exchange) -> Reply {
        let now = BEGIN + self.now.since(BORN);
        assert!(exchange.reset.is_empty() && exchange.undo.is_empty() && exchange.repair.is_empty(), "{exchange:?}");
        let mut reply = Reply { now: Some(now), ..Reply::default() };
        for finish in &exchange.finish {
            let open = self.open.take().unwrap();
            assert_eq!(open.identity, finish.run);
            self.needed = None;
            reply.finished.push(Finished::Recorded { row: Some(now) });
        }
        reply.refreshed = exchange.refresh.iter().map(|_| Refreshed::Confirmed).collect();
        if let Some(claim) = &exchange.claim {
            let key = self.needed.clone().unwrap();
            assert!(claim.offers.iter().map(|offer| &offer.key).eq([&key]), "{claim:?}");
            let id = RunId(self.next_run);
            self.next_run += 1;
            let Identity { instance, node, host } = rules().identity;
            let identity = RunIdentity { id, key: key.clone(), instance, node, host, started_at: now };
            self.open = Some(OpenRun { identity, group: None, pid: None, pid_start: None, alive_at: now, lease: None });
            reply.claimed.push(Claimed { key, id, started_at: now });
        }
        if let Some(poll) = &exchange.poll {
            self.looks += 1;
            let polled = self.read(poll);
            self.rows_read += polled.rows.len();
            reply.polled = Some(polled.into());
        }
        reply
    }

    fn read(&self, poll: &Poll) -> Polled {
        let (rows, mark) = match poll {
            Poll::Keys(keys) => (keys.iter().map(|key| self.row(key)).collect(), None),
            Poll::NotDone { .. } => {
                let mark = Mark(format!("{} {:?}", self.next_run, self.open.is_some()).into());
                (self.needed.iter().map(|key| self.row(key)).collect(), Some(mark))
            }
        };
        Polled { rows, runs: self.open.iter().cloned().collect(), mark }
    }

    fn row(&self, key: &str) -> StatusRow {
        let value = match &self.needed {
            Some(needed) if needed == key && self.open.is_some() => RowValue::Running,
            Some(needed) if needed == key => RowValue::Needed,
            _ => RowValue::Done,
        };
        StatusRow { key: key.into(), value, updated_at: BEGIN, created_at: None, paused: false, requested_at: None }
    }
}

fn rules() -> Rules {
    Rules {
        identity: Identity { instance: "wcs".into(), node: "here".into(), host: "boot/1".into() },
        mode: Mode::Daemon,
        workers: 8,
        enabled: true,
        rounds: Rounds::Rolling,
        kill_after: Duration::from_secs(30),
        stale_after: Duration::from_secs(86_400),
        stale_action: StaleAction::Alert,
        stale_repeat: Duration::from_secs(3_600),
        cluster_limit: 0,
        group_limit: 0,
        poll: Duration::from_secs(10),
        look_size: LOOK_SIZE,
        shared: true,
        lease: None,
        born: BORN,
        seed: 1,
    }
}

/// Of the same length whatever the number, so that bytes compare.
fn key(tenant: usize) -> String {
    format!("t{tenant:06}")
}

fn name(key: &str) -> TenantName {
    TenantName::parse(key).unwrap()
}

fn listed(key: &str) -> Listed {
    let tenant = Tenant::new(name(key), None, None).unwrap();
    Listed {
        key: key.into(),
        tenant,
        database: DatabaseId(0),
        every: EVERY,
        offset: Duration::ZERO,
        timeout: None,
        enabled: true,
    }
}
