//! What the shell holds for each run: its lock, its slot, its log and its process.

use crate::logging::TenantFile;
use crate::model::{RunId, TenantName};
use crate::process::{Adopted, Process, SlotLock, TenantLock};
use std::collections::HashMap;

/// One run's belongings.
#[derive(Debug)]
pub struct Belongings {
    pub run: RunId,
    pub lock: Option<TenantLock>,
    pub slot: Option<SlotLock>,
    pub log: Option<TenantFile>,
    pub process: Option<Process>,
    /// This process's own peak memory at the spawn, KiB.
    pub own_peak_kb: i64,
    pub adopted: Option<Box<Adopted>>,
    /// An adopted run's end was told to the core.
    pub end_told: bool,
}

/// What is kept of a run that is over until its record is acknowledged.
#[derive(Debug)]
pub enum Ended {
    /// Of our own child; whether there was one.
    Own(TenantLock, bool),
    /// Of one that was adopted.
    Adopted(Box<Adopted>),
}

/// All runs of this process, by tenant and by pid.
#[derive(Debug, Default)]
pub struct Runs {
    by_tenant: HashMap<TenantName, Belongings>,
    by_pid: HashMap<i32, TenantName>,
}

impl Runs {
    pub fn insert(&mut self, tenant: TenantName, belongings: Belongings) {
        if let Some(process) = belongings.process {
            self.by_pid.insert(process.pid, tenant.clone());
        }
        self.by_tenant.insert(tenant, belongings);
    }

    pub fn started(&mut self, tenant: &TenantName, process: Process, own_peak_kb: i64) {
        if let Some(run) = self.by_tenant.get_mut(tenant) {
            run.process = Some(process);
            run.own_peak_kb = own_peak_kb;
            self.by_pid.insert(process.pid, tenant.clone());
        }
    }

    pub fn get(&self, tenant: &TenantName) -> Option<&Belongings> {
        self.by_tenant.get(tenant)
    }

    pub fn get_mut(&mut self, tenant: &TenantName) -> Option<&mut Belongings> {
        self.by_tenant.get_mut(tenant)
    }

    /// Whose child this was. Its number is free for others from now on.
    pub fn collected(&mut self, pid: i32) -> Option<TenantName> {
        self.by_pid.remove(&pid)
    }

    pub fn remove(&mut self, tenant: &TenantName) -> Option<Belongings> {
        let run = self.by_tenant.remove(tenant)?;
        if let Some(process) = run.process
            && self.by_pid.get(&process.pid) == Some(tenant)
        {
            self.by_pid.remove(&process.pid);
        }
        Some(run)
    }

    pub fn adopted(&mut self) -> impl Iterator<Item = (&TenantName, &mut Belongings)> {
        self.by_tenant.iter_mut().filter(|(_, run)| run.adopted.is_some())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&TenantName, &Belongings)> {
        self.by_tenant.iter()
    }
}
