//! Exchanges, answers and what they changed, in a few words each.

use crate::database::Deed;
use crate::plan::Plan;
use std::fmt::Debug;
use tenantcron::model::{Exchange, Finished, OpenRun, Poll, Reply, StatusRow};

/// A key without what all keys of the world begin with.
pub fn row_key(key: &str) -> &str {
    key.strip_prefix("cron-status-").unwrap_or(key)
}

fn list<T>(word: &str, of: &[T], one: impl Fn(&T) -> String, parts: &mut Vec<String>) {
    if !of.is_empty() {
        parts.push(format!("{word} {}", of.iter().map(one).collect::<Vec<_>>().join(" ")));
    }
}

pub fn exchange(said: &Exchange) -> String {
    let mut parts = Vec::new();
    list("finish", &said.finish, |end| format!("{}:{} {}", row_key(&end.run.key), end.run.id, end.outcome), &mut parts);
    list("undo", &said.undo, |run| format!("{}:{}", row_key(&run.key), run.id), &mut parts);
    let released = |one: &tenantcron::model::Release| {
        let run = one.run.as_ref().map_or("foreign".into(), |run| run.id.to_string());
        format!("{}:{run}", row_key(&one.key))
    };
    list("release", &said.release, released, &mut parts);
    list("repair", &said.repair, |one| format!("{}:{}", row_key(&one.run.key), one.run.id), &mut parts);
    list("refresh", &said.refresh, |one| format!("{}:{}", row_key(&one.run.key), one.run.id), &mut parts);
    list("reset", &said.reset, |one| row_key(&one.key).to_owned(), &mut parts);
    if let Some(claim) = &said.claim {
        list(&format!("claim {} of", claim.limit), &claim.offers, |one| row_key(&one.key).to_owned(), &mut parts);
    }
    if let Some(poll) = &said.poll {
        parts.push(match poll {
            Poll::Keys(keys) if keys.len() > 1 => format!("look at {}", keys.len()),
            Poll::Keys(keys) => format!("look {keys:?}"),
            Poll::NotDone { since: Some(_) } => "look at what is not done, if anything was written".into(),
            Poll::NotDone { since: None } => "look at what is not done".into(),
        });
    }
    parts.join(", ")
}

fn row(row: &StatusRow) -> String {
    let requested = row.requested_at.is_some_and(|at| at > row.updated_at);
    let flags = if row.paused {
        " paused"
    } else if requested {
        " requested"
    } else {
        ""
    };
    format!("{} {}{flags}", row_key(&row.key), row.value.as_str())
}

fn open(run: &OpenRun) -> String {
    format!("{}:{} of {} {}", row_key(&run.identity.key), run.identity.id, run.identity.node, run.identity.host)
}

fn any<T: Debug>(one: &T) -> String {
    format!("{one:?}")
}

pub fn reply(answer: &Reply) -> String {
    let mut parts = Vec::new();
    let short = |answer: &Finished| match answer {
        Finished::Recorded { row: Some(_) } => "recorded".to_owned(),
        Finished::Recorded { row: None } => "recorded, row as it was".to_owned(),
        other => format!("{other:?}"),
    };
    list("finished", &answer.finished, short, &mut parts);
    list("undone", &answer.undone, short, &mut parts);
    list("released", &answer.released, |key| row_key(key).to_owned(), &mut parts);
    list("repaired", &answer.repaired, any, &mut parts);
    list("refreshed", &answer.refreshed, any, &mut parts);
    list("reset", &answer.reset, |key| row_key(key).to_owned(), &mut parts);
    list("claimed", &answer.claimed, |one| format!("{}:{}", row_key(&one.key), one.id), &mut parts);
    if let Some(polled) = &answer.polled {
        list("rows", &polled.rows, |one| format!("{},", row(one)), &mut parts);
        list("open", &polled.runs, |one| format!("{},", open(one)), &mut parts);
    }
    parts.join("; ")
}

pub fn deeds(deeds: &[Deed]) -> String {
    let one = |deed: &Deed| match deed {
        Deed::Claimed { run, .. } => format!("{}:{} claimed", row_key(&run.key), run.id),
        Deed::Closed { run, closed, .. } => format!("{}:{} closed {}", row_key(&run.key), run.id, closed.outcome),
        Deed::Inserted { run, closed } => format!("{}:{} inserted {}", row_key(&run.key), run.id, closed.outcome),
        Deed::Undone { run } => format!("{}:{} undone", row_key(&run.key), run.id),
        Deed::Released { key, run } => {
            format!("{}:{:?} released", row_key(key), run.as_ref().map(|run| run.identity.id.0))
        }
        Deed::Repaired { run, of } => format!("{}:{} repaired as {}", row_key(&of.key), of.id, run.id),
        Deed::Reset { key } => format!("{} reset", row_key(key)),
    };
    deeds.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The configuration of a night.
pub fn plan(plan: &Plan) -> String {
    let rules = &plan.rules;
    let nodes: Vec<_> = plan.nodes.iter().map(|node| format!("{} on host {}", node.name, node.host)).collect();
    format!(
        "a night of {:?}: {}; {} tenants in {} databases, every {:?}; {} workers, {:?}, kill after {:?}, lease {:?}, \
         stale after {:?} {:?}, limits {} and {} a group; faults cease at {:.1} s",
        plan.kind,
        nodes.join(", "),
        plan.tenants.len(),
        plan.databases,
        plan.tenants[0].every,
        rules.workers,
        rules.rounds,
        rules.kill_after,
        rules.lease,
        rules.stale_after,
        rules.stale_action,
        rules.cluster_limit,
        rules.group_limit,
        plan.heal_at as f64 / 1e6
    )
}
