//! One thing asked, done on one session within its deadline: the tables looked at first where they are
//! not known, once more where they turn out to have changed.

use super::connect::Connection;
use super::error::Failure;
use super::exchange::{Ground, exchange};
use super::migrate::{self, Tables};
use super::settings::{Deadlines, Settings};
use super::statements::{Look, Prepared, Statements};
use super::task::{Answer, Ask, TenantRow, is_down, writes};
use super::url::DatabaseUrl;
use crate::model::{DatabaseId, Exchange, Polled, Reply};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tokio_postgres::{Client, SimpleQueryMessage};

/// How many old runs one batch removes.
const BATCH: u32 = 500;

/// How long a session may rest and still be believed.
const RESTED: Duration = Duration::from_secs(3);

/// Everything a piece of work needs beside its session.
#[derive(Clone)]
pub(crate) struct Desk {
    pub settings: Arc<Settings>,
    pub statements: Arc<Statements>,
    pub database: DatabaseId,
    pub url: Arc<DatabaseUrl>,
    /// A session is one session of the server, as an echo has shown.
    pub sessions_last: bool,
    /// What the session that is used has prepared.
    pub prepared: Option<Arc<Prepared>>,
}

/// What a piece of work leaves.
pub(crate) struct Done {
    pub answer: Option<Answer>,
    /// The session, where it can be used again.
    pub connection: Option<Connection>,
    pub tables: Tables,
    /// The database failed, not what was asked of it.
    pub down: bool,
    /// To be asked again: there is more.
    pub again: Option<Ask>,
}

/// Does what is asked, until `way` asks it to give its place to others. A session that has rested is first asked whether it still stands, so that a server
/// restarted meanwhile does not leave in doubt what was never sent.
pub(crate) async fn perform(
    mut desk: Desk,
    mut connection: Connection,
    rested: Duration,
    mut tables: Tables,
    ask: Ask,
    way: oneshot::Receiver<()>,
) -> Done {
    let begun = Instant::now();
    let Deadlines { exchange: limit, patience, .. } = desk.settings.deadlines;
    if rested > RESTED && !timeout(patience, connection.client.check_connection()).await.is_ok_and(|up| up.is_ok()) {
        connection.abandon();
        return Done { answer: None, connection: None, tables, down: false, again: Some(ask) };
    }
    if desk.sessions_last {
        if ask.is_urgent() && !std::mem::replace(&mut connection.tried_to_prepare, true) {
            let look = if let Tables::Stand(look) = tables { Some(look) } else { None };
            // where it fails the plain texts serve
            let prepared = timeout(patience, desk.statements.prepare(&connection.client, look)).await;
            connection.prepared = prepared.ok().and_then(Result::ok).map(Arc::new);
        }
        desk.prepared.clone_from(&connection.prepared);
    }
    let sent = AtomicBool::new(false);
    let work = act(&mut desk, &connection.client, &mut tables, &ask, &sent);
    let outcome = tokio::select! {
        biased;
        Ok(()) = way => Err(Failure::MadeWay(begun.elapsed())),
        outcome = timeout(limit, work) => outcome.unwrap_or(Err(Failure::Late(limit))),
    };
    match outcome {
        Ok((answer, again)) => {
            if let Ask::Echo(_, heard) = ask {
                // the listener may have given up meanwhile
                let _ = heard.send(());
            }
            // given up where the tables changed under it; the plain texts serve from then on
            connection.prepared.take_if(|_| desk.prepared.is_none() && desk.sessions_last);
            let connection = Some(connection).filter(|connection| !connection.client.is_closed());
            Done { answer, connection, tables, down: false, again }
        }
        Err(failure) => {
            let trouble = failure.trouble(&desk.url, sent.load(Ordering::Relaxed));
            let down = is_down(trouble.kind);
            connection.prepared = None;
            let connection = if failure.ends_session() {
                connection.abandon();
                None
            } else {
                Some(connection)
            };
            Done { answer: ask.failed(desk.database, trouble), connection, tables, down, again: None }
        }
    }
}

type Acted = (Option<Answer>, Option<Ask>);

async fn act(
    desk: &mut Desk,
    client: &Client,
    tables: &mut Tables,
    ask: &Ask,
    sent: &AtomicBool,
) -> Result<Acted, Failure> {
    let (statements, database) = (&Arc::clone(&desk.statements), desk.database);
    // what is sent from here on may have happened; tables being created do no harm
    let sending = || sent.store(ask.writes(), Ordering::Relaxed);
    let answer = match ask {
        Ask::Exchange(said) => {
            let reply = speak(desk, client, tables, said, &sending).await?;
            Answer::Exchanged { database, number: said.number, result: Ok(reply) }
        }
        Ask::View(keys) => {
            let result = match meet(desk, client, tables).await? {
                Some(look) => Ok(statements.view(client, look, keys).await?),
                None => Ok((statements.now(client).await?, Vec::new())),
            };
            Answer::Viewed { database, result }
        }
        Ask::Request(keys) => {
            meet(desk, client, tables).await?;
            sending();
            Answer::Requested { database, result: Ok(statements.request(client, keys).await?) }
        }
        Ask::Plan => Answer::Migrated { database, result: Ok(migrate::plan(client, statements).await?) },
        Ask::Migrate => {
            sending();
            let result = Ok(migrate::migrate(client, statements).await?);
            *tables = Tables::Unseen;
            Answer::Migrated { database, result }
        }
        Ask::Prune(before) => {
            meet(desk, client, tables).await?;
            sending();
            let removed = statements.prune(client, BATCH).await?;
            if removed >= u64::from(BATCH) {
                return Ok((None, Some(Ask::Prune(before + removed))));
            }
            Answer::Pruned { database, result: Ok(before + removed) }
        }
        Ask::Tenants(sql) => {
            let result = list(client, sql).await?.map_err(|why| format!("database {}: {why}", desk.url));
            Answer::Tenants { result }
        }
        Ask::Echo(channel, _) => {
            statements.notify(client, channel).await?;
            return Ok((None, None));
        }
    };
    Ok((Some(answer), None))
}

/// Looks at the tables, unless they are known.
async fn meet(desk: &Desk, client: &Client, tables: &mut Tables) -> Result<Option<Look>, Failure> {
    let Settings { migrate, access, .. } = *desk.settings;
    if !matches!(tables, Tables::Stand(_)) {
        *tables = migrate::meet(client, &desk.statements, migrate, access).await?;
    }
    Ok(match tables {
        Tables::Stand(look) => Some(*look),
        Tables::Unseen | Tables::Absent => None,
    })
}

async fn speak(
    desk: &mut Desk,
    client: &Client,
    tables: &mut Tables,
    said: &Exchange,
    sending: &impl Fn(),
) -> Result<Reply, Failure> {
    let (statements, settings) = (&Arc::clone(&desk.statements), &Arc::clone(&desk.settings));
    let known = *tables;
    let Some(look) = meet(desk, client, tables).await? else {
        if writes(said) {
            return Err(Failure::Unfit("no status table, and nothing may be written (a dry run)".to_owned()));
        }
        let polled = said.poll.as_ref().map(|_| Box::<Polled>::default());
        return Ok(Reply { now: statements.now(client).await?, polled, ..Reply::default() });
    };
    sending();
    let prepared = desk.prepared.as_deref();
    let first = exchange(Ground { client, statements, settings, look, prepared }, said).await;
    if !(known != Tables::Unseen && first.as_ref().is_err_and(Failure::tables_changed)) {
        return first;
    }
    // somebody changed the tables since they were looked at; nothing was done, so once more
    *tables = Tables::Unseen;
    desk.prepared = None;
    let Some(look) = meet(desk, client, tables).await? else { return first };
    exchange(Ground { client, statements, settings, look, prepared: None }, said).await
}

/// Runs the configuration's own statement; everything is read as text.
async fn list(client: &Client, sql: &str) -> Result<Result<Vec<TenantRow>, String>, Failure> {
    let mut rows = Vec::new();
    for message in client.simple_query(sql).await? {
        let SimpleQueryMessage::Row(row) = message else { continue };
        let column = |name: &str| {
            let at = row.columns().iter().position(|column| column.name() == name)?;
            row.try_get(at).ok().flatten().map(str::to_owned)
        };
        if !row.columns().iter().any(|column| column.name() == "name") {
            return Ok(Err("tenants.query gives no column \"name\"; write AS name".to_owned()));
        }
        // a null name is no name: the door refuses it as empty
        let name = column("name").unwrap_or_default();
        rows.push(TenantRow { name, database: column("database"), group: column("group") });
    }
    Ok(Ok(rows))
}
