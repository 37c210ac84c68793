//! The line between a supervisor and its databases: where each exchange goes, and what comes back when.

use super::fate::{DEADLINE, Fate, fate, trouble, well};
use crate::dice::{Of, dice};
use crate::plan::Fault;
use crate::supervisor::{Flight, Look, SupervisorId};
use crate::world::{Arrival, Back, What, World};
use std::time::Duration;
use tenantcron::model::{
    DatabaseId, Exchange, Finished, OpenRun, Poll, Refreshed, Repaired, Reply, Trouble, TroubleKind,
};
use tenantcron::scheduler::{Event, Listed, Mode};

impl World {
    pub(super) fn exchange(&mut self, id: SupervisorId, database: DatabaseId, exchange: Exchange) {
        self.check_exchange(id, database, &exchange);
        if let Some(poll) = &exchange.poll {
            self.trace.count("look", poll);
        }
        if let Some(Poll::NotDone { since: Some(mark) }) = &exchange.poll {
            self.trace.count("since", mark);
        }
        let (fate, there) = self.fate_of_next(id, database);
        let supervisor = &mut self.supervisors[id.0];
        let (number, node, generation) = (exchange.number, supervisor.node, supervisor.generation);
        let flight = Flight { exchange: exchange.clone(), sent: self.now };
        assert!(supervisor.flights.insert(database, flight).is_none(), "line: two exchanges at once with {database:?}");
        let era = self.databases[database.0 as usize].era;
        let arrival = |back| {
            What::Arrived(Box::new(Arrival {
                supervisor: id,
                node,
                database,
                era,
                generation,
                exchange: exchange.clone(),
                back,
            }))
        };
        match fate {
            Fate::Unsent(trouble, after) => self.answer(id, database, number, Err(trouble), after),
            Fate::Answered { back, doubled } => {
                self.after(there, arrival(Some(Back { takes: back, doubled, lookless: false })));
            }
            Fate::Lookless { back } => {
                self.after(there, arrival(Some(Back { takes: back, doubled: None, lookless: true })));
            }
            Fate::Unanswered { trouble, after, commits } => {
                self.answer(id, database, number, Err(trouble), after);
                if let Some(commits) = commits {
                    self.after(commits, arrival(None));
                }
            }
        }
    }

    fn fate_of_next(&mut self, id: SupervisorId, database: DatabaseId) -> (Fate, u64) {
        let supervisor = &mut self.supervisors[id.0];
        supervisor.exchanges += 1;
        let fault = Fault::Exchange(id.0, supervisor.exchanges);
        let mut rng = dice(self.plan.seed, Of::Exchange, supervisor.luck, supervisor.exchanges);
        let (node, there) = (supervisor.node, rng.u64(100..5_000));
        if self.is_cut(node, database) {
            let kind = if rng.f64() < 0.3 { TroubleKind::Interrupted } else { TroubleKind::Unreachable };
            let deadline = if kind == TroubleKind::Interrupted { DEADLINE } else { DEADLINE / 3 };
            let after = if rng.bool() { deadline } else { rng.u64(100..deadline) };
            return (Fate::Unsent(trouble(kind), after), there);
        }
        if !self.healed
            && self.plan.happens(fault)
            && let Some(fate) = fate(&self.plan.odds, &mut rng)
        {
            self.faults.push(fault);
            return (fate, there);
        }
        (well(&mut rng), there)
    }

    fn answer(
        &mut self,
        id: SupervisorId,
        database: DatabaseId,
        number: u64,
        result: Result<Reply, Trouble>,
        after: u64,
    ) {
        let generation = self.supervisors[id.0].generation;
        let of = Look { at: self.now, era: self.store(database).era, generation };
        let result = Box::new(result);
        self.after(after, What::Answered { supervisor: id, database, number, result, of });
    }

    /// It is with the database: committed, and answered.
    pub fn arrived(&mut self, arrival: Arrival) {
        let Arrival { supervisor: id, node, database, era, generation, exchange, back } = arrival;
        if self.plan.is_calm() {
            self.check_lives(database);
        }
        let (seed, number) = (self.plan.seed, exchange.number);
        let store = &mut self.databases[database.0 as usize];
        if store.down_until > self.now || store.era != era {
            let mut rng = dice(seed, Of::Exchange, self.now, number);
            let kind = if rng.bool() { TroubleKind::Unreachable } else { TroubleKind::Interrupted };
            if back.is_some() {
                self.answer(id, database, number, Err(trouble(kind)), rng.u64(1_000..10_000_000));
            }
            return;
        }
        let supervisor = &self.supervisors[id.0];
        let writes = supervisor.rules.mode != Mode::DryRun;
        // Sent before a reboot: whoever looks now sees a run confirmed by nobody he knows.
        self.ledger.late_life |= supervisor.identity().host != self.hosts[supervisor.host].name();
        let (mut reply, deeds) = store.apply(self.now, supervisor.identity(), &exchange, writes);
        let name = supervisor.name.clone();
        self.say(|_| format!("db{} commits #{number} of {name}: {}", database.0, crate::trace::deeds(&deeds)));
        self.note_lives(database, &exchange, &reply);
        self.check_deeds(id, database, &deeds, Some(&exchange));
        // Who asked may have another program in his place, which knows nothing of it.
        let asks = self.supervisors[id.0].generation == generation;
        let Some(Back { takes, doubled, lookless }) = back.filter(|_| asks) else { return };
        if self.is_cut(node, database) {
            return self.answer(id, database, number, Err(trouble(TroubleKind::Interrupted)), DEADLINE);
        }
        reply.took = Duration::from_micros(takes);
        // Where nothing else was said that would be a failure.
        if lookless && !(Exchange { poll: None, ..exchange.clone() }).is_empty() {
            reply.polled = None;
        }
        if let Some(later) = doubled {
            self.answer(id, database, number, Ok(reply.clone()), takes + later);
        }
        self.answer(id, database, number, Ok(reply), takes);
    }

    /// An answer arrives; if it is not the one that is waited for, it comes once more, and the core must bear it.
    pub fn answered(
        &mut self,
        id: SupervisorId,
        database: DatabaseId,
        number: u64,
        result: Result<Reply, Trouble>,
        of: Look,
    ) -> Vec<Event> {
        if of.generation != self.supervisors[id.0].generation {
            return Vec::new();
        }
        let mut events = Vec::new();
        let flight = self.supervisors[id.0].flights.get(&database);
        if flight.is_none_or(|flight| flight.exchange.number != number) {
            self.trace.count("answer", &"Doubled");
            return vec![Event::Exchanged { database, number, result }];
        }
        let flight = self.supervisors[id.0].flights.remove(&database).unwrap();
        match &result {
            Ok(reply) => {
                self.note_answers(id, database, &flight, reply, of);
                if let Some(polled) = &reply.polled {
                    events.extend(self.files_of_the_dead(id));
                    let unlisted = polled.runs.iter().filter_map(|run| self.find_unlisted(id, database, run));
                    events.extend(unlisted.collect::<Vec<_>>());
                }
            }
            Err(trouble) if trouble.kind == TroubleKind::Interrupted => {
                let offers = flight.exchange.claim.iter().flat_map(|claim| &claim.offers);
                let keys = offers.filter_map(|offer| self.plan.tenant_of(database.0, &offer.key));
                let unsure: Vec<_> = keys.map(|tenant| (database, tenant)).collect();
                self.supervisors[id.0].unsure.extend(unsure);
            }
            Err(_) => {}
        }
        events.push(Event::Exchanged { database, number, result });
        events
    }

    /// What this supervisor knows from now on.
    fn note_answers(&mut self, id: SupervisorId, database: DatabaseId, flight: &Flight, reply: &Reply, of: Look) {
        let exchange = &flight.exchange;
        let told = exchange.finish.iter().map(|finish| &finish.run).chain(&exchange.undo);
        for (run, answer) in told.zip(reply.finished.iter().chain(&reply.undone)) {
            let key = self.key_of(database, run);
            if *answer != Finished::NotNow {
                self.supervisors[id.0].unrecorded.remove(&key);
            }
        }
        for (refresh, answer) in exchange.refresh.iter().zip(&reply.refreshed) {
            let key = self.key_of(database, &refresh.run);
            let supervisor = &mut self.supervisors[id.0];
            match answer {
                Refreshed::Closed => drop(supervisor.told_to_end.insert(key)),
                Refreshed::Confirmed => drop(supervisor.confirmed.insert(key, flight.sent)),
                Refreshed::Gone | Refreshed::NotNow => {}
            }
        }
        for (repair, answer) in exchange.repair.iter().zip(&reply.repaired) {
            let key = self.key_of(database, &repair.run);
            if matches!(answer, Repaired::Closed | Repaired::Another) {
                self.supervisors[id.0].told_to_end.insert(key);
            }
        }
        for claimed in &reply.claimed {
            let Some(tenant) = self.plan.tenant_of(database.0, &claimed.key) else { continue };
            let key = crate::host::RunKey { database, tenant, started_at: claimed.started_at };
            self.supervisors[id.0].unrecorded.insert(key);
            self.supervisors[id.0].confirmed.insert(key, flight.sent);
        }
        let Some(polled) = &reply.polled else { return };
        for row in &polled.rows {
            let Some(tenant) = self.plan.tenant_of(database.0, &row.key) else { continue };
            let supervisor = &mut self.supervisors[id.0];
            supervisor.unsure.remove(&(database, tenant));
            supervisor.seen.insert((database, tenant), of);
        }
        self.note_others(id, database, &polled.runs);
    }

    /// Where another run of a tenant is open than the one that it watches, that one may be ended.
    fn note_others(&mut self, id: SupervisorId, database: DatabaseId, runs: &[OpenRun]) {
        for run in runs {
            let key = self.key_of(database, &run.identity);
            let supervisor = &mut self.supervisors[id.0];
            let own = supervisor.runs.get(&key.tenant).map(|held| held.run);
            if let Some(own) = own.filter(|own| *own != key) {
                supervisor.told_to_end.insert(own);
            }
        }
    }

    fn find_unlisted(&self, id: SupervisorId, database: DatabaseId, run: &OpenRun) -> Option<Event> {
        let (supervisor, identity) = (&self.supervisors[id.0], &run.identity);
        let ours = identity.instance == supervisor.identity().instance && identity.node == supervisor.identity().node;
        if !ours || supervisor.scheduler.knows(database, &identity.key) {
            return None;
        }
        let tenant = self.plan.tenant_of(database.0, &identity.key)?;
        Some(Event::UnlistedFound(Box::new(Listed { enabled: false, ..self.plan.tenants[tenant].clone() })))
    }
}
