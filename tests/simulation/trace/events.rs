//! Events, actions and notices in a few words each.

use super::exchanges::{exchange, reply, row_key};
use tenantcron::model::TenantName;
use tenantcron::scheduler::{Action, Event, Exit, NotStarted, Notice, Verdict};

fn names(tenants: &[TenantName]) -> String {
    tenants.iter().map(TenantName::to_string).collect::<Vec<_>>().join(" ")
}

fn exit(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exit {code}"),
        Exit::Signal(signal) => format!("signal {signal}"),
        Exit::Unknown => "status unknown".into(),
    }
}

pub fn event(event: &Event) -> String {
    match event {
        Event::Tick => "tick".into(),
        Event::TenantsListed(tenants) => {
            let tenants: Vec<_> = tenants.iter().map(|listed| listed.tenant.name.clone()).collect();
            format!("listed {}", names(&tenants))
        }
        Event::Locked { won, held, slots } => {
            let held: Vec<_> = held.iter().map(|(tenant, _)| tenant.clone()).collect();
            let held = if held.is_empty() { String::new() } else { format!(", held are {}", names(&held)) };
            format!("locked {} and {slots} slots{held}", names(won))
        }
        Event::UnlistedFound(listed) => format!("unlisted {}", listed.tenant.name),
        Event::LockProbed { tenant, held } => format!("lock of {tenant} is {}", if *held { "held" } else { "free" }),
        Event::Exchanged { database, number, result } => match result {
            Ok(answer) => format!("db{}#{number} answered: {}", database.0, reply(answer)),
            Err(trouble) => format!("db{}#{number} failed: {:?}", database.0, trouble.kind),
        },
        Event::Started { tenant, pid, .. } => format!("started {tenant} as {pid}"),
        Event::NotStarted { tenant, why: NotStarted::NoResources { .. } } => format!("{tenant} not started, for want"),
        Event::NotStarted { tenant, why: NotStarted::CannotExecute { code, .. } } => {
            format!("{tenant} not started: {code}")
        }
        Event::Ended { tenant, end, group_left } => {
            format!("ended {tenant}: {}{}", exit(end.exit), if *group_left { ", members live" } else { "" })
        }
        Event::GroupEmptied { tenant } => format!("{tenant}'s group is empty"),
        Event::Examined { tenant, run, verdict } => match verdict {
            Verdict::Adopted { pid, .. } => format!("examined run {run} of {tenant}: adopted as {pid}"),
            other => format!("examined run {run} of {tenant}: {other:?}"),
        },
        Event::Notified { database, key } => format!("notified by db{} {:?}", database.0, key.as_deref().map(row_key)),
        Event::Woken(tenants) => format!("woken for {}", names(tenants)),
        Event::StopAsked => "STOP ASKED".into(),
        Event::DrainAsked => "DRAIN ASKED".into(),
        Event::Reloaded(rules) => {
            format!("reloaded: {} workers, enabled {}, lease {:?}", rules.workers, rules.enabled, rules.lease)
        }
        Event::EndsFound { file, ends } => {
            let ends: Vec<_> = ends.iter().map(|end| format!("{} run {}", end.tenant, end.finish.run.id)).collect();
            format!("file {file:x} found: {}", ends.join(", "))
        }
        Event::Carried { listed, run } => format!("carried {} run {}", listed.tenant.name, run.identity.id),
        Event::UpgradeAsked => "UPGRADE ASKED".into(),
        Event::UpgradeFailed => "upgrade failed".into(),
    }
}

pub fn action(action: &Action) -> String {
    match action {
        Action::Lock { tenants, slots } => format!("lock {} and {slots} slots", names(tenants)),
        Action::Unlock { tenants, slots } => format!("unlock {} and {slots} slots", names(tenants)),
        Action::Exchange { database, exchange: said } => {
            format!("say db{}#{}: {}", database.0, said.number, exchange(said))
        }
        Action::Start { tenant, run, .. } => format!("START {tenant} run {run}"),
        Action::Signal { tenant, force } => format!("signal {tenant} {force:?}"),
        Action::CheckGroup { tenant } => format!("check the group of {tenant}"),
        Action::ProbeLock { tenant } => format!("probe the lock of {tenant}"),
        Action::Examine(unknown) => {
            let run = &unknown.run.identity;
            format!("examine run {} of {} ({} {})", run.id, unknown.tenant, run.node, run.host)
        }
        Action::Close(closing) => format!("close run {} of {}: {}", closing.run, closing.tenant, closing.outcome),
        Action::Renumber { tenant, run, .. } => format!("renumber {tenant} to run {run}"),
        Action::Forget { file } => format!("forget file {file:x}"),
        Action::Upgrade => "upgrade".into(),
        Action::Exit { reason } => format!("EXIT {reason:?}"),
    }
}

/// Less what the times and texts say.
pub fn notice(notice: &Notice) -> String {
    match notice {
        Notice::Ending { tenant, run, why, killed } => {
            format!("run {run} of {tenant} is {}: {why}", if *killed { "killed" } else { "asked to end" })
        }
        Notice::Started { tenant, run, .. } => format!("Started {tenant} run {run}"),
        Notice::Ended { tenant, run, outcome, .. } => format!("Ended {tenant} run {run} {outcome}"),
        other => format!("{other:?}"),
    }
}
