//! Whole files on disk, in layers; and what is told when they are wrong.

use super::{LEAST, load_text, request, told, told_of};
use crate::config::*;
use crate::model::{Template, TenantName};
use std::time::Duration;

#[test]
fn the_least_configuration_has_the_defaults_of_the_contract() {
    let loaded = load_text(LEAST).unwrap();
    let config = loaded.config;
    assert_eq!(loaded.instance, "wcs");
    assert_eq!((config.workers.to_string().as_str(), config.node.as_str(), config.enabled), ("cpu/2+1", "web1", true));
    assert_eq!((config.state, config.job.user, config.job.directory, config.job.timeout), (None, None, None, None));
    assert_eq!((config.job.kill_after, config.job.nice, config.job.oom_score_adj), (Duration::from_secs(30), 0, 500));
    assert_eq!(config.job.log.source(), "/var/log/tenantcron/{tenant}.log");
    let schedule = Schedule { every: Duration::from_secs(1200), offset: Offset::Auto, rounds: Rounds::Rolling };
    assert_eq!(config.schedule, schedule);
    let (after, repeat) = (Duration::from_secs(86_400), Duration::from_secs(3600));
    assert_eq!(config.stale, Stale { after, action: StaleAction::Alert, repeat });
    assert_eq!(config.limits, Limits { cluster: 0, group: 0 });
    assert_eq!(config.cluster, Cluster { takeover_after: None });
    assert_eq!(config.tenants.refresh, Duration::from_secs(60));
    assert_eq!(config.database.status_table, TableName { schema: None, name: "tenantcron_status".into() });
    assert_eq!(config.database.run_table, TableName { schema: None, name: "tenantcron_run".into() });
    assert_eq!(config.database.key.source(), "{tenant}");
    assert_eq!((config.database.migrate, config.database.connections), (Migrate::Auto, 8));
    assert_eq!(config.database.keep_runs, Duration::from_secs(30 * 86_400));
    assert_eq!((config.log.target, config.log.facility.as_str()), (LogTarget::Auto, "cron"));
    assert_eq!((config.log.facility.number(), config.log.level), (9, log::LevelFilter::Info));
}

#[test]
fn a_database_is_polled_the_more_rarely_when_there_are_many() {
    let mut database = load_text(LEAST).unwrap().config.database;
    assert_eq!(database.poll_interval(), Duration::from_secs(10));
    database.url = Template::parse("postgresql:///x_{tenant_}", &["tenant_"]).unwrap();
    assert_eq!(database.poll_interval(), Duration::from_secs(60));
    database.poll = Some(Duration::from_secs(3));
    assert_eq!(database.poll_interval(), Duration::from_secs(3));
}

#[test]
fn ten_different_mistakes_in_one_file_are_all_named() {
    let text = r#"workers = "cpu/0"
colour = "red"
[job]
command = []
kill_after = 30
nice = 20
log = "log/{tenant}"
[schedule]
evry = "20min"
every = "0s"
rounds = "rollin"
[tenants]
list = ["a", 7]
exclude = ["ok", "[a"]
[override."[b"]
timeout = "soon"
[database]
url = "mysql://u:secret@h/d"
status_table = "a.b.c"
key = "{instance}"
connections = 0
"#;
    let told = told(text);
    assert_eq!(
        told,
        [
            "wcs.toml:1: workers: \"cpu/0\" divides by zero",
            "wcs.toml:2: colour: unknown key; known outside sections: workers, node, enabled, state",
            "wcs.toml:4: job.command: is empty; write [\"/usr/bin/program\", \"argument\"]",
            "wcs.toml:5: job.kill_after: expected a duration with its unit, such as \"20min\", found an integer",
            "wcs.toml:6: job.nice: 20 is outside -20 to 19",
            "wcs.toml:7: job.log: must be an absolute path, beginning with '/'",
            "wcs.toml:9: schedule.evry: unknown key; did you mean schedule.every?",
            "wcs.toml:10: schedule.every: must be longer than zero",
            "wcs.toml:11: schedule.rounds: \"rollin\" is not one of \"rolling\", \"refill\", \"barrier\"; did you mean \"rolling\"?",
            "wcs.toml:13: tenants.list: element 2: expected a string, found an integer",
            "wcs.toml:14: tenants.exclude: element 2: \"[a\" is not a shell glob: invalid range pattern at character 1",
            "wcs.toml:15: override.\"[b\": \"[b\" is not a shell glob: invalid range pattern at character 1",
            "wcs.toml:16: override.\"[b\".timeout: \"soon\" is neither \"none\" nor a duration such as \"20min\"",
            "wcs.toml:18: database.url: the URL begins with mysql://; it must begin with postgresql://",
            "wcs.toml:19: database.status_table: \"a.b.c\" is not \"name\" or \"schema.name\": only letters, digits and _ $ - are allowed; it is quoted for you",
            "wcs.toml:20: database.key: must hold {tenant}, else all tenants would share one row",
            "wcs.toml:21: database.connections: 0 is outside 1 to 10000",
        ]
    );
}

#[test]
fn each_impossible_value_is_refused_with_its_line() {
    for (line, want) in [
        ("workers = 0", "workers: \"0\" comes to less than one worker"),
        ("workers = 1.5", "workers: expected a number or an expression"),
        ("workers = { cpu = 1 }", "workers: expected a number or an expression"),
        ("node = \"a b\"", "node: bad name \"a b\""),
        ("enabled = \"no\"", "enabled: expected true or false, found a string"),
        ("state = \"run\"", "state: must be an absolute path"),
        ("job.user = \"wcs\"", "job.user: running children as another user belongs to a later version"),
        ("job.directory = \"x\"", "job.directory: must be an absolute path"),
        ("job.kill_after = \"0s\"", "job.kill_after: must be longer than zero"),
        ("job.timeout = 20", "job.timeout: expected \"none\" or a duration with its unit, such as \"20min\""),
        ("job.oom_score_adj = 1001", "job.oom_score_adj: 1001 is outside -1000 to 1000"),
        ("job.log = \"/x/{run_id}\"", "job.log: unknown placeholder {run_id}; known here: {tenant}"),
        ("job.env = { \"A=B\" = \"1\" }", "job.env.\"A=B\": cannot be the name of a variable"),
        ("job.env = { TENANTCRON_TENANT = \"x\" }", "job.env.TENANTCRON_TENANT: is set by tenantcron"),
        ("job.env = { PORT = 80 }", "job.env.PORT: expected a string, found an integer"),
        ("job.env = \"A=1\"", "job.env: expected a table, found a string"),
        ("schedule.every = \"2years\"", "schedule.every: is longer than a year"),
        ("schedule.offset = \"later\"", "schedule.offset: \"later\" is neither \"auto\", \"spread\" nor a duration"),
        ("stale.after = \"0s\"", "stale.after: must be longer than zero"),
        ("stale.action = \"stop\"", "stale.action: \"stop\" is not one of"),
        ("limits.group = -1", "limits.group: -1 is outside 0 to 4294967295"),
        (
            "cluster.takeover_after = \"50s\"",
            "cluster.takeover_after: must be longer than job.kill_after + 20s, which is 50s",
        ),
        ("tenants.directory = \"tenants\"", "tenants.directory: must be an absolute path"),
        ("tenants.query.url = \"postgresql:///x\"", "tenants.query.sql: missing; a query needs both url and sql"),
        ("tenants.query.sql = \"SELECT 1\"", "tenants.query.url: missing; a query needs both url and sql"),
        ("tenants.query = \"SELECT 1\"", "tenants.query: expected a table, found a string"),
        ("tenants.command = [\"\"]", "tenants.command: the program is empty"),
        ("tenants.refresh = \"0s\"", "tenants.refresh: must be longer than zero"),
        ("override.a.group = \"x/y\"", "override.a.group: \"x/y\" holds a '/'"),
        ("override.a.nice = 30", "override.a.nice: 30 is outside -20 to 19"),
        ("override.a = 3", "override.a: expected a table, as in [override.\"*.example\"], found an integer"),
        ("override = []", "override: expected a table, found an array"),
        ("database.run_table = \"tenantcron_status\"", "database.run_table: is the same table as status_table"),
        ("database.poll = \"often\"", "database.poll: \"often\" is neither \"auto\" nor a duration"),
        ("database.migrate = true", "database.migrate: expected one of \"auto\", \"manual\", found a boolean"),
        ("log.facility = \"crom\"", "did you mean \"cron\"?"),
        (
            "log.level = \"loud\"",
            "log.level: \"loud\" is not one of \"error\", \"warn\", \"info\", \"debug\", \"trace\"",
        ),
        ("log.socket = \"log\"", "log.socket: must be an absolute path"),
        ("metrics.listen = \"127.0.0.1:9186\"", "metrics.listen: the metrics listener is not in this version"),
        ("database.key = \"{run_id}\"", "database.key: unknown placeholder {run_id}"),
        ("tenants.command = [\"a\", 1]", "tenants.command: element 2: expected a string, found an integer"),
        ("log = 3", "log: expected a table, found an integer"),
        ("job.every = \"1h\"", "job.every: unknown key; did you mean schedule.every?"),
    ] {
        let told = told(&format!("{LEAST}{line}\n"));
        let [only] = told.as_slice() else { panic!("{line}: one mistake expected, told {told:?}") };
        assert!(only.contains(want), "{line}: {only}");
        let missing = want.contains("missing;");
        assert!(missing || only.starts_with("wcs.toml:4: "), "{line}: {only}");
    }
}

#[test]
fn a_database_by_name_needs_a_source_that_names_it() {
    let text = LEAST.replace("postgresql:///x", "postgresql:///{database}");
    let want = "wcs.toml:2: database.url: holds {database}, which only tenants.query and tenants.command can give";
    assert_eq!(told(&text), [want]);
    load_text(&format!("{text}tenants.command = [\"/bin/list\"]\n")).unwrap();
}

#[test]
fn a_host_that_cannot_tell_its_defaults_is_asked_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wcs.toml");
    std::fs::write(&file, LEAST).unwrap();
    let request = Request { root: false, hostname: "a host".into(), ..request(&file) };
    let told = told_of(&request, folder.path());
    assert_eq!(told[0], "wcs.toml: job.log: missing; this host tells no default");
    assert!(
        told[1].starts_with("default: node: bad name \"a host\"") && told[1].ends_with("by the key node or by --node")
    );
    let named = Request { arguments: vec![("node".into(), "web2".into())], home: Some("/h".into()), ..request };
    assert_eq!(load(&named).unwrap().config.node, "web2");
}

#[test]
fn what_is_missing_is_said_of_the_file() {
    assert_eq!(
        told("job.command = \"/bin/true\"\n"),
        [
            "wcs.toml: tenants: no source of tenants; set list, directory, query or command in [tenants]",
            "wcs.toml: database.url: missing; it has no default",
            "wcs.toml:1: job.command: expected an array: there is no shell; write [\"/usr/bin/program\", \"argument\"]",
        ]
    );
}

#[test]
fn a_syntax_error_has_line_and_column_and_hides_no_other_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wcs.toml");
    std::fs::create_dir(folder.path().join("wcs.d")).unwrap();
    std::fs::write(&file, "enabled = maybe\n[schedule]\nevery = 20min\nrounds = 1\n").unwrap();
    std::fs::write(folder.path().join("wcs.d/10.toml"), "[job]\nnice = 99\n").unwrap();
    let told = told_of(&request(&file), folder.path());
    let places: Vec<_> = told.iter().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["wcs.toml:1:11", "wcs.toml:3:9", "wcs.toml:4", "wcs.d/10.toml:2"], "{told:#?}");
    assert!(told[1].contains("not TOML"), "{told:#?}");
}

#[test]
fn layers_are_read_in_order_and_each_mistake_names_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wcs.toml");
    let drop_ins = folder.path().join("wcs.d");
    std::fs::create_dir(&drop_ins).unwrap();
    std::fs::write(
        &file,
        format!("workers = 1\nnode = \"one\"\n{LEAST}[override.\"*.big\"]\nevery = \"1h\"\ntimeout = \"6h\"\n"),
    )
    .unwrap();
    std::fs::write(
        drop_ins.join("20-b.toml"),
        "workers = 3\nschedule.every = \"3h\"\n[override.\"*.big\"]\nevery = \"2h\"\n",
    )
    .unwrap();
    std::fs::write(drop_ins.join("10-a.toml"), "workers = 2\nnode = \"two\"\nschedule.every = \"2h\"\n").unwrap();
    std::fs::write(drop_ins.join(".hidden.toml"), "workers = 9\n").unwrap();
    std::fs::write(drop_ins.join("note.txt"), "not read\n").unwrap();
    let mut request = request(&file);
    request.environment = vec![("TENANTCRON_DATABASE_CONNECTIONS".into(), "4".into())];
    request.arguments = vec![("workers".into(), "cpu*2".into())];
    let loaded = load(&request).unwrap();
    let config = &loaded.config;
    assert_eq!((config.workers.to_string().as_str(), config.node.as_str()), ("cpu*2", "two"));
    assert_eq!((config.schedule.every, config.database.connections), (Duration::from_secs(3 * 3600), 4));
    let big = config.for_tenant(&TenantName::parse("x.big").unwrap(), None);
    assert_eq!((big.every, big.timeout), (Duration::from_secs(2 * 3600), Some(Duration::from_secs(6 * 3600))));

    std::fs::write(drop_ins.join("30-c.toml"), "schedule.every = 5\n").unwrap();
    request.environment.push(("TENANTCRON_LOG_LEVEL".into(), "loud".into()));
    request.environment.push(("TENANTCRON_LOG_LEVLE".into(), "info".into()));
    request.arguments.push(("node".into(), "-x".into()));
    let told = told_of(&request, folder.path());
    for (line, want) in told.iter().zip([
        "wcs.d/30-c.toml:1: schedule.every: ",
        "environment TENANTCRON_LOG_LEVEL: log.level: \"loud\"",
        "environment TENANTCRON_LOG_LEVLE: matches no key of the configuration; did you mean TENANTCRON_LOG_LEVEL?",
        "command line: node: bad name",
    ]) {
        assert!(line.starts_with(want), "{line}\n{want}");
    }
    assert_eq!(told.len(), 4);
}

#[test]
fn a_file_that_cannot_be_read_is_the_mistake_and_not_what_it_might_have_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wcs.toml");
    let told_here = || told_of(&request(&file), folder.path());
    assert_eq!(told_here(), ["wcs.toml: cannot read the file: No such file or directory (os error 2)"]);
    std::fs::write(&file, b"workers = 1\nnode = \"\xff\"\n").unwrap();
    assert_eq!(told_here(), ["wcs.toml: cannot read the file: not UTF-8 in line 2"]);
    std::fs::write(&file, LEAST).unwrap();
    std::fs::write(folder.path().join("wcs.d"), "").unwrap();
    assert_eq!(told_here(), ["wcs.d: cannot list the folder: Not a directory (os error 20)"]);
}

#[test]
fn variables_that_are_not_text_are_named_and_the_childs_are_no_configuration() {
    use std::os::unix::ffi::OsStringExt;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wcs.toml");
    std::fs::write(&file, LEAST).unwrap();
    let mut request = request(&file);
    let bad = std::ffi::OsString::from_vec(b"\xff".to_vec());
    for name in ["TENANTCRON_TENANT", "TENANTCRON_RUN_ID", "TENANTCRON_NODE", "TENANTCRON_INSTANCE", "OTHER"] {
        request.environment.push((name.into(), bad.clone()));
    }
    assert_eq!(load(&request).unwrap().config.node, "web1");
    request.environment.push(("TENANTCRON_STATE".into(), bad));
    assert_eq!(
        told_of(&request, folder.path()),
        ["environment TENANTCRON_STATE: state: the variable's value is not UTF-8"]
    );
}

#[test]
fn of_two_overrides_the_later_wins_key_by_key() {
    let text = format!(
        "{LEAST}[override.\"z*\"]\nevery = \"1h\"\ntimeout = \"2h\"\nnice = 5\ngroup = \"g\"\n\
         [override.\"*\"]\nnice = 7\n[override.za]\ntimeout = \"none\"\ngroup = \"\"\nenabled = false\n"
    );
    let config = load_text(&text).unwrap().config;
    let settings = |name: &str| config.for_tenant(&TenantName::parse(name).unwrap(), Some("own"));
    let other = settings("a");
    assert_eq!((other.every, other.timeout, other.nice), (Duration::from_secs(1200), None, 7));
    assert_eq!((other.group.as_deref(), other.enabled), (Some("own"), true));
    let first = settings("zz");
    assert_eq!((first.every, first.timeout), (Duration::from_secs(3600), Some(Duration::from_secs(7200))));
    assert_eq!((first.nice, first.group.as_deref()), (7, Some("g")));
    let both = settings("za");
    assert_eq!((both.every, both.timeout, both.group, both.enabled), (Duration::from_secs(3600), None, None, false));
}

#[test]
fn the_explanation_is_the_configuration_again_and_hides_what_is_secret() {
    let text = "workers = 2\n[job]\ncommand = [\"/bin/x\", \"postgresql://u:hush@h/d\"]\n\
                env = { LANG = \"C\", API_TOKEN = \"hush\" }\n\
                [tenants]\nquery = { url = \"postgresql://u:hush@h/d\", sql = \"SELECT 1\" }\n\
                [override.\"*.big\"]\nnice = 3\n[database]\nurl = \"postgresql:///{tenant}?password=hush\"\n";
    let lines = load_text(text).unwrap().explanation();
    let has = |start: &str, end: &str| lines.iter().any(|line| line.starts_with(start) && line.ends_with(end));
    assert!(has("workers = 2 ", "/wcs.toml:1"));
    assert!(has("schedule.every = \"20min\" ", "# default"));
    assert!(has("job.env.API_TOKEN = \"***\" ", "/wcs.toml:4"));
    assert!(has("job.env.LANG = \"C\" ", "/wcs.toml:4"));
    assert!(has("override.\"*.big\".nice = 3 ", "/wcs.toml:8"));
    assert!(has("database.url = \"postgresql:///{tenant}?password=***\" ", "/wcs.toml:10"));
    assert!(has("# state is not set: ", ""));
    let all = lines.join("\n");
    assert!(!all.contains("hush"), "{all}");
    load_text(&all).unwrap_or_else(|mistakes| panic!("{mistakes}\n{all}"));
}
