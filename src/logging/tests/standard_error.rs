//! Standard error as a pipe, a journal's socket, a file.

use super::super::backlog::{Backlog, MOST_LINES, Sink};
use super::super::severity::Severity;
use super::super::stderr::{Stderr, Style};
use super::{now, wait_for};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

#[test]
fn a_pipe_that_nobody_reads_blocks_nothing_and_nothing_is_torn() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut stderr = Stderr::new(writer, Style::Journal);
    let mut backlog = Backlog::default();
    let begin = now();
    let (text, total) = ("x".repeat(5000), 3000);
    for n in 0..total {
        backlog.deliver(&mut stderr, Severity::Info, &format!("{n} {text}"));
    }
    assert!(begin.elapsed() < Duration::from_secs(10) && backlog.owes());
    let (mut out, mut buffer) = (Vec::new(), [0; 65536]);
    wait_for("the count", || {
        // Something is in the pipe as long as something is owed.
        let length = reader.read(&mut buffer).unwrap();
        out.extend_from_slice(&buffer[..length]);
        backlog.flush(&mut stderr);
        (!backlog.owes()).then_some(())
    });
    drop(stderr);
    reader.read_to_end(&mut out).unwrap();
    let lines: Vec<_> = std::str::from_utf8(&out).unwrap().lines().collect();
    let (count, whole) = lines.split_last().unwrap();
    let dropped: usize = count
        .strip_prefix("<4>")
        .and_then(|count| count.strip_suffix(" log messages were dropped while standard error did not take them"))
        .unwrap_or_else(|| panic!("{count}"))
        .parse()
        .unwrap();
    assert_eq!(whole.len() + dropped, total);
    for (n, line) in whole.iter().enumerate() {
        assert_eq!(**line, format!("<6>{n} {text}"));
    }
}

#[test]
fn a_reader_that_is_gone_ends_nothing() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut stderr = Stderr::new(writer, Style::Plain);
    let mut backlog = Backlog::default();
    for _ in 0..2 * MOST_LINES {
        backlog.deliver(&mut stderr, Severity::Error, "nobody hears");
    }
    assert!(backlog.owes());
}

#[test]
fn a_journal_is_known_by_its_socket_and_not_by_the_variable_alone() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let stat = nix::sys::stat::fstat(ours.as_fd()).unwrap();
    let value = format!("{}:{}", stat.st_dev, stat.st_ino);
    let variables = |name: &str| (name == "JOURNAL_STREAM").then(|| value.clone());
    assert_eq!(Style::of(&ours, variables), Style::Journal);
    let file = tempfile::tempfile().unwrap();
    assert_eq!(Style::of(&file, variables), Style::Plain, "redirected to a file");
    assert_eq!(Style::of(&ours, |_| Some("nonsense".into())), Style::Plain);
}

#[test]
fn each_style_says_what_its_reader_lacks() {
    let file = tempfile::tempfile().unwrap();
    let line = |style, severity| String::from_utf8(Stderr::new(&file, style).format(severity, "text")).unwrap();
    assert_eq!(line(Style::Journal, Severity::Alert), "<1>text\n");
    assert_eq!(line(Style::Journal, Severity::Warning), "<4>text\n");
    let plain = line(Style::Plain, Severity::Info);
    assert_eq!(plain[20..], *" info  text\n");
    assert!(plain.ends_with("text\n") && plain[..20].ends_with('Z'));
    assert!(line(Style::Colour, Severity::Error).contains("\x1b[1;31merror\x1b[0m text"));
}
