//! The supervisor's place on this host: its state folder, and its lock in it.

use super::begin::StartError;
use super::event_loop::Supervisor;
use crate::logging::ALERT;
use crate::model::Identity;
use crate::process::{self, Holder, Process, StateFolder, SupervisorLock};
use crate::scheduler::Event;

/// Takes the place of the one daemon of this instance and node.
pub(super) fn take_place(state: &StateFolder, identity: &Identity, me: Process) -> Result<SupervisorLock, StartError> {
    match SupervisorLock::take(state, &identity.node, me).map_err(|error| StartError::Host(error.to_string()))? {
        Ok(lock) => Ok(lock),
        Err(holder) => Err(StartError::Held {
            instance: identity.instance.clone(),
            node: identity.node.clone(),
            pid: if let Holder::Process(process) = holder { Some(process.pid) } else { None },
        }),
    }
}

impl Supervisor {
    /// Looks whether the state folder was removed under us, and perhaps made anew by somebody else. Then it is made
    /// whole, and our place in it taken again, so that the night goes on. Where somebody else has taken that place
    /// meanwhile, we leave.
    pub(super) fn mind_the_folder(&mut self) {
        let in_place = self.place.as_ref().is_none_or(SupervisorLock::is_in_place);
        let whole = self.state.is_whole();
        if whole && in_place {
            return;
        }
        let path = self.state.path().to_owned();
        if whole {
            let text = "was removed and made anew by somebody else: our place in it is taken again; leave it alone";
            self.alert_hourly("state", &format!("state folder {} {text}", path.display()));
        } else {
            let made = StateFolder::make(Some(&path), &self.identity.instance, &process::Places::here());
            let why = match made {
                Ok(_) if self.state.is_whole() => None,
                Ok(_) => Some("something stands in the place of a folder in it".to_owned()),
                Err(why) => Some(why.to_string()),
            };
            if let Some(why) = why {
                let text = format!("state folder {} cannot be made anew: {why}", path.display());
                return self.alert_hourly("state", &text);
            }
            log::error!(target: ALERT, "state folder {} was removed: made anew; leave it alone", path.display());
        }
        self.keep_anew();
        if in_place {
            return;
        }
        match SupervisorLock::take(&self.state, &self.identity.node, self.me) {
            Ok(Ok(lock)) => self.place = Some(lock),
            Ok(Err(_)) => {
                log::error!(target: ALERT, "another supervisor took our place meanwhile: this one drains and leaves");
                self.place = None;
                self.events.push_back(Event::DrainAsked);
            }
            Err(error) => self.alert_hourly("state", &error.to_string()),
        }
    }
}
