//! The configuration becomes the core's rules, the database engine's settings and the log's: the one file
//! in which they meet.

use super::registry::Registry;
use crate::config::{Config, Loaded, LogTarget, Migrate, Offset, Rounds, StaleAction};
use crate::db::{self, Access, Deadlines, Settings, key_pattern};
use crate::logging::{LogSettings, Target};
use crate::model::{Identity, Moment, Tenant, TenantName, Values};
use crate::process;
use crate::scheduler::{self, Listed, Mode, Rules, offset_of};
use std::io;
use std::time::Duration;

/// Who we are: instance, node, and this boot of this host.
///
/// # Errors
/// /proc cannot be read.
pub fn host_identity(loaded: &Loaded) -> io::Result<Identity> {
    Ok(Identity { instance: loaded.instance.clone(), node: loaded.config.node.clone(), host: process::host()? })
}

/// The core's rules. `workers` is the number that the expression gave on this host.
pub fn rules(config: &Config, identity: Identity, mode: Mode, workers: u32, born: Moment, seed: u64) -> Rules {
    Rules {
        identity,
        mode,
        workers,
        enabled: config.enabled,
        rounds: match config.schedule.rounds {
            Rounds::Rolling => scheduler::Rounds::Rolling,
            Rounds::Refill => scheduler::Rounds::Refill,
            Rounds::Barrier => scheduler::Rounds::Barrier,
        },
        kill_after: config.job.kill_after,
        stale_after: config.stale.after,
        stale_action: match config.stale.action {
            StaleAction::Alert => scheduler::StaleAction::Alert,
            StaleAction::Kill => scheduler::StaleAction::Kill,
            StaleAction::Release => scheduler::StaleAction::Release,
        },
        stale_repeat: config.stale.repeat,
        cluster_limit: config.limits.cluster,
        group_limit: config.limits.group,
        poll: config.database.poll_interval(),
        look_size: scheduler::LOOK_SIZE,
        shared: !config.database.url.varies_by_tenant(),
        lease: config.cluster.takeover_after,
        born,
        seed,
    }
}

/// A tenant with what the configuration says of it, and its database found or made known.
///
/// # Errors
/// The URL that its placeholders give cannot be used: the text names the tenant.
pub fn list_tenant(config: &Config, instance: &str, tenant: Tenant, registry: &mut Registry) -> Result<Listed, String> {
    let settings = config.for_tenant(&tenant.name, tenant.group());
    let tenant = tenant.in_group(settings.group);
    let values = Values { tenant: &tenant, instance, run_id: None };
    if config.database.url.needs_database() && tenant.database().is_none() {
        return Err(format!(
            "tenant {}: database.url has {{database}} and no source names one for it: left out",
            tenant.name
        ));
    }
    let database = registry
        .find(&config.database.url, values)
        .map_err(|why| format!("tenant {}: {why}: left out", tenant.name))?;
    let key = config.database.key.render(values);
    let key = if key == tenant.name.as_str() { tenant.name.shared() } else { key.into() };
    Ok(Listed {
        key,
        database,
        every: settings.every,
        offset: offset(config.schedule.offset, settings.every, instance, &tenant),
        timeout: settings.timeout,
        enabled: settings.enabled,
        tenant,
    })
}

/// Whether `database.url` can be used at all, with harmless values for its placeholders.
///
/// # Errors
/// What is wrong with it, without its password.
pub fn try_url(loaded: &Loaded) -> Result<(), String> {
    let name = TenantName::parse("t").map_err(|bad| bad.to_string())?;
    // A number serves as a name of a database and as a port.
    let tenant = Tenant::new(name, Some("1".to_owned()), Some("1".to_owned())).map_err(|bad| bad.to_string())?;
    let values = Values { tenant: &tenant, instance: &loaded.instance, run_id: None };
    Registry::default().find(&loaded.config.database.url, values).map(|_| ())
}

fn offset(offset: Offset, every: Duration, instance: &str, tenant: &Tenant) -> Duration {
    match offset {
        Offset::Fixed(fixed) => fixed,
        Offset::Auto => offset_of(instance, every),
        Offset::Spread => offset_of(tenant.name.as_str(), every),
    }
}

/// The engine's settings.
pub fn engine_settings(config: &Config, identity: Identity, access: Access) -> Settings {
    let table = |table: &crate::config::TableName| match &table.schema {
        Some(schema) => format!("{schema}.{}", table.name),
        None => table.name.clone(),
    };
    Settings {
        key_pattern: key_pattern(&config.database.key, &identity.instance),
        identity,
        status_table: table(&config.database.status_table),
        run_table: table(&config.database.run_table),
        migrate: match config.database.migrate {
            Migrate::Auto => db::Migrate::Auto,
            Migrate::Manual => db::Migrate::Manual,
        },
        access,
        connections: config.database.connections,
        keep_runs: config.database.keep_runs,
        deadlines: Deadlines::default(),
    }
}

/// The log's settings.
pub fn log_settings(config: &Config, verbose: u8, quiet: u8) -> LogSettings {
    LogSettings {
        target: match config.log.target {
            LogTarget::Auto => Target::Auto,
            LogTarget::Syslog => Target::Syslog,
            LogTarget::Stderr => Target::Stderr,
        },
        facility: config.log.facility.as_str().to_owned(),
        level: crate::logging::level_after(config.log.level, verbose, quiet),
        socket: config.log.socket.clone(),
        name: "tenantcron".to_owned(),
    }
}
