//! One file a verb. Data goes to standard output, messages to standard error.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "commands speak to people and scripts")]

mod ask;
mod config;
mod migrate;
mod request;
mod resume_check;
mod run;
mod status;

use crate::cli::{Cli, Verb};
use crate::config::{Loaded, Request, load};
use crate::process::Title;
use crate::{exit, supervisor};
use std::ffi::OsString;
use std::io::Write;

/// What the process was given.
pub struct Process {
    /// The ps title.
    pub title: Option<Title>,
    /// The environment at the start.
    pub environment: Vec<(OsString, OsString)>,
    /// What it was called with, its name first.
    pub arguments: Vec<OsString>,
    /// Where the program that this one replaces left what it hands over: a number of a descriptor.
    pub resume: Option<OsString>,
}

/// Obeys; answers with the exit code.
pub fn obey(cli: Cli, process: Process) -> i32 {
    if let Verb::ResumeCheck(asked) = &cli.verb {
        return resume_check::resume_check(asked, &process.environment);
    }
    let arguments = if let Verb::Run(run) = &cli.verb { arguments(run) } else { Vec::new() };
    let request = request(&cli, &process.environment, arguments);
    let loaded = match load(&request) {
        Ok(loaded) => loaded,
        Err(mistakes) => {
            eprintln!("{mistakes}");
            return exit::CONFIG;
        }
    };
    if let Err(why) = supervisor::try_url(&loaded) {
        eprintln!("{}: database.url: {why}", loaded.file.display());
        return exit::CONFIG;
    }
    let to_people = !matches!(cli.verb, Verb::Run(_));
    let log = match install_log(&loaded, &cli, to_people) {
        Ok(log) => log,
        Err(why) => {
            eprintln!("tenantcron: {why}");
            return exit::CONFIG;
        }
    };
    let code = match cli.verb {
        Verb::Run(run) => run::run(loaded, request, run, process, log, (cli.verbose, cli.quiet)),
        Verb::Status(status) => status::status(&loaded, &process, &status),
        Verb::Request(asked) => request::request(&loaded, &process, &asked),
        Verb::Migrate(migrate) => migrate::migrate(&loaded, &process, &migrate),
        Verb::Config => config::config(&loaded, &process),
        // Obeyed above, before anything was loaded.
        Verb::ResumeCheck(_) => exit::USAGE,
    };
    log.close();
    code
}

/// What the command line sets of the configuration.
fn arguments(run: &crate::cli::Run) -> Vec<(String, String)> {
    let workers = run.workers.clone().map(|workers| ("workers".to_owned(), workers));
    let node = run.node.clone().map(|node| ("node".to_owned(), node));
    workers.into_iter().chain(node).collect()
}

fn request(cli: &Cli, environment: &[(OsString, OsString)], arguments: Vec<(String, String)>) -> Request {
    Request {
        config: cli.config.clone(),
        instance: cli.instance.clone(),
        environment: environment.to_vec(),
        arguments,
        hostname: nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        root: nix::unistd::geteuid().is_root(),
        home: environment.iter().find(|(name, _)| name == "HOME").map(|(_, home)| home.into()),
    }
}

/// Commands speak to the terminal whatever `log.target` says; `run` speaks where it is configured.
fn install_log(
    loaded: &Loaded,
    cli: &Cli,
    to_people: bool,
) -> Result<&'static crate::logging::Log, crate::logging::LogError> {
    let mut settings = supervisor::log_settings(&loaded.config, cli.verbose, cli.quiet);
    let one_shot = matches!(&cli.verb, Verb::Run(run) if run.dry_run || !run.tenants.is_empty());
    if to_people || one_shot {
        settings.target = crate::logging::Target::Stderr;
        settings.level = crate::logging::level_after(log::LevelFilter::Warn, cli.verbose, cli.quiet);
    }
    crate::logging::install(settings)
}

/// A line of data. A reader who went away is not an error of ours.
pub fn print_line(line: &str) {
    _ = writeln!(std::io::stdout().lock(), "{line}");
}
