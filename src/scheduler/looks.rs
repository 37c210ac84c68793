//! Which rows a look reads. A *whole* look asks for every key; a *short* one, which is the rule, for what is not done, so
//! that it costs the same whether a hundred tenants are done or a hundred thousand. Not here: what an answer means for a
//! row (`replies`), and when a look is due (`databases`). A long whole look is made in pieces, so that nothing waits long
//! for it; claims begin after its last.
//!
//! Invariant: nothing changes in a row without being seen. A short look brings every row of ours whose value is not
//! `done`, that is paused, or that has an open run; `Database::not_done` holds everybody whom memory believes to be one of
//! these, or knows nothing of. Hence, of two looks:
//!
//! | what happened between them | seen because |
//! | --- | --- |
//! | a done row became `needed`, `running`, another word or NULL, by whomever | it is brought: the statement compares with `done` as it is spelled, NULL included |
//! | a row that was not done became `done` (by a hand, or another node's run ended) | it is not brought and stands in `not_done`: looked at by its key |
//! | `needed` → `done` → `needed` | it is brought with its new `updated_at`, which orders the queue |
//! | paused | it is brought, done or not |
//! | resumed | it is not brought, or brought without the flag |
//! | a run was opened by another node, or lost with its claim | open runs bring their rows; those of this node come whatever their key |
//! | that run was closed | its row is brought if it is not done; else it is not brought, and `not_done` has whoever had a run |
//! | the row of our own child was set `done` or `needed` by a hand | brought by its open run, and repaired |
//! | the row of a tenant that is not done, or of our own child, was deleted | it is not brought and stands in `not_done`: looked at by its key, which makes it anew |
//! | the row of a tenant that is done was deleted, or its `updated_at` moved, or another node claimed and finished it | the reset at its slot fits no row, and it is looked at by its key: every statement compares for itself what memory believes. At the latest the hourly whole look sees it |
//! | a tenant was listed while the look was under way | nothing is known of it: it is looked at by its key |
//! | whatever, after a look that found everybody done | the next one gives that look's mark, and rows are read unless the server says that no transaction has ended since: then no row can have changed |
//! | another copy of the database answers | an exchange failed, and the look after a failure is whole; where none did, as above |
//!
//! Keys of other instances, and those that a wildcard in a key's text would match, are brought at worst and belong to no
//! tenant here. What was being claimed or recorded when the answer came is judged by its own answer. A whole look is
//! what comes first, after a failure, a reload or a bare SIGUSR1, once an hour, in modes that look once, and where there
//! is but one tenant. A NOTIFY without a key is answered by a short one: who writes it has made something needed.

use super::databases::Database;
use super::rules::{Mode, Rules};
use super::state::Scheduler;
use super::tenant::{Stage, TenantId, TenantState};
use crate::model::{DatabaseId, Moment, Poll};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// Looks at single rows fall due together, at multiples of so many microseconds: each exchange costs more than a row.
const LOOK_TOGETHER: u64 = 200_000;

/// Every so often a look is a whole one, so that nothing hangs on memory for ever.
const WHOLE_EVERY: Duration = Duration::from_secs(3600);

/// Rows that a look did not tell of, or a claim did not get, are looked at after this; a row that a reset did not get is
/// not reset before.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What the exchange under way reads.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) enum Polls {
    #[default]
    Nothing,
    /// Some, for once.
    Some(Arc<[Arc<str>]>),
    /// All that were known when it was sent, or the last of them.
    All(Arc<[Arc<str>]>),
    /// What is not done.
    NotDone,
}

impl Database {
    /// The next regular look is a whole one, and comes by then.
    pub fn look_whole(&mut self, moment: Moment) {
        self.whole_due = None;
        self.whole_from = 0;
        self.poll_by(moment);
    }

    /// The regular look, if it is due.
    pub fn regular_look(&mut self, now: Moment, rules: &Rules) -> Option<(Poll, Polls)> {
        if self.poll_due.is_none_or(|due| due > now) || self.keys.is_empty() {
            return None;
        }
        self.poll_due = None;
        let short = rules.mode == Mode::Daemon && self.keys.len() > 1 && self.whole_due.is_some_and(|due| due > now);
        if short {
            let since = self.mark.take().filter(|_| self.not_done.is_empty());
            return Some((Poll::NotDone { since }, Polls::NotDone));
        }
        let rest = self.keys.get(self.whole_from..).unwrap_or_default();
        if let Some((some, _)) = rest.split_at_checked(rules.look_size).filter(|(_, more)| !more.is_empty()) {
            let keys: Arc<[Arc<str>]> = some.into();
            self.whole_from += keys.len();
            // The rest as soon as this is answered.
            self.poll_due = Some(now);
            return Some((Poll::Keys(Arc::clone(&keys)), Polls::Some(keys)));
        }
        let keys = if self.whole_from == 0 { Arc::clone(&self.keys) } else { rest.into() };
        self.whole_from = 0;
        self.whole_due = Some(now + WHOLE_EVERY);
        self.look_at.clear();
        Some((Poll::Keys(Arc::clone(&keys)), Polls::All(keys)))
    }

    /// A row that somebody holds locked is looked at again, with others that were met at nearly the same time. A look
    /// that is wanted already is not put off.
    pub fn look_again(&mut self, key: Arc<str>, at: Moment) {
        let at = Moment(at.0.next_multiple_of(LOOK_TOGETHER));
        self.look_later.entry(key).and_modify(|wanted| *wanted = at.min(*wanted)).or_insert(at);
    }
}

impl Scheduler {
    pub(super) fn file_not_done(&mut self, tenant: TenantId, id: DatabaseId, not_done: bool) {
        // No reason to talk to it: it is not dirty.
        let Some(database) = self.databases.get_mut(id.0 as usize) else { return };
        if not_done {
            database.not_done.insert(tenant);
        } else {
            database.not_done.remove(&tenant);
        }
    }

    /// All was said and done but the look.
    pub(super) fn not_looked(&mut self, id: DatabaseId, polls: &Polls) {
        let again = self.now + LOOK_AGAIN;
        let database = self.databases_mut(id);
        match polls {
            Polls::Nothing => {}
            Polls::Some(keys) => keys.iter().for_each(|key| database.look_again(key.clone(), again)),
            Polls::All(_) => database.look_whole(again),
            Polls::NotDone => database.poll_by(again),
        }
    }

    /// A short look brings every row that is not done: of whom it does not tell, that has changed, and is looked at by
    /// its key. Judging wrongly (a tenant listed since it was sent) costs that look and nothing else.
    pub(super) fn look_at_changed(&mut self, id: DatabaseId, seen: &HashSet<TenantId>) {
        let Some(database) = self.database(id) else { return };
        let is_told = |tenant: &TenantState| match &tenant.stage {
            Stage::Idle => true,
            // Its claim answers first, and what it did not get is looked at.
            Stage::Offered => false,
            // Its record answers.
            Stage::Run(run) => run.lives(),
        };
        let unseen = database.not_done.iter().filter(|tenant| !seen.contains(tenant));
        let keys: Vec<_> = unseen
            .filter_map(|tenant| self.tenants.get(*tenant))
            .filter(|tenant| is_told(tenant))
            .map(|tenant| tenant.listed.key.clone())
            .collect();
        self.databases_mut(id).look_at.extend(keys);
    }
}
