//! Servers that cannot be spoken to: the first of their databases that finds it out tells for the others, which wait
//! for the place of those that fail until one gets through. Nothing here knows why.

use super::super::connect::Connection;
use super::super::error::{ConnectError, unreachable};
use super::super::url::DatabaseUrl;
use super::{Member, Pool, Seat, Stage, Standing, id_of};
use crate::model::Trouble;
use std::mem::take;
use std::sync::Arc;
use std::time::Duration;

/// Servers whose line failed last.
#[derive(Default)]
pub(super) struct Silent(Vec<Arc<DatabaseUrl>>);

impl Silent {
    /// How a database is to be treated: as one that fails where its server cannot be spoken to.
    pub fn standing(&self, member: &Member) -> Standing {
        if self.0.iter().any(|silent| silent.is_beside(&member.url)) { Standing::Failing } else { member.standing }
    }

    /// A line to this server failed.
    pub fn add(&mut self, url: &Arc<DatabaseUrl>) {
        if !self.0.iter().any(|silent| silent.is_beside(url)) {
            self.0.push(Arc::clone(url));
        }
    }

    /// A line to this server stands.
    pub fn remove(&mut self, url: &DatabaseUrl) {
        self.0.retain(|silent| !silent.is_beside(url));
    }
}

impl Pool {
    pub(super) fn connected(&mut self, seat: Seat, serial: u64, result: Result<Box<Connection>, ConnectError>) {
        let Some(member) = self.members.get_mut(&seat).filter(|member| member.serial == serial) else {
            // it was made to make way at the very moment it succeeded
            if let Ok(connection) = result {
                self.open += 1;
                self.close(seat, serial, *connection);
            }
            return;
        };
        let url = Arc::clone(&member.url);
        match result {
            Ok(connection) => {
                self.silent.remove(&url);
                self.start(seat, *connection, Duration::ZERO);
            }
            Err(error) => {
                self.fail(seat, &unreachable(&url, &error));
                if error.is_of_line() {
                    self.silent.add(&url);
                    self.fail_beside(&url, &error);
                }
            }
        }
    }

    /// No session: everything that waits for this database hears why.
    pub(super) fn fail(&mut self, seat: Seat, trouble: &Trouble) {
        let Some(member) = self.members.get_mut(&seat) else { return };
        member.standing = Standing::Failing;
        member.stage = Stage::Away;
        self.open -= 1;
        self.seated.retain(|seated| *seated != seat);
        for ask in take(&mut member.waiting) {
            self.tell(ask.failed(id_of(seat), trouble.clone()));
        }
    }

    /// The line to a server failed: what waits for a session there hears so too, and need not find it out in its turn.
    fn fail_beside(&mut self, url: &DatabaseUrl, error: &ConnectError) {
        let mut told = Vec::new();
        for (seat, member) in &mut self.members {
            if matches!(member.stage, Stage::Away) && !member.waiting.is_empty() && member.url.is_beside(url) {
                member.standing = Standing::Failing;
                let trouble = unreachable(&member.url, error);
                told.extend(take(&mut member.waiting).iter().map(|ask| ask.failed(id_of(*seat), trouble.clone())));
            }
        }
        for answer in told {
            self.tell(answer);
        }
    }
}
