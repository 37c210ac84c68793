//! Signals become meanings.

use super::*;
use nix::sys::signal::{Signal, raise};

#[test]
fn every_signal_has_its_meaning_and_none_kills() {
    if !alone(every_signal_has_its_meaning_and_none_kills) {
        return;
    }
    let mut signals = Signals::install().unwrap();
    assert_eq!(signals.pending(), []);
    for (signal, meaning) in [
        (Signal::SIGTERM, Meaning::Stop),
        (Signal::SIGINT, Meaning::Stop),
        (Signal::SIGQUIT, Meaning::Drain),
        (Signal::SIGHUP, Meaning::Reload),
        (Signal::SIGUSR1, Meaning::Poll),
        (Signal::SIGUSR2, Meaning::Upgrade),
        (Signal::SIGCHLD, Meaning::Child),
    ] {
        raise(signal).unwrap();
        assert_eq!(wait(&[(0, signals.as_fd())], Some(Duration::from_secs(20))).unwrap(), [0]);
        assert_eq!(signals.pending(), [meaning]);
        assert!(wait(&[(0, signals.as_fd())], Some(Duration::ZERO)).unwrap().is_empty());
    }
    raise(Signal::SIGPIPE).unwrap();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD] {
        raise(signal).unwrap();
    }
    assert_eq!(signals.pending(), [Meaning::Child, Meaning::Stop]);
}

#[test]
fn a_signal_ends_a_wait() {
    if !alone(a_signal_ends_a_wait) {
        return;
    }
    let mut signals = Signals::install().unwrap();
    let (argv, environment, log) = (argv(&["/bin/true"]), environment(), tempfile::tempfile().unwrap());
    let spawned = Spawner::new().unwrap().spawn(&spawn(&argv, &environment, &log)).unwrap();
    eventually("SIGCHLD arrives", || {
        wait(&[((), signals.as_fd())], Some(Duration::from_secs(20))).unwrap();
        signals.pending().contains(&Meaning::Child)
    });
    collect(spawned.process.pid);
}

#[test]
fn a_blocked_signal_waits_and_one_that_is_sent_again_comes_once_it_may() {
    if !alone(a_blocked_signal_waits_and_one_that_is_sent_again_comes_once_it_may) {
        return;
    }
    let mut signals = Signals::install().unwrap();
    let blocked = SignalsBlocked::begin().unwrap();
    for meaning in [Meaning::Stop, Meaning::Drain, Meaning::Reload, Meaning::Poll, Meaning::Upgrade] {
        meaning.send().unwrap();
    }
    // The harness has threads of its own, which a supervisor has not, and one of them may have taken a signal: it is
    // heard when that thread runs.
    let mut all = signals.pending();
    drop(blocked);
    eventually("all five are heard", || {
        all.extend(signals.pending());
        all.len() >= 5
    });
    assert_eq!(all.len(), 5, "{all:?}");
}
