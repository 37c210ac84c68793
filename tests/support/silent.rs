//! Servers that are worse than none: one accepts and never answers, one refuses.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

/// Accepts every connection, keeps it open, never says a byte.
pub struct SilentServer {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl SilentServer {
    /// Listens on a port of 127.0.0.1.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binding a port");
        let address = listener.local_addr().expect("its address");
        let accepted = Arc::new(AtomicUsize::new(0));
        let stopping = Arc::new(AtomicBool::new(false));
        let (count, stop) = (accepted.clone(), stopping.clone());
        let thread = std::thread::spawn(move || {
            let mut kept: Vec<TcpStream> = Vec::new();
            while let Ok((stream, _)) = listener.accept() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                kept.push(stream);
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { address, accepted, stopping, thread: Some(thread) }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The URL of a database there.
    pub fn url(&self, database: &str) -> String {
        url(self.port(), database)
    }

    /// How many connections it has taken so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for SilentServer {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address)); // wakes the accept
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// A port that refuses: the near end of a connection, so that nobody else gets it and nobody listens on it.
pub struct RefusingPort {
    port: u16,
    _held: (TcpListener, TcpStream),
}

impl RefusingPort {
    /// Takes a port of 127.0.0.1.
    pub fn take() -> Self {
        let far = TcpListener::bind("127.0.0.1:0").expect("binding a port");
        let near = TcpStream::connect(far.local_addr().expect("its address")).expect("connecting to it");
        Self { port: near.local_addr().expect("its address").port(), _held: (far, near) }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a database there.
    pub fn url(&self, database: &str) -> String {
        url(self.port, database)
    }
}

fn url(port: u16, database: &str) -> String {
    format!("postgresql://postgres@127.0.0.1:{port}/{database}")
}
