//! The children's side of the actions: start, signal, look, close.

use super::event_loop::Supervisor;
use super::runs::{Belongings, Ended};
use crate::logging::{ALERT, RunEnd, TenantFile};
use crate::model::{DbTime, RunId, TenantName, Values};
use crate::process::{self, Spawn, SpawnFailure};
use crate::scheduler::{Closing, Event, Exit, Force, NotStarted};
use nix::sys::signal::Signal;
use std::ffi::CString;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

impl Supervisor {
    /// Step by step: names into the lock file, the log, the line in it, the child, its pid into the lock file.
    pub(super) fn start_child(&mut self, tenant: &TenantName, run: RunId, started_at: DbTime) {
        let mut lock = self.locks.remove(tenant);
        // A lock file that does not name its run would lead whoever looks after a crash astray.
        let named = lock.as_mut().map_or(Ok(()), |lock| lock.write_run(run, started_at));
        let slot = if self.mode.uses_slots() { self.slots.pop() } else { None };
        let log = self.open_log(tenant, run);
        let belongings =
            Belongings { run, lock, slot, log, process: None, own_peak_kb: 0, adopted: None, end_told: false };
        self.runs.insert(tenant.clone(), belongings);
        if let Err(error) = named {
            let why = NotStarted::NoResources { text: error.to_string() };
            return self.events.push_back(Event::NotStarted { tenant: tenant.clone(), why });
        }
        let event = match self.spawn(tenant, run) {
            Ok(spawned) => {
                for warning in &spawned.warnings {
                    log::warn!("{tenant}: {warning}");
                }
                self.runs.started(tenant, spawned.process, spawned.own_peak_kb);
                if let Some(lock) = self.runs.get_mut(tenant).and_then(|run| run.lock.as_mut())
                    && let Err(error) = lock.write_process(spawned.process)
                {
                    log::error!("{tenant}: {error}");
                }
                Event::Started { tenant: tenant.clone(), pid: spawned.process.pid, pid_start: spawned.process.start }
            }
            Err(failure) => Event::NotStarted {
                tenant: tenant.clone(),
                why: match failure {
                    SpawnFailure::CannotExecute { code, text, .. } => NotStarted::CannotExecute { code, text },
                    SpawnFailure::Directory { text } => NotStarted::CannotExecute { code: 126, text },
                    SpawnFailure::NoResources { text, .. } => NotStarted::NoResources { text },
                },
            },
        };
        self.events.push_back(event);
    }

    fn spawn(&mut self, name: &TenantName, run: RunId) -> Result<process::Spawned, SpawnFailure> {
        let unknown =
            || SpawnFailure::CannotExecute { code: 126, errno: 0, text: format!("{name} is not known any more") };
        let tenant = self.core.tenant(name).ok_or_else(unknown)?;
        let values = Values { tenant, instance: &self.identity.instance, run_id: Some(run.0) };
        let render = |word: &crate::model::Template| {
            CString::new(word.render(values)).map_err(|_| SpawnFailure::CannotExecute {
                code: 126,
                errno: 0,
                text: format!("job.command: {:?} gives an argument with a NUL byte", word.source()),
            })
        };
        let argv = self.config.job.command.iter().map(render).collect::<Result<Vec<_>, _>>()?;
        let belongings = self.runs.get(name).ok_or_else(unknown)?;
        let output = belongings.log.as_ref().map_or(self.null.as_fd(), AsFd::as_fd);
        let mut keep = Vec::with_capacity(2);
        keep.extend(belongings.lock.as_ref().map(AsFd::as_fd));
        keep.extend(belongings.slot.as_ref().map(AsFd::as_fd));
        self.spawner.spawn(&Spawn {
            argv: &argv,
            environment: &self.environment,
            run: Some((name, run)),
            directory: self.config.job.directory.as_deref(),
            stdout: output,
            stderr: output,
            keep: &keep,
            nice: self.config.for_tenant(name, None).nice,
            oom_score_adj: Some(self.config.job.oom_score_adj),
        })
    }

    pub(super) fn log_path(&self, name: &TenantName) -> Option<PathBuf> {
        let values = Values { tenant: self.core.tenant(name)?, instance: &self.identity.instance, run_id: None };
        Some(self.config.job.log.render(values).into())
    }

    /// Without a log the tenant runs all the same; its output is lost, and that is told.
    fn open_log(&mut self, tenant: &TenantName, run: RunId) -> Option<TenantFile> {
        let path = self.log_path(tenant)?;
        match TenantFile::open(path, tenant) {
            Ok(mut log) => {
                self.follow.begin(tenant, log.path());
                if let Err(error) = log.start_line(run) {
                    self.alert_hourly(&format!("log {tenant}"), &format!("{error}; output may be lost"));
                }
                Some(log)
            }
            Err(error) => {
                let text = format!("{error}; it runs all the same, its output is lost");
                self.alert_hourly(&format!("log {tenant}"), &text);
                None
            }
        }
    }

    pub(super) fn signal(&mut self, tenant: &TenantName, force: Force) {
        let signal = match force {
            Force::Term => Signal::SIGTERM,
            Force::Kill => Signal::SIGKILL,
        };
        let Some(run) = self.runs.get(tenant) else { return };
        let sent = match (&run.adopted, run.process) {
            (Some(adopted), _) => adopted.signal(signal),
            (None, Some(process)) => process::signal_group(process.pid, signal),
            (None, None) => return,
        };
        if let Err(error) = sent {
            log::error!(target: ALERT, "{tenant}: run {} cannot be signalled ({signal}): {error}", run.run);
        }
    }

    pub(super) fn check_group(&mut self, tenant: &TenantName) {
        let Some(process) = self.runs.get(tenant).and_then(|run| run.process) else { return };
        match process::has_living_members(process.pid) {
            Ok(true) => {}
            Ok(false) => self.events.push_back(Event::GroupEmptied { tenant: tenant.clone() }),
            Err(error) => log::warn!("{tenant}: cannot see whether its process group is empty: {error}"),
        }
    }

    /// The end line, then the slot; the lock only once the end is recorded. In this order, so that the next run's start
    /// line comes after it, and nobody takes the open run for one that is not watched.
    pub(super) fn close(&mut self, closing: &Closing) {
        let tenant = &closing.tenant;
        let Some(mut run) = self.runs.remove(tenant) else { return };
        if run.adopted.is_some() {
            run.log = self.log_path(tenant).and_then(|path| TenantFile::open(path, tenant).ok());
        }
        if let Some(log) = &mut run.log
            && let Err(error) = log.end_line(&end_line(closing))
        {
            self.alert_hourly(&format!("log {tenant}"), &error.to_string());
        }
        self.follow.end(tenant);
        self.worst_exit = self.worst_exit.max(exit_code(closing));
        self.closed += 1;
        let released = [
            run.slot.map_or(Ok(()), |slot| slot.release().map_err(|error| error.to_string())),
            run.adopted.as_mut().map_or(Ok(()), |adopted| adopted.release_slot().map_err(|error| error.to_string())),
        ];
        for error in released.into_iter().filter_map(Result::err) {
            log::error!("{tenant}: its slot cannot be given up: {error}");
        }
        let ended = match (run.lock, run.adopted) {
            (_, Some(adopted)) => Some(Ended::Adopted(adopted)),
            (Some(lock), None) => Some(Ended::Own(lock, closing.pid.is_some())),
            (None, None) => None,
        };
        if let Some(ended) = ended {
            self.ended.insert(tenant.clone(), ended);
        }
    }

    /// A run's end is recorded, or the process ends.
    pub(super) fn let_lock_go(&mut self, tenant: &TenantName) {
        let (released, had_child) = match self.ended.remove(tenant) {
            Some(Ended::Own(lock, had_child)) => (lock.unlock().map_err(|error| error.to_string()), had_child),
            Some(Ended::Adopted(adopted)) => (adopted.release().map_err(|error| error.to_string()), true),
            None => return,
        };
        if let Err(error) = released {
            log::error!("{tenant}: its lock cannot be given up: {error}");
        }
        if had_child {
            self.name_left_behind(tenant);
        }
    }
}

fn end_line(closing: &Closing) -> RunEnd {
    let exit = closing.end.map(|end| end.exit);
    RunEnd {
        run: closing.run,
        pid: closing.pid,
        outcome: closing.outcome,
        exit_code: exit.and_then(|exit| if let Exit::Code(code) = exit { Some(code) } else { None }),
        signal: exit.and_then(|exit| if let Exit::Signal(signal) = exit { Some(signal) } else { None }),
        elapsed: Some(closing.elapsed),
        cpu: closing.end.and_then(|end| end.cpu_seconds).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        max_rss_kb: closing.end.and_then(|end| end.max_rss_kb),
    }
}

/// What `run TENANT…` exits with for this child.
fn exit_code(closing: &Closing) -> i32 {
    match closing.end.map(|end| end.exit) {
        Some(Exit::Code(code)) => code,
        Some(Exit::Signal(signal)) => 128 + signal,
        Some(Exit::Unknown) | None => 1,
    }
}
