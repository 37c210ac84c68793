//! A node: a supervisor with a folder of its own and its own way to the database, and what was done to it. It is started
//! again whenever it ended by our doing; an end of its own accord fails the test.

use super::timeline::{How, Life, NodeLine, Span, close, now};
use crate::support::daemon::Supervisor;
use crate::support::proc;
use crate::support::relay::{Relay, Way};
use crate::support::wait::secs;
use nix::sys::signal::Signal;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// It waits 20 s for a database, and all that it waits for before has deadlines too.
const STOPS_WITHIN: Duration = secs(60);
const COMMAND_ENDS: Duration = secs(60);

/// What a process holds.
#[derive(Debug, Clone, Copy)]
pub struct Footprint {
    pub files: usize,
    pub sockets: usize,
    pub resident_kb: u64,
}

pub struct Node {
    pub line: NodeLine,
    pub supervisor: Supervisor,
    relay: Relay,
    frozen: bool,
    /// It is down until then.
    start_at: Option<Instant>,
    stop_by: Option<Instant>,
    commands: Vec<(Child, Instant)>,
}

impl Node {
    /// Starts its first supervisor.
    pub fn begin(name: &str, supervisor: Supervisor, relay: Relay) -> Self {
        let line = NodeLine { name: name.to_owned(), ..NodeLine::default() };
        let mut node =
            Self { line, supervisor, relay, frozen: false, start_at: None, stop_by: None, commands: Vec::new() };
        node.start();
        node
    }

    fn start(&mut self) {
        (self.frozen, self.start_at, self.stop_by) = (false, None, None);
        self.line.lives.push(Life { from: now(), asked_to_stop: None, ended: None });
        self.supervisor.start();
    }

    fn life(&mut self) -> &mut Life {
        self.line.lives.last_mut().expect("a life")
    }

    /// A supervisor is there, frozen and stopping ones included.
    pub fn is_up(&self) -> bool {
        self.start_at.is_none()
    }

    /// It is there and does its work.
    pub fn is_well(&self) -> bool {
        self.is_up() && !self.frozen && self.stop_by.is_none()
    }

    /// The acts answer whether there was anything to do.
    pub fn kill(&mut self, down: Duration) -> bool {
        if !self.is_up() {
            return false;
        }
        let at = now();
        self.supervisor.signal(Signal::SIGKILL);
        let status = self.supervisor.wait_exit(secs(20));
        self.ended(at, status, Instant::now() + down);
        true
    }

    pub fn stop(&mut self) -> bool {
        self.is_up() && self.stop_by.is_none() && {
            self.life().asked_to_stop = Some(now());
            self.stop_by = Some(Instant::now() + STOPS_WITHIN);
            self.supervisor.signal(Signal::SIGTERM);
            true
        }
    }

    pub fn freeze(&mut self) -> bool {
        self.is_up() && !self.frozen && {
            self.line.frozen.push(Span::open(now()));
            self.frozen = true;
            self.supervisor.signal(Signal::SIGSTOP);
            true
        }
    }

    pub fn thaw(&mut self) {
        if self.frozen && self.is_up() {
            self.supervisor.signal(Signal::SIGCONT);
            self.melted();
            self.stop_by = self.stop_by.map(|_| Instant::now() + STOPS_WITHIN);
        }
    }

    fn melted(&mut self) {
        close(&mut self.line.frozen);
        self.frozen = false;
    }

    pub fn reload(&mut self, workers: u32) -> bool {
        self.supervisor.reconfigure(|configuration| configuration.set("workers", workers));
        self.signal(Signal::SIGHUP)
    }

    pub fn signal(&self, which: Signal) -> bool {
        self.is_up() && {
            self.supervisor.signal(which);
            true
        }
    }

    pub fn network(&mut self, way: Way) {
        self.healed();
        match way {
            Way::Passes => {}
            Way::Cut => self.line.broken.push(Span::open(now())),
            Way::Hangs | Way::HangsAfter(_) | Way::HoldsAnswers | Way::Delays(_) => {
                self.line.late.push(Span::open(now()));
            }
        }
        self.relay.go(way);
    }

    pub fn heal(&mut self) {
        self.relay.heal();
        self.healed();
    }

    fn healed(&mut self) {
        for spans in [&mut self.line.broken, &mut self.line.late] {
            close(spans);
        }
    }

    /// A verb with its configuration, in the background. It may fail, it must end.
    pub fn command(&mut self, args: &[&str]) {
        let (verb, rest) = args.split_first().expect("a verb");
        let mut command = self.supervisor.plain_command();
        command.arg(verb).arg("--config").arg(self.supervisor.config_path()).args(rest);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starting a command");
        self.commands.push((child, Instant::now()));
    }

    /// Looks after what ended and what is due.
    pub fn tend(&mut self) {
        let name = self.line.name.clone();
        self.commands.retain_mut(|(child, since)| match child.try_wait().expect("waiting for a command") {
            Some(status) => {
                assert!(matches!(status.code(), Some(0 | 1 | 69)), "{name}: a command ended with {status}");
                false
            }
            None if since.elapsed() < COMMAND_ENDS => true,
            None => panic!("{name}: a command has not ended within {COMMAND_ENDS:?}"),
        });
        if self.start_at.is_some_and(|at| at <= Instant::now()) {
            return self.start();
        }
        if !self.is_up() {
            return;
        }
        match self.supervisor.ended() {
            None => {
                let late = self.stop_by.is_some_and(|by| by <= Instant::now()) && !self.frozen;
                assert!(!late, "{name}: asked to stop, it has not ended within {STOPS_WITHIN:?}");
            }
            Some(status) => {
                assert!(self.stop_by.is_some(), "{name}: the supervisor ended by itself: {status}");
                self.ended(now(), status, Instant::now());
            }
        }
    }

    fn ended(&mut self, at: i64, status: ExitStatus, start_at: Instant) {
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => How::Left(code),
            (None, Some(9)) => How::Killed,
            _ => panic!("{}: the supervisor ended with {status}", self.line.name),
        };
        let how = self.life().ended.insert((at, how)).1;
        assert!(how == How::Killed || self.stop_by.is_some(), "{}: it ended by itself: {status}", self.line.name);
        if self.frozen {
            self.melted();
        }
        self.stop_by = None;
        self.start_at = Some(start_at);
    }

    /// Waits for the end of a supervisor that drains; it is not started again.
    pub fn retire(&mut self) -> ExitStatus {
        let status = self.supervisor.wait_exit(STOPS_WITHIN);
        self.life().ended = Some((now(), How::Left(status.code().unwrap_or(-1))));
        self.start_at = Some(Instant::now() + secs(3600));
        status
    }

    /// The least of what it holds within some time, since runs and sessions come and go.
    pub fn footprint(&self, within: Duration) -> Footprint {
        let pid = self.supervisor.pid();
        let begun = Instant::now();
        let mut least = Footprint { files: usize::MAX, sockets: usize::MAX, resident_kb: u64::MAX };
        while begun.elapsed() < within {
            let open = proc::open_files(pid);
            let sockets = open.iter().filter(|(_, target)| target.starts_with("socket:")).count();
            least.files = least.files.min(open.len() - sockets);
            least.sockets = least.sockets.min(sockets);
            least.resident_kb = least.resident_kb.min(proc::resident_kb(pid));
            std::thread::sleep(Duration::from_millis(30));
        }
        least
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for (child, _) in &mut self.commands {
            child.kill().ok();
            child.wait().ok();
        }
    }
}
