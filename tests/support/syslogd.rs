//! A real syslog daemon, rsyslogd, on a socket of its own: what arrives, and what happens when it is
//! stopped, frozen or started anew.

use super::wait::{eventually, exit_within, secs};
use super::world::{signal, world};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Stdio};

/// One message as the daemon understood it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `cron`, `daemon` and so on.
    pub facility: String,
    /// `alert`, `err`, `warning`, `notice`, `info`, `debug`.
    pub severity: String,
    /// The program's name with its pid: `tenantcron[812]:`.
    pub tag: String,
    /// The text.
    pub text: String,
}

/// The daemon.
pub struct Syslogd {
    folder: PathBuf,
    child: Option<Child>,
}

impl Syslogd {
    /// Starts it and waits for its socket.
    pub fn start() -> Self {
        let folder = world().folder("syslog");
        let show = folder.display();
        let property = |name: &str, of: &str| format!("property(outname=\"{name}\" name=\"{of}\" format=\"jsonf\")");
        let fields = [
            property("facility", "syslogfacility-text"),
            property("severity", "syslogseverity-text"),
            property("tag", "syslogtag"),
            property("text", "msg"),
        ];
        let text = format!(
            "global(workDirectory=\"{show}\")\n\
             module(load=\"imuxsock\" SysSock.Use=\"off\")\n\
             template(name=\"json\" type=\"list\" option.jsonf=\"on\") {{ {} }}\n\
             ruleset(name=\"all\") {{ action(type=\"omfile\" file=\"{show}/messages\" template=\"json\") }}\n\
             input(type=\"imuxsock\" Socket=\"{show}/log\" CreatePath=\"on\" RateLimit.Interval=\"0\" ruleset=\"all\")\n",
            fields.join(" ")
        );
        fs::write(folder.join("rsyslog.conf"), text).expect("rsyslogd's configuration");
        let mut daemon = Self { folder, child: None };
        daemon.restart();
        daemon
    }

    /// The socket, for `log.socket`.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Stops it, if it runs, and starts it (again).
    pub fn restart(&mut self) {
        self.stop();
        let program =
            ["/usr/sbin/rsyslogd", "/sbin/rsyslogd"].into_iter().find(|path| fs::exists(path).unwrap_or(false));
        let mut command = world().command(program.expect("rsyslogd is not installed: run `make deps`"), None);
        command.args(["-n", "-iNONE", "-f"]).arg(self.folder.join("rsyslog.conf"));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starting rsyslogd");
        self.child = Some(child);
        eventually(secs(10), "rsyslogd opens its socket", || {
            UnixDatagram::unbound().and_then(|socket| socket.connect(self.socket()))
        });
    }

    /// Stops it; its socket goes.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        signal(child.id() as i32, Signal::SIGCONT);
        signal(child.id() as i32, Signal::SIGTERM);
        if exit_within(&mut child, secs(5)).is_none() {
            child.kill().ok();
            child.wait().ok();
        }
        fs::remove_file(self.socket()).ok();
    }

    /// Freezes it: its socket stays, fills up, and nobody reads.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Thaws it.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// All that came in, over all its starts.
    pub fn messages(&self) -> Vec<Message> {
        let text = fs::read_to_string(self.folder.join("messages")).unwrap_or_default();
        // The last line may still be in the writing.
        let whole = text.rfind('\n').map_or("", |end| text.get(..end).unwrap_or_default());
        whole.lines().map(parse).collect()
    }

    fn signal(&self, which: Signal) {
        signal(self.child.as_ref().expect("a running rsyslogd").id() as i32, which);
    }
}

impl Drop for Syslogd {
    fn drop(&mut self) {
        self.stop();
        fs::remove_dir_all(&self.folder).ok();
    }
}

fn parse(line: &str) -> Message {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let field = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().trim().to_owned();
    Message { facility: field("facility"), severity: field("severity"), tag: field("tag"), text: field("text") }
}
