//! The fake world: an agenda in virtual time, nodes with their hosts, databases. One thing happens at a time.

use crate::database::Database;
use crate::faults::trouble;
use crate::kernel::Host;
use crate::ledger::Ledger;
use crate::plan::Plan;
use crate::rows::Row;
use crate::supervisor::{Supervisor, SupervisorId};
use crate::trace::Trace;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tenantcron::model::{DatabaseId, DbTime, Exchange, Identity, Reply, RowValue, TenantName, Trouble, TroubleKind};
use tenantcron::scheduler::{Event, Exit, Listed, Mode, Unknown};

/// What is due to happen.
#[derive(Debug)]
pub enum What {
    Heard(SupervisorId, Event),
    Tick(SupervisorId),
    Listing(SupervisorId),
    Arrived {
        supervisor: SupervisorId,
        database: DatabaseId,
        number: u64,
        exchange: Box<Exchange>,
        back: Option<(u64, bool)>,
    },
    Answered {
        supervisor: SupervisorId,
        database: DatabaseId,
        number: u64,
        result: Box<Result<Reply, Trouble>>,
        of: u64,
    },
    MainDies {
        node: usize,
        pid: i32,
        exit: Exit,
    },
    MembersDie {
        node: usize,
        pid: i32,
    },
    Collect {
        supervisor: SupervisorId,
        pid: i32,
    },
    DatabaseBack(DatabaseId),
    RowUnlocked(DatabaseId, String),
    ForeignDone(DatabaseId, String, DbTime),
    Examine(SupervisorId, Unknown),
    Boot(usize),
    Mischief,
    Heal,
    MustBeGone(SupervisorId),
    PatienceEnds,
}

pub struct World {
    pub rng: fastrand::Rng,
    pub now: u64,
    pub agenda: BTreeMap<(u64, u64), What>,
    entries: u64,
    pub plan: Plan,
    pub hosts: Vec<Host>,
    pub databases: Vec<Database>,
    pub supervisors: Vec<Supervisor>,
    pub ledger: Ledger,
    pub trace: Trace,
    pub vanished: BTreeSet<TenantName>,
    pub healed: bool,
    /// Rows that have not had a run since faults ceased.
    pub wanted: BTreeSet<(DatabaseId, String)>,
    pub closing_time: bool,
}

impl World {
    pub fn new(seed: u64, traced: bool) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let plan = Plan::of(seed, &mut rng);
        let host = |number: usize| Host {
            node: format!("n{number}"),
            workers: plan.rules.workers,
            workers_before: plan.rules.workers,
            ..Host::default()
        };
        let database = |number: u32| {
            let epoch = 1_700_000_000_000_000 + i64::from(number) * 3_600_123_457;
            let rows = [("site-name".to_owned(), Row::of_another_program())].into();
            Database { epoch, rows, ..Database::default() }
        };
        let hosts = (0..plan.nodes).map(host).collect();
        let databases = (0..plan.databases).map(database).collect();
        Self {
            rng,
            now: 0,
            agenda: BTreeMap::new(),
            entries: 0,
            plan,
            hosts,
            databases,
            supervisors: Vec::new(),
            ledger: Ledger::default(),
            trace: Trace::new(traced),
            vanished: BTreeSet::new(),
            healed: false,
            wanted: BTreeSet::new(),
            closing_time: false,
        }
    }

    pub fn say(&mut self, line: impl FnOnce() -> String) {
        self.trace.say(self.now, line);
    }

    pub fn after(&mut self, delay: u64, what: What) {
        self.entries += 1;
        self.agenda.insert((self.now + delay, self.entries), what);
    }

    /// A whole night, to its proper end. Panics where an invariant breaks.
    pub fn run(&mut self) {
        self.say(|| String::from("the night begins"));
        let plan = format!("{:?}", self.plan);
        self.say(|| plan);
        for node in 0..self.plan.nodes {
            let delay = self.rng.u64(..3_000_000);
            self.after(delay, What::Boot(node));
        }
        if !self.plan.calm {
            self.after(1_000_000, What::Mischief);
        }
        self.after_duration(self.plan.heal_at, What::Heal);
        while let Some(((at, _), what)) = self.agenda.pop_first() {
            self.now = at;
            self.happen(what);
            if self.closing_time && self.supervisors.iter().all(|supervisor| !supervisor.lives) {
                return self.check_morning();
            }
        }
        panic!("the night ends and somebody is still up");
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Heard(id, event) => {
                let events = self.with_others(id, event);
                self.hear_all(id, events);
            }
            What::Tick(id) => {
                if self.supervisors[id.0].tick_at == Some(self.now) {
                    self.supervisors[id.0].tick_at = None;
                    self.hear(id, Event::Tick);
                }
            }
            What::Listing(id) => self.list(id),
            What::Arrived { supervisor, database, number, exchange, back } => {
                self.arrived(supervisor, database, number, &exchange, back)
            }
            What::Answered { supervisor, database, number, result, of } => {
                if self.supervisors[supervisor.0].lives {
                    self.answered(supervisor, database, number, *result, of);
                }
            }
            What::MainDies { node, pid, exit } => self.main_died(node, pid, exit),
            What::MembersDie { node, pid } => {
                if let Some(tree) = self.hosts[node].trees.get_mut(&pid) {
                    tree.members_live = false;
                }
                self.bury_if_gone(node, pid);
            }
            What::Collect { supervisor, pid } => {
                if self.supervisors[supervisor.0].lives {
                    self.collect(supervisor, pid);
                }
            }
            What::Examine(id, unknown) => {
                if self.supervisors[id.0].lives {
                    self.examine(id, &unknown);
                }
            }
            What::DatabaseBack(database) => {
                let store = &mut self.databases[database.0 as usize];
                (store.down, store.hindered_at) = (false, self.now);
            }
            What::RowUnlocked(database, key) => {
                let store = &mut self.databases[database.0 as usize];
                store.locked.remove(&key);
                store.hindered_at = self.now;
            }
            What::ForeignDone(database, key, since) => self.foreign_done(database, key, since),
            What::Boot(node) => {
                if self.daemon_of(node).is_none() && !self.closing_time {
                    self.boot(node, Mode::Daemon);
                }
            }
            What::Mischief => self.mischief(),
            What::Heal => self.heal(),
            What::MustBeGone(id) => {
                assert!(!self.supervisors[id.0].lives, "supervisor {} was stopped and has not exited", id.0);
            }
            What::PatienceEnds => {
                assert!(self.wanted.is_empty(), "these have not run since faults ceased: {:?}", self.wanted);
                let stuck = |supervisor: &&Supervisor| supervisor.lives && supervisor.rules.mode != Mode::Daemon;
                assert!(!self.supervisors.iter().any(|one| stuck(&one)), "a mode that ends by itself has not ended");
            }
        }
    }

    fn arrived(
        &mut self,
        id: SupervisorId,
        database: DatabaseId,
        number: u64,
        exchange: &Exchange,
        back: Option<(u64, bool)>,
    ) {
        if self.plan.calm {
            self.check_lives(database);
        }
        let store = &mut self.databases[database.0 as usize];
        let answer = |result, of| What::Answered { supervisor: id, database, number, result: Box::new(result), of };
        if store.down {
            let kind = if self.rng.bool() { TroubleKind::Unreachable } else { TroubleKind::Interrupted };
            let wait = self.rng.u64(1_000..10_000_000);
            return if back.is_some() {
                self.after(wait, answer(Err(trouble(kind)), 0))
            };
        }
        let supervisor = &self.supervisors[id.0];
        let writes = supervisor.rules.mode != Mode::DryRun;
        let who: Identity = supervisor.identity().clone();
        let (reply, deeds) = store.apply(self.now, &who, exchange, writes);
        self.say(|| format!("{} ⇒ {database:?} commits #{number} {deeds:?}", id.0));
        self.check_deeds(id, database, exchange, &deeds);
        if let Some((back, doubled)) = back {
            let of = self.now;
            if doubled {
                self.after(back + 1, answer(Ok(reply.clone()), of));
            }
            self.after(back, answer(Ok(reply), of));
        }
    }

    fn main_died(&mut self, node: usize, pid: i32, exit: Exit) {
        let Some(tree) = self.hosts[node].trees.get_mut(&pid).filter(|tree| tree.main_lives) else { return };
        (tree.main_lives, tree.exit) = (false, exit);
        let supervisor = tree.keeper;
        self.after(0, What::Collect { supervisor, pid });
        self.bury_if_gone(node, pid);
    }

    fn bury_if_gone(&mut self, node: usize, pid: i32) {
        if self.hosts[node].trees.get(&pid).is_some_and(|tree| !tree.lives()) {
            self.hosts[node].bury(pid);
        }
    }

    pub fn dies(&mut self, id: SupervisorId, pid: i32, delay: u64, exit: Exit) {
        let node = self.supervisors[id.0].node;
        self.after(delay, What::MainDies { node, pid, exit });
    }

    pub fn members_die(&mut self, id: SupervisorId, pid: i32, delay: u64) {
        let node = self.supervisors[id.0].node;
        self.after(delay, What::MembersDie { node, pid });
    }

    fn foreign_done(&mut self, database: DatabaseId, key: String, since: DbTime) {
        let store = &mut self.databases[database.0 as usize];
        let now = store.time(self.now);
        let row = store.rows.get_mut(&key).unwrap();
        if row.value == RowValue::Running && row.updated_at == since {
            (row.value, row.updated_at) = (RowValue::Done, now);
        }
        self.ledger.foreign.remove(&(database, key));
    }

    pub fn host_of(&mut self, id: SupervisorId) -> &mut Host {
        &mut self.hosts[self.supervisors[id.0].node]
    }

    pub fn listed(&self, name: &TenantName) -> &Listed {
        self.plan.tenants.iter().find(|tenant| tenant.tenant.name == *name).unwrap()
    }

    pub fn after_duration(&mut self, delay: Duration, what: What) {
        self.after(u64::try_from(delay.as_micros()).unwrap(), what);
    }
}
