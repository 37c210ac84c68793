//! SIGUSR2: the program that is on disk now takes this one's place, with its pid, its children and its locks. First it is
//! tried, as a child that reads the configuration and what it would be handed, while all goes on here as ever; then the
//! core comes to rest; then comes the exec. Whatever fails on the way, this program goes on.

use super::event_loop::Supervisor;
use super::handover::{HandedRun, Handover, RESUME_VARIABLE};
use crate::logging::ALERT;
use crate::model::Moment;
use crate::process::{self, ChildEnvironment, Command, Handed, Meaning, SignalsBlocked, Stamp};
use crate::scheduler::{Event, Mode};
use nix::sys::signal::Signal;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// The new program has so long to say that it could take over.
const MAY_TAKE: Duration = Duration::from_secs(10);
/// What it says then, before its version.
pub const ANSWER: &str = "can take over: tenantcron ";

/// How far an upgrade has come.
#[derive(Debug, Default)]
pub(super) enum Upgrade {
    #[default]
    No,
    /// The new program is being tried.
    Trying { command: Command, stamp: Stamp, until: Moment },
    /// It was found good; the core comes to rest.
    Tried { stamp: Stamp },
    /// The core is at rest.
    Now { stamp: Stamp },
}

impl Supervisor {
    pub(super) fn upgrade_asked(&mut self) {
        if self.mode != Mode::Daemon {
            return log::warn!("SIGUSR2 replaces a supervisor, not a single look or a run by hand: ignored");
        }
        if self.stop_asked {
            return log::warn!("SIGUSR2 is ignored: this supervisor stops");
        }
        match self.upgrade {
            Upgrade::No | Upgrade::Trying { .. } => {
                // What is on disk now counts.
                self.end_upgrade();
                self.try_program();
            }
            Upgrade::Tried { .. } | Upgrade::Now { .. } => log::info!("an upgrade is under way"),
        }
    }

    /// When the new program must have answered.
    pub(super) fn upgrade_deadline(&self) -> Option<Moment> {
        if let Upgrade::Trying { until, .. } = &self.upgrade { Some(*until) } else { None }
    }

    /// A program that takes too long to answer would not start.
    pub(super) fn mind_the_upgrade(&mut self) {
        if self.upgrade_deadline().is_some_and(|until| until <= self.clock.now()) {
            self.end_upgrade();
            self.not_upgraded(&format!("it did not answer within {} s", MAY_TAKE.as_secs()));
        }
    }

    /// A stop outweighs an upgrade.
    pub(super) fn end_upgrade(&mut self) {
        if let Upgrade::Trying { command, .. } = std::mem::take(&mut self.upgrade)
            && let Err(error) = process::signal_group(command.process().pid, Signal::SIGKILL)
        {
            log::error!("the new program, which was being tried, cannot be ended: {error}");
        }
    }

    fn try_program(&mut self) {
        match self.start_trial() {
            Ok(trial) => self.upgrade = trial,
            Err(why) => self.not_upgraded(&why),
        }
    }

    fn start_trial(&self) -> Result<Upgrade, String> {
        let stamp = self.program.stamp().map_err(|error| error.to_string())?;
        let handover = self.hand_over()?;
        let mut words = vec![
            self.program.path().as_os_str().to_owned(),
            "resume-check".into(),
            handover.as_raw_fd().to_string().into(),
            "--".into(),
        ];
        words.extend(self.program.arguments().iter().skip(1).cloned());
        let argv: Result<Vec<_>, _> = words.iter().map(|word| CString::new(word.as_bytes())).collect();
        let argv = argv.map_err(|error| error.to_string())?;
        let environment = ChildEnvironment::whole(self.own_environment.clone());
        let command = Command::start_with(&self.spawner, &argv, &environment, &[handover.as_fd()])
            .map_err(|failure| failure.to_string())?;
        Ok(Upgrade::Trying { command, stamp, until: self.clock.now() + MAY_TAKE })
    }

    /// A child has ended: true if it was the new program on trial.
    pub(super) fn trial_ended(&mut self, pid: i32, exit: process::Exit) -> bool {
        match std::mem::take(&mut self.upgrade) {
            Upgrade::Trying { command, stamp, .. } if command.process().pid == pid => {
                match self.judge(&command, exit) {
                    Ok(version) => {
                        log::info!("upgrade to {version}: waiting for what is under way");
                        self.upgrade = Upgrade::Tried { stamp };
                        self.events.push_back(Event::UpgradeAsked);
                    }
                    Err(why) => self.not_upgraded(&why),
                }
                true
            }
            other => {
                self.upgrade = other;
                false
            }
        }
    }

    /// The version of the new program. It must have said that it is one.
    fn judge(&self, command: &Command, exit: process::Exit) -> Result<String, String> {
        let printed = command.printed().map_err(|error| format!("its answer cannot be read: {error}"))?;
        let level = if exit == process::Exit::Code(0) { log::Level::Warn } else { log::Level::Error };
        for line in String::from_utf8_lossy(&printed.error).lines() {
            log::log!(level, "{}: {line}", self.program.path().display());
        }
        match exit {
            process::Exit::Code(0) => {}
            process::Exit::Code(code) => return Err(format!("it exits with {code}")),
            process::Exit::Signal(signal) => return Err(format!("it dies of signal {signal}")),
        }
        let answer = String::from_utf8_lossy(&printed.output);
        let version = answer.lines().find_map(|line| line.strip_prefix(ANSWER));
        version.map(str::to_owned).ok_or_else(|| "it does not say that it could take over".to_owned())
    }

    /// The core is at rest.
    pub(super) fn upgrade_now(&mut self) {
        match std::mem::take(&mut self.upgrade) {
            Upgrade::Tried { stamp } => self.upgrade = Upgrade::Now { stamp },
            // It was called off.
            Upgrade::No | Upgrade::Trying { .. } | Upgrade::Now { .. } => self.events.push_back(Event::UpgradeFailed),
        }
    }

    /// Everything that happened has been decided upon: no event would be lost.
    pub(super) fn replace_program(&mut self) {
        let Upgrade::Now { stamp } = self.upgrade else { return };
        self.upgrade = Upgrade::No;
        self.notify(|notifier| notifier.reloading());
        let why = if self.program.stamp().ok() == Some(stamp) {
            self.hand_over_and_go()
        } else {
            "it was replaced once more meanwhile: send SIGUSR2 again".to_owned()
        };
        self.not_upgraded(&why);
        self.notify(|notifier| notifier.ready());
        self.keep_anew();
        self.events.push_back(Event::UpgradeFailed);
    }

    /// Comes back with what went wrong.
    fn hand_over_and_go(&mut self) -> String {
        let blocked = match SignalsBlocked::begin() {
            Ok(blocked) => blocked,
            Err(error) => return format!("signals cannot be blocked: {error}"),
        };
        // What came before is for the next program; children that have ended it collects without being told.
        for meaning in self.signals.pending().into_iter().filter(|meaning| *meaning != Meaning::Child) {
            if let Err(error) = meaning.send() {
                return format!("a signal cannot be passed on: {error}");
            }
        }
        self.lister.end();
        if let Err(why) = self.keep_all_ends() {
            return why;
        }
        let handover = match self.hand_over() {
            Ok(handover) => handover,
            Err(why) => return why,
        };
        let mut environment = self.own_environment.clone();
        environment.push((RESUME_VARIABLE.into(), OsString::from(handover.as_raw_fd().to_string())));
        let mut keep: Vec<BorrowedFd<'_>> = vec![handover.as_fd()];
        keep.extend(self.place.as_ref().map(AsFd::as_fd));
        for (_, run) in self.runs.iter() {
            keep.extend(run.lock.as_ref().map(AsFd::as_fd));
            keep.extend(run.slot.as_ref().map(AsFd::as_fd));
            keep.extend(run.adopted.iter().flat_map(|adopted| adopted.descriptors()));
        }
        self.log.flush();
        let error = self.program.replace(&environment, &keep);
        drop(blocked);
        error.to_string()
    }

    /// What the next program must know, in a file on memory.
    fn hand_over(&self) -> Result<File, String> {
        let Some(place) = &self.place else { return Err("this supervisor has lost its place".to_owned()) };
        let mut all = Handover::new(&self.identity, &self.state, &self.config, self.born, place.number());
        for (tenant, run) in self.core.carried_runs() {
            let belongings = self.runs.get(&tenant.name);
            let locks = belongings.map(|own| match &own.adopted {
                Some(adopted) => Handed::of_adopted(adopted),
                None => Handed::of(own.lock.as_ref(), own.slot.as_ref()),
            });
            all.runs.push(HandedRun {
                locks: locks.unwrap_or_default(),
                own_peak_kb: belongings.map_or(0, |own| own.own_peak_kb),
                log: belongings.and_then(|own| own.log.as_ref()).map(|log| log.path().to_owned()),
                end_told: belongings.is_some_and(|own| own.end_told),
                tenant,
                run,
            });
        }
        let named = |left: &Vec<process::Process>| left.iter().map(|process| (process.pid, process.start)).collect();
        all.left_behind = self.left_behind.iter().map(|(tenant, left)| (tenant.clone(), named(left))).collect();
        all.alerted.clone_from(&self.alerted);
        let text = serde_json::to_vec(&all).map_err(|error| error.to_string())?;
        process::memory_file_of(&text).map_err(|error| format!("no file on memory: {error}"))
    }

    fn not_upgraded(&self, why: &str) {
        log::error!(
            target: ALERT,
            "not upgraded to {}: {why}; this program ({}) goes on",
            self.program.path().display(),
            super::handover::PROGRAM
        );
    }
}
