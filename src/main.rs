//! The binary: parse, dispatch, exit code.

use clap::Parser;
use std::process::ExitCode;
use tenantcron::cli::Cli;
use tenantcron::commands::{Process, obey};
use tenantcron::process::Title;
use tenantcron::supervisor::RESUME_VARIABLE;

fn main() -> ExitCode {
    // Before anything else: the title is written over the memory of arguments and environment.
    let title = Title::prepare().ok();
    let (resume, environment): (Vec<_>, Vec<_>) = std::env::vars_os().partition(|(name, _)| name == RESUME_VARIABLE);
    let resume = resume.into_iter().next().map(|(_, value)| value);
    let arguments = std::env::args_os().collect();
    let code = obey(Cli::parse(), Process { title, environment, arguments, resume });
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
