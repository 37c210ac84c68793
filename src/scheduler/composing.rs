//! What has gathered for a database becomes one exchange: ends, lives, resets, a claim, a look.

use super::action::Action;
use super::carried::Hold;
use super::databases::{Health, InFlight};
use super::looks::Polls;
use super::resets::Go;
use super::rules::Mode;
use super::run::RecordAs;
use super::state::Scheduler;
use super::tenant::{Stage, TenantId};
use crate::model::{Claim, DatabaseId, Exchange, Offer, Poll, Refresh, RowValue};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Scheduler {
    /// Composes and sends what has gathered for the databases that something happened to.
    pub(super) fn talk(&mut self) {
        for id in std::mem::take(&mut self.dirty) {
            if let Some(exchange) = self.compose(id) {
                self.actions.push(Action::Exchange { database: id, exchange });
            }
            self.file_database(id);
        }
        self.dirty.clear();
    }

    fn compose(&mut self, id: DatabaseId) -> Option<Exchange> {
        let now = self.now;
        let writes = self.rules.mode != Mode::DryRun;
        let database = self.databases.get_mut(id.0 as usize)?;
        let waits = database.awaiting_locks || database.together.until().is_some();
        if database.in_flight.is_some() || waits || self.hold == Hold::AtRest {
            return None;
        }
        if let Health::Down { retry_at, .. } = database.health
            && retry_at > now
        {
            return None;
        }
        let mut flight = InFlight { sent: now, ..InFlight::default() };
        let mut exchange = Exchange::default();
        if self.hold == Hold::ComingToRest {
            // A lease does not wait for what hangs in another database.
            self.compose_refresh(id, &mut exchange, &mut flight);
            return self.sent(id, exchange, flight);
        }
        let resets = self.resets_go(id);
        if writes && matches!(resets, Go::Alone) {
            self.compose_resets(id, &mut exchange, &mut flight);
            if !exchange.reset.is_empty() {
                return self.sent(id, exchange, flight);
            }
        }
        if writes {
            self.compose_ends(id, &mut exchange, &mut flight);
            flight.found = self.compose_found(id, &mut exchange.finish, &mut exchange.poll);
            flight.repair = self.compose_repairs(id, &mut exchange);
            self.compose_refresh(id, &mut exchange, &mut flight);
            if matches!(resets, Go::Along) {
                self.compose_resets(id, &mut exchange, &mut flight);
            }
            self.compose_claim(id, &mut exchange, &mut flight);
        }
        let database = self.databases.get_mut(id.0 as usize)?;
        if writes {
            flight.releases = database.releases.iter().map(|release| release.key.clone()).collect();
            exchange.release = std::mem::take(&mut database.releases);
        }
        if database.look_later.values().any(|at| *at <= now) {
            let (due, later) = std::mem::take(&mut database.look_later).into_iter().partition(|(_, at)| *at <= now);
            database.look_later = later;
            database.look_at.extend(BTreeMap::into_keys(due));
        }
        if let Some((poll, polls)) = database.regular_look(now, &self.rules) {
            (exchange.poll, flight.polls) = (Some(poll), polls);
        } else if !database.look_at.is_empty() && (database.health == Health::Up || database.keys.is_empty()) {
            let keys: Arc<[Arc<str>]> = std::mem::take(&mut database.look_at).into_iter().collect();
            exchange.poll = Some(Poll::Keys(Arc::clone(&keys)));
            flight.polls = Polls::Some(keys);
        } else if let Some(Poll::Keys(keys)) = &exchange.poll {
            flight.polls = Polls::Some(Arc::clone(keys));
        }
        self.sent(id, exchange, flight)
    }

    fn sent(&mut self, id: DatabaseId, mut exchange: Exchange, mut flight: InFlight) -> Option<Exchange> {
        if exchange.is_empty() {
            return None;
        }
        let database = self.databases.get_mut(id.0 as usize)?;
        database.number += 1;
        flight.number = database.number;
        exchange.number = database.number;
        database.in_flight = Some(flight);
        Some(exchange)
    }

    fn compose_ends(&mut self, id: DatabaseId, exchange: &mut Exchange, flight: &mut InFlight) {
        let now = self.now;
        let waiting = std::mem::take(&mut self.databases_mut(id).to_record);
        for tenant in waiting {
            let Some(run) = self.tenants.get_mut(tenant).and_then(|tenant| tenant.run_mut()) else { continue };
            if run.record_not_before > now {
                self.databases_mut(id).to_record.push(tenant);
                continue;
            }
            run.recording = true;
            match run.verdict {
                Some(RecordAs::Finish(outcome, becomes)) => {
                    exchange.finish.push(run.finish(outcome, becomes, now));
                    flight.finish.push(tenant);
                }
                Some(RecordAs::Undo) => {
                    exchange.undo.push(run.identity.clone());
                    flight.undo.push(tenant);
                }
                None => {}
            }
            self.touch(tenant);
        }
    }

    /// Once one life is due to be confirmed, those due soon go along.
    fn compose_refresh(&mut self, id: DatabaseId, exchange: &mut Exchange, flight: &mut InFlight) {
        let now = self.now;
        if self.refresh_due(id).is_none_or(|at| at > now) {
            return;
        }
        let runs: Vec<_> =
            self.database(id).map(|database| database.runs.iter().copied().collect()).unwrap_or_default();
        for tenant in runs {
            let Some(lease) = self.tenants.get(tenant).and_then(|tenant| tenant.run()).map(|run| run.lease) else {
                continue;
            };
            let soon = now + self.refresh_every(lease) / 6;
            let Some(run) = self.tenants.get_mut(tenant).and_then(|tenant| tenant.run_mut()) else { continue };
            if run.refresh_at().is_none_or(|at| at > soon) {
                continue;
            }
            run.refreshing = true;
            exchange.refresh.push(Refresh {
                run: run.identity.clone(),
                pid: run.pid.map(|(pid, _)| pid),
                pid_start: run.pid.map(|(_, start)| start),
            });
            flight.refresh.push(tenant);
        }
    }

    fn compose_claim(&mut self, id: DatabaseId, exchange: &mut Exchange, flight: &mut InFlight) {
        let pending = std::mem::take(&mut self.databases_mut(id).claim);
        if pending.offers.is_empty() {
            return;
        }
        let offer = |tenant: &TenantId| {
            let state = self.tenants.get(*tenant)?;
            Some(Offer { key: state.listed.key.to_string(), group: state.listed.tenant.group().map(str::to_owned) })
        };
        let named = matches!(self.rules.mode, Mode::Named { .. });
        exchange.claim = Some(Claim {
            offers: pending.offers.iter().filter_map(offer).collect(),
            limit: pending.limit,
            done_too: named,
            cluster_limit: if named || !self.rules.shared { 0 } else { self.rules.cluster_limit },
            group_limit: if named || !self.rules.shared { 0 } else { self.rules.group_limit },
            foreign_in_group: if self.rules.group_limit > 0 { self.foreign_in_group(id) } else { Vec::new() },
            lease: self.rules.lease,
        });
        flight.lease = self.rules.lease;
        flight.claim = pending;
    }

    /// Claims of other programs by group, as the last view has them.
    fn foreign_in_group(&self, id: DatabaseId) -> Vec<(String, u32)> {
        let mut groups = std::collections::BTreeMap::new();
        for (_, tenant) in self.tenants.iter() {
            let foreign = matches!(tenant.stage, Stage::Idle)
                && tenant.other.is_none()
                && tenant.value() == Some(&RowValue::Running);
            if foreign
                && tenant.listed.database == id
                && let Some(group) = tenant.listed.tenant.group()
            {
                *groups.entry(group.to_owned()).or_insert(0) += 1;
            }
        }
        groups.into_iter().collect()
    }
}
