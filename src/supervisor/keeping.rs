//! Ends that a database has not taken: ours stand in a file while they wait, so that they outlive us; those of
//! supervisors that died are found in theirs and told to the core, which records them. What a file names is never
//! declared lost, so every look comes before a verdict.

use super::event_loop::Supervisor;
use super::start;
use crate::logging::ALERT;
use crate::model::{Moment, OpenRun, Unrecorded};
use crate::process::{self, EndsFile, KeptEnds, OwnEnds};
use crate::scheduler::{AllEnds, Event, FoundEnd, Mode};
use std::collections::HashMap;
use std::io;
use std::time::Duration;

/// A file that cannot be written is tried again after this.
const WRITE_AGAIN: Duration = Duration::from_secs(1);
/// So many ends are named where they may be lost.
const NAMED: usize = 20;

/// What is kept, and what was found.
#[derive(Debug)]
pub(super) struct Keeping {
    own: OwnEnds,
    /// The core's version of what our file says; none where that could not be written.
    written: Option<u64>,
    write_at: Moment,
    /// Files told to the core, by the number it knows them by.
    files: HashMap<u64, Told>,
    last: u64,
}

/// A file that was told to the core.
#[derive(Debug)]
struct Told {
    kept: KeptEnds,
    host: String,
    /// Ends whose database cannot be made out: they stay in it.
    left: Vec<Unrecorded>,
}

impl Keeping {
    /// Nothing kept and nothing found yet. A file of the program that this one replaced is set aside, to be found.
    pub fn new(own: OwnEnds) -> io::Result<Self> {
        own.set_aside()?;
        Ok(Self { own, written: Some(0), write_at: Moment::default(), files: HashMap::new(), last: 0 })
    }

    fn is_told(&self, kept: &KeptEnds) -> bool {
        self.files.values().any(|told| told.kept == *kept)
    }
}

impl Supervisor {
    /// After every step: the file says what the core says.
    pub(super) fn keep_ends(&mut self) {
        let now = self.clock.now();
        let version = self.core.unrecorded_version();
        if self.mode == Mode::DryRun
            || self.keeping.written == Some(version)
            || (self.keeping.written.is_none() && self.keeping.write_at > now)
        {
            return;
        }
        let ends = self.core.unrecorded_ends(AllEnds::No);
        if let Err(error) = self.write_ends(&ends) {
            self.keeping.write_at = now + WRITE_AGAIN;
            let path = self.keeping.own.path().display();
            let text = if ends.is_empty() {
                format!("{path} cannot be removed ({error}): whoever looks next records once more what it says")
            } else {
                format!(
                    "ends that their database does not take cannot be kept in {path} ({error}): if this supervisor died now, these runs would count as lost and run again: {}",
                    name(&ends)
                )
            };
            self.alert_hourly("unrecorded", &text);
        }
    }

    /// The process ends, or is replaced: ends that are just being recorded count too. Answers how many are kept.
    ///
    /// # Errors
    /// They cannot be kept: a text that names them.
    pub(super) fn keep_all_ends(&mut self) -> Result<usize, String> {
        if self.mode == Mode::DryRun {
            return Ok(0);
        }
        let ends = self.core.unrecorded_ends(AllEnds::Yes);
        match self.write_ends(&ends) {
            Ok(()) => Ok(ends.len()),
            // It says too much, which costs a look.
            Err(_) if ends.is_empty() => Ok(0),
            Err(error) => {
                let path = self.keeping.own.path().display();
                Err(format!("{} ends cannot be kept in {path} ({error}): {}", ends.len(), name(&ends)))
            }
        }
    }

    /// Where ours are kept.
    pub(super) fn ends_path(&self) -> String {
        self.keeping.own.path().display().to_string()
    }

    /// What the file says is not what it should: it is written at the next step.
    pub(super) fn keep_anew(&mut self) {
        self.keeping.written = None;
        self.keeping.write_at = Moment::default();
    }

    fn write_ends(&mut self, ends: &[Unrecorded]) -> io::Result<()> {
        let mut written = self.keeping.own.write(ends);
        if written.is_err() {
            self.mind_the_folder();
            written = self.keeping.own.write(ends);
        }
        self.keeping.written = written.is_ok().then(|| self.core.unrecorded_version());
        written
    }

    /// At the start and at every look: what supervisors of this host left that are dead.
    pub(super) fn look_for_ends(&mut self) {
        for kept in self.others_ends().unwrap_or_default() {
            if self.keeping.is_told(&kept) || self.is_alive(&kept) {
                continue;
            }
            match kept.read() {
                Ok(Some(file)) if file.host == self.identity.host => self.tell_ends(kept, file),
                Ok(_) => {}
                Err(error) => self.tell_unreadable(&kept, &error),
            }
        }
    }

    /// True if some file tells how this run ended, which nothing of this host proves alive: then it is not lost, and
    /// the file is used whatever host it is of.
    pub(super) fn is_end_kept(&mut self, run: &OpenRun) -> bool {
        // What cannot be read now may name it: the next look asks again. What is not understood stays so.
        let Some(all) = self.others_ends() else { return true };
        for kept in all {
            let file = match kept.read() {
                Ok(None) => continue,
                Ok(Some(file)) => file,
                Err(error) => {
                    self.tell_unreadable(&kept, &error);
                    if error.kind() == io::ErrorKind::InvalidData {
                        continue;
                    }
                    return true;
                }
            };
            if !file.names(run) {
                continue;
            }
            let watched = file.host == self.identity.host && self.is_alive(&kept);
            if !watched && !self.keeping.is_told(&kept) {
                self.tell_ends(kept, file);
            }
            return true;
        }
        false
    }

    /// Every end of this file is recorded.
    pub(super) fn forget_ends(&mut self, file: u64) {
        let Some(told) = self.keeping.files.get(&file) else { return };
        match told.kept.forget(&told.host, &told.left) {
            Ok(()) => drop(self.keeping.files.remove(&file)),
            // It stays known, so that it is not recorded again and again.
            Err(error) => log::error!("{} is recorded and cannot be removed: {error}", told.kept.path.display()),
        }
    }

    /// Its writer is somebody else's concern while it lives.
    fn is_alive(&self, kept: &KeptEnds) -> bool {
        kept.writer != self.me && kept.writer.is_alive().unwrap_or(true)
    }

    /// None where it cannot be told; that is not "there are none".
    fn others_ends(&mut self) -> Option<Vec<KeptEnds>> {
        match process::kept_ends(&self.state, self.me) {
            Ok(all) => Some(all),
            Err(error) => {
                let text = format!("{} cannot be read: {error}", self.state.unrecorded().display());
                self.alert_hourly("unrecorded folder", &text);
                None
            }
        }
    }

    fn tell_unreadable(&mut self, kept: &KeptEnds, error: &io::Error) {
        let path = kept.path.display();
        let text = format!(
            "{path}, ends of runs that were never recorded, cannot be used: {error}; it is left alone, the runs in it may be declared lost and run again"
        );
        self.alert_hourly(&path.to_string(), &text);
    }

    fn tell_ends(&mut self, kept: KeptEnds, file: EndsFile) {
        let (mut ends, mut left) = (Vec::with_capacity(file.ends.len()), Vec::new());
        for end in file.ends {
            match start::list_tenant(&self.config, &self.identity.instance, end.tenant.clone(), &mut self.registry) {
                Ok(listed) => ends.push(FoundEnd {
                    database: listed.database,
                    tenant: listed.tenant.name,
                    finish: end.finish,
                    ended_at: end.ended_at,
                }),
                Err(why) => {
                    let run = end.finish.run.id;
                    let text = format!("the end of run {run} stays in {}: {why}", kept.path.display());
                    self.alert_hourly(&text, &text);
                    left.push(end);
                }
            }
        }
        if ends.is_empty() {
            return;
        }
        self.tell_databases();
        let whom = if kept.writer == self.me {
            "the program before".to_owned()
        } else {
            format!("the supervisor that was pid {}", kept.writer)
        };
        log::info!("{} ends that {whom} could not record, from {}", ends.len(), kept.path.display());
        self.keeping.last += 1;
        self.keeping.files.insert(self.keeping.last, Told { kept, host: file.host, left });
        self.events.push_back(Event::EndsFound { file: self.keeping.last, ends });
    }

    /// `run` cannot go on.
    pub(super) fn keep_ends_of_a_failure(&mut self) {
        match self.keep_all_ends() {
            Ok(0) => {}
            Ok(number) => log::error!(target: ALERT, "{number} ends are kept in {}", self.ends_path()),
            Err(why) => log::error!(target: ALERT, "{why}: these runs will count as lost and run again"),
        }
    }
}

/// `a: run 5 ok, b: run 6 failed`
fn name(ends: &[Unrecorded]) -> String {
    let one = |end: &Unrecorded| format!("{}: run {} {}", end.tenant.name, end.finish.run.id, end.finish.outcome);
    let mut names: Vec<_> = ends.iter().take(NAMED).map(one).collect();
    if ends.len() > NAMED {
        names.push(format!("and {} more", ends.len() - NAMED));
    }
    names.join(", ")
}
