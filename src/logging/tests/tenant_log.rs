//! A tenant's log as a file, a link, a FIFO, a full disk.

use super::super::{RunEnd, TenantFile};
use super::now;
use crate::model::{Outcome, RunId, TenantName};
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::stat::Mode;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

fn tenant() -> TenantName {
    TenantName::parse("a.example").unwrap()
}

fn end() -> RunEnd {
    RunEnd {
        run: RunId(4711),
        pid: Some(913),
        outcome: Outcome::Ok,
        exit_code: Some(0),
        signal: None,
        elapsed: Some(Duration::from_secs(182)),
        cpu: None,
        max_rss_kb: None,
    }
}

fn open(path: &Path) -> Result<TenantFile, String> {
    TenantFile::open(path.to_owned(), &tenant()).map_err(|error| error.to_string())
}

fn write(log: &TenantFile, text: &str) {
    File::from(log.as_fd().try_clone_to_owned().unwrap()).write_all(text.as_bytes()).unwrap();
}

/// The lines without time and program.
fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| line.split_once("]: ").map_or(line, |(_, rest)| rest).to_owned()).collect()
}

const START: &str = "start run=4711 tenant=a.example";
const END: &str = "end run=4711 tenant=a.example pid=913 outcome=ok exit=0 elapsed=3m2s";

#[test]
fn a_run_is_framed_and_the_end_line_stands_alone() {
    let folder = tempfile::tempdir().unwrap();
    let table: [(&str, &[&str]); 4] = [
        ("", &[START, END]),
        ("output\n", &[START, "output", END]),
        ("no newline", &[START, "no newline", END]),
        ("\n", &[START, "", END]),
    ];
    for (n, (output, expected)) in table.into_iter().enumerate() {
        let path = folder.path().join(format!("{n}.log"));
        let mut log = open(&path).unwrap();
        log.start_line(RunId(4711)).unwrap();
        write(&log, output);
        log.end_line(&end()).unwrap();
        assert_eq!(lines(&path), expected);
    }
}

#[test]
fn the_end_line_can_be_written_by_another_process_and_after_a_rotation() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.log");
    let mut log = open(&path).unwrap();
    log.start_line(RunId(4711)).unwrap();
    write(&log, "half");
    open(&path).unwrap().end_line(&end()).unwrap();
    assert_eq!(lines(&path), [START, "half", END]);
    write(&log, "more");
    let rotated = folder.path().join("a.log.1");
    fs::rename(&path, &rotated).unwrap();
    log.end_line(&end()).unwrap();
    assert_eq!(lines(&rotated), [START, "half", END, "more", END]);
    assert!(!path.exists());
}

#[test]
fn it_is_made_with_its_folders_for_owner_and_group_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/er/a.log");
    let log = open(&path).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:")).unwrap().trim();
    let umask = u32::from_str_radix(umask, 8).unwrap();
    assert_eq!(mode(&path), 0o640 & !umask);
    assert_eq!(mode(path.parent().unwrap()), 0o750 & !umask);
    assert_eq!(mode(&folder.path().join("deep")), 0o750 & !umask);
    let flags = OFlag::from_bits_retain(fcntl(log.as_fd(), FcntlArg::F_GETFL).unwrap());
    assert!(flags.contains(OFlag::O_APPEND | OFlag::O_WRONLY) && !flags.contains(OFlag::O_NONBLOCK));
    assert!(FdFlag::from_bits_retain(fcntl(log.as_fd(), FcntlArg::F_GETFD).unwrap()).contains(FdFlag::FD_CLOEXEC));
}

#[test]
fn a_symbolic_link_is_refused_but_its_folder_may_be_one() {
    let folder = tempfile::tempdir().unwrap();
    let victim = folder.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    let link = folder.path().join("a.log");
    symlink(&victim, &link).unwrap();
    let why = open(&link).unwrap_err();
    assert!(why.starts_with(&format!("tenant a.example: cannot open log {}: ", link.display())), "{why}");
    assert!(why.contains("symbolic link"), "{why}");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    symlink(folder.path().join("nowhere"), folder.path().join("dangling")).unwrap();
    assert!(open(&folder.path().join("dangling")).unwrap_err().contains("symbolic link"));
    assert!(!folder.path().join("nowhere").exists());
    fs::create_dir(folder.path().join("real")).unwrap();
    symlink(folder.path().join("real"), folder.path().join("logs")).unwrap();
    open(&folder.path().join("logs/a.log")).unwrap();
    assert!(folder.path().join("real/a.log").exists());
}

#[test]
fn what_is_no_regular_file_is_opened_as_it_is_and_gets_no_lines() {
    let mut null = open(Path::new("/dev/null")).unwrap();
    null.start_line(RunId(1)).unwrap();
    null.end_line(&end()).unwrap();
    let mut full = open(Path::new("/dev/full")).unwrap();
    full.start_line(RunId(1)).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, Mode::from_bits_truncate(0o600)).unwrap();
    assert!(open(&fifo).unwrap_err().contains("FIFO that nobody reads"));
    let mut reader = fs::OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&fifo).unwrap();
    let mut log = open(&fifo).unwrap();
    log.start_line(RunId(1)).unwrap();
    write(&log, "output");
    log.end_line(&end()).unwrap();
    let flags = OFlag::from_bits_retain(fcntl(log.as_fd(), FcntlArg::F_GETFL).unwrap());
    assert!(!flags.contains(OFlag::O_NONBLOCK), "the child would not expect it");
    drop(log);
    let mut out = String::new();
    reader.read_to_string(&mut out).unwrap();
    assert_eq!(out, "output");
}

#[test]
fn each_error_names_tenant_file_and_reason() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
    let table = [
        ("", "Is a directory"),
        ("socket", "a socket"),
        ("file/a.log", "Not a directory"),
        ("x/../file/y/a.log", "folder cannot be made"),
    ];
    for (name, expected) in table {
        let path = folder.path().join(name);
        let why = open(&path).unwrap_err();
        assert!(why.contains("tenant a.example") && why.contains(&path.display().to_string()), "{why}");
        assert!(why.contains(expected), "{name}: {why}");
    }
}

#[test]
fn a_full_disk_is_told_and_the_descriptor_stays_good() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let mount = ["-t", "tmpfs", "-o", "size=64k", "tenantcron-test"];
    if !Command::new("mount").args(mount).arg(at).output().is_ok_and(|done| done.status.success()) {
        eprintln!("NOT TESTED: a full disk, for want of the right to mount one");
        return;
    }
    let path = at.join("a.log");
    let told = std::panic::catch_unwind(|| {
        let mut log = open(&path).unwrap();
        log.start_line(RunId(4711)).unwrap();
        let filler = fs::write(at.join("filler"), [0; 128 * 1024]);
        assert!(filler.is_err());
        // Up to the end of the file's last page there is room without a new block.
        let mut told = None;
        for _ in 0..100 {
            told = told.or(log.end_line(&end()).err());
        }
        fs::remove_file(at.join("filler")).unwrap();
        log.end_line(&end()).unwrap();
        assert_eq!(lines(&path).last().map(String::as_str), Some(END), "on a line of its own");
        told.unwrap().to_string()
    });
    assert!(Command::new("umount").arg("-l").arg(at).status().unwrap().success());
    let told = told.unwrap();
    assert!(told.starts_with("tenant a.example: cannot write to log "), "{told}");
}

#[test]
fn thousands_a_second_can_be_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.log");
    let begin = now();
    for _ in 0..2000 {
        let mut log = open(&path).unwrap();
        log.start_line(RunId(4711)).unwrap();
        log.end_line(&end()).unwrap();
    }
    // 20 ms or so on an idle machine; the bound is for a busy one.
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert_eq!(lines(&path).len(), 4000);
}
