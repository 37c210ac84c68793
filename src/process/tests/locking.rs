//! Locks between processes: held by a child after its supervisor, given up through any duplicate.

use super::*;
use nix::sys::signal::Signal;

#[test]
fn one_lock_one_holder_and_only_unlocking_frees_it() {
    let folder = tempfile::tempdir().unwrap();
    let (state, name) = (state(folder.path()), tenant("a"));
    assert_eq!(probe_tenant(&state, &name).unwrap(), Held::Free, "a lock that was never made");
    assert!(!state.tenant_lock(&name).exists(), "who tries makes nothing");
    let lock = TenantLock::try_take(&state, &name).unwrap().unwrap();
    assert!(TenantLock::try_take(&state, &name).unwrap().is_none());
    assert!(TenantLock::try_take(&state, &tenant("b")).unwrap().is_some());
    assert_eq!(probe_tenant(&state, &name).unwrap(), Held::Held);
    lock.unlock().unwrap();
    assert_eq!(probe_tenant(&state, &name).unwrap(), Held::Free);
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(state.tenant_lock(&name)).unwrap());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_link_in_the_place_of_a_lock_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (state, name) = (state(folder.path()), tenant("a"));
    std::os::unix::fs::symlink("/etc/passwd", state.tenant_lock(&name)).unwrap();
    let error = TenantLock::try_take(&state, &name).unwrap_err();
    assert!(error.to_string().contains("a.lock"), "{error}");
}

#[test]
fn the_lock_file_tells_supervisor_run_and_process_as_they_come() {
    let folder = tempfile::tempdir().unwrap();
    let (state, name, me) = (state(folder.path()), tenant("a"), Process::me().unwrap());
    let read = || LockFile::read(&state.tenant_lock(&name)).unwrap();
    let mut lock = TenantLock::try_take(&state, &name).unwrap().unwrap();
    assert_eq!(read(), LockFile::default());
    lock.write_claiming(me, "boot/1").unwrap();
    let claiming = LockFile { supervisor: Some(me), host: Some("boot/1".into()), run: None, process: None };
    assert_eq!(read(), claiming);
    lock.write_run(RunId(7), DbTime(5)).unwrap();
    let process = Process { pid: 77, start: 99 };
    lock.write_process(process).unwrap();
    let full = LockFile { run: Some((RunId(7), DbTime(5))), process: Some(process), ..claiming.clone() };
    assert_eq!(read(), full);
    lock.unlock().unwrap();
    assert_eq!(read(), full, "the words stay");
    let mut lock = TenantLock::try_take(&state, &name).unwrap().unwrap();
    lock.write_claiming(me, "boot/1").unwrap();
    assert_eq!(read(), claiming, "run and process are emptied");
    lock.unlock().unwrap();
}

#[test]
fn a_child_holds_its_lock_and_slot_after_its_supervisor_let_them_go() {
    if !alone(a_child_holds_its_lock_and_slot_after_its_supervisor_let_them_go) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (state, name) = (state(folder.path()), tenant("a"));
    let slots = Slots::new(&state, "web1");
    let lock = TenantLock::try_take(&state, &name).unwrap().unwrap();
    let slot = slots.take(1, 2).unwrap().pop().unwrap();
    let (argv, environment, log) = (argv(&["/bin/sleep", "100"]), environment(), tempfile::tempfile().unwrap());
    let keep = [lock.as_fd(), slot.as_fd()];
    let child = Spawn { keep: &keep, ..spawn(&argv, &environment, &log) };
    let pid = Spawner::new().unwrap().spawn(&child).unwrap().process.pid;
    drop((lock, slot));
    assert_eq!(probe_tenant(&state, &name).unwrap(), Held::Held);
    assert_eq!(slots.held_by_anyone().unwrap(), 1);
    assert_eq!(slots.take(5, 2).unwrap().len(), 1, "the other slot");
    signal_group(pid, Signal::SIGKILL).unwrap();
    collect(pid);
    assert_eq!(probe_tenant(&state, &name).unwrap(), Held::Free);
    assert_eq!(slots.held_by_anyone().unwrap(), 0);
}

#[test]
fn a_daemon_left_behind_is_named_and_holds_nothing_any_more() {
    if !alone(a_daemon_left_behind_is_named_and_holds_nothing_any_more) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (state, name, me) = (state(folder.path()), tenant("a"), Process::me().unwrap());
    let (environment, log) = (environment(), tempfile::tempfile().unwrap());
    for (script, leaves) in [("exit 0", false), ("setsid sleep 100 & exit 0", true)] {
        let mut lock = TenantLock::try_take(&state, &name).unwrap().unwrap();
        lock.write_claiming(me, &host().unwrap()).unwrap();
        let argv = argv(&["/bin/sh", "-c", script]);
        let keep = [lock.as_fd()];
        let child = Spawn { keep: &keep, ..spawn(&argv, &environment, &log) };
        let pid = Spawner::new().unwrap().spawn(&child).unwrap().process.pid;
        collect(pid);
        eventually("the group is empty", || !has_living_members(pid).unwrap());
        assert!(TenantLock::try_take(&state, &name).unwrap().is_none());
        lock.unlock().unwrap();
        assert_eq!(probe_tenant(&state, &name).unwrap(), Held::Free, "although a daemon has it open");
        let left = left_behind(&state, &name, me).unwrap();
        assert_eq!(left.len(), usize::from(leaves), "{left:?}\n{}", ps());
        for daemon in left {
            assert_eq!(holders(&state.tenant_lock(&name)).unwrap(), [daemon]);
            assert!(signal_stranger(daemon, Signal::SIGKILL).unwrap());
            eventually("it ends", || !daemon.is_alive().unwrap());
        }
    }
}

#[test]
fn slots_bound_a_node_and_nodes_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    let state = state(folder.path());
    let (one, other) = (Slots::new(&state, "web1"), Slots::new(&state, "web1.2"));
    let mut mine = one.take(2, 3).unwrap();
    let theirs = one.take(9, 3).unwrap();
    assert_eq!((mine.len(), theirs.len(), one.take(1, 3).unwrap().len()), (2, 1, 0));
    assert_eq!(other.take(9, 2).unwrap().len(), 2);
    assert_eq!((one.held_by_anyone().unwrap(), other.held_by_anyone().unwrap()), (3, 0));
    mine.pop().unwrap().release().unwrap();
    assert_eq!(one.held_by_anyone().unwrap(), 2, "lowered to 1 by a reload: two are too many still");
    assert_eq!(one.take(1, 1).unwrap().len(), 0);
}

#[test]
fn a_second_supervisor_learns_the_pid_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let (state, me) = (state(folder.path()), Process::me().unwrap());
    assert_eq!(probe_supervisor(&state, "web1").unwrap(), Holder::Nobody);
    let first = SupervisorLock::take(&state, "web1", me).unwrap().unwrap();
    assert_eq!(SupervisorLock::take(&state, "web1", me).unwrap().unwrap_err(), Holder::Process(me));
    assert_eq!(probe_supervisor(&state, "web1").unwrap(), Holder::Process(me));
    assert!(SupervisorLock::take(&state, "web2", me).unwrap().is_ok(), "another node");
    drop(first);
    assert_eq!(probe_supervisor(&state, "web1").unwrap(), Holder::Nobody);
}

#[test]
fn thousands_of_locks_a_second_and_no_descriptor_left() {
    if !alone(thousands_of_locks_a_second_and_no_descriptor_left) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (state, me) = (state(folder.path()), Process::me().unwrap());
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    #[expect(clippy::disallowed_methods, reason = "measures")]
    let begun = std::time::Instant::now();
    for number in 0..500 {
        let name = tenant(&format!("t{number}"));
        let mut lock = TenantLock::try_take(&state, &name).unwrap().unwrap();
        lock.write_claiming(me, "boot/1").unwrap();
        lock.write_run(RunId(1), DbTime(1)).unwrap();
        lock.write_process(me).unwrap();
        lock.unlock().unwrap();
        assert_eq!(left_behind(&state, &name, me).unwrap(), []);
    }
    println!("500 locks taken, written, freed, checked: {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(open(), before);
}
