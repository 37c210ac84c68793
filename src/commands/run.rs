//! `run`: the supervisor, a single look, the tenants named, or a dry run.

use super::Process;
use crate::cli::Run;
use crate::config::{Loaded, Request};
use crate::exit;
use crate::logging::Log;
use crate::model::TenantName;
use crate::scheduler::Mode;
use crate::supervisor::{Given, Purpose, StartError, Supervisor};

/// Runs; answers with the exit code.
pub fn run(
    loaded: Loaded,
    request: Request,
    run: Run,
    process: Process,
    log: &'static Log,
    verbosity: (u8, u8),
) -> i32 {
    let mut tenants = Vec::with_capacity(run.tenants.len());
    for name in &run.tenants {
        match TenantName::parse(name) {
            Ok(name) => tenants.push(name),
            Err(bad) => {
                eprintln!("tenantcron: {bad}");
                return exit::USAGE;
            }
        }
    }
    tenants.sort_unstable();
    tenants.dedup();
    let mode = match (run.once, run.dry_run, tenants.is_empty()) {
        (true, ..) => Mode::Once,
        (_, true, _) => Mode::DryRun,
        (_, _, false) => Mode::Named { force: run.force },
        _ => Mode::Daemon,
    };
    let Process { title, environment, arguments, resume } = process;
    let given = Given { title, environment, arguments, resume, log, verbosity };
    let ended = Supervisor::start(loaded, request, Purpose { mode, tenants }, given).and_then(Supervisor::run);
    match ended {
        Ok(code) => code,
        Err(error) => {
            log::error!("{error}");
            log.flush();
            if !log.is_on_stderr() && !log.owes() {
                // Whoever called it sees why, whatever log.target says. What syslog does not take is told at the end.
                eprintln!("tenantcron: {error}");
            }
            match error {
                StartError::Held { .. } | StartError::Host(_) => exit::FAILED,
                StartError::NoSuchTenant(_) => exit::USAGE,
            }
        }
    }
}
