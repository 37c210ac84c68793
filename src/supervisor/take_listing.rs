//! What the sources tell becomes the core's list of tenants.

use super::begin::StartError;
use super::event_loop::Supervisor;
use super::start;
use crate::model::{Tenant, TenantName};
use crate::scheduler::{Event, Mode};

impl Supervisor {
    /// The sources have told something new: the core gets the whole list.
    pub(super) fn take_listing(&mut self) -> Result<(), StartError> {
        let Some(tenants) = self.lister.take() else { return Ok(()) };
        if !self.lister.has_heard_all(&self.config) {
            // One source is still being asked for the first time; the others wait for it this once.
            return Ok(());
        }
        self.list(tenants)
    }

    pub(super) fn list(&mut self, tenants: Vec<Tenant>) -> Result<(), StartError> {
        let mut tenants = tenants;
        if matches!(self.mode, Mode::Named { .. }) {
            let missing = self.wanted.iter().find(|name| !tenants.iter().any(|tenant| tenant.name == **name));
            if let Some(missing) = missing.filter(|_| !self.listed_once) {
                return Err(self.missing(missing));
            }
            tenants.retain(|tenant| self.wanted.contains(&tenant.name));
        }
        if !self.listed_once {
            self.listed_once = true;
            log::info!("{} tenants", tenants.len());
        }
        let mut listed = Vec::with_capacity(tenants.len());
        for tenant in tenants {
            match start::list_tenant(&self.config, &self.identity.instance, tenant, &mut self.registry) {
                Ok(one) => {
                    self.tenants.insert(one.tenant.name.clone(), one.tenant.clone());
                    listed.push(one);
                }
                Err(why) => {
                    self.left_out = true;
                    self.alert_hourly(&why, &why);
                }
            }
        }
        if self.tenants.len() > listed.len() {
            // Those that vanished stay known while their run is under way.
            let present: std::collections::HashSet<_> = listed.iter().map(|one| &one.tenant.name).collect();
            let runs = &self.runs;
            self.tenants.retain(|name, _| present.contains(name) || runs.get(name).is_some());
        }
        self.tell_databases();
        self.events.push_back(Event::TenantsListed(listed));
        Ok(())
    }

    /// "Could not list" is not "there is none".
    fn missing(&self, name: &TenantName) -> StartError {
        if self.lister.is_complete() {
            return StartError::NoSuchTenant(name.to_string());
        }
        StartError::Host(format!(
            "a source of tenants does not answer, so it is not known whether there is a tenant {name}"
        ))
    }
}
