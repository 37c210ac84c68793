//! The thread behind which everything asynchronous of this floor is hidden: orders go in, answers come
//! out through one function that is called on that thread.

use super::pool::{Order, Pool};
use super::settings::Settings;
use super::statements::Statements;
use super::task::{Answer, Ask};
use super::url::DatabaseUrl;
use crate::model::{DatabaseId, Exchange};
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc;

/// The engine. Dropped without [`Engine::stop`] it ends at once.
#[derive(Debug)]
pub struct Engine {
    orders: mpsc::UnboundedSender<Order>,
    thread: Option<JoinHandle<()>>,
}

/// Threads that look up names of hosts; a name server that hangs must not hang the look-up of another host.
const RESOLVERS: usize = 8;

impl Engine {
    /// Starts the thread. `answer` is called on it, and must be quick.
    ///
    /// # Errors
    /// A table's name is impossible, or the thread cannot be started.
    pub fn start(settings: Settings, answer: Box<dyn Fn(Answer) + Send>) -> io::Result<Self> {
        let statements =
            Statements::of(&settings).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(RESOLVERS).build()?;
        let (orders, inbox) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new().name("tenantcron-db".to_owned()).spawn(move || {
            let (reports, events) = mpsc::unbounded_channel();
            runtime.block_on(Pool::new(settings, statements, answer, reports).serve(inbox, events));
            // a look-up that hangs is not waited for
            runtime.shutdown_background();
        })?;
        Ok(Self { orders, thread: Some(thread) })
    }

    /// Makes a database known, gives it another URL, or forgets it. What waits for a forgotten one is answered
    /// as unreachable; what is under way is answered in its time.
    pub fn database(&self, id: DatabaseId, url: Option<Arc<DatabaseUrl>>) {
        self.order(Order::Database(id, url));
    }

    /// Says an exchange. One at a time for each database; a second waits for the first.
    pub fn exchange(&self, id: DatabaseId, exchange: Exchange) {
        self.order(Order::Ask(id, Ask::Exchange(Box::new(exchange))));
    }

    /// Reads what `status` shows of these keys.
    pub fn view(&self, id: DatabaseId, keys: Vec<String>) {
        self.order(Order::Ask(id, Ask::View(keys)));
    }

    /// Asks for runs of these keys, as an operator does.
    pub fn request(&self, id: DatabaseId, keys: Vec<String>) {
        self.order(Order::Ask(id, Ask::Request(keys)));
    }

    /// Asks what [`Engine::migrate`] would do.
    pub fn plan_migration(&self, id: DatabaseId) {
        self.order(Order::Ask(id, Ask::Plan));
    }

    /// Creates and mends the tables.
    pub fn migrate(&self, id: DatabaseId) {
        self.order(Order::Ask(id, Ask::Migrate));
    }

    /// Removes runs older than `keep_runs`, in small batches, but each key's last.
    pub fn prune(&self, id: DatabaseId) {
        self.order(Order::Ask(id, Ask::Prune(0)));
    }

    /// Runs `tenants.query`.
    pub fn tenants(&self, url: Arc<DatabaseUrl>, sql: String) {
        self.order(Order::Tenants(url, sql));
    }

    /// Listens to a database from the time it answers, as long as it is known; needs two `connections`.
    pub fn listen(&self, id: DatabaseId) {
        self.order(Order::Listen(id));
    }

    /// Lets what is under way or waits be done for so long, says goodbye and ends the thread.
    pub fn stop(mut self, deadline: Duration) {
        self.order(Order::Stop(deadline));
        if let Some(thread) = self.thread.take() {
            // it does not panic; if it did there is nothing left to stop
            let _ = thread.join();
        }
    }

    fn order(&self, order: Order) {
        // the thread ends only when it is told to
        let _ = self.orders.send(order);
    }
}
