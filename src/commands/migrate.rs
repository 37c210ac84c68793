//! `migrate`: creates or upgrades the tables in every tenant's database; idempotent.

use super::ask::{Desk, May, by_database};
use super::{Process, print_line};
use crate::cli::Migrate;
use crate::config::Loaded;
use crate::db::Answer;
use crate::exit;
use crate::model::{DatabaseId, Exchange, Poll, TroubleKind};
use crate::scheduler::Listed;
use std::collections::BTreeMap;

/// Migrates, or prints what it would run; answers with the exit code.
pub fn migrate(loaded: &Loaded, process: &Process, asked: &Migrate) -> i32 {
    match migrate_all(loaded, process, asked.dry_run) {
        Ok(code) => code,
        Err(why) => {
            eprintln!("tenantcron: {why}");
            exit::FAILED
        }
    }
}

fn migrate_all(loaded: &Loaded, process: &Process, dry_run: bool) -> Result<i32, String> {
    let may = if dry_run { May::Look } else { May::Migrate };
    let mut desk = Desk::open(loaded, process, may)?;
    let listed = desk.tenants()?;
    let databases = by_database(&listed);
    for id in databases.keys() {
        if dry_run {
            desk.engine.plan_migration(*id);
        } else {
            desk.engine.migrate(*id);
        }
    }
    let (mut failed, mut unreachable, mut ready) = (0, 0, Vec::new());
    for answer in desk.answers(databases.len())? {
        let Answer::Migrated { database, result } = answer else { continue };
        if result.is_ok() {
            ready.push(database);
        }
        let name = desk.registry.url(database).map(ToString::to_string).unwrap_or_default();
        match result {
            Ok(statements) if statements.is_empty() => print_line(&format!("-- {name}: nothing to do")),
            Ok(statements) => {
                print_line(&format!("-- {name}:{}", if dry_run { " would run" } else { " done" }));
                for statement in statements {
                    print_line(&format!("{};", statement.trim_end().trim_end_matches(';')));
                }
            }
            Err(trouble) => {
                eprintln!("tenantcron: {}", trouble.text);
                failed += 1;
                unreachable += usize::from(trouble.kind == TroubleKind::Unreachable);
            }
        }
    }
    if !dry_run {
        failed += make_rows(&mut desk, &databases, &ready)?;
    }
    Ok(match failed {
        0 if desk.incomplete => exit::FAILED,
        0 => exit::DONE,
        _ if unreachable == databases.len() => exit::UNAVAILABLE,
        _ => exit::FAILED,
    })
}

/// Every tenant gets its row, as needed: a look creates what is missing. Answers how many databases failed.
fn make_rows(
    desk: &mut Desk<'_>,
    databases: &BTreeMap<DatabaseId, Vec<&Listed>>,
    ready: &[DatabaseId],
) -> Result<usize, String> {
    for id in ready {
        let keys = databases.get(id).into_iter().flatten().map(|tenant| tenant.key.clone()).collect();
        desk.engine.exchange(*id, Exchange { poll: Some(Poll::Keys(keys)), ..Exchange::default() });
    }
    let mut failed = 0;
    for answer in desk.answers(ready.len())? {
        if let Answer::Exchanged { result: Err(trouble), .. } = answer {
            eprintln!("tenantcron: {}", trouble.text);
            failed += 1;
        }
    }
    Ok(failed)
}
