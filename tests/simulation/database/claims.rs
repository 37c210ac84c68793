//! Rows made needed and claimed: `reset.sql`, `claim.sql`, `claim_limited.sql`.

use super::{Database, Deed, OpenRow, Row};
use crate::flaws::Flaw;
use tenantcron::model::{Claim, Claimed, Identity, Offer, Reset, RowValue, RunId, RunIdentity};

impl Database {
    pub(super) fn reset(&mut self, reset: &Reset) -> bool {
        let now = self.now;
        let locked = self.locked.contains(&reset.key);
        let Some(row) = self.content.rows.get_mut(&reset.key).filter(|_| !locked) else { return false };
        let due = row.value == RowValue::Done && row.updated_at < reset.slot && reset.slot <= now;
        if due {
            row.value = RowValue::Needed;
            self.deeds.push(Deed::Reset { key: reset.key.clone() });
        }
        due
    }

    pub(super) fn claim(&mut self, who: &Identity, claim: &Claim) -> Vec<Claimed> {
        let mut claimed = Vec::new();
        for offer in &claim.offers {
            if claimed.len() >= claim.limit as usize
                || (claim.cluster_limit > 0
                    && self.content.open.len() + self.foreign_claims() >= claim.cluster_limit as usize)
            {
                break;
            }
            if self.can_be_claimed(offer, claim.done_too) && self.has_room_in_group(offer, claim) {
                claimed.push(self.open(who, offer, claim));
            }
        }
        claimed
    }

    fn foreign_claims(&self) -> usize {
        let running = self.content.rows.iter().filter(|(_, row)| row.value == RowValue::Running);
        running.filter(|(key, _)| self.open_run(key).is_none()).count()
    }

    fn can_be_claimed(&self, offer: &Offer, done_too: bool) -> bool {
        let Some(row) = self.content.rows.get(&offer.key) else { return false };
        let fits = row.value == RowValue::Needed || (done_too && row.value == RowValue::Done);
        let ignores = self.flaw == Some(Flaw::ClaimIgnoresTheRow);
        (ignores || (fits && !self.locked.contains(&offer.key))) && self.open_run(&offer.key).is_none()
    }

    fn has_room_in_group(&self, offer: &Offer, claim: &Claim) -> bool {
        let Some(group) = offer.group.as_ref().filter(|_| claim.group_limit > 0) else { return true };
        let ours = self.content.open.values().filter(|run| run.group.as_ref() == Some(group)).count();
        let foreign = claim.foreign_in_group.iter().find(|(name, _)| name == group).map_or(0, |(_, count)| *count);
        ours + (foreign as usize) < claim.group_limit as usize
    }

    fn open(&mut self, who: &Identity, offer: &Offer, claim: &Claim) -> Claimed {
        let (id, key, started_at) = (RunId(self.next_id()), offer.key.clone(), self.now);
        let (instance, node, host) = (who.instance.clone(), who.node.clone(), who.host.clone());
        let identity = RunIdentity { id, key: key.clone(), instance, node, host, started_at };
        let run = OpenRow {
            identity: identity.clone(),
            group: offer.group.clone(),
            pid: None,
            pid_start: None,
            alive_at: started_at,
            lease: claim.lease,
        };
        self.content.open.insert(key.clone(), run);
        let row = self.content.rows.get_mut(&key).unwrap();
        let before: Row = row.clone();
        (row.value, row.updated_at) = (RowValue::Running, started_at);
        let foreign = before.value == RowValue::Running;
        self.deeds.push(Deed::Claimed { run: identity, before, foreign });
        Claimed { key, id, started_at }
    }
}
