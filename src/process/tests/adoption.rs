//! Runs whose supervisor died, judged and adopted. The supervisor is a second process of this binary
//! ([`a_supervisor`]), killed for good.

use super::*;
use nix::sys::signal::Signal;
use std::path::PathBuf;

const RUN: (RunId, DbTime) = (RunId(4711), DbTime(1_000_000));

/// The body of the process that plays a supervisor; does nothing as a test.
#[test]
fn a_supervisor() {
    let Some(folder) = std::env::var_os("PLAY_IN").map(PathBuf::from) else { return };
    let (state, me) = (state(&folder), Process::me().unwrap());
    let mut lock = TenantLock::try_take(&state, &tenant("a")).unwrap().unwrap();
    let slot = Slots::new(&state, "web1").take(1, 1).unwrap().pop().unwrap();
    lock.write_claiming(me, &host().unwrap()).unwrap();
    let script = std::env::var("PLAY").unwrap();
    if script != "claim" {
        lock.write_run(RUN.0, RUN.1).unwrap();
        let (argv, environment, log) =
            (argv(&["/bin/sh", "-c", &script]), environment(), tempfile::tempfile().unwrap());
        let keep = [lock.as_fd(), slot.as_fd()];
        let child = Spawn { keep: &keep, ..spawn(&argv, &environment, &log) };
        let spawned = Spawner::new().unwrap().spawn(&child).unwrap();
        if std::env::var_os("PLAY_UNWRITTEN").is_none() {
            lock.write_process(spawned.process).unwrap();
        }
    }
    std::fs::write(folder.join("ready"), "").unwrap();
    wait::<()>(&[], Some(Duration::from_secs(60))).unwrap();
}

struct Played {
    folder: tempfile::TempDir,
    state: StateFolder,
    supervisor: std::process::Child,
    me: Process,
}

impl Played {
    fn begin(script: &str, change: impl FnOnce(&mut std::process::Command)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = again(a_supervisor);
        command.env("PLAY_IN", folder.path()).env("PLAY", script).stdout(std::process::Stdio::null());
        change(&mut command);
        let supervisor = command.spawn().unwrap();
        let ready = folder.path().join("ready");
        eventually("the supervisor has started its child", || ready.exists());
        let state = state(folder.path());
        Self { folder, state, supervisor, me: Process::me().unwrap() }
    }

    fn kill(&mut self) {
        self.supervisor.kill().unwrap();
        self.supervisor.wait().unwrap();
    }

    fn verdict(&self, run: &OpenRun) -> Verdict {
        examine(&self.state, &tenant("a"), run, Heard::Lately, &host().unwrap(), self.me).unwrap()
    }

    fn content(&self) -> LockFile {
        LockFile::read(&self.state.tenant_lock(&tenant("a"))).unwrap()
    }

    fn adopt(&self) -> Adoption {
        let slots = Slots::new(&self.state, "web1");
        Adopted::adopt(&self.state, &slots, &tenant("a"), self.content().process.unwrap(), self.me).unwrap()
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        let _ = self.supervisor.kill();
        let _ = self.supervisor.wait();
        if let Some(process) = self.content().process {
            let _ = signal_group(process.pid, Signal::SIGKILL);
        }
    }
}

fn open_run() -> OpenRun {
    OpenRun {
        identity: RunIdentity {
            id: RUN.0,
            key: "a".into(),
            instance: "wcs".into(),
            node: "web1".into(),
            host: host().unwrap(),
            started_at: RUN.1,
        },
        group: None,
        pid: None,
        pid_start: None,
        alive_at: RUN.1,
        lease: None,
    }
}

#[test]
fn a_run_under_a_living_supervisor_is_its_own_and_under_a_dead_one_is_adopted() {
    let mut played = Played::begin("exec sleep 100", |_| {});
    let supervisor = Process::of(i32::try_from(played.supervisor.id()).unwrap()).unwrap().unwrap();
    assert_eq!(played.verdict(&open_run()), Verdict::Supervised { by: supervisor });
    played.kill();
    let process = played.content().process.unwrap();
    assert_eq!(played.verdict(&open_run()), Verdict::Living { process });

    let Adoption::Adopted(mut adopted) = played.adopt() else { panic!("not adopted") };
    assert!(adopted.has_lock() && adopted.has_slot() && adopted.is_living().unwrap());
    assert_eq!(played.verdict(&open_run()), Verdict::Living { process }, "ours to keep is no other's");
    let other = Process { start: 1, ..played.me };
    let judged = examine(&played.state, &tenant("a"), &open_run(), Heard::Lately, &host().unwrap(), other).unwrap();
    assert_eq!(judged, Verdict::Supervised { by: played.me }, "another sees who keeps it");
    assert!(matches!(played.adopt(), Adoption::KeptBy(Holder::Process(by)) if by == played.me));

    assert!(wait(&[((), adopted.watch().unwrap())], Some(Duration::ZERO)).unwrap().is_empty());
    assert!(adopted.signal(Signal::SIGTERM).unwrap());
    assert_eq!(wait(&[(1, adopted.watch().unwrap())], Some(Duration::from_secs(20))).unwrap(), [1]);
    assert!(!adopted.is_living().unwrap() && adopted.watch().is_none());
    adopted.release().unwrap();
    assert_eq!(probe_tenant(&played.state, &tenant("a")).unwrap(), Held::Free);
    assert_eq!(played.verdict(&open_run()), Verdict::Dead);
}

#[test]
fn a_member_of_the_group_keeps_a_run_alive_after_its_main_process() {
    let mut played = Played::begin("sleep 100 & exit 0", |_| {});
    played.kill();
    let process = played.content().process.unwrap();
    eventually("the main process has ended", || !process.is_alive().unwrap());
    assert_eq!(played.verdict(&open_run()), Verdict::Living { process });
    let Adoption::Adopted(mut adopted) = played.adopt() else { panic!("not adopted") };
    assert!(adopted.has_lock() && adopted.watch().is_none() && adopted.is_living().unwrap());
    assert!(adopted.signal(Signal::SIGKILL).unwrap());
    eventually("the group is empty", || !adopted.is_living().unwrap());
}

#[test]
fn a_daemon_that_left_the_group_keeps_no_run_alive_and_its_lock_is_fetched() {
    let mut played = Played::begin("setsid sleep 100 & exec sleep 100", |_| {});
    played.kill();
    let process = played.content().process.unwrap();
    let held = || holders(&played.state.tenant_lock(&tenant("a"))).unwrap();
    eventually("both sleep", || held().len() == 2);
    let Adoption::Adopted(mut adopted) = played.adopt() else { panic!("not adopted") };
    assert!(adopted.signal(Signal::SIGKILL).unwrap());
    eventually("it ends", || !adopted.is_living().unwrap());
    assert_eq!(probe_tenant(&played.state, &tenant("a")).unwrap(), Held::Held, "by us and the daemon");
    adopted.release().unwrap();
    assert_eq!(probe_tenant(&played.state, &tenant("a")).unwrap(), Held::Free, "through the fetched duplicate");
    assert_eq!(played.verdict(&open_run()), Verdict::Dead);
    let left = left_behind(&played.state, &tenant("a"), played.me).unwrap();
    assert!(left.len() == 1 && left[0] != process, "{left:?}");
    assert!(signal_stranger(left[0], Signal::SIGKILL).unwrap());
}

#[test]
fn a_child_that_closed_what_it_inherited_is_adopted_and_its_lock_taken() {
    let close = "for n in $(ls /proc/$$/fd); do [ $n -gt 2 ] && eval \"exec $n>&-\"; done; exec sleep 100";
    let close = format!("exec bash -c '{close}'");
    let mut played = Played::begin(&close, |_| {});
    played.kill();
    let path = played.state.tenant_lock(&tenant("a"));
    eventually("nobody holds the lock", || holders(&path).unwrap().is_empty());
    let process = played.content().process.unwrap();
    assert_eq!(played.verdict(&open_run()), Verdict::Living { process });
    let Adoption::Adopted(adopted) = played.adopt() else { panic!("not adopted") };
    assert!(adopted.has_lock() && !adopted.has_slot());
    assert_eq!(probe_tenant(&played.state, &tenant("a")).unwrap(), Held::Held);
}

#[test]
fn a_claim_that_died_before_its_start_is_dead_and_one_without_a_written_pid_waits() {
    let mut played = Played::begin("claim", |_| {});
    played.kill();
    assert_eq!(played.verdict(&open_run()), Verdict::Dead, "the lock died with its supervisor");

    let mut played = Played::begin("sleep 100", |command| {
        command.env("PLAY_UNWRITTEN", "1");
    });
    played.kill();
    assert_eq!(played.verdict(&open_run()), Verdict::Claimed, "somebody holds the lock");
    let holder = holders(&played.state.tenant_lock(&tenant("a"))).unwrap();
    let process = *holder.first().unwrap();
    let known = OpenRun { pid: Some(process.pid), pid_start: Some(process.start), ..open_run() };
    assert!(matches!(played.verdict(&known), Verdict::Living { .. }), "unless the row knows it");
    for process in holder {
        signal_stranger(process, Signal::SIGKILL).unwrap();
    }
    eventually("it ends", || played.verdict(&open_run()) == Verdict::Dead);
}

#[test]
fn a_run_that_the_file_does_not_name_is_judged_by_its_row() {
    let mut played = Played::begin("exec sleep 100", |_| {});
    played.kill();
    let process = played.content().process.unwrap();
    let mut other = open_run();
    other.identity.id = RunId(4712);
    assert_eq!(played.verdict(&other), Verdict::Claimed, "no pid anywhere and the lock is held");
    let alive = OpenRun { pid: Some(process.pid), pid_start: Some(process.start), ..other.clone() };
    assert_eq!(played.verdict(&alive), Verdict::Living { process });
    let reused = OpenRun { pid: Some(process.pid), pid_start: Some(process.start - 1), ..other.clone() };
    assert_eq!(played.verdict(&reused), Verdict::Dead, "its number went to another process");
    let mut elsewhere = open_run();
    elsewhere.identity.host = "an-earlier-boot/1".into();
    assert_eq!(played.verdict(&elsewhere), Verdict::Claimed);
    assert!(played.folder.path().exists());
}

#[test]
fn a_run_that_we_claimed_and_never_started_is_dead_although_we_hold_the_lock() {
    let folder = tempfile::tempdir().unwrap();
    let (state, me, host) = (state(folder.path()), Process::me().unwrap(), host().unwrap());
    let mut lock = TenantLock::try_take(&state, &tenant("a")).unwrap().unwrap();
    lock.write_claiming(me, &host).unwrap();
    assert_eq!(examine(&state, &tenant("a"), &open_run(), Heard::Lately, &host, me).unwrap(), Verdict::Dead);
    lock.unlock().unwrap();
}

impl Played {
    fn let_go(&self) -> LetGo {
        let_go(&self.state, &Slots::new(&self.state, "web1"), &tenant("a"), &host().unwrap()).unwrap()
    }

    fn held(&self) -> Held {
        probe_tenant(&self.state, &tenant("a")).unwrap()
    }

    /// The one process that has the lock open when the run's main process has ended.
    fn left(&self) -> Process {
        let process = self.content().process.unwrap();
        eventually("the main process has ended", || !process.is_alive().unwrap());
        let holders = holders(&self.state.tenant_lock(&tenant("a"))).unwrap();
        *holders.iter().find(|holder| holder.pid != self.supervisor.id().cast_signed()).unwrap()
    }
}

#[test]
fn a_daemon_left_by_a_run_that_is_over_is_made_to_let_go_of_lock_and_slot() {
    // A shell that ends before setsid(1) has left its group would take it along.
    let mut played = Played::begin("setsid sleep 100 & sleep 0.3", |_| {});
    let left = played.left();
    assert_eq!((played.let_go(), played.held()), (LetGo::InUse(None), Held::Held), "its supervisor lives");
    played.kill();
    let slots = Slots::new(&played.state, "web1");
    assert_eq!(slots.take(1, 1).unwrap().len(), 0);
    assert_eq!(tenants_with_slots(&played.state, &slots).unwrap(), [tenant("a")]);
    assert_eq!((played.let_go(), played.held()), (LetGo::GivenUp, Held::Free));
    assert_eq!(slots.take(1, 1).unwrap().len(), 1);
    assert_eq!(played.let_go(), LetGo::Free);
    assert!(left.is_alive().unwrap(), "it is let go, not ended");
    assert_eq!(left_behind(&played.state, &tenant("a"), played.me).unwrap(), [left]);
    assert!(signal_stranger(left, Signal::SIGKILL).unwrap());
}

#[test]
fn the_lock_of_a_run_that_lives_is_never_given_up() {
    let mut played = Played::begin("setsid sleep 100 & exec sleep 100", |_| {});
    played.kill();
    let process = played.content().process.unwrap();
    assert_eq!((played.let_go(), played.held()), (LetGo::InUse(Some(process)), Held::Held));
    // What is left of its group is the run still.
    let mut played = Played::begin("sleep 100 & sleep 0.3", |_| {});
    let left = played.left();
    played.kill();
    let process = played.content().process.unwrap();
    assert_eq!((played.let_go(), played.held()), (LetGo::InUse(Some(process)), Held::Held));
    // Who watches an adopted run gives it up itself.
    let keeper = KeeperLock::take(&played.state, &tenant("a"), played.me).unwrap().unwrap();
    assert!(signal_stranger(left, Signal::SIGKILL).unwrap());
    eventually("the group is empty", || !has_living_members(process.pid).unwrap());
    assert_ne!(played.let_go(), LetGo::GivenUp);
    drop(keeper);
}

#[test]
fn where_the_file_names_no_process_the_held_lock_alone_counts() {
    let mut played = Played::begin("sleep 100", |command| {
        command.env("PLAY_UNWRITTEN", "1");
    });
    played.kill();
    assert_eq!((played.let_go(), played.held()), (LetGo::Stuck, Held::Held));
    for process in holders(&played.state.tenant_lock(&tenant("a"))).unwrap() {
        signal_stranger(process, Signal::SIGKILL).unwrap();
    }
}

#[test]
fn the_lock_of_one_who_has_just_taken_it_is_never_given_up() {
    let mut played = Played::begin("exit 0", |_| {});
    played.kill();
    eventually("nobody holds it", || played.held() == Held::Free);
    // Taken, and nothing written yet: the file still speaks of the run that is over.
    let lock = TenantLock::try_take(&played.state, &tenant("a")).unwrap().unwrap();
    assert_eq!((played.let_go(), played.held()), (LetGo::Stuck, Held::Held));
    lock.unlock().unwrap();
}

#[test]
fn where_no_file_and_no_row_name_a_process_the_run_is_dead_only_after_a_long_silence() {
    let folder = tempfile::tempdir().unwrap();
    let (state, me, host) = (state(folder.path()), Process::me().unwrap(), host().unwrap());
    let judge = |run: &OpenRun, heard| examine(&state, &tenant("a"), run, heard, &host, me).unwrap();
    assert_eq!(judge(&open_run(), Heard::Lately), Verdict::Claimed, "its state folder may have been emptied");
    assert_eq!(judge(&open_run(), Heard::LongAgo), Verdict::Dead);
    let named = OpenRun { pid: Some(me.pid), pid_start: Some(me.start - 1), ..open_run() };
    assert_eq!(judge(&named, Heard::Lately), Verdict::Dead, "the row names a process, and it is gone");
}
