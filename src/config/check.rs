//! All settings to a [`Config`], or every mistake in them: each value by itself, and what only shows when they
//! are seen together. A section is built only after each of its keys was read, so that no mistake hides another.

use super::document::{Item, quoted};
use super::keys;
use super::layers::{Exception, Setting, Settings};
use super::mistake::{Mistake, Origin, Source};
use super::rules::{
    LEVELS, command, database_url, every, group, listen, log_file, node, offset, program, row_key, takeover, workers,
};
use super::schema::{
    Cluster, Config, Database, Facility, Job, LEASE_MARGIN, Limits, Log, LogTarget, Migrate, Override, Query, Rounds,
    Schedule, Stale, StaleAction, Tenants,
};
use super::values::{
    Fault, Read, absolute_path, array, bad_glob, boolean, duration, fault, full_text, glob, integer, span, span_or,
    table_name, text, url, word,
};
use crate::model::Template;
use std::collections::BTreeMap;

/// Checks everything. The mistakes are those of the layers and those found here.
pub(super) fn check(settings: &Settings, whole_file: Source) -> Result<Config, Vec<Mistake>> {
    let mut reader = Reader { settings, whole_file, mistakes: settings.mistakes.clone() };
    let config = reader.config();
    match config {
        Some(config) if reader.mistakes.is_empty() => Ok(config),
        _ => Err(reader.mistakes),
    }
}

struct Reader<'s> {
    settings: &'s Settings,
    whole_file: Source,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    /// A key that has a value: its own or its default. None is a mistake, and told.
    fn required<T>(&mut self, key: &'static str, read: impl Fn(&Item) -> Read<T>) -> Option<T> {
        if !self.settings.values.contains_key(key) {
            let host = keys::KEYS.iter().any(|one| one.path == key && matches!(one.default, keys::Preset::Host));
            let why = if host { "this host tells no default" } else { "it has no default" };
            self.missing(key, &format!("missing; {why}"));
        }
        self.optional(key, read)
    }

    /// A key that may be absent.
    fn optional<T>(&mut self, key: &'static str, read: impl Fn(&Item) -> Read<T>) -> Option<T> {
        let setting = self.settings.values.get(key)?;
        self.read(key, setting, read)
    }

    fn read<T>(&mut self, key: &str, setting: &Setting, read: impl Fn(&Item) -> Read<T>) -> Option<T> {
        match read(&setting.item) {
            Ok(value) => Some(value),
            Err(faults) => {
                for Fault { line, what } in faults {
                    let source =
                        Source { line: if line == 0 { setting.source.line } else { line }, ..setting.source.clone() };
                    self.mistakes.push(Mistake::about(source, key, what));
                }
                None
            }
        }
    }

    /// Something that stands nowhere. It may stand in what could not be read.
    fn missing(&mut self, key: &str, what: &str) {
        if !self.settings.incomplete {
            self.mistakes.push(Mistake::about(self.whole_file.clone(), key, what));
        }
    }

    fn config(&mut self) -> Option<Config> {
        let workers = self.required("workers", workers);
        let node = self.required("node", node);
        let enabled = self.required("enabled", boolean);
        let state = self.optional("state", absolute_path);
        let job = self.job();
        let schedule = self.schedule();
        let stale = self.stale();
        let limits = self.limits();
        let cluster = self.required("cluster.takeover_after", takeover);
        self.lease_holds(cluster, job.as_ref());
        let tenants = self.tenants();
        let overrides = self.overrides();
        let database = self.database();
        let log = self.log();
        self.required("metrics.listen", listen);
        self.required("metrics.per_tenant", boolean);
        Some(Config {
            workers: workers?,
            node: node?,
            enabled: enabled?,
            state,
            job: job?,
            schedule: schedule?,
            stale: stale?,
            limits: limits?,
            cluster: cluster?,
            tenants: tenants?,
            overrides,
            database: database?,
            log: log?,
        })
    }

    /// Its own supervisor must have ended a run before others may take it.
    fn lease_holds(&mut self, cluster: Option<Cluster>, job: Option<&Job>) {
        let key = "cluster.takeover_after";
        let (Some(Cluster { takeover_after: Some(lease) }), Some(job)) = (cluster, job) else { return };
        let least = job.kill_after + LEASE_MARGIN;
        if lease <= least
            && let Some(setting) = self.settings.values.get(key)
        {
            let what = format!(
                "must be longer than job.kill_after + 20s, which is {}: a run that cannot be confirmed has to end before others take it",
                humantime::format_duration(least)
            );
            self.mistakes.push(Mistake::about(setting.source.clone(), key, what));
        }
    }

    fn job(&mut self) -> Option<Job> {
        let command = self.required("job.command", command);
        let user = self.optional("job.user", |item| {
            fault(item, "running children as another user belongs to a later version; leave it out")
        });
        let directory = self.optional("job.directory", absolute_path);
        let timeout = self.required("job.timeout", span_or("none"));
        let kill_after = self.required("job.kill_after", span);
        let nice = self.required("job.nice", integer(-20, 19));
        let oom_score_adj = self.required("job.oom_score_adj", integer(-1000, 1000));
        let log = self.required("job.log", log_file);
        let env = self.variables();
        Some(Job {
            command: command?,
            user,
            directory,
            timeout: timeout?,
            kill_after: kill_after?,
            nice: nice?,
            oom_score_adj: oom_score_adj?,
            log: log?,
            env,
        })
    }

    fn variables(&mut self) -> BTreeMap<String, String> {
        let mut good = BTreeMap::new();
        let settings = self.settings;
        for (name, setting) in &settings.variables {
            let key = format!("{}.{}", keys::JOB_ENV, quoted(name));
            let why = if keys::NOT_CONFIGURATION.contains(&name.as_str()) {
                "is set by tenantcron for each run"
            } else if name.is_empty() || name.contains(['=', '\0']) {
                "cannot be the name of a variable"
            } else {
                good.extend(self.read(&key, setting, text).map(|value| (name.clone(), value)));
                continue;
            };
            self.mistakes.push(Mistake::about(setting.source.clone(), key, why));
        }
        good
    }

    fn schedule(&mut self) -> Option<Schedule> {
        let every = self.required("schedule.every", every);
        let offset = self.required("schedule.offset", offset);
        let rounds = [("rolling", Rounds::Rolling), ("refill", Rounds::Refill), ("barrier", Rounds::Barrier)];
        let rounds = self.required("schedule.rounds", word(&rounds));
        Some(Schedule { every: every?, offset: offset?, rounds: rounds? })
    }

    fn stale(&mut self) -> Option<Stale> {
        let after = self.required("stale.after", span);
        let actions = [("alert", StaleAction::Alert), ("kill", StaleAction::Kill), ("release", StaleAction::Release)];
        let action = self.required("stale.action", word(&actions));
        let repeat = self.required("stale.repeat", span);
        Some(Stale { after: after?, action: action?, repeat: repeat? })
    }

    fn limits(&mut self) -> Option<Limits> {
        let cluster = self.required("limits.cluster", integer(0, u32::MAX));
        let group = self.required("limits.group", integer(0, u32::MAX));
        Some(Limits { cluster: cluster?, group: group? })
    }

    fn tenants(&mut self) -> Option<Tenants> {
        let list = self.required("tenants.list", array(text));
        let directory = self.optional("tenants.directory", absolute_path);
        let query_url = self.optional("tenants.query.url", url);
        let query_sql = self.optional("tenants.query.sql", full_text);
        let command = self.required("tenants.command", program);
        let exclude = self.required("tenants.exclude", array(glob));
        let refresh = self.required("tenants.refresh", span);
        let set = |key| self.settings.values.contains_key(key);
        let (has_url, has_sql) = (set("tenants.query.url"), set("tenants.query.sql"));
        let elsewhere = set("tenants.directory") || has_url || has_sql;
        let nobody = |read: &Option<Vec<String>>| read.as_ref().is_some_and(Vec::is_empty);
        if nobody(&list) && nobody(&command) && !elsewhere {
            self.missing("tenants", "no source of tenants; set list, directory, query or command in [tenants]");
        }
        if has_url != has_sql {
            let absent = if has_url { "tenants.query.sql" } else { "tenants.query.url" };
            self.missing(absent, "missing; a query needs both url and sql");
        }
        let query = query_url.zip(query_sql).map(|(url, sql)| Query { url, sql });
        Some(Tenants { list: list?, directory, query, command: command?, exclude: exclude?, refresh: refresh? })
    }

    fn overrides(&mut self) -> Vec<Override> {
        let settings = self.settings;
        settings.exceptions.iter().filter_map(|one| self.exception(one)).collect()
    }

    fn exception(&mut self, one: &Exception) -> Option<Override> {
        let table = format!("{}.{}", keys::OVERRIDES, quoted(&one.pattern));
        let pattern = match glob::Pattern::new(&one.pattern) {
            Ok(pattern) => Some(pattern),
            Err(why) => {
                self.mistakes.push(Mistake::about(one.source.clone(), &table, bad_glob(&one.pattern, &why)));
                None
            }
        };
        Some(Override {
            every: self.exception_key(&table, one, "every", every),
            timeout: self.exception_key(&table, one, "timeout", span_or("none")),
            group: self.exception_key(&table, one, "group", group),
            nice: self.exception_key(&table, one, "nice", integer(-20, 19)),
            enabled: self.exception_key(&table, one, "enabled", boolean),
            source: one.source.clone(),
            pattern: pattern?,
        })
    }

    fn exception_key<T>(
        &mut self,
        table: &str,
        one: &Exception,
        key: &str,
        read: impl Fn(&Item) -> Read<T>,
    ) -> Option<T> {
        let setting = one.keys.get(key)?;
        self.read(&format!("{table}.{key}"), setting, read)
    }

    fn database(&mut self) -> Option<Database> {
        let url = self.required("database.url", database_url);
        let status_table = self.required("database.status_table", table_name);
        let run_table = self.required("database.run_table", table_name);
        let key = self.required("database.key", row_key);
        let migrate = [("auto", Migrate::Auto), ("manual", Migrate::Manual)];
        let migrate = self.required("database.migrate", word(&migrate));
        let connections = self.required("database.connections", integer(1, 10_000u32));
        let poll = self.required("database.poll", span_or("auto"));
        let keep_runs = self.required("database.keep_runs", duration);
        if url.as_ref().is_some_and(Template::needs_database) {
            self.databases_are_named();
        }
        if status_table.is_some() && status_table == run_table {
            self.tables_are_one();
        }
        Some(Database {
            url: url?,
            status_table: status_table?,
            run_table: run_table?,
            key: key?,
            migrate: migrate?,
            connections: connections?,
            poll: poll?,
            keep_runs: keep_runs?,
        })
    }

    /// The URL holds `{database}`: a source must be able to give one.
    fn databases_are_named(&mut self) {
        let set = |key: &&str| {
            let setting = self.settings.values.get(*key);
            setting.is_some_and(|setting| setting.source.origin != Origin::Default)
        };
        let named = ["tenants.query.url", "tenants.query.sql", "tenants.command"].iter().any(set);
        if let (false, Some(setting)) = (named, self.settings.values.get("database.url")) {
            let what = "holds {database}, which only tenants.query and tenants.command can give";
            self.mistakes.push(Mistake::about(setting.source.clone(), "database.url", what));
        }
    }

    /// Told where the later of the two was set.
    fn tables_are_one(&mut self) {
        let tables = ["database.run_table", "database.status_table"];
        let sources = tables.iter().filter_map(|key| self.settings.values.get(key).map(|setting| &setting.source));
        let last = sources.filter(|source| source.origin != Origin::Default).max();
        let source = last.unwrap_or(&self.whole_file).clone();
        self.mistakes.push(Mistake::about(source, "database.run_table", "is the same table as status_table"));
    }

    fn log(&mut self) -> Option<Log> {
        let targets = [("auto", LogTarget::Auto), ("syslog", LogTarget::Syslog), ("stderr", LogTarget::Stderr)];
        let target = self.required("log.target", word(&targets));
        let facility = self.required("log.facility", word(&Facility::ALL.map(|one| (one.as_str(), one))));
        let level = self.required("log.level", word(&LEVELS));
        let socket = self.required("log.socket", absolute_path);
        Some(Log { target: target?, facility: facility?, level: level?, socket: socket? })
    }
}
