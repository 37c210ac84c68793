//! A core takes in what happened; its actions are performed, and its one deadline becomes an alarm.

use crate::supervisor::SupervisorId;
use crate::trace;
use crate::world::{What, World};
use std::time::Duration;
use tenantcron::scheduler::{Event, Notice};

impl World {
    /// The core takes in what happened; its actions are performed.
    pub fn hear(&mut self, id: SupervisorId, events: Vec<Event>) {
        if !self.supervisors[id.0].lives || events.is_empty() {
            return;
        }
        for event in &events {
            if let Event::Reloaded(rules) = event {
                self.put_in_force(id, rules);
            }
            self.hears(id, event);
        }
        let told = self.trace.on.then(|| events.iter().map(trace::event).collect::<Vec<_>>());
        if let Some(told) = &told {
            self.trace.doing = format!("{}: {}", self.supervisors[id.0].name, told.join(", "));
        }
        let now = self.now;
        let supervisor = &mut self.supervisors[id.0];
        let actions = supervisor.scheduler.handle_all(supervisor.moment(now), events);
        let notices = supervisor.scheduler.take_notices();
        self.trace.doing.clear();
        if let Some(told) = told {
            let ticks = told.iter().all(|event| event == "tick") && actions.is_empty() && notices.is_empty();
            let name = &self.supervisors[id.0].name;
            let actions: Vec<_> = actions.iter().map(trace::action).collect();
            let actions = if actions.is_empty() { String::new() } else { format!(" → {}", actions.join("; ")) };
            let line = format!("{name}: {}{actions}", told.join(", "));
            if !ticks {
                self.say(|_| line);
            }
        } else {
            self.trace.steps += 1;
        }
        let leaves = notices.iter().any(|notice| matches!(notice, Notice::Rival { leaves: true, .. }));
        for notice in notices {
            self.say(|world| format!("{}  says {}", world.supervisors[id.0].name, trace::notice(&notice)));
            self.check_notice(id, &notice);
        }
        for action in actions {
            self.trace.count("action", &action);
            if self.supervisors[id.0].lives {
                self.perform(id, action);
            }
        }
        if self.supervisors[id.0].lives {
            if leaves {
                // It starts nothing more, waits for its children and leaves.
                let supervisor = &mut self.supervisors[id.0];
                supervisor.drains |= supervisor.stop_at.is_none();
                supervisor.stop_at.get_or_insert(now);
            }
            self.keep_ends(id);
            self.check_step(id);
            self.set_alarm(id);
        }
    }

    /// One deadline is the only timer.
    fn set_alarm(&mut self, id: SupervisorId) {
        let now = self.now;
        let supervisor = &mut self.supervisors[id.0];
        let Some(deadline) = supervisor.scheduler.next_deadline() else { return };
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
                supervisor.drains = false;
                // SIGTERM, SIGKILL (at once when asked again), the patience of the record.
                let kill_after = if again { Duration::ZERO } else { supervisor.rules.kill_after };
                kill_after + Duration::from_secs(20 + 3)
            }
            Event::DrainAsked => {
                supervisor.drains |= supervisor.stop_at.is_none();
                supervisor.stop_at.get_or_insert(self.now);
                self.plan.longest_life + supervisor.rules.kill_after + Duration::from_secs(60 + 30)
            }
            Event::Examined { tenant, .. } => {
                let tenant = self.plan.place(tenant);
                supervisor.adopting.retain(|adopted| adopted.tenant != tenant);
                return;
            }
            Event::Tick
            | Event::TenantsListed(_)
            | Event::Locked { .. }
            | Event::UnlistedFound(_)
            | Event::LockProbed { .. }
            | Event::Exchanged { .. }
            | Event::Started { .. }
            | Event::NotStarted { .. }
            | Event::Ended { .. }
            | Event::GroupEmptied { .. }
            | Event::Notified { .. }
            | Event::Woken(_)
            | Event::Reloaded(_)
            | Event::EndsFound { .. }
            | Event::Carried { .. }
            | Event::UpgradeAsked
            | Event::UpgradeFailed => return,
        };
        let frozen_for = supervisor.frozen_for;
        self.after_duration(wait, What::MustBeGone(id, frozen_for));
    }
}
