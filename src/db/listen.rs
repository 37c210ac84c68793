//! Listening to `NOTIFY tenantcron` in a shared database, on a session of its own. What is heard only
//! saves the wait for the next poll, so losing it is never an error. It is believed only after a word sent
//! by another session has come back: behind PgBouncer LISTEN is accepted and deaf.

use super::connect::connect;
use super::pool::Event;
use super::settings::Settings;
use super::task::Answer;
use super::url::DatabaseUrl;
use crate::model::DatabaseId;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};
use tokio_postgres::Notification;

/// How long the echo may take once its word was sent.
const ECHO: Duration = Duration::from_secs(5);
/// The longest wait before trying again.
const LONGEST: Duration = Duration::from_secs(30);

/// What a listener reports.
pub(crate) enum Heard {
    /// It listens; send a word to this channel and say when it is sent.
    Up(String, oneshot::Sender<()>),
    /// The echo came.
    Echo,
    /// A word for us.
    Word(String),
    /// It has ended.
    Ended(End),
}

/// How listening ended.
pub(crate) enum End {
    /// No echo.
    Deaf,
    /// No session, or no longer.
    Lost,
}

/// What follows from a report.
#[derive(Default)]
pub(crate) struct Follows {
    /// What to tell the owner.
    pub answer: Option<Answer>,
    /// A word to send to a channel, and whom to tell when it is sent.
    pub echo: Option<(String, oneshot::Sender<()>)>,
    /// Its place is free.
    pub freed: bool,
}

/// The listener of one database, as the pool sees it.
pub(crate) struct Ear {
    stage: Stage,
    /// Losses since an echo last came.
    losses: u32,
    /// It has been up before: words may have been missed.
    missed: bool,
    /// An echo has come: sessions are the server's own, none is lent to somebody else between two transactions.
    heard: bool,
}

enum Stage {
    Wanted { at: Instant },
    Open(AbortHandle),
    GivenUp,
}

impl Ear {
    pub fn new() -> Self {
        Self { stage: Stage::Wanted { at: Instant::now() }, losses: 0, missed: false, heard: false }
    }

    /// True once an echo has come, until it fails to.
    pub fn has_heard(&self) -> bool {
        self.heard
    }

    /// True if it wants a place now.
    pub fn is_due(&self, now: Instant) -> bool {
        matches!(self.stage, Stage::Wanted { at } if at <= now)
    }

    /// When it will want one, if that lies ahead.
    pub fn wake(&self) -> Option<Instant> {
        match self.stage {
            Stage::Wanted { at } if at > Instant::now() => Some(at),
            Stage::Wanted { .. } | Stage::Open(_) | Stage::GivenUp => None,
        }
    }

    /// Takes the place that it was given.
    pub fn open(
        &mut self,
        id: DatabaseId,
        url: &Arc<DatabaseUrl>,
        settings: &Settings,
        reports: mpsc::UnboundedSender<Event>,
    ) {
        let (url, limit) = (Arc::clone(url), settings.deadlines.connect);
        let task = tokio::spawn(async move {
            let end = listen(id, &url, limit, &reports).await;
            // the pool may have ended
            let _ = reports.send(Event::Heard(id, Heard::Ended(end)));
        });
        self.stage = Stage::Open(task.abort_handle());
    }

    /// Ends it; true if it held a place.
    pub fn stop(&self) -> bool {
        match &self.stage {
            Stage::Open(task) => {
                task.abort();
                true
            }
            Stage::Wanted { .. } | Stage::GivenUp => false,
        }
    }

    /// What follows from a report.
    pub fn heard(&mut self, database: DatabaseId, heard: Heard) -> Follows {
        match heard {
            Heard::Up(channel, sent) => Follows { echo: Some((channel, sent)), ..Follows::default() },
            Heard::Echo => {
                self.heard = true;
                self.losses = 0;
                let missed = std::mem::replace(&mut self.missed, true);
                Follows { answer: missed.then_some(Answer::Notified { database, key: None }), ..Follows::default() }
            }
            Heard::Word(key) => {
                let key = Some(key).filter(|key| !key.is_empty());
                Follows { answer: Some(Answer::Notified { database, key }), ..Follows::default() }
            }
            Heard::Ended(End::Deaf) => {
                self.stage = Stage::GivenUp;
                self.heard = false;
                let text = "no echo of our own NOTIFY (PgBouncer?): requests of others are seen at the next poll";
                let answer = Some(Answer::Info { database, text: text.to_owned() });
                Follows { answer, freed: true, ..Follows::default() }
            }
            Heard::Ended(End::Lost) => {
                let wait = Duration::from_secs(1 << self.losses.min(5)).min(LONGEST);
                self.losses += 1;
                let jitter = wait.mul_f64(fastrand::f64() / 2.0);
                self.stage = Stage::Wanted { at: Instant::now() + wait / 2 + jitter };
                Follows { freed: true, ..Follows::default() }
            }
        }
    }
}

async fn listen(id: DatabaseId, url: &DatabaseUrl, limit: Duration, reports: &mpsc::UnboundedSender<Event>) -> End {
    let (ear, mut words) = mpsc::unbounded_channel();
    let Ok(connection) = connect(url, limit, Some(ear)).await else { return End::Lost };
    let channel = format!("tenantcron_echo_{:016x}", fastrand::u64(..));
    let tuned = super::statements::listen(&connection.client, &channel);
    if !timeout(limit, tuned).await.is_ok_and(|answer| answer.is_ok()) {
        connection.abandon();
        return End::Lost;
    }
    let (back, sent) = oneshot::channel();
    let report = |heard| reports.send(Event::Heard(id, heard)).is_ok();
    if !report(Heard::Up(channel.clone(), back)) || sent.await.is_err() {
        connection.close().await;
        return End::Lost;
    }
    let echo = async {
        while let Some(word) = words.recv().await {
            if word.channel() == channel {
                return true;
            }
            report(word_of(&word));
        }
        false
    };
    match timeout(ECHO, echo).await {
        Ok(true) => {}
        Ok(false) => return End::Lost,
        Err(_) => {
            connection.close().await;
            return End::Deaf;
        }
    }
    report(Heard::Echo);
    // ends with the session
    while let Some(word) = words.recv().await {
        if word.channel() != channel {
            report(word_of(&word));
        }
    }
    End::Lost
}

fn word_of(word: &Notification) -> Heard {
    Heard::Word(word.payload().to_owned())
}
