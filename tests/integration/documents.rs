//! The documents say what the binary does: every verb and flag stands in the manual and nothing else does; pages,
//! scripts and units pass the checkers that this machine has.

use crate::support::daemon::output_within;
use crate::support::wait::secs;
use crate::support::world::world;
use clap::{Command, CommandFactory};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tenantcron::cli::Cli;

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The command as it is parsed, with help and version in place.
fn command() -> Command {
    let mut command = Cli::command();
    command.build();
    command
}

fn verbs(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|verb| verb.get_name() != "help" && !verb.is_hide_set())
}

/// A command's own flags as mdoc writes them: `-once` for --once, `v` for -v.
fn flags(command: &Command, global: bool) -> BTreeSet<String> {
    let mut flags = BTreeSet::new();
    for argument in command.get_arguments() {
        let is_common = argument.is_global_set() || ["help", "version"].contains(&argument.get_id().as_str());
        if is_common != global {
            continue;
        }
        flags.extend(argument.get_long().map(|long| format!("-{long}")));
        flags.extend(argument.get_short().map(|short| short.to_string()));
    }
    flags
}

/// Every flag that follows an `Fl` macro in these lines.
fn flags_in<'a>(lines: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    let mut flags = BTreeSet::new();
    for line in lines.into_iter().filter(|line| line.starts_with('.')) {
        let mut after_flag = false;
        for word in line.trim_start_matches('.').split_whitespace() {
            let is_macro = word.len() == 2 && word.starts_with(|c: char| c.is_ascii_uppercase());
            if word == "Fl" {
                after_flag = true;
            } else if is_macro {
                after_flag = false;
            } else if after_flag && word.starts_with(|c: char| c == '-' || c.is_ascii_alphabetic()) {
                flags.insert(word.to_owned());
            }
        }
    }
    flags
}

/// The lines of a subsection, up to the next one.
fn section<'a>(page: &'a str, title: &str) -> Vec<&'a str> {
    let begin = format!(".Ss {title}");
    assert!(page.lines().any(|line| line == begin), "no {begin:?}");
    page.lines()
        .skip_while(|line| *line != begin)
        .skip(1)
        .take_while(|line| !line.starts_with(".Ss ") && !line.starts_with(".Sh "))
        .collect()
}

#[test]
fn every_verb_and_flag_stands_in_the_manual_and_no_other() {
    let (command, page) = (command(), text("man/tenantcron.8"));
    let described = |title| section(&page, title).into_iter().filter(|line| line.starts_with(".It "));
    assert_eq!(flags_in(described("Options of every command")), flags(&command, true), "options of every command");
    let synopsis: Vec<&str> =
        page.lines().skip_while(|line| *line != ".Sh SYNOPSIS").take_while(|line| *line != ".Sh DESCRIPTION").collect();
    let mut all = flags(&command, true);
    let mut in_synopsis = BTreeSet::new();
    for verb in verbs(&command) {
        let name = verb.get_name();
        assert!(synopsis.contains(&format!(".Cm {name}").as_str()), "{name} is not in the synopsis");
        let own = flags(verb, false);
        assert_eq!(flags_in(described(name)), own, "flags of {name}");
        in_synopsis.extend(own.iter().cloned());
        all.extend(own);
    }
    assert_eq!(flags_in(synopsis.iter().copied()), in_synopsis, "flags of the synopsis");
    let elsewhere: BTreeSet<_> = flags_in(page.lines()).difference(&all).cloned().collect();
    assert_eq!(elsewhere, BTreeSet::new(), "flags that are not there");
    let named: BTreeSet<_> = synopsis.iter().filter_map(|line| line.strip_prefix(".Cm ")).collect();
    let known: BTreeSet<_> = verbs(&command).map(Command::get_name).collect();
    assert_eq!(named, known, "verbs of the synopsis");
    let keys = flags_in(text("man/tenantcron.toml.5").lines()).difference(&all).cloned().collect::<BTreeSet<_>>();
    assert_eq!(keys, BTreeSet::new(), "flags of the other page that are not there");
}

#[test]
fn every_flag_has_help() {
    let command = command();
    for verb in verbs(&command).chain([&command]) {
        for argument in verb.get_arguments() {
            assert!(argument.get_help().is_some(), "{} {}", verb.get_name(), argument.get_id());
        }
        assert!(verb.get_about().is_some(), "{}", verb.get_name());
    }
}

#[test]
fn every_outcome_and_exit_code_stands_in_the_manual() {
    use tenantcron::{exit, model::Outcome};
    let page = text("man/tenantcron.8");
    let outcomes = [
        Outcome::Ok,
        Outcome::Failed,
        Outcome::Killed,
        Outcome::Timeout,
        Outcome::Stopped,
        Outcome::Adopted,
        Outcome::Lost,
    ];
    for outcome in outcomes {
        assert!(page.lines().any(|line| line == format!(".It Li {outcome}")), "{outcome}");
    }
    for code in [exit::DONE, exit::FAILED, exit::USAGE, exit::UNAVAILABLE, exit::CONFIG] {
        assert!(page.lines().any(|line| line == format!(".It {code}")), "exit status {code}");
    }
}

#[test]
fn the_manual_pages_format_without_a_warning() {
    for page in ["man/tenantcron.8", "man/tenantcron.toml.5"] {
        let mut man = world().command("man", None);
        man.args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8"])
            .arg(file(page))
            .env("MANWIDTH", "80")
            .env("LC_ALL", "C.UTF-8");
        let done = output_within(man, secs(30));
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success() && said.is_empty(), "{page}: {said}");
        assert!(done.stdout.len() > 1000, "{page}");
    }
}

/// Runs a checker and fails with what it says; false where this machine does not have it.
fn passes(program: &str, args: &[&str], paths: &[PathBuf]) -> bool {
    let mut command = world().command("sh", None);
    command.args(["-c", "command -v \"$1\" >/dev/null || exit 99; exec \"$@\"", "sh", program]).args(args).args(paths);
    let done = output_within(command, secs(30));
    if done.status.code() == Some(99) {
        println!("not proved here: {program} is not installed");
        return false;
    }
    let said = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(done.status.success(), "{program} {paths:?}: {said}");
    true
}

#[test]
fn the_scripts_are_sound() {
    passes("dash", &["-n"], &[file("etc/init.d/tenantcron")]);
    passes("shellcheck", &["-S", "info", "-e", "SC1091"], &[file("etc/init.d/tenantcron"), file("tests/demo.sh")]);
}

#[test]
fn logrotate_takes_the_file_and_renames_a_tenants_log() {
    let folder = world().folder("logrotate");
    let (logs, rules, state) = (folder.join("logs"), folder.join("rules"), folder.join("state"));
    std::fs::create_dir(&logs).unwrap();
    std::fs::write(logs.join("a.log"), "a line\n").unwrap();
    let ours = text("etc/logrotate.d/tenantcron").replace("/var/log/tenantcron", &logs.display().to_string());
    std::fs::write(&rules, ours).unwrap();
    std::fs::set_permissions(&rules, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    if passes("logrotate", &["-f", "-s", &state.display().to_string()], &[rules]) {
        let left: Vec<_> = std::fs::read_dir(&logs).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["a.log.1"]);
    }
}

#[test]
fn the_unit_is_sound() {
    // The checker wants the program to be there.
    let folder = world().folder("unit");
    let unit = folder.join("tenantcron@x.service");
    let template = text("etc/systemd/tenantcron@.service");
    std::fs::write(&unit, template.replace("/usr/bin/tenantcron", crate::support::daemon::BINARY)).unwrap();
    passes("systemd-analyze", &["verify", "--man=no", "--recursive-errors=no"], &[unit]);
    for setting in ["Type=notify", "KillMode=process", "RuntimeDirectory=tenantcron/%i", "RuntimeDirectoryPreserve=yes"]
    {
        assert!(template.lines().any(|line| line == setting), "{setting}");
    }
}
