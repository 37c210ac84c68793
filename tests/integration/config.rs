//! The configuration as the binary reads it: layers, mistakes, what `config` shows, and how it says no.

use crate::support::configuration::Configuration;
use crate::support::daemon::{BINARY, Supervisor, output_within};
use crate::support::silent::RefusingPort;
use crate::support::wait::secs;
use std::path::Path;
use std::process::Output;

/// A configuration whose database is never asked.
fn nowhere() -> Configuration {
    Supervisor::builder().tenants(&["a", "b"]).set("database.url", "postgresql:///nowhere")
}

fn words(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// The line `key = value   # source` of `config`'s output.
fn shown<'a>(output: &'a str, key: &str) -> (&'a str, &'a str) {
    let start = format!("{key} = ");
    let line = output.lines().find_map(|line| line.strip_prefix(&start));
    let line = line.unwrap_or_else(|| panic!("no {key} in\n{output}"));
    line.split_once(" # ").map(|(value, source)| (value.trim(), source)).unwrap()
}

#[test]
fn ten_different_mistakes_are_all_named_with_file_and_line() {
    let text = "workers = \"cpu/0\"
[job]
comand = [\"/bin/true\"]
kill_after = 30
nice = \"low\"
log = \"logs/{tenant}\"
[schedule]
every = \"0s\"
rounds = \"rollin\"
[tenants]
list = [\"a\", 7]
exclude = [\"[a\"]
[database]
url = \"mysql://h/d\"
connections = 0
[logs]
level = \"info\"
";
    let supervisor = Supervisor::builder().raw(text).prepare();
    let mistakes = [
        "1: workers: \"cpu/0\" divides by zero",
        "3: job.comand: unknown key; did you mean job.command?",
        "4: job.kill_after: expected a duration",
        "5: job.nice: expected an integer",
        "6: job.log: must be an absolute path",
        "8: schedule.every: must be longer than zero",
        "9: schedule.rounds: \"rollin\" is not one of",
        "11: tenants.list: element 2: expected a string",
        "12: tenants.exclude: element 1: \"[a\" is not a shell glob",
        "14: database.url: ",
        "15: database.connections: 0 is outside",
        "16: logs: unknown section; did you mean log?",
    ];
    for verb in
        [&["config"][..], &["run"], &["run", "--once"], &["run", "a"], &["status"], &["migrate"], &["request", "--all"]]
    {
        let (code, stdout, stderr) = words(&supervisor.command(verb));
        assert_eq!((code, stdout.as_str()), (Some(78), ""), "{verb:?}: {stderr}");
        for mistake in mistakes {
            let line = format!("{}:{mistake}", supervisor.config_path().display());
            assert!(stderr.lines().any(|told| told.starts_with(&line)), "{verb:?}: {line:?} is not in\n{stderr}");
        }
        // The key that was misspelt is missing, too.
        assert_eq!(stderr.lines().count(), mistakes.len() + 1, "{verb:?}: something else is told:\n{stderr}");
    }
    assert!(std::fs::read_dir(supervisor.state()).unwrap().next().is_none(), "the state folder was touched");
}

#[test]
fn later_layers_win_and_config_says_where_each_value_came_from() {
    let supervisor = nowhere()
        .set("workers", 1)
        .set("schedule.every", "1h")
        .set("job.env.A", "file")
        .set("job.env.B", "file")
        .env("TENANTCRON_SCHEDULE_ROUNDS", "barrier")
        .env("TENANTCRON_STALE_AFTER", "7h")
        .env("TENANTCRON_TENANT", "a")
        .env("TENANTCRON_RUN_ID", "7")
        .env("TENANTCRON_NODE", "child")
        .prepare();
    let folder = supervisor.folder().join("test.d");
    std::fs::create_dir(&folder).unwrap();
    for (name, text) in [
        ("10-first.toml", "workers = 2\n[stale]\nafter = \"5h\"\nrepeat = \"5min\"\n"),
        ("20-second.toml", "workers = 3\n[job]\nenv = { B = \"second\" }\n[tenants]\nlist = [\"c\"]\n"),
        ("30-not-read.toml.orig", "workers = \"nonsense\"\n"),
        (".40-hidden.toml", "workers = \"nonsense\"\n"),
    ] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let (code, stdout, stderr) = words(&supervisor.command(&["config"]));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let (first, second) = (folder.join("10-first.toml"), folder.join("20-second.toml"));
    let [first, second, file] = [first, second, supervisor.config_path()].map(|path| path.display().to_string());
    for (key, value, source) in [
        ("workers", "3", format!("{second}:1")),
        ("node", "\"node1\"", file.clone()),
        ("schedule.every", "\"1h\"", file.clone()),
        ("schedule.rounds", "\"barrier\"", "environment TENANTCRON_SCHEDULE_ROUNDS".to_owned()),
        ("stale.after", "\"7h\"", "environment TENANTCRON_STALE_AFTER".to_owned()),
        ("stale.repeat", "\"5min\"", format!("{first}:4")),
        ("stale.action", "\"alert\"", "default".to_owned()),
        ("job.env.A", "\"file\"", file),
        ("job.env.B", "\"second\"", format!("{second}:3")),
        ("tenants.list", "[\"c\"]", format!("{second}:5")),
    ] {
        let (is, from) = shown(&stdout, key);
        assert_eq!(is, value, "{key}");
        assert!(from.starts_with(&source), "{key}: {from} is not {source}");
    }
    assert!(stdout.lines().any(|line| line.starts_with("c every=1h key=c ")), "an array replaces: {stdout}");

    // The command line wins over all; it exists for `run` only.
    let bad = supervisor.command(&["run", "--workers", "cpu/0"]);
    assert_eq!(words(&bad).0, Some(78));
    assert!(words(&bad).2.starts_with("command line: workers: \"cpu/0\" divides by zero"), "{bad:?}");
}

#[test]
fn mistakes_in_drop_ins_environment_and_command_line_are_told_together_with_the_files() {
    let supervisor =
        nowhere().set("job.nice", 20).env("TENANTCRON_WOKERS", "3").env("TENANTCRON_LOG_LEVEL", "loud").prepare();
    let folder = supervisor.folder().join("test.d");
    std::fs::create_dir(&folder).unwrap();
    let drop_in = folder.join("a.toml");
    std::fs::write(&drop_in, "[schedule]\nevery = \"20\"\n").unwrap();
    let (code, _, stderr) = words(&supervisor.command(&["run", "--node", "a b"]));
    assert_eq!(code, Some(78));
    for told in [
        format!("{}:", supervisor.config_path().display()),
        format!("{}:2: schedule.every: ", drop_in.display()),
        "environment TENANTCRON_WOKERS: matches no key of the configuration; did you mean TENANTCRON_WORKERS?"
            .to_owned(),
        "environment TENANTCRON_LOG_LEVEL: log.level: \"loud\" is not one of".to_owned(),
        "command line: node: bad name \"a b\"".to_owned(),
    ] {
        assert!(stderr.lines().any(|line| line.starts_with(&told)), "{told:?} is not in\n{stderr}");
    }
    assert_eq!(stderr.lines().count(), 5, "{stderr}");
}

#[test]
fn a_missing_file_is_named_and_the_instance_picks_the_usual_place() {
    let supervisor = nowhere().prepare();
    let ask = |args: &[&str], instance: Option<&str>| {
        let mut command = supervisor.plain_command();
        command.args(args).envs(instance.map(|name| ("TENANTCRON_INSTANCE", name)));
        words(&output_within(command, secs(20)))
    };
    let missing = supervisor.folder().join("no-such.toml").display().to_string();
    for (args, instance, file) in [
        (&["config", "--config", &missing][..], None, missing.as_str()),
        (&["config", "--instance", "no-such"], None, "/etc/tenantcron/no-such.toml"),
        (&["run"], Some("no-such-either"), "/etc/tenantcron/no-such-either.toml"),
        (&["status", "--instance", "no-such"], Some("other"), "/etc/tenantcron/no-such.toml"),
    ] {
        let (code, stdout, stderr) = ask(args, instance);
        assert_eq!((code, stdout.as_str()), (Some(78), ""), "{args:?}");
        assert!(stderr.starts_with(&format!("{file}: cannot read the file: No such file")), "{args:?}: {stderr}");
    }
    let (code, _, stderr) = ask(&["config", "--instance", "../x"], None);
    assert!(code == Some(78) && stderr.contains("../x"), "{stderr}");
}

#[test]
fn what_config_shows_is_a_configuration_that_means_the_same() {
    let supervisor = nowhere()
        .set("job.env.GREETING", "he said \"hello\\world\"")
        .set_at(&["override", "*.big.example", "every"], "1h")
        .set("limits.cluster", 9)
        .prepare();
    let (_, shown, _) = words(&supervisor.command(&["config"]));
    let values = |text: &str| -> Vec<String> {
        text.lines()
            .filter(|line| line.contains(" = "))
            .map(|line| line.rsplit_once(" # ").unwrap().0.trim().to_owned())
            .collect()
    };
    let again = supervisor.folder().join("again.toml");
    let settings: Vec<&str> = shown.lines().take_while(|line| !line.contains(" workers on this host")).collect();
    std::fs::write(&again, settings.join("\n")).unwrap();
    let mut command = supervisor.plain_command();
    command.args(["config", "--config"]).arg(&again);
    let (code, second, stderr) = words(&output_within(command, secs(20)));
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(values(&second), values(&shown));
    assert!(values(&shown).len() > 30, "{shown}");
}

#[test]
fn passwords_are_shown_nowhere() {
    let refusing = RefusingPort::take();
    let url = refusing.url("x").replace("postgres@", "postgres:hush%3Ahush@");
    assert!(url.contains("hush"), "{url}");
    let supervisor = Supervisor::builder()
        .tenants(&["a"])
        .set("database.url", url)
        .set("tenants.query.url", "postgresql://u@127.0.0.1:1/x?password=hush%3Ahush")
        .set("tenants.query.sql", "SELECT name FROM tenant")
        .set("job.env.API_TOKEN", "hush:hush")
        .prepare();
    for (verb, exit) in [(&["config"][..], 1), (&["run", "--once", "-v"], 69), (&["run", "a"], 69), (&["status"], 69)] {
        let (code, stdout, stderr) = words(&supervisor.command(verb));
        assert!(!stdout.contains("hush") && !stderr.contains("hush"), "{verb:?}: {stdout}{stderr}");
        assert_eq!(code, Some(exit), "{verb:?}: {stdout}{stderr}");
    }
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    let supervisor = nowhere().prepare();
    let config = supervisor.config_path().display().to_string();
    for args in [
        &[][..],
        &["frobnicate"],
        &["run", "--frobnicate"],
        &["run", "--once", "--dry-run"],
        &["run", "--once", "a"],
        &["run", "--force"],
        &["run", "--workers"],
        &["request"],
        &["request", "--all", "a"],
        &["run", "../a"],
        &["status", "--json=yes"],
    ] {
        let mut command = supervisor.plain_command();
        command.args(args);
        if !args.is_empty() {
            command.args(["--config", &config]);
        }
        let (code, stdout, stderr) = words(&output_within(command, secs(20)));
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{args:?}: {stderr}");
        assert_ne!(stderr, "", "{args:?}");
    }
}

#[test]
fn help_and_version_are_data() {
    for (args, word) in [
        (&["--help"][..], "Usage: tenantcron"),
        (&["-h"], "Usage: tenantcron"),
        (&["run", "--help"], "--dry-run"),
        (&["--version"], concat!("tenantcron ", env!("CARGO_PKG_VERSION"))),
        (&["-V"], concat!("tenantcron ", env!("CARGO_PKG_VERSION"))),
    ] {
        let mut command = crate::support::world::world().command(BINARY, None);
        command.args(args);
        let (code, stdout, stderr) = words(&output_within(command, secs(20)));
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{args:?}");
        assert!(stdout.contains(word), "{args:?}: {stdout}");
    }
}

#[test]
fn the_sample_passes_config_with_its_tenants() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("etc/tenantcron.toml");
    let mut command = crate::support::world::world().command(BINARY, None);
    // Where not even a home folder is known, the log has no default.
    command.args(["config", "--config"]).arg(&sample).env("XDG_STATE_HOME", "/var/lib/state");
    let (code, stdout, stderr) = words(&output_within(command, secs(20)));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.contains("\n# 2 tenants\na.example every=20m "), "{stdout}");
    assert!(stdout.contains("\nb.example every=20m "), "{stdout}");
}
