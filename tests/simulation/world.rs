//! The fake world: an agenda in virtual time, nodes on their hosts, databases. One thing happens at a time.

use crate::checks::Ledger;
use crate::database::{Copy, Database};
use crate::dice::{Of, dice};
use crate::host::{Host, RunKey};
use crate::plan::{Fault, Plan};
use crate::supervisor::{Look, Supervisor, SupervisorId};
use crate::trace::Trace;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tenantcron::model::{DatabaseId, DbTime, Exchange, Reply, RunIdentity, Trouble};
use tenantcron::scheduler::{Event, Exit, Unknown};

/// What is due to happen.
#[derive(Debug)]
pub enum What {
    Heard(SupervisorId, Box<Event>),
    Tick(SupervisorId),
    Listing(SupervisorId),
    Answered {
        supervisor: SupervisorId,
        database: DatabaseId,
        number: u64,
        result: Box<Result<Reply, Trouble>>,
        of: Look,
    },
    Collect {
        supervisor: SupervisorId,
        pid: i32,
    },
    Examine(SupervisorId, Box<Unknown>),
    /// The next program began, or would not.
    Replaced(SupervisorId, bool),
    Arrived(Box<Arrival>),
    MainDies {
        host: usize,
        boot: u32,
        pid: i32,
        exit: Exit,
    },
    MembersDie {
        host: usize,
        boot: u32,
        pid: i32,
    },
    DaemonDies {
        host: usize,
        boot: u32,
        pid: i32,
    },
    FailsOver {
        database: usize,
        copy: Box<Copy>,
        down: u64,
        step: i64,
    },
    RowUnlocked(DatabaseId, String),
    ForeignDone(DatabaseId, usize, DbTime),
    Boot(usize),
    PowerOn(usize),
    Deed(usize),
    Heal,
    LookIfWell,
    /// Unless it was frozen for longer than so long.
    MustBeGone(SupervisorId, u64),
    /// A tree with which the rows disagreed then was ended, or they agree, if somebody could.
    MustAgree(RunKey, u64),
    PatienceEnds,
}

/// An exchange on its way to a database.
#[derive(Debug)]
pub struct Arrival {
    pub supervisor: SupervisorId,
    pub node: usize,
    pub database: DatabaseId,
    /// To which copy of it, from which program.
    pub era: u32,
    pub generation: u32,
    pub exchange: Exchange,
    /// None: there is no answer.
    pub back: Option<Back>,
}

/// How an answer comes back.
#[derive(Debug, Clone, Copy)]
pub struct Back {
    pub takes: u64,
    /// It comes once more, so much later.
    pub doubled: Option<u64>,
    /// All was said and done but the look.
    pub lookless: bool,
}

/// A node as it is now.
#[derive(Debug)]
pub struct Node {
    pub name: String,
    pub host: usize,
    pub rival: bool,
    /// How many slot files its supervisors look at.
    pub workers: u32,
    /// When that was lowered last, and from how many.
    pub lowered: Option<(u64, u32)>,
    /// Out of reach: one database, or all.
    pub cuts: Vec<(Option<DatabaseId>, u64)>,
    pub daemons: u64,
}

pub struct World {
    pub now: u64,
    pub agenda: BTreeMap<(u64, u64), What>,
    entries: u64,
    pub plan: Plan,
    pub nodes: Vec<Node>,
    pub hosts: Vec<Host>,
    pub databases: Vec<Database>,
    pub supervisors: Vec<Supervisor>,
    pub ledger: Ledger,
    pub trace: Trace,
    /// Tenants that no source lists now.
    pub vanished: BTreeSet<usize>,
    /// How many children each tenant had.
    pub starts: BTreeMap<usize, u64>,
    /// What went wrong and could have been left out.
    pub faults: Vec<Fault>,
    pub healed: bool,
    /// Rows that have not had a run since faults ceased.
    pub wanted: BTreeSet<(DatabaseId, usize)>,
    pub closing_time: bool,
}

impl World {
    pub fn new(plan: Plan, traced: bool) -> Self {
        let node = |node: &crate::plan::Node| Node {
            name: node.name.clone(),
            host: node.host,
            rival: node.rival,
            workers: plan.rules.workers,
            lowered: None,
            cuts: Vec::new(),
            daemons: 0,
        };
        let nodes = plan.nodes.iter().map(node).collect();
        let database =
            |number: u32| Database::new(1_700_000_000_000_000 + i64::from(number) * 3_600_123_457, plan.flaw);
        Self {
            now: 0,
            agenda: BTreeMap::new(),
            // Below are those that go first.
            entries: 1 << 20,
            nodes,
            hosts: (0..plan.hosts).map(Host::new).collect(),
            databases: (0..plan.databases).map(database).collect(),
            plan,
            supervisors: Vec::new(),
            ledger: Ledger::default(),
            trace: Trace::new(traced),
            vanished: BTreeSet::new(),
            starts: BTreeMap::new(),
            faults: Vec::new(),
            healed: false,
            wanted: BTreeSet::new(),
            closing_time: false,
        }
    }

    pub fn say(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.trace.on {
            let line = line(self);
            self.trace.say(self.now, line);
        }
    }

    pub fn after(&mut self, delay: u64, what: What) {
        self.entries += 1;
        self.agenda.insert((self.now + delay, self.entries), what);
    }

    pub fn after_duration(&mut self, delay: Duration, what: What) {
        self.after(u64::try_from(delay.as_micros()).unwrap(), what);
    }

    pub fn host_of(&mut self, id: SupervisorId) -> &mut Host {
        &mut self.hosts[self.supervisors[id.0].host]
    }

    pub fn store(&self, database: DatabaseId) -> &Database {
        &self.databases[database.0 as usize]
    }

    /// What names a run as long as there is one.
    pub fn key_of(&self, database: DatabaseId, run: &RunIdentity) -> RunKey {
        let tenant = self.plan.tenant_of(database.0, &run.key).expect("runs are of tenants");
        RunKey { database, tenant, started_at: run.started_at }
    }

    pub fn child_dice(&self, tenant: usize) -> fastrand::Rng {
        dice(self.plan.seed, Of::Child, tenant as u64, self.starts[&tenant])
    }

    /// Nodes that were not left out, all or those of a host.
    pub fn nodes_of(&self, host: Option<usize>) -> Vec<usize> {
        let fits = |node: &usize| host.is_none_or(|host| self.nodes[*node].host == host) && self.has(*node);
        (0..self.nodes.len()).filter(fits).collect()
    }

    /// The node was not left out.
    pub fn has(&self, node: usize) -> bool {
        node == 0 || self.plan.happens(Fault::Node(node))
    }

    pub fn is_cut(&self, node: usize, database: DatabaseId) -> bool {
        let cuts = &self.nodes[node].cuts;
        cuts.iter().any(|(from, until)| *until > self.now && from.is_none_or(|from| from == database))
    }
}
