//! A run is signalled before its end was seen: there must be a reason, and it decides the outcome.

use crate::host::RunKey;
use crate::supervisor::{Belongings, SupervisorId};
use crate::world::World;
use std::time::Duration;
use tenantcron::model::{Becomes, Outcome, TenantName};
use tenantcron::scheduler::StaleAction;

impl World {
    pub fn check_signal(&mut self, id: SupervisorId, tenant: &TenantName, held: Belongings) {
        let run = held.run;
        if self.ledger.signalled.contains_key(&(id, run)) {
            return;
        }
        let allowed = self.reasons(id, run);
        if !held.end_told {
            assert!(!allowed.is_empty(), "signals: {tenant} is signalled without a reason");
            self.ledger.signalled.insert((id, run), allowed);
        } else if let Some(truth) = self.ledger.truths.get_mut(&run)
            && self.now == truth.at
        {
            // Its end was heard in one breath with why it had to end.
            truth.allowed.extend(allowed);
        }
    }

    /// Why it may be ended now, and what follows from it.
    fn reasons(&self, id: SupervisorId, run: RunKey) -> Vec<(Outcome, Becomes)> {
        let supervisor = &self.supervisors[id.0];
        let store = self.store(run.database);
        // Ages go by the monotonic clock, the claim's time by the clock of the copy that it was made in.
        let slack = Duration::from_secs(if store.era > 0 { 10 } else { 0 });
        let age = store.time(self.now).since(run.started_at) + slack;
        let rules = &supervisor.rules;
        let mut allowed = Vec::new();
        let stops = supervisor.stop_at.is_some() && !supervisor.drains;
        if stops || supervisor.told_to_end.contains(&run) || self.is_unconfirmed(id, run) {
            allowed.push((Outcome::Stopped, Becomes::Needed));
        }
        if self.plan.tenants[run.tenant].timeout.is_some_and(|timeout| age >= timeout) {
            allowed.push((Outcome::Timeout, Becomes::Done));
        }
        if rules.stale_action == StaleAction::Kill && age >= rules.stale_after {
            allowed.push((Outcome::Timeout, Becomes::Needed));
        }
        allowed
    }

    /// Its lease will soon be over, for all that its supervisor knows.
    fn is_unconfirmed(&self, id: SupervisorId, run: RunKey) -> bool {
        let supervisor = &self.supervisors[id.0];
        let Some(lease) = self.plan.rules.lease else { return false };
        let Some(sent) = supervisor.confirmed.get(&run) else { return true };
        let ask = lease.saturating_sub(supervisor.rules.kill_after + Duration::from_secs(10));
        Duration::from_micros(self.now - sent) >= ask
    }
}
