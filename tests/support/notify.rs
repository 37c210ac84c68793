//! The receiving end of sd_notify: what a supervisor tells its service manager. It reads at once and all
//! the time, so that a full socket never holds up the sender.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A socket for `NOTIFY_SOCKET`, and what came in.
pub struct NotifySocket {
    path: PathBuf,
    seen: Arc<Mutex<Vec<String>>>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NotifySocket {
    /// Binds `path`, which must not be there yet.
    pub fn bind(path: PathBuf) -> Self {
        let socket = UnixDatagram::bind(&path).expect("binding the notify socket");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a read timeout");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stopping = Arc::new(AtomicBool::new(false));
        let (lines, stop) = (seen.clone(), stopping.clone());
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while !stop.load(Ordering::SeqCst) {
                if let Ok(size) = socket.recv(&mut buffer) {
                    let text = String::from_utf8_lossy(buffer.get(..size).unwrap_or_default()).into_owned();
                    lines.lock().expect("the lines").extend(text.lines().map(str::to_owned));
                }
            }
        });
        Self { path, seen, stopping, thread: Some(thread) }
    }

    /// The socket's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every `NAME=value` so far, in order.
    pub fn lines(&self) -> Vec<String> {
        self.seen.lock().expect("the lines").clone()
    }

    /// The last value of `name`.
    pub fn last(&self, name: &str) -> Option<String> {
        let line = |line: &String| Some(line.strip_prefix(name)?.strip_prefix('=')?.to_owned());
        self.seen.lock().expect("the lines").iter().rev().find_map(line)
    }

    /// How often `line` came.
    pub fn count(&self, line: &str) -> usize {
        self.lines().iter().filter(|seen| *seen == line).count()
    }

    /// Forgets what came so far.
    pub fn clear(&self) {
        self.seen.lock().expect("the lines").clear();
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
