//! What the sources tell becomes the core's list of tenants.

use super::begin::StartError;
use super::event_loop::Supervisor;
use super::start;
use crate::model::{Tenant, TenantName};
use crate::process::{self, LockFile};
use crate::scheduler::{Event, Listed, Mode};
use std::collections::HashSet;

impl Supervisor {
    /// The sources have told something new: the core gets the whole list.
    pub(super) fn take_listing(&mut self) -> Result<(), StartError> {
        let now = self.clock.now();
        let Some(tenants) = self.lister.take(now) else { return Ok(()) };
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
        let first = !std::mem::replace(&mut self.listed_once, true);
        if first {
            log::info!("{} tenants", tenants.len());
        }
        let mut listed = Vec::with_capacity(tenants.len());
        for tenant in tenants {
            match start::list_tenant(&self.config, &self.identity.instance, tenant, &mut self.registry) {
                Ok(one) => listed.push(one),
                Err(why) => {
                    self.left_out = true;
                    self.alert_hourly(&why, &why);
                }
            }
        }
        let vanished = if first { self.vanished(&listed) } else { Vec::new() };
        self.tell_databases();
        self.events.push_back(Event::TenantsListed(listed));
        self.events.extend(vanished.into_iter().map(|one| Event::UnlistedFound(Box::new(one))));
        Ok(())
    }

    /// Tenants that no source names and of which a process lives here by its lock file: in a database that has no other
    /// tenant nobody would look.
    fn vanished(&mut self, listed: &[Listed]) -> Vec<Listed> {
        if !matches!(self.mode, Mode::Daemon | Mode::Once) || !self.config.database.url.varies_by_tenant() {
            return Vec::new();
        }
        let known: HashSet<_> = listed.iter().map(|one| one.tenant.name.clone()).collect();
        let names = self.state.tenants_locked_once().into_iter().filter(|name| !known.contains(name));
        let mut found = Vec::new();
        for name in names.collect::<Vec<_>>() {
            let file = LockFile::read(&self.state.tenant_lock(&name)).unwrap_or_default();
            let here = file.host.as_deref() == Some(&self.identity.host);
            let lives = file.process.is_some_and(|process| process::lives(process).unwrap_or(true));
            let Some(tenant) = Tenant::new(name, None, None).ok().filter(|_| here && lives) else { continue };
            // Where its database cannot be told from its name, nothing can be looked up.
            let Ok(one) = start::list_tenant(&self.config, &self.identity.instance, tenant, &mut self.registry) else {
                continue;
            };
            found.push(Listed { enabled: false, ..one });
        }
        found
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
