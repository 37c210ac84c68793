//! The other side of an upgrade: what the program before this one handed over is taken up, so that its runs are ours as
//! if we had started them. What cannot be taken up is found by the next look, as after a crash.

use super::event_loop::Supervisor;
use super::handover::{HandedRun, Handover, PROGRAM};
use super::runs::Belongings;
use super::start;
use crate::logging::TenantFile;
use crate::process::{Inherited, Process};
use crate::scheduler::Event;
use std::io;

impl Supervisor {
    /// Before anything else is heard.
    pub(super) fn resume(&mut self, handover: Handover, mut inherited: Inherited) {
        let number = handover.runs.len();
        for (tenant, left) in handover.left_behind {
            let left = left.into_iter().map(|(pid, start)| Process { pid, start }).collect();
            self.left_behind.insert(tenant, left);
        }
        self.alerted = handover.alerted;
        for handed in handover.runs {
            let (tenant, run) = (handed.tenant.name.clone(), handed.run.identity.id);
            if let Err(why) = self.take_up(handed, &mut inherited) {
                log::error!("{tenant}: run {run} cannot be taken over: {why}; the next look finds it");
            }
        }
        self.tell_databases();
        log::info!("upgraded from {} to {PROGRAM} in place, {number} runs carried over", handover.program);
        // Children that ended meanwhile: the signal may have come to the program before.
        self.collect_children();
    }

    fn take_up(&mut self, handed: HandedRun, inherited: &mut Inherited) -> Result<(), String> {
        let name = handed.tenant.name.clone();
        let listed =
            start::list_tenant(&self.config, &self.identity.instance, handed.tenant.clone(), &mut self.registry)?;
        let belongings = self.belongings(&handed, inherited).map_err(|error| error.to_string())?;
        self.runs.insert(name, belongings);
        self.events.push_back(Event::Carried { listed: Box::new(listed), run: Box::new(handed.run) });
        Ok(())
    }

    fn belongings(&mut self, handed: &HandedRun, inherited: &mut Inherited) -> io::Result<Belongings> {
        let HandedRun { tenant, run, locks, own_peak_kb, log, end_told } = handed;
        let process = Process { pid: run.pid, start: run.pid_start };
        let adopted = locks.take_adopted(inherited, process)?;
        let (lock, slot) = match &adopted {
            Some(_) => (None, None),
            None => (locks.take_lock(inherited, &self.state, &tenant.name)?, locks.take_slot(inherited)?),
        };
        let log = log.clone().and_then(|path| match TenantFile::open(path, &tenant.name) {
            Ok(log) => Some(log),
            Err(error) => {
                self.alert_hourly(&format!("log {}", tenant.name), &format!("{error}; its end will not stand there"));
                None
            }
        });
        Ok(Belongings {
            run: run.identity.id,
            lock,
            slot,
            log,
            process: Some(process),
            own_peak_kb: *own_peak_kb,
            adopted: adopted.map(Box::new),
            end_told: *end_told,
        })
    }
}
