//! A syslog daemon that works, is frozen, stopped, restarted, replaced, absent.

use super::super::backlog::MOST_LINES;
use super::super::log_handle::{ALERT, Log, LogSettings, Target};
use super::{now, wait_for};
use log::{Level, LevelFilter, Log as _, Record};
use std::io::{BufRead, BufReader};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::time::Duration;

fn settings(socket: &Path) -> LogSettings {
    LogSettings {
        target: Target::Syslog,
        facility: "cron".into(),
        level: LevelFilter::Info,
        socket: socket.to_owned(),
        name: "tenantcron".into(),
    }
}

fn log_to(socket: &Path) -> Log {
    let log = Log::new();
    log.reconfigure(settings(socket)).unwrap();
    log
}

fn say(log: &Log, level: Level, target: &str, text: &str) {
    log.log(&Record::builder().level(level).target(target).args(format_args!("{text}")).build());
}

fn info(log: &Log, text: &str) {
    say(log, Level::Info, "tenantcron::supervisor", text);
}

fn daemon(socket: &Path) -> UnixDatagram {
    let daemon = UnixDatagram::bind(socket).unwrap();
    daemon.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    daemon
}

fn read(daemon: &UnixDatagram) -> Option<String> {
    let mut buffer = [0; 16 * 1024];
    let length = daemon.recv(&mut buffer).ok()?;
    Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
}

/// What follows `tenantcron[PID]: `.
fn message(line: &str) -> &str {
    line.split_once("]: ").map_or(line, |(_, message)| message)
}

#[test]
fn a_line_has_priority_local_time_program_and_pid() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("log");
    let daemon = daemon(&socket);
    let log = log_to(&socket);
    say(&log, Level::Error, ALERT, "tenant a.example is stale");
    let line = read(&daemon).unwrap();
    let (priority, rest) = line.split_once('>').unwrap();
    assert_eq!(priority, "<73", "cron is 9, alert is 1");
    let stamp = &rest[..15];
    assert!(stamp.as_bytes()[3] == b' ' && stamp.as_bytes()[6] == b' ' && stamp.as_bytes()[9] == b':', "{stamp}");
    assert_eq!(rest[15..], format!(" tenantcron[{}]: tenant a.example is stale", std::process::id()));
    let table = [(Level::Error, "<75>"), (Level::Warn, "<76>"), (Level::Info, "<78>")];
    for (level, priority) in table {
        say(&log, level, "tenantcron", "two\nlines");
        let line = read(&daemon).unwrap();
        assert!(line.starts_with(priority) && message(&line) == "two\\nlines", "{line}");
    }
}

#[test]
fn levels_and_the_words_of_libraries_follow_the_settings() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("log");
    let daemon = daemon(&socket);
    let log = log_to(&socket);
    say(&log, Level::Debug, "tenantcron", "too mild");
    say(&log, Level::Warn, "tokio_postgres::connection", "a library's");
    say(&log, Level::Warn, "tenantcronicles", "another's");
    assert_eq!(read(&daemon), None);
    log.reconfigure(LogSettings { level: LevelFilter::Debug, facility: "local3".into(), ..settings(&socket) }).unwrap();
    say(&log, Level::Debug, "tenantcron", "mild");
    say(&log, Level::Warn, "tokio_postgres::connection", "a library's");
    let line = read(&daemon).unwrap();
    assert!(line.starts_with("<159>"), "local3 is 19, debug is 7: {line}");
    assert_eq!(read(&daemon), None, "libraries are heard at trace level only");
    let trace = LogSettings { level: LevelFilter::Trace, facility: "local3".into(), ..settings(&socket) };
    log.reconfigure(trace).unwrap();
    say(&log, Level::Debug, "tokio_postgres::connection", "a library's");
    assert_eq!(message(&read(&daemon).unwrap()), "tokio_postgres::connection: a library's");
    let refused = log.reconfigure(LogSettings { facility: "corn".into(), ..settings(&socket) }).unwrap_err();
    assert!(refused.to_string().contains("\"corn\""));
    say(&log, Level::Debug, "tenantcron", "as before");
    assert_eq!(message(&read(&daemon).unwrap()), "as before");
}

#[test]
fn a_frozen_daemon_blocks_nothing_and_hears_the_count_when_it_thaws() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("log");
    let daemon = daemon(&socket);
    let log = log_to(&socket);
    let begin = now();
    for n in 0..20_000 {
        info(&log, &n.to_string());
    }
    say(&log, Level::Error, ALERT, "stale");
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?} for 20,000 messages", begin.elapsed());
    assert!(log.owes());
    let (mut heard, mut lines) = (0_u64, Vec::new());
    let dropped: u64 = wait_for("the count", || {
        log.flush();
        let line = read(&daemon)?;
        if let Some((count, rest)) = message(&line).split_once(" log messages were dropped") {
            assert_eq!(rest, " while syslog did not take them");
            assert!(line.starts_with("<76>"), "at warning: {line}");
            return count.parse().ok();
        }
        heard += 1;
        lines.push(message(&line).to_owned());
        None
    });
    assert_eq!(heard + dropped, 20_001, "each was heard or counted");
    assert!(heard as usize > MOST_LINES, "the queue came out");
    assert_eq!(lines.pop().as_deref(), Some("stale"), "an alert is not dropped for chatter");
    let numbers: Vec<u32> = lines.iter().map(|line| line.parse().unwrap()).collect();
    assert!(numbers.is_sorted(), "in order");
    assert!(!log.owes());
    info(&log, "new");
    assert_eq!(message(&read(&daemon).unwrap()), "new");
}

#[test]
fn a_restarted_daemon_gets_what_was_said_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("log");
    let first = daemon(&socket);
    let log = log_to(&socket);
    info(&log, "before");
    assert_eq!(message(&read(&first).unwrap()), "before");
    drop(first);
    info(&log, "refused");
    std::fs::remove_file(&socket).unwrap();
    for n in 0..1000 {
        info(&log, &format!("nobody {n}"));
    }
    let second = daemon(&socket);
    let first_heard = wait_for("the new daemon's first line", || {
        log.flush();
        read(&second)
    });
    assert_eq!(message(&first_heard), "refused");
    assert_eq!(message(&read(&second).unwrap()), "nobody 0");
}

#[test]
fn a_daemon_that_is_not_there_yet_gets_the_first_lines_too() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("log");
    let log = log_to(&socket);
    info(&log, "early");
    let daemon = daemon(&socket);
    let line = wait_for("the early line", || {
        log.flush();
        read(&daemon)
    });
    assert_eq!(message(&line), "early");
}

#[test]
fn a_frozen_daemon_that_is_replaced_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("log");
    let _frozen = daemon(&socket);
    let log = log_to(&socket);
    for n in 0..100 {
        info(&log, &n.to_string());
    }
    std::fs::remove_file(&socket).unwrap();
    let second = daemon(&socket);
    wait_for("a line at the second daemon", || {
        log.flush();
        read(&second)
    });
}

#[test]
fn a_daemon_on_a_stream_socket_is_served_in_frames() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("log");
    let listener = UnixListener::bind(&socket).unwrap();
    let log = log_to(&socket);
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let begin = now();
    let text = "x".repeat(1000);
    for n in 0..2000 {
        info(&log, &format!("{n} {text}"));
    }
    assert!(begin.elapsed() < Duration::from_secs(10));
    let (mut reader, mut lines, mut frame) = (BufReader::new(stream), Vec::new(), Vec::new());
    wait_for("the count", || {
        log.flush();
        // A frame that breaks off at the timeout goes on with the next read.
        if reader.read_until(0, &mut frame).is_err() || frame.last() != Some(&0) {
            return None;
        }
        let line = String::from_utf8(std::mem::take(&mut frame)).unwrap();
        let counted = line.contains("messages were dropped");
        lines.push(line);
        counted.then_some(())
    });
    for (n, line) in lines.iter().enumerate().take(200) {
        assert_eq!(message(line), format!("{n} {text}\0"));
    }
}
