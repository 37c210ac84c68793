//! Asks the sources of tenants, each in the way that never blocks the loop: a folder is read by a thread of
//! its own (it may stand on a network share), a command is a child that prints into memory, a query goes
//! through the database engine. An answer is taken when it comes.

use crate::config::{self, Config};
use crate::db::{DatabaseUrl, Engine, Environment, TenantRow};
use crate::model::{Moment, Tenant};
use crate::process::{self, ChildEnvironment, Command, Exit, SignalsBlocked, Spawner, Waker};
use crate::tenants::{self, Excludes, Listing, SourceKind, Sources, command::CommandEnd};
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::ffi::CString;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// `tenants.command` is ended after this, a folder counts as failing.
const MAY_TAKE: Duration = Duration::from_secs(30);

/// A list of which nothing has changed is taken again after this.
const TAKEN_AGAIN: Duration = Duration::from_secs(3600);

type FolderAnswer = Result<Listing, String>;

/// The sources and the questions under way.
pub struct Lister {
    sources: Sources,
    config: config::Tenants,
    folder_answers: (Sender<FolderAnswer>, Receiver<FolderAnswer>),
    /// Until when the folder may take, and whether that was told.
    folder_asked: Option<(Moment, bool)>,
    query_asked: bool,
    command: Option<(Command, Moment, bool)>,
    due: Moment,
    changed: bool,
    /// When the tenants were taken last.
    taken: Moment,
    /// `--once` and its kin: every source has answered or failed once.
    answers: BTreeSet<SourceKind>,
}

/// The sources that the configuration names.
pub fn configured_sources(config: &Config) -> Vec<SourceKind> {
    let tenants = &config.tenants;
    let named = [
        (SourceKind::List, !tenants.list.is_empty()),
        (SourceKind::Directory, tenants.directory.is_some()),
        (SourceKind::Query, tenants.query.is_some()),
        (SourceKind::Command, !tenants.command.is_empty()),
    ];
    named.into_iter().filter_map(|(kind, there)| there.then_some(kind)).collect()
}

fn excludes(config: &Config) -> Excludes {
    let globs: Vec<_> = config.tenants.exclude.iter().map(|glob| glob.as_str().to_owned()).collect();
    // Checked with the configuration already.
    Excludes::new(&globs).unwrap_or_default()
}

impl Lister {
    /// Ready to ask for the first time.
    pub fn new(config: &Config) -> Self {
        Self {
            sources: Sources::new(&configured_sources(config), excludes(config)),
            config: config.tenants.clone(),
            folder_answers: channel(),
            folder_asked: None,
            query_asked: false,
            command: None,
            due: Moment::default(),
            changed: false,
            taken: Moment::default(),
            answers: BTreeSet::new(),
        }
    }

    /// Another configuration: asks again at once.
    pub fn reconfigure(&mut self, config: &Config, now: Moment) {
        self.sources.reconfigure(&configured_sources(config), excludes(config));
        self.config = config.tenants.clone();
        self.due = now;
        // What the configuration says of each tenant may have changed.
        self.changed = true;
    }

    /// When [`Lister::ask`] or [`Lister::take`] has something to do.
    pub fn deadline(&self) -> Moment {
        let command = self.command.as_ref().filter(|(.., ended)| !ended).map(|(_, until, _)| *until);
        let folder = self.folder_asked.filter(|(_, told)| !told).map(|(until, _)| until);
        [command, folder].into_iter().flatten().min().map_or(self.due, |until| self.due.min(until))
    }

    /// Asks the sources if the time has come, and ends a command that takes too long.
    pub fn ask(
        &mut self,
        now: Moment,
        engine: &Engine,
        spawner: &Spawner,
        environment: &ChildEnvironment,
        waker: &Waker,
    ) {
        if let Some((command, until, ended)) = &mut self.command
            && *until <= now
            && !*ended
        {
            *ended = true;
            if let Err(error) = process::signal_group(command.process().pid, Signal::SIGKILL) {
                log::error!("tenants.command cannot be ended: {error}");
            }
        }
        if let Some((until, told)) = &mut self.folder_asked
            && *until <= now
            && !std::mem::replace(told, true)
        {
            // A dead network share: its thread waits on, the other sources go on without it.
            let why = format!("the folder did not answer within {} s", MAY_TAKE.as_secs());
            self.update(SourceKind::Directory, Err(why));
        }
        if self.due > now {
            return;
        }
        self.due = now + self.config.refresh;
        if !self.config.list.is_empty() {
            self.update(SourceKind::List, Ok(tenants::list::listing(&self.config.list)));
        }
        self.ask_folder(now, waker);
        if let Some(query) = self.config.query.clone()
            && !self.query_asked
        {
            self.query_asked = true;
            match DatabaseUrl::parse(&query.url, &Environment::of_this_process()) {
                Ok(url) => engine.tenants(Arc::new(url), query.sql.clone()),
                Err(why) => self.query_answered(Err(why.to_string())),
            }
        }
        self.ask_command(now, spawner, environment);
    }

    fn ask_folder(&mut self, now: Moment, waker: &Waker) {
        let Some(folder) = self.config.directory.clone() else { return };
        if self.folder_asked.is_some() {
            return;
        }
        self.folder_asked = Some((now + MAY_TAKE, false));
        let (answers, waker) = (self.folder_answers.0.clone(), waker.clone());
        // Signals are for the loop alone.
        let _blocked = SignalsBlocked::begin();
        let started = std::thread::Builder::new().name("tenants".to_owned()).stack_size(256 * 1024).spawn(move || {
            let told = answers.send(tenants::directory::listing(&folder));
            if told.is_ok()
                && let Err(error) = waker.wake()
            {
                log::error!("the loop cannot be woken: {error}");
            }
        });
        if let Err(error) = started {
            self.folder_asked = None;
            self.update(SourceKind::Directory, Err(format!("no thread to read the folder: {error}")));
        }
    }

    fn ask_command(&mut self, now: Moment, spawner: &Spawner, environment: &ChildEnvironment) {
        if self.config.command.is_empty() || self.command.is_some() {
            return;
        }
        let argv: Result<Vec<_>, _> = self.config.command.iter().map(|word| CString::new(word.as_str())).collect();
        let started = argv
            .map_err(|_| "an argument holds a NUL byte".to_owned())
            .and_then(|argv| Command::start(spawner, &argv, environment).map_err(|failure| failure.to_string()));
        match started {
            Ok(command) => self.command = Some((command, now + MAY_TAKE, false)),
            Err(why) => self.update(SourceKind::Command, Err(why)),
        }
    }

    /// Nobody will hear the command's answer: it is ended.
    pub fn end(&mut self) {
        if let Some((command, ..)) = self.command.take()
            && let Err(error) = process::signal_group(command.process().pid, Signal::SIGKILL)
        {
            log::error!("tenants.command cannot be ended: {error}");
        }
    }

    /// A child ended: true if it was the command.
    pub fn child_ended(&mut self, pid: i32, exit: Exit) -> bool {
        if self.command.as_ref().is_none_or(|(command, ..)| command.process().pid != pid) {
            return false;
        }
        let Some((command, _, timed_out)) = self.command.take() else { return false };
        let answer =
            command.printed().map_err(|error| format!("its output cannot be read: {error}")).and_then(|printed| {
                let end = match exit {
                    _ if timed_out => CommandEnd::TimedOut(MAY_TAKE),
                    _ if printed.output_is_cut => CommandEnd::TooMuch(printed.output.len()),
                    Exit::Code(code) => CommandEnd::Exited(code),
                    Exit::Signal(signal) => CommandEnd::Killed(signal),
                };
                tenants::command::listing(end, &printed.output, &printed.error)
            });
        self.update(SourceKind::Command, answer);
        true
    }

    /// The query was answered.
    pub fn query_answered(&mut self, result: Result<Vec<TenantRow>, String>) {
        self.query_asked = false;
        let row =
            |row: TenantRow| tenants::query::Row { name: Some(row.name), database: row.database, group: row.group };
        self.update(SourceKind::Query, result.map(|rows| tenants::query::listing(rows.into_iter().map(row).collect())));
    }

    fn update(&mut self, kind: SourceKind, answer: Result<Listing, String>) {
        self.changed |= self.sources.update(kind, answer) | self.answers.insert(kind);
    }

    /// The tenants, if something new was heard since the last call. Once an hour they are told all the same: what is
    /// wrong with some is told again, and who is still remembered and was never listed is forgotten.
    pub fn take(&mut self, now: Moment) -> Option<Vec<Tenant>> {
        while let Ok(answer) = self.folder_answers.1.try_recv() {
            self.folder_asked = None;
            self.update(SourceKind::Directory, answer);
        }
        let again = !self.answers.is_empty() && now.since(self.taken) >= TAKEN_AGAIN;
        if !(std::mem::take(&mut self.changed) || again) {
            return None;
        }
        self.taken = now;
        let merged = self.sources.merged();
        for notice in &merged.notices {
            match notice {
                tenants::SourceNotice::Failing { .. } => log::error!("{notice}"),
                tenants::SourceNotice::Back { .. } => log::info!("{notice}"),
            }
        }
        for refused in &merged.refused {
            log::warn!("{refused}");
        }
        Some(merged.tenants)
    }

    /// Every configured source has answered or failed at least once.
    pub fn has_heard_all(&self, config: &Config) -> bool {
        configured_sources(config).iter().all(|kind| self.answers.contains(kind))
    }

    /// Sources that fail and have never answered: the list is not complete.
    pub fn is_complete(&self) -> bool {
        self.sources.all_answered_once()
    }
}
