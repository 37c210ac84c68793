//! The database's side of an exchange: a transaction that locks and reads, then writes and commits. What others do
//! comes in between, but for the rows that it holds.

use crate::exchange::{Exchange, Mark, Part, Phase};
use crate::protocol::Protocol;
use crate::rules::Mutation;
use crate::world::{Fate, Outcome, Run, RunId, SeenBy, TENANTS, Value, World, Wrong};

impl Protocol {
    /// `FOR UPDATE SKIP LOCKED`, and what the statements look at.
    pub(crate) fn begin(&self, world: &World, mut exchange: Exchange) -> Exchange {
        exchange.phase = Phase::Begun;
        exchange.begun = 0;
        for tenant in 0..TENANTS {
            let held = world.rows_are_held(tenant);
            let said = &mut exchange.said[tenant];
            said.mark = match said.part {
                Part::Nothing => Mark::Unread,
                Part::Claim if world.rows[tenant].value != Value::Needed || world.open_run(tenant).is_some() => {
                    Mark::Passed
                }
                Part::Claim if self.rules.has(Mutation::ClaimWithoutRowLock) => Mark::Read,
                Part::Refresh(run) if !world.is_open(tenant, run) && !self.rules.has(Mutation::RefreshRevives) => {
                    Mark::Closed
                }
                Part::Finish(..) | Part::Refresh(_) if held => Mark::NotNow,
                Part::TakeOver(run) if !self.may_be_taken(world, tenant, run) => Mark::Passed,
                Part::Claim | Part::TakeOver(_) if held => Mark::Passed,
                Part::Claim | Part::Finish(..) | Part::Refresh(_) | Part::TakeOver(_) => Mark::Held,
            };
        }
        exchange
    }

    fn may_be_taken(&self, world: &World, tenant: usize, run: RunId) -> bool {
        let over = |run: &Run| self.rules.taken_above().is_some_and(|lease| run.age > lease);
        let Some(run) = world.run(tenant, run) else { return false };
        run.is_open() && (over(run) || self.rules.has(Mutation::TakeOverByLook))
    }

    /// Writes and commits. `host` is that of the supervisor that says it.
    pub(crate) fn commit(&self, world: &mut World, mut exchange: Exchange, host: usize) -> Exchange {
        exchange.phase = Phase::Answered;
        for tenant in 0..TENANTS {
            let said = &mut exchange.said[tenant];
            if !matches!(said.mark, Mark::Held | Mark::Read) {
                continue;
            }
            said.mark = match said.part {
                Part::Nothing => Mark::Unread,
                Part::Claim => self.claim(world, tenant, host, exchange.begun),
                Part::Finish(run, outcome) => self.finish(world, tenant, run, outcome),
                Part::Refresh(run) => {
                    if let Some(run) = world.run_mut(tenant, run) {
                        run.outcome = None;
                        run.age = run.age.min(exchange.begun);
                    }
                    Mark::Done
                }
                Part::TakeOver(run) => {
                    self.close(world, tenant, run, Outcome::Lost);
                    Mark::Done
                }
            };
        }
        exchange.begun = 0;
        exchange
    }

    fn claim(&self, world: &mut World, tenant: usize, host: usize, begun: u8) -> Mark {
        if world.open_run(tenant).is_some() && !self.rules.has(Mutation::NoUniqueIndex) {
            // ON CONFLICT DO NOTHING: only what was inserted is flipped.
            return Mark::Passed;
        }
        if world.rows[tenant].value != Value::Needed {
            world.note(Wrong::Unneeded);
        }
        let Some(place) = world.rows[tenant].runs.iter().position(Option::is_none) else {
            world.note(Wrong::NoPlace);
            return Mark::Passed;
        };
        let run = Run {
            host: host as u8,
            this_boot: true,
            outcome: None,
            age: begun,
            fate: Fate::None,
            seen_by: SeenBy::Nobody,
        };
        world.rows[tenant].runs[place] = Some(run);
        world.rows[tenant].value = Value::Running;
        Mark::Claimed(place as RunId)
    }

    fn finish(&self, world: &mut World, tenant: usize, run: RunId, outcome: Outcome) -> Mark {
        let run = match world.open_run(tenant) {
            Some(open) if self.rules.has(Mutation::FinishAnyRun) => open,
            Some(_) | None => run,
        };
        let Some(row) = world.run(tenant, run).copied() else { return Mark::Closed };
        match row.outcome {
            Some(before) if before == outcome => return Mark::Done,
            Some(_) if self.rules.has(Mutation::FinishOverwrites) => world.note(Wrong::Overwritten),
            Some(_) => return Mark::Closed,
            None => {}
        }
        let true_end = match outcome {
            Outcome::Ok => row.fate == Fate::Ended && row.seen_by == SeenBy::Parent,
            Outcome::Adopted => row.fate == Fate::Ended && row.seen_by == SeenBy::Adopter,
            Outcome::Stopped => row.fate == Fate::WasEnded,
            // What was seen stands in a file, until the host dies.
            Outcome::Lost => row.seen_by == SeenBy::Nobody || !row.this_boot,
            Outcome::Undone => row.fate == Fate::None,
        };
        if outcome == Outcome::Lost && row.fate == Fate::Lives {
            world.note(Wrong::LostAlive);
        } else if !true_end {
            world.note(Wrong::FalseEnd);
        }
        self.close(world, tenant, run, outcome);
        Mark::Done
    }

    fn close(&self, world: &mut World, tenant: usize, run: RunId, outcome: Outcome) {
        if let Some(run) = world.run_mut(tenant, run) {
            run.outcome = Some(outcome);
        }
        let value = &mut world.rows[tenant].value;
        if *value == Value::Running {
            *value = outcome.becomes();
        }
    }
}
