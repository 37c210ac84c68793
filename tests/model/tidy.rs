//! What makes equal states look equal: rows that nothing refers to leave, words that nobody will read are forgotten,
//! and, where asked for, nodes and tenants change places.

use crate::exchange::{Exchange, Mark, Part, Phase, Said};
use crate::rules::Rules;
use crate::world::{Fate, Local, NODES, RUNS, RunId, SeenBy, Stage, Supervisor, TENANTS, World};

pub fn forget_what_means_nothing(world: &mut World, rules: &Rules) {
    for supervisor in &mut world.supervisors {
        supervisor.exchange.iter_mut().for_each(forget_what_is_not_heard);
        supervisor.adrift = supervisor.adrift.and_then(only_what_it_writes);
        supervisor.adrift.iter_mut().for_each(forget_what_is_not_heard);
        for watch in &mut supervisor.watches {
            if !matches!(watch.stage, Stage::Starting(_) | Stage::Running(_) | Stage::Adopted(_)) {
                watch.since = 0;
            }
        }
    }
    for tenant in 0..TENANTS {
        tidy_files(world, rules, tenant);
        for run in world.rows[tenant].runs.iter_mut().flatten().filter(|run| !run.is_open()) {
            (run.age, run.seen_by, run.this_boot, run.fate) = (0, SeenBy::Nobody, true, Fate::None);
        }
        let used = used_runs(world, tenant);
        compact(world, tenant, used);
    }
}

/// Of an answer: what will change nothing in who hears it.
fn forget_what_is_not_heard(exchange: &mut Exchange) {
    for said in &mut exchange.said {
        match (said.part, said.mark) {
            (Part::TakeOver(_), Mark::Done | Mark::Passed) | (Part::Finish(..) | Part::Refresh(_), Mark::NotNow) => {
                *said = Said::NOTHING;
            }
            (Part::Finish(..), Mark::Closed) => said.mark = Mark::Done,
            (Part::Nothing | Part::Claim | Part::Finish(..) | Part::Refresh(_) | Part::TakeOver(_), _) => {}
        }
    }
    let said = &exchange.said;
    if !said.iter().any(|said| matches!(said.part, Part::Claim | Part::Refresh(_))) {
        exchange.age = 0;
    }
    if !said.iter().any(|said| matches!(said.part, Part::Claim | Part::Refresh(_)) && said.is_held()) {
        exchange.begun = 0;
    }
}

/// Nobody hears an answer to it: it is what it will write.
fn only_what_it_writes(mut exchange: Exchange) -> Option<Exchange> {
    exchange.age = 0;
    match exchange.phase {
        Phase::Sent => Some(exchange),
        Phase::Answered => None,
        Phase::Begun => {
            exchange.said.iter_mut().filter(|said| !said.is_held()).for_each(|said| *said = Said::NOTHING);
            exchange.said.iter().any(Said::is_held).then_some(exchange)
        }
    }
}

/// A file's words on a run that is closed mean nothing any more.
fn tidy_files(world: &mut World, rules: &Rules, tenant: usize) {
    for host in 0..NODES {
        let local = world.hosts[host][tenant];
        let run = local.run.filter(|run| world.is_open(tenant, *run));
        let idle = world.supervisors[host].watches[tenant].stage == Stage::Idle;
        world.hosts[host][tenant] = Local {
            // Alone on its host, an idle supervisor that the file names says no more than a free lock does.
            by: local.by.filter(|_| rules.one_host || run.is_some() || !idle),
            run,
            names_process: local.names_process && run.is_some(),
            child: local.child,
            unrecorded: local.unrecorded.filter(|(run, _)| world.is_open(tenant, *run)),
        };
    }
}

fn used_runs(world: &World, tenant: usize) -> [bool; RUNS] {
    let mut used = [false; RUNS];
    let mut mark = |run: Option<RunId>| {
        if let Some(run) = run {
            used[usize::from(run)] = true;
        }
    };
    mark(world.open_run(tenant));
    for (id, run) in world.runs(tenant) {
        mark(run.is_open().then_some(id));
    }
    for local in world.hosts.iter().map(|host| host[tenant]) {
        mark(local.child);
        mark(local.run);
        mark(local.unrecorded.map(|(run, _)| run));
    }
    for supervisor in &world.supervisors {
        mark(supervisor.watches[tenant].stage.run());
    }
    for exchange in world.exchanges() {
        mark(exchange.said[tenant].part.run());
        if let Mark::Claimed(run) = exchange.said[tenant].mark {
            mark(Some(run));
        }
    }
    used
}

fn compact(world: &mut World, tenant: usize, used: [bool; RUNS]) {
    let runs = world.rows[tenant].runs;
    let kept = runs.iter().zip(used).filter(|(run, used)| run.is_some() && *used).count();
    if runs.iter().filter(|run| run.is_some()).count() == kept {
        return;
    }
    let mut number = [0; RUNS];
    let mut moved = [None; RUNS];
    for (next, place) in (0..RUNS).filter(|place| used[*place]).enumerate() {
        number[place] = next as RunId;
        moved[next] = runs[place];
    }
    world.rows[tenant].runs = moved;
    let renumber = |run: &mut RunId| *run = number[usize::from(*run)];
    for host in &mut world.hosts {
        let local = &mut host[tenant];
        local.child.iter_mut().for_each(renumber);
        local.run.iter_mut().for_each(renumber);
        local.unrecorded.iter_mut().for_each(|(run, _)| renumber(run));
    }
    for supervisor in &mut world.supervisors {
        match &mut supervisor.watches[tenant].stage {
            Stage::Idle | Stage::Offered => {}
            Stage::Starting(run) | Stage::Running(run) | Stage::Adopted(run) | Stage::Ended(run, _) => renumber(run),
        }
        for exchange in supervisor.exchange.iter_mut().chain(&mut supervisor.adrift) {
            let said = &mut exchange.said[tenant];
            match &mut said.part {
                Part::Nothing | Part::Claim => {}
                Part::Finish(run, _) | Part::Refresh(run) | Part::TakeOver(run) => renumber(run),
            }
            if let Mark::Claimed(run) = &mut said.mark {
                renumber(run);
            }
        }
    }
}

/// One of the up to four states that differ only in which node or tenant is which.
pub fn representative(world: &World, rules: &Rules) -> World {
    let by_tenants = |world: World| world.min(swap_tenants(&world));
    by_tenants(*world).min(by_tenants(swap_nodes(world, rules)))
}

pub fn swap_tenants(world: &World) -> World {
    let mut swapped = *world;
    swapped.rows.swap(0, 1);
    swapped.hosts.iter_mut().for_each(|host| host.swap(0, 1));
    for supervisor in &mut swapped.supervisors {
        supervisor.watches.swap(0, 1);
        let Supervisor { exchange, adrift, .. } = supervisor;
        exchange.iter_mut().chain(adrift).for_each(|exchange| exchange.said.swap(0, 1));
    }
    swapped
}

pub fn swap_nodes(world: &World, rules: &Rules) -> World {
    let mut swapped = *world;
    swapped.supervisors.swap(0, 1);
    if !rules.one_host {
        swapped.hosts.swap(0, 1);
        swapped.rows.iter_mut().flat_map(|rows| rows.runs.iter_mut().flatten()).for_each(|run| run.host ^= 1);
    }
    swapped.hosts.iter_mut().flatten().for_each(|local| local.by = local.by.map(|by| by ^ 1));
    swapped
}
