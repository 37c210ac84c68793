//! Does to the world what the schedule says, undoes it in time, and notes both. It judges nothing; what it cannot do at
//! that moment (thaw whoever is dead) it passes over, and says so in its notes.

use super::nodes::Node;
use super::schedule::{Act, Step};
use super::tenants::Tenant;
use super::timeline::{Kills, Nanos, NodeLine, Span, close, now};
use crate::support::cluster::{Cluster, TestDatabase};
use crate::support::journal::Journal;
use crate::support::proc;
use crate::support::wait::{eventually, millis, secs};
use crate::support::world::signal;
use nix::sys::signal::Signal;
use postgres::Client;
use std::time::{Duration, Instant};

/// How the server fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    Up,
    Down,
    Frozen,
}

/// What must be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Undo {
    Thaw(usize),
    /// The so-many-th fault of this node's network, unless there was another since.
    Heal(usize, usize),
    Server,
}

pub struct Driver {
    pub nodes: Vec<Node>,
    pub tenants: Vec<Tenant>,
    pub journal: Journal,
    pub kills: Kills,
    /// What was done, when, and whether it could be.
    pub notes: Vec<(Nanos, String)>,
    undo: Vec<(Instant, Undo)>,
    networks: Vec<usize>,
    server: Server,
    broken: Vec<Span>,
    late: Vec<Span>,
    client: Option<Client>,
    database: TestDatabase,
    pub cluster: Cluster,
}

impl Driver {
    pub fn new(cluster: Cluster, database: TestDatabase, nodes: Vec<Node>, tenants: Vec<Tenant>) -> Self {
        Self {
            journal: nodes[0].supervisor.journal().clone(),
            networks: vec![0; nodes.len()],
            nodes,
            tenants,
            kills: Kills::default(),
            notes: Vec::new(),
            undo: Vec::new(),
            server: Server::Up,
            broken: Vec::new(),
            late: Vec::new(),
            client: None,
            database,
            cluster,
        }
    }

    /// The whole schedule; `watch` looks on every second.
    pub fn run(&mut self, steps: &[Step], length: Duration, watch: impl Fn(&mut Self)) {
        let begun = Instant::now();
        let mut steps = steps.iter().copied().peekable();
        let mut watched = begun;
        while begun.elapsed() < length {
            while let Some((_, act)) = steps.next_if(|(at, _)| *at <= begun.elapsed()) {
                let done = self.act(act);
                self.note(format!("{act:?}{}", if done { "" } else { ", not possible now" }));
                self.tend();
            }
            self.tend();
            if watched.elapsed() >= secs(1) {
                watched = Instant::now();
                watch(self);
            }
            std::thread::sleep(millis(20));
        }
    }

    /// Undoes what is left to be undone and waits until every node is there again.
    pub fn heal(&mut self) {
        for (_, undo) in std::mem::take(&mut self.undo) {
            self.undo(undo);
        }
        eventually(secs(120), "all supervisors are there", || {
            self.tend();
            self.nodes.iter().all(Node::is_well)
        });
        self.note("the faults have ceased".to_owned());
    }

    /// Looks after what ended and what is due.
    pub fn tend(&mut self) {
        let now = Instant::now();
        let (due, left) = self.undo.drain(..).partition(|(at, _)| *at <= now);
        self.undo = left;
        for (_, undo) in due {
            self.undo(undo);
        }
        for place in 0..self.nodes.len() {
            let lives = self.nodes[place].line.lives.len();
            self.nodes[place].tend();
            if self.nodes[place].line.lives.len() > lives {
                self.note(format!("node {place} started as pid {}", self.nodes[place].supervisor.pid()));
            }
        }
    }

    /// A connection past all relays; none while the server cannot answer.
    pub fn client(&mut self) -> Option<&mut Client> {
        if self.server != Server::Up {
            return None;
        }
        if self.client.as_ref().is_none_or(Client::is_closed) {
            let mut client = self.database.connect();
            // Where a network holds back half of an exchange, its locks stay for so long.
            client.batch_execute("SET lock_timeout = '300ms'").expect("a setting");
            self.client = Some(client);
        }
        self.client.as_mut()
    }

    /// What happened to each node, the server's outages included.
    pub fn lines(&self) -> Vec<NodeLine> {
        let mut lines: Vec<NodeLine> = self.nodes.iter().map(|node| node.line.clone()).collect();
        for line in &mut lines {
            line.broken.extend(&self.broken);
            line.late.extend(&self.late);
        }
        lines
    }

    fn note(&mut self, what: String) {
        self.notes.push((now(), what));
    }

    fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Thaw(node) => self.nodes[node].thaw(),
            Undo::Heal(node, number) if self.networks[node] == number => self.nodes[node].heal(),
            Undo::Heal(..) => return,
            Undo::Server => self.server_back(),
        }
        self.note(format!("over: {undo:?}"));
    }

    fn server_back(&mut self) {
        match std::mem::replace(&mut self.server, Server::Up) {
            Server::Up => {}
            Server::Down => self.cluster.start(),
            Server::Frozen => self.cluster.sigcont(),
        }
        close(&mut self.broken);
        close(&mut self.late);
    }

    /// False where there was nothing to do it to.
    fn act(&mut self, act: Act) -> bool {
        let until = |time: Duration| Instant::now() + time;
        match act {
            Act::Kill { node, down } => self.nodes[node].kill(down),
            Act::Stop { node } => self.nodes[node].stop(),
            Act::Freeze { node, time } => {
                let done = self.nodes[node].freeze();
                if done {
                    self.undo.push((until(time), Undo::Thaw(node)));
                }
                done
            }
            Act::Reload { node, workers } => self.nodes[node].reload(workers),
            Act::Upgrade { node } => self.nodes[node].signal(Signal::SIGUSR2),
            Act::KillJobs { node, most, groups } => self.kill_jobs(node, most, groups),
            Act::Crash { down } => self.crash(until(down)),
            Act::FreezeServer { time } => self.freeze_server(until(time)),
            Act::EndSessions => self.end_sessions(),
            Act::Network { node, way, time } => {
                self.networks[node] += 1;
                self.nodes[node].network(way);
                self.undo.push((until(time), Undo::Heal(node, self.networks[node])));
                true
            }
            Act::Request { node, tenant } => {
                let name = self.tenants[tenant].name.clone();
                self.nodes[node].command(&["request", &name]);
                true
            }
            Act::Ask { tenant } => {
                let name = self.tenants[tenant].name.clone();
                self.client().is_some_and(|client| ask(client, &name))
            }
        }
    }

    fn kill_jobs(&mut self, node: usize, most: usize, groups: bool) -> bool {
        let name = self.nodes[node].line.name.clone();
        let record = self.journal.read();
        let open = record.runs.iter().filter(|run| run.node == name && run.end.is_none());
        let mut killed = 0;
        for run in open.rev().filter(|run| is_run(run.pid, run.run)).take(most) {
            self.kills.0.push((run.run, now()));
            signal(if groups { -run.pid } else { run.pid }, Signal::SIGKILL);
            killed += 1;
        }
        killed > 0
    }

    fn crash(&mut self, until: Instant) -> bool {
        self.server == Server::Up && {
            self.server = Server::Down;
            self.broken.push(Span::open(now()));
            self.client = None;
            self.cluster.stop_immediate();
            self.undo.push((until, Undo::Server));
            true
        }
    }

    fn freeze_server(&mut self, until: Instant) -> bool {
        self.server == Server::Up && {
            self.server = Server::Frozen;
            self.late.push(Span::open(now()));
            self.cluster.sigstop_all();
            self.undo.push((until, Undo::Server));
            true
        }
    }

    fn end_sessions(&mut self) -> bool {
        self.server == Server::Up && {
            self.broken.push(Span::open(now()));
            let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tenantcron'";
            self.cluster.admin(sql);
            close(&mut self.broken);
            true
        }
    }
}

/// The process is the main one of this run, and no later one of that number.
pub fn is_run(pid: i32, run: i64) -> bool {
    proc::is_alive(pid) && proc::environment(pid).contains(&format!("TENANTCRON_RUN_ID={run}"))
}

/// As an application asks; not where somebody holds the row.
fn ask(client: &mut Client, key: &str) -> bool {
    let sql = "UPDATE tenantcron_status SET value = 'needed' WHERE key = $1 AND value = 'done'";
    client.execute(sql, &[&key]).is_ok() && client.batch_execute("NOTIFY tenantcron").is_ok()
}
