//! The next program: found, handed things, and put in place.

use super::super::upgrade::*;
use super::*;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;

fn started_as(name: &Path, search: &Path) -> PathBuf {
    Program::of_this_process(vec![name.into(), "run".into()], Some(search.as_os_str())).unwrap().path
}

#[test]
fn the_program_is_found_by_the_name_that_it_was_called_by() {
    let own = std::env::current_exe().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("tenantcron");
    std::os::unix::fs::symlink(&own, &link).unwrap();
    assert_eq!(started_as(&own, Path::new("/nowhere")), own);
    assert_eq!(started_as(&link, Path::new("/nowhere")), link, "a link may lead to another version later");
    assert_eq!(started_as(Path::new("tenantcron"), folder.path()), link);
    // Another program of that name, or none.
    std::fs::remove_file(&link).unwrap();
    std::fs::write(&link, "").unwrap();
    assert_eq!(started_as(Path::new("tenantcron"), folder.path()), own);
    assert_eq!(started_as(Path::new("tenantcron"), Path::new("/nowhere")), own);
}

#[test]
fn a_replaced_program_has_another_stamp() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program { path: folder.path().join("program"), arguments: Vec::new() };
    assert!(program.stamp().is_err());
    std::fs::write(&program.path, "one").unwrap();
    let stamp = program.stamp().unwrap();
    assert_eq!(program.stamp().unwrap(), stamp);
    std::fs::write(folder.path().join("new"), "two").unwrap();
    std::fs::rename(folder.path().join("new"), &program.path).unwrap();
    assert_ne!(program.stamp().unwrap(), stamp);
}

#[test]
fn only_what_was_left_open_is_taken_over_and_only_once() {
    // Other tests' children would inherit it too.
    if !alone(only_what_was_left_open_is_taken_over_and_only_once) {
        return;
    }
    let file = memory_file_of(b"words").unwrap();
    let number = file.as_raw_fd();
    assert!(take_out(number).is_err(), "it is this program's own");
    assert!(take_out(1).is_err() && take_out(1_000_000).is_err());
    // As an exec leaves it.
    let left = nix::unistd::dup(&file).unwrap();
    let left = std::os::fd::IntoRawFd::into_raw_fd(left);
    assert_eq!(look_into(left).unwrap(), b"words");
    assert_eq!(take_out(left).unwrap(), b"words");
    assert!(take_out(left).is_err());
    let mut inherited = Inherited::take([number]);
    assert!(inherited.give(number).is_err());
}

#[test]
fn a_program_that_cannot_be_executed_leaves_all_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program { path: folder.path().join("none"), arguments: vec!["none".into()] };
    let file = memory_file_of(b"").unwrap();
    let error = program.replace(&[("A".into(), "b".into())], &[file.as_fd()]);
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    let flags = FdFlag::from_bits_truncate(fcntl(&file, FcntlArg::F_GETFD).unwrap());
    assert!(flags.contains(FdFlag::FD_CLOEXEC));
}
