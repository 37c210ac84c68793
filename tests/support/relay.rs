//! A TCP relay between supervisors and a server of this host, worked by the test: it passes, cuts, hangs, holds
//! back answers alone, delays, and heals. It knows nothing of what is said.
//! What was held is delivered at the heal, in order, even where its sender has gone meanwhile: so do networks.

mod pipe;

use self::pipe::Pipe;
use super::wait::{millis, secs};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{Backlog, Shutdown, listen, setsockopt, shutdown, sockopt};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What the relay does with what it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It passes everything on.
    Passes,
    /// All connections were reset, new ones are refused.
    Cut,
    /// It accepts, keeps connections open and forwards nothing.
    Hangs,
    /// So many bytes still reach the server, then it hangs: in the middle of what somebody says.
    HangsAfter(u64),
    /// What clients say reaches the server, what that answers is held back.
    HoldsAnswers,
    /// Everything arrives so much later, in both directions.
    Delays(Duration),
}

/// What came through so far.
#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicU64,
    open: AtomicU64,
    to_server: AtomicU64,
    to_clients: AtomicU64,
}

enum Order {
    Go(Way),
    Reset,
    Close,
    End,
}

/// A relay that runs until it is dropped.
pub struct Relay {
    port: u16,
    counts: Arc<Counts>,
    orders: Sender<(Order, Sender<()>)>,
    wake: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Listens on a port of its own for the server on `port` of this host. It passes everything on.
    pub fn start(port: u16) -> Self {
        // By its number: only a port that was asked for stays ours while nobody listens on it.
        let mut ports = std::iter::repeat_with(|| fastrand::u16(15_000..32_000)).take(200);
        let listener = ports.find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok()).expect("a free port");
        listener.set_nonblocking(true).expect("a listener that does not block");
        let own_port = listener.local_addr().expect("its address").port();
        let (wake, woken) = UnixStream::pair().expect("a pair of sockets");
        woken.set_nonblocking(true).expect("a socket that does not block");
        let (orders, taken) = channel();
        let counts = Arc::new(Counts::default());
        let server = SocketAddr::from(([127, 0, 0, 1], port));
        let exchange = Exchange { listener, woken, taken, server, counts: counts.clone(), way: Way::Passes };
        let thread = std::thread::spawn(move || exchange.run());
        Self { port: own_port, counts, orders, wake, thread: Some(thread) }
    }

    /// From now on it does this, with the connections that are open too. What was held until then is delivered unless it
    /// still holds it.
    pub fn go(&self, way: Way) {
        self.order(Order::Go(way));
    }

    /// It passes everything on again.
    pub fn heal(&self) {
        self.go(Way::Passes);
    }

    /// Resets all connections, and goes on as before.
    pub fn reset(&self) {
        self.order(Order::Reset);
    }

    /// Closes all connections in good order, and goes on as before.
    pub fn close(&self) {
        self.order(Order::Close);
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a database behind it.
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// How many connections it has accepted so far.
    pub fn accepted(&self) -> u64 {
        self.counts.accepted.load(Ordering::SeqCst)
    }

    /// How many are open.
    pub fn open(&self) -> u64 {
        self.counts.open.load(Ordering::SeqCst)
    }

    /// Bytes that reached the server, and the clients, so far.
    pub fn bytes(&self) -> (u64, u64) {
        (self.counts.to_server.load(Ordering::SeqCst), self.counts.to_clients.load(Ordering::SeqCst))
    }

    /// Returns when it is so.
    fn order(&self, order: Order) {
        let (done, answer) = channel();
        self.orders.send((order, done)).expect("a relay that runs");
        (&self.wake).write_all(&[0]).expect("waking the relay");
        answer.recv().expect("the relay's answer");
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            self.order(Order::End);
        }
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// The relay's own thread: all its connections and one poll.
struct Exchange {
    listener: TcpListener,
    woken: UnixStream,
    taken: Receiver<(Order, Sender<()>)>,
    server: SocketAddr,
    counts: Arc<Counts>,
    way: Way,
}

impl Exchange {
    fn run(mut self) {
        let mut open: Vec<Connection> = Vec::new();
        loop {
            self.wait(&open);
            while let Ok(1..) = (&self.woken).read(&mut [0; 64]) {}
            while let Ok((order, done)) = self.taken.try_recv() {
                match order {
                    Order::Go(way) => self.go(way, &mut open),
                    Order::Reset => open.drain(..).for_each(Connection::reset),
                    Order::Close => open.clear(),
                    Order::End => return done.send(()).unwrap_or_default(),
                }
                self.counts.open.store(open.len() as u64, Ordering::SeqCst);
                done.send(()).ok();
            }
            self.accept(&mut open);
            open.retain_mut(|connection| connection.carry(&mut self.way, &self.counts));
            self.counts.open.store(open.len() as u64, Ordering::SeqCst);
        }
    }

    fn go(&mut self, way: Way, open: &mut Vec<Connection>) {
        let was_cut = std::mem::replace(&mut self.way, way) == Way::Cut;
        if way == Way::Cut && !was_cut {
            // It keeps the port, so that nobody else gets it, and refuses.
            shutdown(self.listener.as_raw_fd(), Shutdown::Both).expect("refusing connections");
            open.drain(..).for_each(Connection::reset);
        } else if was_cut && way != Way::Cut {
            listen(&self.listener, Backlog::MAXCONN).expect("accepting connections again");
        }
    }

    fn accept(&self, open: &mut Vec<Connection>) {
        while self.way != Way::Cut
            && let Ok((client, _)) = self.listener.accept()
        {
            self.counts.accepted.fetch_add(1, Ordering::SeqCst);
            let server = TcpStream::connect_timeout(&self.server, secs(1)).ok();
            for stream in [Some(&client), server.as_ref()].into_iter().flatten() {
                stream.set_nonblocking(true).expect("a stream that does not block");
                stream.set_nodelay(true).expect("a stream that does not wait");
            }
            open.push(Connection { client, server, up: Pipe::default(), down: Pipe::default() });
        }
    }

    fn wait(&self, open: &[Connection]) {
        let mut all = vec![PollFd::new(self.woken.as_fd(), PollFlags::POLLIN)];
        if self.way != Way::Cut {
            all.push(PollFd::new(self.listener.as_fd(), PollFlags::POLLIN));
        }
        let now = Instant::now();
        let mut due: Option<Instant> = None;
        for Connection { client, server, up, down } in open {
            let (hangs, holds_answers) = (self.way == Way::Hangs, self.way == Way::HoldsAnswers);
            let sides = [(Some(client), up, down, hangs || holds_answers), (server.as_ref(), down, up, hangs)];
            for (stream, from, to, holds) in sides {
                let Some(stream) = stream else { continue };
                let mut wanted = PollFlags::empty();
                wanted.set(PollFlags::POLLIN, from.wants_more());
                match to.next_due().filter(|_| !holds) {
                    Some(at) if at <= now => wanted |= PollFlags::POLLOUT,
                    Some(at) => due = Some(due.map_or(at, |due| due.min(at))),
                    None => {}
                }
                // One without a wish is left out: it would be ready for ever once its far end has gone.
                if !wanted.is_empty() {
                    all.push(PollFd::new(stream.as_fd(), wanted));
                }
            }
        }
        let timeout = due.map(|at| at.saturating_duration_since(now) + millis(1));
        let timeout = timeout.map_or(PollTimeout::NONE, |time| PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX));
        poll(&mut all, timeout).ok();
    }
}

struct Connection {
    client: TcpStream,
    /// None where the server refused: the client learns of it unless the relay hangs.
    server: Option<TcpStream>,
    up: Pipe,
    down: Pipe,
}

impl Connection {
    /// Moves what can be moved; false once it is over.
    fn carry(&mut self, way: &mut Way, counts: &Counts) -> bool {
        let delay = if let Way::Delays(delay) = *way { delay } else { Duration::ZERO };
        let hangs_at_last = matches!(way, Way::Hangs | Way::HangsAfter(_) | Way::HoldsAnswers);
        self.up.take(&self.client, delay);
        let Some(server) = &self.server else { return hangs_at_last };
        self.down.take(server, delay);
        let mut up = match way {
            Way::Hangs => 0,
            Way::HangsAfter(left) => *left,
            Way::Passes | Way::Cut | Way::HoldsAnswers | Way::Delays(_) => u64::MAX,
        };
        let mut down = if matches!(way, Way::Hangs | Way::HoldsAnswers) { 0 } else { u64::MAX };
        let goes_on = self.up.give(server, &counts.to_server, &mut up)
            && self.down.give(&self.client, &counts.to_clients, &mut down);
        if let Way::HangsAfter(left) = way {
            *left = up;
            *way = if up == 0 { Way::Hangs } else { *way };
        }
        // A server that has said its last word hears nothing more.
        goes_on && !self.down.over
    }

    fn reset(self) {
        for stream in [Some(&self.client), self.server.as_ref()].into_iter().flatten() {
            let at_once = nix::libc::linger { l_onoff: 1, l_linger: 0 };
            setsockopt(stream, sockopt::Linger, &at_once).ok();
        }
    }
}
