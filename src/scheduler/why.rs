//! Why needed tenants do not run: for `status`, for `--dry-run`, and for people.

use super::databases::Health;
use super::notice::Notice;
use super::slots;
use super::state::Scheduler;
use super::tenant::{TenantState, Wait};
use crate::model::{RowValue, TenantName};
use std::fmt;

/// The first reason that keeps a needed tenant from running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Its database does not answer.
    DatabaseDown,
    /// Paused by an operator.
    Paused,
    /// Disabled by the configuration.
    Disabled,
    /// A spawn failed; tried again later.
    BackingOff,
    /// Another process of this host holds its lock.
    LockHeld(Option<i32>),
    /// As many of its group run as may.
    LimitGroup,
    /// As many run over all nodes as may.
    LimitCluster,
    /// All slots of this node are taken.
    WorkersBusy,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DatabaseDown => f.write_str("database down"),
            Self::Paused => f.write_str("paused"),
            Self::Disabled => f.write_str("disabled"),
            Self::BackingOff => f.write_str("backing off"),
            Self::LockHeld(Some(pid)) => write!(f, "lock held (pid {pid})"),
            Self::LockHeld(None) => f.write_str("lock held"),
            Self::LimitGroup => f.write_str("limit group"),
            Self::LimitCluster => f.write_str("limit cluster"),
            Self::WorkersBusy => f.write_str("workers busy"),
        }
    }
}

impl Scheduler {
    /// Every tenant that wants to run and does not, with the first reason. Asked every second: while no database is down
    /// it looks only at those who are not done.
    pub fn reasons(&self) -> Vec<(TenantName, Reason)> {
        let told = |tenant: &TenantState| Some((tenant.name().clone(), self.reason(tenant)?));
        let down = self.databases.iter().any(|database| database.tried() && database.health != Health::Up);
        let mut reasons: Vec<_> = if down {
            self.tenants.iter().filter_map(|(_, tenant)| told(tenant)).collect()
        } else {
            let not_done = self.databases.iter().flat_map(|database| &database.not_done);
            not_done.filter_map(|tenant| told(self.tenants.get(*tenant)?)).collect()
        };
        reasons.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        reasons
    }

    fn reason(&self, tenant: &TenantState) -> Option<Reason> {
        if !tenant.present || tenant.run().is_some() {
            return None;
        }
        if self.database(tenant.listed.database).is_some_and(super::databases::Database::tried)
            && !self.is_up(tenant.listed.database)
        {
            return Some(Reason::DatabaseDown);
        }
        let row = tenant.row.as_ref().filter(|row| row.value == RowValue::Needed)?;
        if row.paused {
            return Some(Reason::Paused);
        }
        if !self.rules.enabled || !tenant.listed.enabled {
            return Some(Reason::Disabled);
        }
        if tenant.not_before > self.now {
            match tenant.wait {
                Some(Wait::BackingOff) => return Some(Reason::BackingOff),
                Some(Wait::LockHeld(pid)) => return Some(Reason::LockHeld(pid)),
                None => {}
            }
        }
        let group = tenant.listed.tenant.group();
        let in_group = group.and_then(|group| self.counts.groups.get(group)).copied().unwrap_or(0);
        if self.rules.group_limit > 0 && in_group >= self.rules.group_limit {
            return Some(Reason::LimitGroup);
        }
        if self.rules.cluster_limit > 0 && self.counts.cluster >= self.rules.cluster_limit {
            return Some(Reason::LimitCluster);
        }
        (self.free_slots() == 0 || self.slots_blocked_until > self.now).then_some(Reason::WorkersBusy)
    }

    /// `--dry-run`: tells what `run` would do now, in the order in which it would.
    pub(super) fn say_what_would_be_done(&mut self) {
        let mut lines = Vec::new();
        for (place, number) in self.queue.iter().zip(0u32..) {
            let Some(tenant) = self.tenants.get(place.id) else { continue };
            let when = if number < self.rules.workers {
                "start now".to_owned()
            } else {
                format!("start when a slot is free (place {} in the queue)", number + 1)
            };
            let why = match tenant.row.as_ref() {
                Some(row) if row.requested() => "requested".to_owned(),
                Some(row) if row.updated_at.0 <= 0 => "needed, it has never run".to_owned(),
                Some(row) => format!("needed, last updated {}", row.updated_at),
                None => continue,
            };
            lines.push(Notice::Would { tenant: tenant.name().clone(), what: format!("{when}: {why}") });
        }
        let queued: std::collections::HashSet<_> = self.queue.iter().map(|place| place.id).collect();
        let mut others: Vec<_> = self.tenants.iter().filter(|(id, _)| !queued.contains(id)).collect();
        others.sort_unstable_by(|a, b| a.1.name().cmp(b.1.name()));
        for (_, tenant) in others {
            lines.push(Notice::Would { tenant: tenant.name().clone(), what: self.would(tenant) });
        }
        self.notices.extend(lines);
    }

    fn would(&self, tenant: &TenantState) -> String {
        if !self.is_up(tenant.listed.database) {
            return "not start: database down".to_owned();
        }
        if let Some(run) = &tenant.other {
            return format!("not start: open run {} of node {}", run.identity.id, run.identity.node);
        }
        let Some(row) = tenant.row.as_ref() else {
            return "create its row as needed, then start it: it has never run".to_owned();
        };
        if row.paused {
            return "not start: paused".to_owned();
        }
        if !self.rules.enabled || !tenant.listed.enabled {
            return "not start: disabled".to_owned();
        }
        match &row.value {
            RowValue::Done => {
                let slot = slots::next_after(row.updated_at, tenant.listed.every, tenant.listed.offset);
                match self.database_now(tenant.listed.database) {
                    Some(now) if slot <= now => format!("make it needed and start it: its slot was {slot}"),
                    _ => format!("not start: done, next due {slot}"),
                }
            }
            RowValue::Running => "not start: running, claimed by another program".to_owned(),
            RowValue::Unknown(value) => {
                format!("not start: its row's value is {value:?}, which is none of needed, running, done")
            }
            RowValue::Needed => "start when a slot is free".to_owned(),
        }
    }
}
