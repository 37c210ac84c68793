//! `resume-check`: asked by a supervisor of the program that is to replace it, whether it could. Not for people, and in
//! no manual: see `supervisor/upgrade.rs`.

use super::{print_line, request};
use crate::cli::{Cli, ResumeCheck, Verb};
use crate::config::load;
use crate::{exit, supervisor};
use clap::Parser;
use std::ffi::OsString;

/// Checks; answers with the exit code.
pub fn resume_check(asked: &ResumeCheck, environment: &[(OsString, OsString)]) -> i32 {
    let words = std::iter::once(OsString::from("tenantcron")).chain(asked.arguments.iter().cloned());
    let cli = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) => {
            eprintln!("{error}");
            return exit::USAGE;
        }
    };
    let Verb::Run(run) = &cli.verb else {
        eprintln!("only a supervisor can be taken over");
        return exit::USAGE;
    };
    let loaded = match load(&request(&cli, environment, super::arguments(run))) {
        Ok(loaded) => loaded,
        Err(mistakes) => {
            eprintln!("{mistakes}");
            return exit::CONFIG;
        }
    };
    match supervisor::try_url(&loaded).and_then(|()| supervisor::can_resume(&loaded, environment, asked.state)) {
        Ok(_) => {
            print_line(&format!("{}{}", supervisor::ANSWER, supervisor::PROGRAM));
            exit::DONE
        }
        Err(why) => {
            eprintln!("{why}");
            exit::FAILED
        }
    }
}
