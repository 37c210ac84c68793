//! Sessions for all databases within `connections` places: who gets one, who must make way. One piece of
//! work per database at a time. Databases that failed last time share one place and those that have never
//! answered take at most half, so that what hangs delays nobody else by more than one deadline, once; and a
//! database that must confirm leases by no more than the patience with a connect.
//! Invariants: `open` counts every session that the server may count, but those given up; nobody waits while a place is free
//! for them.

mod evict;
mod leases;
mod places;
mod servers;

use super::connect::Connection;
use super::error::ConnectError;
use super::lanes::Lanes;
use super::listen::{Ear, Heard};
use super::migrate::Tables;
use super::perform::{Desk, Done, perform};
use super::settings::Settings;
use super::statements::Statements;
use super::task::{Answer, Ask};
use super::url::DatabaseUrl;
use crate::model::{DatabaseId, Trouble, TroubleKind};
use servers::Silent;
use std::collections::{HashMap, VecDeque};
use std::mem::take;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};

/// What the engine's owner orders.
pub(crate) enum Order {
    /// A database is known, has another URL, or is forgotten.
    Database(DatabaseId, Option<Arc<DatabaseUrl>>),
    /// Something is asked of a database.
    Ask(DatabaseId, Ask),
    /// The configuration's own statement is asked of a URL.
    Tenants(Arc<DatabaseUrl>, String),
    /// Listen to a database.
    Listen(DatabaseId),
    /// Finish what is under way, for so long, and end.
    Stop(Duration),
}

/// What the tasks report.
pub(crate) enum Event {
    /// A connect came to an end.
    Connected(Seat, u64, Result<Box<Connection>, ConnectError>),
    /// A piece of work came to an end.
    Done(Seat, u64, Box<Done>),
    /// A session is closed.
    Closed(Seat, u64),
    /// Of a listener.
    Heard(DatabaseId, Heard),
}

/// For whom a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Seat {
    Database(DatabaseId),
    /// `tenants.query`, wherever it asks.
    Tenants,
}

/// How a database did last time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    New,
    Good,
    Failing,
}

struct Member {
    url: Arc<DatabaseUrl>,
    standing: Standing,
    tables: Tables,
    waiting: VecDeque<Ask>,
    /// Since when something waits.
    waits_since: Option<Instant>,
    stage: Stage,
    /// Runs with a lease were met here.
    leased: bool,
    /// Runs of ours that live there, as far as seen.
    live_runs: usize,
    /// Of the session under way; what comes from an older one is not this member's.
    serial: u64,
}

enum Stage {
    Away,
    Connecting {
        since: Instant,
        task: AbortHandle,
    },
    /// `way` asks the work to end, once; the place is expected to be free by `free_by`.
    Working {
        since: Instant,
        way: Option<oneshot::Sender<()>>,
        free_by: Option<Instant>,
    },
    Idle {
        connection: Box<Connection>,
        since: Instant,
    },
    Closing,
}

/// The pool and all it knows.
pub(crate) struct Pool {
    settings: Arc<Settings>,
    statements: Arc<Statements>,
    answer: Box<dyn Fn(Answer) + Send>,
    events: mpsc::UnboundedSender<Event>,
    members: HashMap<Seat, Member>,
    /// Seats whose stage is not `Away`: at most as many as places.
    seated: Vec<Seat>,
    lanes: Lanes<Seat>,
    ears: HashMap<DatabaseId, Ear>,
    silent: Silent,
    open: usize,
    serial: u64,
    stopping: Option<Instant>,
}

impl Pool {
    pub fn new(
        settings: Settings,
        statements: Statements,
        answer: Box<dyn Fn(Answer) + Send>,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        Self {
            settings: Arc::new(settings),
            statements: Arc::new(statements),
            answer,
            events,
            members: HashMap::new(),
            seated: Vec::new(),
            lanes: Lanes::new(),
            ears: HashMap::new(),
            silent: Silent::default(),
            open: 0,
            serial: 0,
            stopping: None,
        }
    }

    /// Serves until stopped.
    pub async fn serve(
        mut self,
        mut orders: mpsc::UnboundedReceiver<Order>,
        mut events: mpsc::UnboundedReceiver<Event>,
    ) {
        loop {
            let wake = self.wake();
            tokio::select! {
                biased;
                Some(event) = events.recv() => self.hear(event),
                order = orders.recv() => match order {
                    Some(order) => self.obey(order),
                    // the owner is gone
                    None => self.stopping = Some(Instant::now()),
                },
                () = sleep_until(wake) => {}
            }
            let now = Instant::now();
            self.make_way(now);
            self.make_way_for_leases(now);
            self.seat(now);
            if self.stopping.is_some_and(|deadline| deadline <= now || self.is_at_rest()) {
                return self.end().await;
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Database(id, Some(url)) => self.know(Seat::Database(id), url),
            Order::Database(id, None) => self.forget(Seat::Database(id)),
            Order::Ask(id, ask) => self.ask(Seat::Database(id), ask),
            Order::Tenants(url, sql) => {
                self.know(Seat::Tenants, url);
                self.ask(Seat::Tenants, Ask::Tenants(sql));
            }
            Order::Listen(id) => {
                self.ears.entry(id).or_insert_with(Ear::new);
            }
            Order::Stop(wait) => self.stopping = Some(Instant::now() + wait),
        }
    }

    fn know(&mut self, seat: Seat, url: Arc<DatabaseUrl>) {
        if self.members.get(&seat).is_some_and(|member| member.url == url) {
            return;
        }
        self.forget(seat);
        let member = Member {
            url,
            standing: Standing::New,
            tables: Tables::Unseen,
            waiting: VecDeque::new(),
            waits_since: None,
            stage: Stage::Away,
            leased: false,
            live_runs: 0,
            serial: 0,
        };
        self.members.insert(seat, member);
    }

    fn forget(&mut self, seat: Seat) {
        let Some(mut member) = self.members.remove(&seat) else { return };
        self.seated.retain(|seated| *seated != seat);
        if let Seat::Database(id) = seat
            && let Some(ear) = self.ears.remove(&id)
        {
            self.open -= usize::from(ear.stop());
        }
        for ask in take(&mut member.waiting) {
            let text = format!("database {}: no longer configured", member.url);
            self.tell(ask.failed(id_of(seat), Trouble { kind: TroubleKind::Unreachable, text, whole_server: false }));
        }
        match member.stage {
            Stage::Connecting { task, .. } => {
                task.abort();
                self.open -= 1;
            }
            Stage::Idle { connection, .. } => self.close(seat, member.serial, *connection),
            // reports when it ends, and is then nobody's
            Stage::Away | Stage::Working { .. } | Stage::Closing => {}
        }
    }

    fn ask(&mut self, seat: Seat, ask: Ask) {
        let urgent = ask.is_urgent();
        match self.members.get_mut(&seat) {
            Some(member) => {
                member.leased |= leases::says_lease(&ask);
                member.waiting.push_back(ask);
                member.waits_since.get_or_insert_with(Instant::now);
                self.lanes.join(seat, urgent);
            }
            None => {
                let text = "database not known: it is no longer configured".to_owned();
                self.tell(
                    ask.failed(id_of(seat), Trouble { kind: TroubleKind::Unreachable, text, whole_server: false }),
                );
            }
        }
    }

    fn tell(&self, answer: Option<Answer>) {
        if let Some(answer) = answer {
            (self.answer)(answer);
        }
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Connected(seat, serial, result) => self.connected(seat, serial, result),
            Event::Done(seat, serial, done) => self.done(seat, serial, *done),
            Event::Closed(seat, serial) => {
                self.open -= 1;
                if let Some(member) = self.members.get_mut(&seat).filter(|member| member.serial == serial) {
                    member.stage = Stage::Away;
                    self.seated.retain(|seated| *seated != seat);
                    self.rejoin(seat);
                }
            }
            Event::Heard(id, heard) => self.heard(id, heard),
        }
    }

    /// Puts a session to the next piece of work of its database.
    fn start(&mut self, seat: Seat, connection: Connection, rested: Duration) {
        let Some(member) = self.members.get_mut(&seat) else { return };
        member.waits_since = None;
        let Some(ask) = member.waiting.pop_front() else {
            member.stage = Stage::Idle { connection: Box::new(connection), since: Instant::now() };
            return;
        };
        let (way, asked) = oneshot::channel();
        let since = Instant::now();
        let free_by = evict::soon_free(&ask, member.live_runs, !member.waiting.is_empty(), since);
        member.stage = Stage::Working { since, way: Some(way), free_by };
        let sessions_last = self.ears.get(&id_of(seat)).is_some_and(Ear::has_heard);
        let desk = Desk {
            settings: Arc::clone(&self.settings),
            statements: Arc::clone(&self.statements),
            database: id_of(seat),
            url: Arc::clone(&member.url),
            sessions_last,
            prepared: None,
        };
        let (tables, serial, events) = (member.tables, member.serial, self.events.clone());
        tokio::spawn(async move {
            let done = Box::new(perform(desk, connection, rested, tables, ask, asked).await);
            // the pool may have ended
            let _ = events.send(Event::Done(seat, serial, done));
        });
    }

    fn done(&mut self, seat: Seat, serial: u64, done: Done) {
        let Done { answer, connection, tables, down, again } = done;
        match self.members.get_mut(&seat).filter(|member| member.serial == serial) {
            Some(member) => {
                member.tables = tables;
                member.standing = if down { Standing::Failing } else { Standing::Good };
                member.leased |= leases::shows_lease(answer.as_ref());
                member.live_runs = evict::live_runs(member.live_runs, answer.as_ref(), &self.settings.identity);
                match again {
                    // the next batch is in no hurry
                    Some(ask @ Ask::Prune(_)) => member.waiting.push_back(ask),
                    Some(ask) => member.waiting.push_front(ask),
                    None => {}
                }
                member.waits_since = (!member.waiting.is_empty()).then(Instant::now);
                match connection {
                    // where the configuration's query asks need not be where the next one does
                    Some(connection) if seat == Seat::Tenants => {
                        member.stage = Stage::Closing;
                        self.close(seat, serial, connection);
                    }
                    Some(connection) => {
                        member.stage = Stage::Idle { connection: Box::new(connection), since: Instant::now() };
                    }
                    None => {
                        member.stage = Stage::Away;
                        self.open -= 1;
                        self.seated.retain(|seated| *seated != seat);
                    }
                }
                self.rejoin(seat);
            }
            // forgotten meanwhile
            None => match connection {
                Some(connection) => self.close(seat, serial, connection),
                None => self.open -= 1,
            },
        }
        self.tell(answer);
    }

    /// Back into the lane of what waits for this database, if anything does.
    fn rejoin(&mut self, seat: Seat) {
        if let Some(member) = self.members.get(&seat).filter(|member| !member.waiting.is_empty()) {
            self.lanes.join(seat, member.waiting.iter().any(Ask::is_urgent));
        }
    }

    /// Closes a session; its place is free when the server has let go.
    fn close(&self, seat: Seat, serial: u64, connection: Connection) {
        let events = self.events.clone();
        tokio::spawn(async move {
            connection.close().await;
            // the pool may have ended
            let _ = events.send(Event::Closed(seat, serial));
        });
    }

    fn heard(&mut self, id: DatabaseId, heard: Heard) {
        let Some(ear) = self.ears.get_mut(&id) else { return };
        let follows = ear.heard(id, heard);
        self.open -= usize::from(follows.freed);
        if let Some((channel, back)) = follows.echo {
            self.ask(Seat::Database(id), Ask::Echo(channel, back));
        }
        self.tell(follows.answer);
    }

    fn is_at_rest(&self) -> bool {
        self.members.values().all(|member| {
            member.waiting.is_empty() && !matches!(member.stage, Stage::Connecting { .. } | Stage::Working { .. })
        })
    }

    async fn end(mut self) {
        for ear in self.ears.values() {
            ear.stop();
        }
        let idle = self.members.drain().filter_map(|(_, member)| match member.stage {
            Stage::Idle { connection, .. } => Some(connection.close()),
            _ => None,
        });
        // each ends within a second of its own
        let _ = timeout(Duration::from_secs(2), futures_util::future::join_all(idle)).await;
    }
}

/// The database that answers name; `tenants.query` has none and its answers name none.
fn id_of(seat: Seat) -> DatabaseId {
    match seat {
        Seat::Database(id) => id,
        Seat::Tenants => DatabaseId(u32::MAX),
    }
}
