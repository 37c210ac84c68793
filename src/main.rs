//! The binary: parse, dispatch, exit code.

use clap::Parser;
use std::process::ExitCode;
use tenantcron::cli::Cli;
use tenantcron::commands::{Process, obey};
use tenantcron::process::Title;

fn main() -> ExitCode {
    // Before anything else: the title is written over the memory of arguments and environment.
    let title = Title::prepare().ok();
    let environment = std::env::vars_os().collect();
    let code = obey(Cli::parse(), Process { title, environment });
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
