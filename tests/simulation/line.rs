//! The line between a supervisor and its databases: where each exchange goes, and what comes back when.

use crate::faults::Fate;
use crate::supervisor::{Flight, SupervisorId};
use crate::world::{What, World};
use tenantcron::model::{DatabaseId, Exchange, Finished, Reply, Trouble, TroubleKind};
use tenantcron::scheduler::Event;

impl World {
    pub fn exchange(&mut self, id: SupervisorId, database: DatabaseId, exchange: Exchange) {
        self.check_exchange(id, database, &exchange);
        let fate = self.fate();
        let supervisor = &mut self.supervisors[id.0];
        supervisor.exchanges += 1;
        let number = supervisor.exchanges;
        let flight = Flight { number, exchange: exchange.clone() };
        assert!(supervisor.flights.insert(database, flight).is_none(), "two exchanges at once with {database:?}");
        self.send(id, database, number, exchange, fate);
    }

    /// An answer arrives; if it is not the one that is waited for, it is late or doubled.
    pub fn answered(
        &mut self,
        id: SupervisorId,
        database: DatabaseId,
        number: u64,
        result: Result<Reply, Trouble>,
        of: u64,
    ) {
        let supervisor = &mut self.supervisors[id.0];
        match supervisor.flights.get(&database) {
            Some(flight) if flight.number == number => {}
            // The engine answers each exchange once; the core must bear a second one only while none is under way.
            Some(_) => return,
            None => return self.hear(id, Event::Exchanged { database, result }),
        }
        let flight = supervisor.flights.remove(&database).unwrap();
        if let Ok(reply) = &result {
            let told = flight.exchange.finish.iter().map(|finish| &finish.run).chain(&flight.exchange.undo);
            for (run, answer) in told.zip(reply.finished.iter().chain(&reply.undone)) {
                if *answer != Finished::NotNow {
                    supervisor.unrecorded.remove(&(database, run.id));
                }
            }
            for (refresh, answer) in flight.exchange.refresh.iter().zip(&reply.refreshed) {
                if *answer == tenantcron::model::Refreshed::Closed {
                    supervisor.closed_by_another.insert((database, refresh.run.id));
                }
            }
            supervisor.unrecorded.extend(reply.claimed.iter().map(|claimed| (database, claimed.id)));
            for row in reply.polled.iter().flat_map(|polled| &polled.rows) {
                let key = (database, row.key.clone());
                supervisor.unsure.remove(&key);
                supervisor.seen.insert(key, of);
            }
        }
        if result.as_ref().is_err_and(|trouble| trouble.kind == TroubleKind::Interrupted) {
            let offers = flight.exchange.claim.iter().flat_map(|claim| &claim.offers);
            supervisor.unsure.extend(offers.map(|offer| (database, offer.key.clone())));
        }
        self.hear(id, Event::Exchanged { database, result });
    }

    /// Where an exchange goes, and what becomes of it.
    fn send(&mut self, id: SupervisorId, database: DatabaseId, number: u64, exchange: Exchange, fate: Fate) {
        let there = self.rng.u64(100..5_000);
        let exchange = Box::new(exchange);
        match fate {
            Fate::Unsent(trouble, after) => {
                self.after(
                    after,
                    What::Answered { supervisor: id, database, number, result: Box::new(Err(trouble)), of: 0 },
                );
            }
            Fate::Answered { back, doubled } => {
                self.after(
                    there,
                    What::Arrived { supervisor: id, database, number, exchange, back: Some((back, doubled)) },
                );
            }
            Fate::Unanswered { trouble, after, commits } => {
                self.after(
                    after,
                    What::Answered { supervisor: id, database, number, result: Box::new(Err(trouble)), of: 0 },
                );
                if let Some(commits) = commits {
                    self.after(commits, What::Arrived { supervisor: id, database, number, exchange, back: None });
                }
            }
        }
    }
}
