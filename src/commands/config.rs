//! `config`: each effective value and where it came from, and the tenants found.

use super::ask::{Desk, May};
use super::{Process, print_line};
use crate::config::Loaded;
use crate::exit;

/// Prints; answers with the exit code.
pub fn config(loaded: &Loaded, process: &Process) -> i32 {
    print_line(&format!("# instance {}, from {}", loaded.instance, loaded.file.display()));
    for line in loaded.explanation() {
        print_line(&line);
    }
    let cpus = crate::process::usable_cpus();
    print_line(&format!("# {} workers on this host with {cpus} usable CPUs", loaded.config.workers.evaluate(cpus)));
    let found = Desk::open(loaded, process, May::Look).and_then(|mut desk| desk.tenants().map(|listed| (desk, listed)));
    let (desk, listed) = match found {
        Ok(found) => found,
        Err(why) => {
            eprintln!("tenantcron: {why}");
            return exit::FAILED;
        }
    };
    print_line(&format!(
        "# {} tenants{}",
        listed.len(),
        if desk.incomplete { ", not all: see the messages" } else { "" }
    ));
    for one in &listed {
        let group = one.tenant.group().map(|group| format!(" group={group}")).unwrap_or_default();
        let url = desk.registry.url(one.database).map(ToString::to_string).unwrap_or_default();
        let disabled = if one.enabled { "" } else { " disabled" };
        print_line(&format!(
            "{} every={}{group} key={} database={url}{disabled}",
            one.tenant.name,
            humantime::format_duration(one.every),
            one.key
        ));
    }
    if desk.incomplete { exit::FAILED } else { exit::DONE }
}
