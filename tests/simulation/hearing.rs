//! A core takes in what happened; its actions are performed, and its one deadline becomes an alarm.

use crate::supervisor::SupervisorId;
use crate::trace::short;
use crate::world::{What, World};
use std::time::Duration;
use tenantcron::scheduler::Event;

impl World {
    /// What is heard at the same moment is sometimes taken in together.
    pub fn with_others(&mut self, id: SupervisorId, event: Event) -> Vec<Event> {
        let mut events = vec![event];
        while self.plan.batches
            && let Some(next) = self.agenda.first_entry()
            && next.key().0 == self.now
            && matches!(next.get(), What::Heard(other, _) if *other == id)
        {
            if let What::Heard(_, event) = next.remove() {
                events.push(event);
            }
        }
        events
    }

    pub fn hear(&mut self, id: SupervisorId, event: Event) {
        self.hear_all(id, vec![event]);
    }

    /// The core takes in what happened; its actions are performed.
    pub fn hear_all(&mut self, id: SupervisorId, events: Vec<Event>) {
        if !self.supervisors[id.0].lives {
            return;
        }
        for event in &events {
            self.say(|| format!("{} ← {}", id.0, short(event)));
            self.hears(id, event);
        }
        let now = self.now;
        let supervisor = &mut self.supervisors[id.0];
        let actions = supervisor.scheduler.handle_all(supervisor.moment(now), events);
        for notice in self.supervisors[id.0].scheduler.take_notices() {
            self.check_notice(id, &notice);
            self.say(|| format!("{} says {notice:?}", id.0));
        }
        for action in actions {
            self.say(|| format!("{} → {}", id.0, short(&action)));
            self.perform(id, action);
        }
        self.check_step(id);
        self.set_alarm(id);
    }

    /// One deadline is the only timer.
    fn set_alarm(&mut self, id: SupervisorId) {
        let now = self.now;
        let supervisor = &mut self.supervisors[id.0];
        let Some(deadline) = supervisor.scheduler.next_deadline().filter(|_| supervisor.lives) else { return };
        let at = if deadline > supervisor.moment(now) { supervisor.time_of(deadline) } else { now };
        if supervisor.tick_at.is_none_or(|planned| planned > at || planned < now) {
            supervisor.tick_at = Some(at);
            self.after(at - now, What::Tick(id));
        }
    }

    fn hears(&mut self, id: SupervisorId, event: &Event) {
        let supervisor = &mut self.supervisors[id.0];
        let wait = match event {
            Event::StopAsked => {
                let again = supervisor.stop_at.is_some() && !supervisor.drains;
                supervisor.stop_at.get_or_insert(self.now);
                // SIGTERM, SIGKILL (at once when asked again), the patience of the record.
                let kill_after = if again { Duration::ZERO } else { supervisor.rules.kill_after };
                kill_after + Duration::from_secs(20 + 3)
            }
            Event::DrainAsked => {
                supervisor.drains = true;
                supervisor.stop_at.get_or_insert(self.now);
                self.plan.longest_life + supervisor.rules.kill_after + Duration::from_secs(60 + 30)
            }
            Event::Examined { tenant, run, .. } => {
                let database = self.plan.tenants.iter().find(|one| one.tenant.name == *tenant).map(|one| one.database);
                supervisor.adopting.retain(|adopted| (Some(adopted.0), adopted.1) != (database, *run));
                return;
            }
            _ => return,
        };
        if matches!(event, Event::StopAsked) {
            supervisor.drains = false;
        }
        self.after_duration(wait, What::MustBeGone(id));
    }
}
