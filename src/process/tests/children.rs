//! How children start, what they find, how they end.

use super::*;
use nix::sys::signal::Signal;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;

#[test]
fn an_end_is_told_once_and_truly() {
    if !alone(an_end_is_told_once_and_truly) {
        return;
    }
    let nothing = |_: &mut Spawn<'_>| {};
    assert_eq!(run(&["/bin/true"], nothing).1.exit, Exit::Code(0));
    assert_eq!(run(&["/bin/sh", "-c", "exit 3"], nothing).1.exit, Exit::Code(3));
    assert_eq!(run(&["/bin/sh", "-c", "kill -SEGV $$"], nothing).1.exit, Exit::Signal(11));
    assert_eq!(run(&["/bin/sh", "-c", "kill -KILL $$"], nothing).1.exit, Exit::Signal(9));
    let busy = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
    let ended = run(&["/bin/sh", "-c", busy], nothing).1;
    assert!(ended.cpu > Duration::from_millis(10), "{ended:?}");
    assert_eq!(reap().unwrap(), [], "no child is left, and that is no error");
}

#[test]
fn many_children_that_end_at_once_are_all_told() {
    if !alone(many_children_that_end_at_once_are_all_told) {
        return;
    }
    let (argv, environment, log) = (argv(&["true"]), environment(), tempfile::tempfile().unwrap());
    let spawner = Spawner::new().unwrap();
    let child = spawn(&argv, &environment, &log);
    let mut waited: Vec<i32> = (0..50).map(|_| spawner.spawn(&child).unwrap().process.pid).collect();
    eventually("all 50 ended", || {
        for ended in reap().unwrap() {
            let at = waited.iter().position(|pid| *pid == ended.pid).unwrap();
            waited.swap_remove(at);
        }
        waited.is_empty()
    });
}

#[test]
fn a_peak_of_memory_counts_only_above_our_own() {
    if !alone(a_peak_of_memory_counts_only_above_our_own) {
        return;
    }
    let ended = run(&["/bin/true"], |_| {}).1;
    assert_eq!(ended.peak_kb(own_peak_kb()), None, "{ended:?}, own {}", own_peak_kb());
    let large = "x=$(head -c 60000000 /dev/zero | tr '\\0' a); exit 0";
    let ended = run(&["/bin/sh", "-c", large], |_| {}).1;
    assert!(ended.peak_kb(own_peak_kb()).is_some_and(|kb| kb > 50_000), "{ended:?}");
}

#[test]
fn what_cannot_be_executed_is_126_or_127_as_a_shell_says() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str, mode: u32| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let plain = file("plain", "text", 0o644);
    let format = file("format", "\u{7f}not a program", 0o755);
    let no_interpreter = file("script", "#!/nowhere/interpreter\n", 0o755);
    let under_file = format!("{plain}/x");
    let looped = folder.path().join("loop");
    std::os::unix::fs::symlink(&looped, &looped).unwrap();
    for (program, want) in [
        ("/nowhere/program", 127),
        ("no-such-program-in-any-path", 127),
        ("", 127),
        (no_interpreter.as_str(), 127),
        (under_file.as_str(), 127),
        (plain.as_str(), 126),
        (format.as_str(), 126),
        (folder.path().to_str().unwrap(), 126),
        (looped.to_str().unwrap(), 126),
    ] {
        let (argv, environment, log) = (argv(&[program]), environment(), tempfile::tempfile().unwrap());
        let failure = Spawner::new().unwrap().spawn(&spawn(&argv, &environment, &log)).unwrap_err();
        let SpawnFailure::CannotExecute { code, text, .. } = failure else { panic!("{program}: {failure:?}") };
        assert_eq!(code, want, "{text}");
        assert!(text.contains(program), "{text}");
    }
}

#[test]
fn a_busy_program_file_is_tried_again_later() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("busy");
    std::fs::copy("/bin/true", &path).unwrap();
    let _writer = File::options().append(true).open(&path).unwrap();
    let (argv, environment, log) = (argv(&[path.to_str().unwrap()]), environment(), tempfile::tempfile().unwrap());
    let failure = Spawner::new().unwrap().spawn(&spawn(&argv, &environment, &log)).unwrap_err();
    assert!(matches!(failure, SpawnFailure::NoResources { .. }), "{failure:?}");
}

#[test]
fn a_directory_that_cannot_be_entered_is_named_and_not_the_program() {
    for directory in ["/nowhere/at/all", "/etc/passwd"] {
        let (argv, environment, log) = (argv(&["/bin/true"]), environment(), tempfile::tempfile().unwrap());
        let child = Spawn { directory: Some(Path::new(directory)), ..spawn(&argv, &environment, &log) };
        let failure = Spawner::new().unwrap().spawn(&child).unwrap_err();
        assert!(matches!(&failure, SpawnFailure::Directory { text } if text.contains(directory)), "{failure:?}");
    }
}

#[test]
fn a_child_begins_in_its_directory_and_its_program_is_sought_in_its_own_path() {
    if !alone(a_child_begins_in_its_directory_and_its_program_is_sought_in_its_own_path) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("bin")).unwrap();
    let program = folder.path().join("bin/own-program");
    std::fs::write(&program, "#!/bin/sh\npwd; cat; env\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let job = [("PATH", "/nowhere:bin:/usr/bin:/bin")];
    let environment = ChildEnvironment::new(std::env::vars_os(), job, "web1", "wcs").unwrap();
    let log = tempfile::NamedTempFile::new().unwrap();
    let (argv, name) = (argv(&["own-program"]), tenant("a.example"));
    let child = Spawn {
        directory: Some(folder.path()),
        run: Some((&name, RunId(4711))),
        ..spawn(&argv, &environment, log.as_file())
    };
    let spawned = Spawner::new().unwrap().spawn(&child).unwrap();
    assert_eq!(collect(spawned.process.pid).exit, Exit::Code(0));
    let printed = std::fs::read_to_string(log.path()).unwrap();
    assert!(printed.starts_with(folder.path().canonicalize().unwrap().to_str().unwrap()), "{printed}");
    for line in [
        "TENANTCRON_TENANT=a.example",
        "TENANTCRON_RUN_ID=4711",
        "TENANTCRON_NODE=web1",
        "TENANTCRON_INSTANCE=wcs",
        "PGAPPNAME=tenantcron a.example",
    ] {
        assert_eq!(printed.lines().filter(|printed| *printed == line).count(), 1, "{line} in {printed}");
    }
}

#[test]
fn a_child_has_no_descriptor_but_the_three_its_lock_and_its_slot() {
    if !alone(a_child_has_no_descriptor_but_the_three_its_lock_and_its_slot) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let state = state(folder.path());
    // All that a supervisor has open at its busiest, and one that it inherited itself.
    let inherited = nix::unistd::dup(File::open("/dev/null").unwrap()).unwrap();
    let (_signals, _waker) = (Signals::install().unwrap(), Waker::new().unwrap());
    let me = Process::me().unwrap();
    let _supervisor = SupervisorLock::take(&state, "web1", me).unwrap().unwrap();
    let mut lock = TenantLock::try_take(&state, &tenant("a")).unwrap().unwrap();
    lock.write_claiming(me, "host").unwrap();
    let _other = TenantLock::try_take(&state, &tenant("b")).unwrap().unwrap();
    let slots = Slots::new(&state, "web1").take(1, 3).unwrap();
    let keep: [BorrowedFd<'_>; 2] = [lock.as_fd(), slots[0].as_fd()];
    let log = tempfile::NamedTempFile::new().unwrap();
    let (argv, environment) = (argv(&["/bin/sh", "-c", "ls -l /proc/$$/fd"]), environment());
    let child = Spawn { keep: &keep, ..spawn(&argv, &environment, log.as_file()) };
    collect(Spawner::new().unwrap().spawn(&child).unwrap().process.pid);
    let printed = std::fs::read_to_string(log.path()).unwrap();
    let targets: Vec<_> = printed.lines().filter_map(|line| Some(line.split_once(" -> ")?.1)).collect();
    let path = |path: &Path| path.canonicalize().unwrap().to_str().unwrap().to_owned();
    let (log, lock_path) = (path(log.path()), path(&state.tenant_lock(&tenant("a"))));
    let slot_path = path(&state.file("slot.web1.1"));
    assert_eq!(targets, ["/dev/null", &log, &log, &lock_path, &slot_path], "{printed}");
    assert!(keep.iter().all(|file| file.as_raw_fd() >= 64));
    drop(inherited);
}

#[test]
fn a_child_leads_a_group_and_its_signals_are_at_their_defaults() {
    if !alone(a_child_leads_a_group_and_its_signals_are_at_their_defaults) {
        return;
    }
    let _signals = Signals::install().unwrap();
    let (printed, ended) = run(&["/bin/cat", "/proc/self/status", "/proc/self/stat"], |_| {});
    for mask in ["SigBlk", "SigIgn", "SigCgt"] {
        let line = printed.lines().find(|line| line.starts_with(mask)).unwrap();
        assert!(line.ends_with("\t0000000000000000"), "{line}");
    }
    let fields: Vec<_> = printed.lines().last().unwrap().rsplit_once(')').unwrap().1.split(' ').collect();
    assert_eq!(fields[3], ended.pid.to_string(), "its process group is its own");
}

#[test]
fn niceness_and_oom_score_are_set_and_what_cannot_be_set_is_a_warning() {
    if !alone(niceness_and_oom_score_are_set_and_what_cannot_be_set_is_a_warning) {
        return;
    }
    let (argv, environment, log) = (argv(&["/bin/sleep", "100"]), environment(), tempfile::tempfile().unwrap());
    let spawner = Spawner::new().unwrap();
    let child = Spawn { nice: 7, oom_score_adj: Some(500), ..spawn(&argv, &environment, &log) };
    let spawned = spawner.spawn(&child).unwrap();
    assert_eq!(spawned.warnings, [""; 0]);
    let pid = spawned.process.pid;
    let score = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    assert_eq!(score.trim(), "500");
    assert_eq!(stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().nth(16), Some("7"));
    assert_eq!(Process::of(pid).unwrap(), Some(spawned.process));
    let other = spawner.spawn(&Spawn { oom_score_adj: Some(5000), ..child }).unwrap();
    assert_eq!(other.warnings.len(), 1, "{other:?}");
    for pid in [pid, other.process.pid] {
        assert!(signal_group(pid, Signal::SIGKILL).unwrap());
        assert_eq!(collect(pid).exit, Exit::Signal(9));
    }
}

#[test]
fn a_group_has_members_until_the_last_has_ended() {
    if !alone(a_group_has_members_until_the_last_has_ended) {
        return;
    }
    let (_, ended) = run(&["/bin/sh", "-c", "sleep 100 & exit 4"], |_| {});
    assert_eq!(ended.exit, Exit::Code(4));
    assert!(has_members(ended.pid).unwrap() && has_living_members(ended.pid).unwrap());
    assert_eq!(members(ended.pid).unwrap().len(), 1);
    assert!(signal_group(ended.pid, Signal::SIGTERM).unwrap());
    eventually("the group is empty", || !has_living_members(ended.pid).unwrap());
    for group in [1, 0, -1] {
        assert!(signal_group(group, Signal::SIGCONT).is_err(), "a group that is everybody's is refused");
    }
}

#[test]
fn a_command_prints_into_memory_and_both_streams_are_told_apart() {
    if !alone(a_command_prints_into_memory_and_both_streams_are_told_apart) {
        return;
    }
    let script = "echo one; echo lost >&2; echo two; echo more >/dev/stderr; exit 2";
    let command = Command::start(&Spawner::new().unwrap(), &argv(&["sh", "-c", script]), &environment()).unwrap();
    assert_eq!(collect(command.process().pid).exit, Exit::Code(2));
    let printed = command.printed().unwrap();
    assert_eq!(String::from_utf8_lossy(&printed.output), "one\ntwo\n");
    assert!(String::from_utf8_lossy(&printed.error).ends_with("more\n"), "{printed:?}");
    assert!(!printed.output_is_cut);
    let script = "head -c 9000000 /dev/zero";
    let command = Command::start(&Spawner::new().unwrap(), &argv(&["sh", "-c", script]), &environment()).unwrap();
    collect(command.process().pid);
    let printed = command.printed().unwrap();
    assert!(printed.output_is_cut && printed.output.len() == 8 << 20);
}

#[test]
fn a_thousand_runs_leave_no_descriptor_open() {
    if !alone(a_thousand_runs_leave_no_descriptor_open) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let state = state(folder.path());
    let (argv, environment, log) = (argv(&["/bin/true"]), environment(), tempfile::tempfile().unwrap());
    let (spawner, slots, name) = (Spawner::new().unwrap(), Slots::new(&state, "web1"), tenant("a"));
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    #[expect(clippy::disallowed_methods, reason = "measures")]
    let begun = std::time::Instant::now();
    for number in 0..1000 {
        let lock = TenantLock::try_take(&state, &name).unwrap().unwrap();
        let slot = slots.take(1, 2).unwrap().pop().unwrap();
        let keep = [lock.as_fd(), slot.as_fd()];
        let run = Some((&name, RunId(number)));
        let child = Spawn { keep: &keep, run, oom_score_adj: Some(500), ..spawn(&argv, &environment, &log) };
        let spawned = spawner.spawn(&child).unwrap();
        assert_eq!(spawned.warnings, [""; 0]);
        let mut ended = Vec::new();
        while ended.is_empty() {
            ended = reap().unwrap();
            std::thread::yield_now();
        }
        assert_eq!((ended.len(), ended[0].pid), (1, spawned.process.pid));
        assert!(!has_members(spawned.process.pid).unwrap());
        lock.unlock().unwrap();
        slot.release().unwrap();
    }
    println!("1000 runs: {:?}", begun.elapsed());
    assert_eq!(open(), before);
}
