//! One exchange on one session: every part in one transaction, sent in one flight, in the order finish, undo,
//! release, repair, refresh, reset, claim, poll. Traps: COMMIT of an aborted transaction answers Ok, so every
//! statement's own answer is looked at; what follows the commit (odd ends, rows to create) must not make
//! a committed exchange look failed.

use super::error::Failure;
use super::settings::{Access, Migrate, Settings};
use super::statements::{Look, Prepared, Read, Statements, Turned, is_turn};
use super::task::writes;
use crate::model::{Exchange, Finish, Finished, Poll, Reply};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

/// Where an exchange happens.
#[derive(Clone, Copy)]
pub(crate) struct Ground<'a> {
    pub client: &'a Client,
    pub statements: &'a Statements,
    pub settings: &'a Settings,
    pub look: Look,
    /// What this session has prepared.
    pub prepared: Option<&'a Prepared>,
}

/// Says everything, hears everything.
pub(crate) async fn exchange(ground: Ground<'_>, exchange: &Exchange) -> Result<Reply, Failure> {
    if writes(exchange) && ground.settings.access != Access::ReadWrite {
        return Err(Failure::Unfit("nothing may be written (a dry run)".to_owned()));
    }
    let ends = Ends::of(&exchange.finish);
    let sent = Instant::now();
    let (mut reply, first, read) = flight(ground, exchange, &ends.said).await?;
    reply.took = sent.elapsed();
    let settled = ends.settle(ground, first).await;
    reply.finished = settled.answers;
    let Some(poll) = &exchange.poll else { return Ok(reply) };
    let fresh = read.filter(|_| !settled.more);
    match look(ground, exchange, poll, fresh, &mut reply).await {
        // what was said is committed and answered for: only the look is missing, and comes again
        Err(_) if writes(exchange) => reply.polled = None,
        looked => looked?,
    }
    Ok(reply)
}

/// Reads the rows, once more where the last ends were recorded after `read`, and creates those that are missing.
async fn look(
    ground: Ground<'_>,
    exchange: &Exchange,
    poll: &Poll,
    read: Option<Read>,
    reply: &mut Reply,
) -> Result<(), Failure> {
    let read = match read {
        Some(read) => read,
        None => ground.statements.poll(ground.client, ground.look, poll, ground.prepared).await?,
    };
    if read.read_only && ground.settings.access == Access::ReadWrite {
        // else it would be back with every look and down with every claim
        return Err(Failure::ReadOnly);
    }
    complete(ground, exchange, read, reply).await
}

/// What one flight brings.
type Flown = (Reply, Vec<Option<Finished>>, Option<Read>);

async fn flight(ground: Ground<'_>, exchange: &Exchange, ends: &[&Finish]) -> Result<Flown, Failure> {
    let Ground { client, statements, look, prepared, .. } = ground;
    if let Some(prepared) = prepared.filter(|_| is_turn(exchange)) {
        let turned = statements.turn(client, prepared, ends, exchange.claim.as_ref()).await?;
        let Turned { now, finished, claimed } = turned;
        return Ok((Reply { now, claimed, ..Reply::default() }, finished, None));
    }
    let Exchange { undo, release, repair, refresh, reset, claim, poll, .. } = exchange;
    let guarded = claim.as_ref().is_some_and(crate::model::Claim::is_limited);
    let lists =
        [ends.is_empty(), undo.is_empty(), release.is_empty(), repair.is_empty(), refresh.is_empty(), reset.is_empty()];
    let parts =
        lists.iter().filter(|empty| !**empty).count() + usize::from(claim.is_some()) + usize::from(poll.is_some());
    let together = parts > 1 || guarded;

    // first polled in this order, hence sent in this order
    let (begun, finished, undone, released, repaired, refreshed, reset, guard, claimed, read, committed) = tokio::join!(
        biased;
        when(together, statements.begin(client)),
        when(!ends.is_empty(), statements.finish(client, ends)),
        when(!undo.is_empty(), statements.undo(client, undo)),
        when(!release.is_empty(), statements.release(client, release)),
        when(!repair.is_empty(), statements.repair(client, repair)),
        when(!refresh.is_empty(), statements.refresh(client, refresh)),
        when(!reset.is_empty(), statements.reset(client, reset, prepared)),
        when(guarded, statements.claim_guard(client)),
        async { match claim { Some(claim) => statements.claim(client, claim).await.map(Some), None => Ok(None) } },
        async { match poll { Some(poll) => statements.poll(client, look, poll, prepared).await.map(Some), None => Ok(None) } },
        when(together, statements.commit(client)),
    );
    begun.map_err(Failure::Lost)?;
    let mut wrong = Vec::new();
    let mut now = None;
    let finished = take(finished, &mut wrong);
    let undone = take(undone, &mut wrong);
    let released = take(released, &mut wrong);
    let repaired = take(repaired, &mut wrong);
    let refreshed = take(refreshed, &mut wrong);
    let reset = take(reset, &mut wrong);
    take(guard, &mut wrong);
    let claimed = take(claimed, &mut wrong);
    let read = take(read, &mut wrong);
    if let Some(error) = wrong.into_iter().find(|error| error.code() != Some(&SqlState::IN_FAILED_SQL_TRANSACTION)) {
        return Err(match Failure::from(error) {
            // the server ended the session in the middle of a transaction: nothing of it happened
            Failure::Lost(error) if together && error.as_db_error().is_some() => Failure::Ended(error),
            other => other,
        });
    }
    committed?;
    let first = named(finished, &mut now);
    let reply = Reply {
        finished: Vec::new(),
        undone: named(undone, &mut now),
        released: named(released, &mut now),
        repaired: named(repaired, &mut now),
        refreshed: named(refreshed, &mut now),
        reset: named(reset, &mut now),
        claimed: named(claimed, &mut now),
        polled: None,
        took: Duration::ZERO,
        now: now.or(read.as_ref().and_then(|read| read.now)),
    };
    Ok((reply, first, read))
}

async fn when<T>(wanted: bool, work: impl Future<Output = Result<T, Error>>) -> Result<Option<T>, Error> {
    if wanted { work.await.map(Some) } else { Ok(None) }
}

fn take<T>(result: Result<Option<T>, Error>, wrong: &mut Vec<Error>) -> Option<T> {
    result.unwrap_or_else(|error| {
        wrong.push(error);
        None
    })
}

/// Sets the time told beside an answer.
fn named<T: Default>(answer: Option<(crate::model::DbTime, T)>, now: &mut Option<crate::model::DbTime>) -> T {
    answer.map_or_else(T::default, |(told, answer)| {
        *now = Some(told);
        answer
    })
}

/// The ends to record: of each key only the first, for a row cannot be flipped twice by one statement.
struct Ends<'a> {
    said: Vec<&'a Finish>,
    /// For each end asked, its place in `said`.
    places: Vec<Option<usize>>,
}

struct Settled {
    answers: Vec<Finished>,
    /// The odd ends were recorded after the flight.
    more: bool,
}

impl<'a> Ends<'a> {
    fn of(asked: &'a [Finish]) -> Self {
        let mut seen = HashSet::with_capacity(asked.len());
        let mut said = Vec::with_capacity(asked.len());
        let places = asked
            .iter()
            .map(|end| {
                seen.insert(end.run.key.as_str()).then(|| {
                    said.push(end);
                    said.len() - 1
                })
            })
            .collect();
        Self { said, places }
    }

    /// Records what the usual statement left, and answers for every end asked.
    async fn settle(self, ground: Ground<'_>, first: Vec<Option<Finished>>) -> Settled {
        let odd: Vec<&Finish> =
            self.said.iter().zip(&first).filter(|(_, answer)| answer.is_none()).map(|(end, _)| *end).collect();
        let more = !odd.is_empty();
        let rest = match more {
            // if this fails, what was committed stays told, and these ends are said again
            true => ground.statements.finish_rest(ground.client, &odd).await.unwrap_or_default(),
            false => Vec::new(),
        };
        let mut rest = rest.into_iter();
        let said: Vec<Finished> =
            first.into_iter().map(|answer| answer.or_else(|| rest.next()).unwrap_or(Finished::NotNow)).collect();
        let answer = |place: &Option<usize>| place.and_then(|at| said.get(at)).copied().unwrap_or(Finished::NotNow);
        Settled { answers: self.places.iter().map(answer).collect(), more }
    }
}

/// Creates the rows that are missing and reads them too.
async fn complete(ground: Ground<'_>, exchange: &Exchange, read: Read, reply: &mut Reply) -> Result<(), Failure> {
    let mut polled = read.polled;
    reply.now = reply.now.or(read.now);
    let may = ground.settings.access == Access::ReadWrite && ground.settings.migrate == Migrate::Auto;
    if may && !read.missing.is_empty() {
        match create(ground, &read.missing).await {
            Ok(Some(created)) => {
                polled.rows.extend(created.polled.rows);
                // of the runs each key's are new here; those of this node stand in the first reading
                let known: HashSet<_> = polled.runs.iter().map(|run| run.identity.id).collect();
                polled.runs.extend(created.polled.runs.into_iter().filter(|run| !known.contains(&run.identity.id)));
            }
            Ok(None) => {}
            Err(_) if writes(exchange) => {}
            Err(failure) => return Err(failure),
        }
    }
    if reply.now.is_none() {
        reply.now = ground.statements.now(ground.client).await?;
    }
    reply.polled = Some(Box::new(polled));
    Ok(())
}

/// Creates rows; none where somebody holds one of the same key uncommitted.
async fn create(ground: Ground<'_>, keys: &[Arc<str>]) -> Result<Option<Read>, Failure> {
    let Ground { client, statements, look, .. } = ground;
    let (begun, limited, created, committed) = tokio::join!(
        biased;
        statements.begin(client),
        statements.impatient(client),
        statements.create_rows(client, look, keys),
        statements.commit(client),
    );
    begun?;
    limited?;
    match created {
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => return Ok(None),
        other => other?,
    }
    committed?;
    Ok(Some(statements.poll(client, look, &Poll::Keys(keys.into()), None).await?))
}
