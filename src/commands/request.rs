//! `request`: done rows become needed, first in the queue; the supervisors hear of it at once.

use super::Process;
use super::ask::{AskError, Desk, May, by_database, select};
use crate::cli::Request;
use crate::config::Loaded;
use crate::db::{Answer, Requested};
use crate::exit;
use crate::model::TroubleKind;
use crate::process::{Holder, StateFolder, probe_supervisor, signal_stranger};
use crate::scheduler::Listed;
use nix::sys::signal::Signal;
use std::time::Duration;

/// Between two tries of `--wait`.
const AGAIN: Duration = Duration::from_secs(1);

/// Requests; answers with the exit code.
pub fn request(loaded: &Loaded, process: &Process, asked: &Request) -> i32 {
    match request_all(loaded, process, asked) {
        Ok(code) => code,
        Err(why) => {
            eprintln!("tenantcron: {why}");
            why.code()
        }
    }
}

fn request_all(loaded: &Loaded, process: &Process, asked: &Request) -> Result<i32, AskError> {
    let mut desk = Desk::open(loaded, process, May::Ask)?;
    let mut left = select(desk.tenants()?, &asked.tenants)?;
    let mut code = if desk.incomplete && asked.all { exit::FAILED } else { exit::DONE };
    loop {
        let round = once(&mut desk, &left)?;
        code = code.max(round.code);
        if round.busy.is_empty() {
            return Ok(code);
        }
        if !asked.wait {
            for (tenant, why) in &round.busy {
                eprintln!("tenantcron: {}: {why}", tenant.tenant.name);
            }
            return Ok(code.max(exit::FAILED));
        }
        left = round.busy.into_iter().map(|(tenant, _)| tenant).collect();
        desk.pause(AGAIN)?;
    }
}

/// One round of requests.
struct Round {
    code: i32,
    busy: Vec<(Listed, &'static str)>,
}

fn once(desk: &mut Desk<'_>, tenants: &[Listed]) -> Result<Round, String> {
    let databases = by_database(tenants);
    for (id, tenants) in &databases {
        desk.engine.request(*id, tenants.iter().map(|tenant| tenant.key.to_string()).collect());
    }
    let mut round = Round { code: exit::DONE, busy: Vec::new() };
    let (mut noticed, mut unreachable) = (Vec::new(), 0);
    for answer in desk.answers(databases.len())? {
        let Answer::Requested { database, result } = answer else { continue };
        let asked = databases.get(&database).into_iter().flatten();
        match result {
            Ok(answers) => {
                for (tenant, answer) in asked.zip(answers) {
                    let name = &tenant.tenant.name;
                    match answer {
                        Requested::Needed | Requested::First => noticed.push(name.clone()),
                        Requested::Running => {
                            round.busy.push(((*tenant).clone(), "it is running; --wait waits for its end"))
                        }
                        Requested::NotNow => {
                            round.busy.push(((*tenant).clone(), "somebody holds its row locked; --wait tries again"))
                        }
                        Requested::Missing => {
                            round.code = exit::FAILED;
                            eprintln!(
                                "tenantcron: {name}: it has no status row yet; a supervisor or tenantcron migrate makes it"
                            );
                        }
                        Requested::Unknown(value) => {
                            round.code = exit::FAILED;
                            eprintln!(
                                "tenantcron: {name}: its row's value is {value:?}, none of needed, running, done: left alone"
                            );
                        }
                    }
                }
            }
            Err(trouble) => {
                eprintln!("tenantcron: {}", trouble.text);
                round.code = exit::FAILED;
                unreachable += usize::from(trouble.kind == TroubleKind::Unreachable);
            }
        }
    }
    if !databases.is_empty() && unreachable == databases.len() {
        round.code = exit::UNAVAILABLE;
    }
    if let Some(state) = desk.state()
        && !noticed.is_empty()
    {
        wake(desk, &state, &noticed);
    }
    Ok(round)
}

/// The supervisor of this host looks at once; where that fails it looks at its next poll.
fn wake(desk: &Desk<'_>, state: &StateFolder, tenants: &[crate::model::TenantName]) {
    for tenant in tenants {
        if let Err(error) = std::fs::write(state.wake().join(tenant.as_str()), "") {
            log::warn!("{tenant}: the supervisor here is not told ({error}); it looks at its next poll");
            return;
        }
    }
    let told = match probe_supervisor(state, &desk.identity.node) {
        Ok(Holder::Process(supervisor)) => {
            signal_stranger(supervisor, Signal::SIGUSR1).map_err(|error| error.to_string())
        }
        Ok(Holder::Nobody | Holder::Unknown) => Ok(false),
        Err(error) => Err(error.to_string()),
    };
    match told {
        Ok(true) => {}
        Ok(false) => log::info!("no supervisor runs here; others look at their next poll"),
        Err(error) => log::warn!("the supervisor here cannot be signalled ({error}); it looks at its next poll"),
    }
}
