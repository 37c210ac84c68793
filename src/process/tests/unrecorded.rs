//! Ends kept for whoever looks next.

use super::super::unrecorded::*;
use super::*;
use crate::model::{Becomes, Finish, Outcome, Tenant, Unrecorded};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

const ME: Process = Process { pid: 812, start: 99 };

fn end(tenant: &str, id: i64) -> Unrecorded {
    let name = TenantName::parse(tenant).unwrap();
    let run = RunIdentity {
        id: RunId(id),
        key: tenant.to_owned(),
        instance: "wcs".into(),
        node: "web1".into(),
        host: "boot/1".into(),
        started_at: DbTime(1_000_001),
    };
    let finish = Finish {
        run,
        group: Some("g".into()),
        outcome: Outcome::Failed,
        becomes: Becomes::Done,
        exit_code: Some(3),
        signal: None,
        cpu_seconds: Some(0.25),
        max_rss_kb: Some(1234),
        pid: Some(913),
        pid_start: Some(77),
        ended_ago: Duration::from_millis(1),
    };
    Unrecorded { tenant: Tenant::new(name, Some("db".into()), None).unwrap(), finish, ended_at: DbTime(5_000_005) }
}

fn folder() -> (tempfile::TempDir, StateFolder) {
    let root = tempfile::tempdir().unwrap();
    let state = StateFolder::make(Some(&root.path().join("state")), "wcs", &Places::here()).unwrap();
    (root, state)
}

fn names(folder: &StateFolder) -> Vec<String> {
    let entries = std::fs::read_dir(folder.unrecorded()).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_was_kept_is_read_by_others_and_the_file_goes_with_its_last_end() {
    let (_root, state) = folder();
    let mut own = OwnEnds::new(&state, ME, "boot/1");
    own.write(&[]).unwrap();
    assert!(names(&state).is_empty());
    let ends = vec![end("a", 1), end("b", 2)];
    own.write(&ends).unwrap();
    assert_eq!(names(&state), ["812.99"], "no temporary file is left");
    assert_eq!(std::fs::metadata(own.path()).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(kept_ends(&state, ME).unwrap().is_empty(), "ours is no other's");
    let other = Process { pid: 813, start: 5 };
    let [kept] = &kept_ends(&state, other).unwrap()[..] else { panic!("one file") };
    assert_eq!(kept.writer, ME);
    let read = kept.read().unwrap().unwrap();
    assert_eq!(read, EndsFile { host: "boot/1".into(), ends: ends.clone() });
    let open = |identity: RunIdentity| {
        let (group, pid, pid_start, lease, alive_at) = (None, None, None, None, DbTime(0));
        OpenRun { identity, group, pid, pid_start, alive_at, lease }
    };
    let run = ends[0].finish.run.clone();
    assert!(read.names(&open(RunIdentity { id: RunId(7), ..run.clone() })), "a repair gave it another number");
    assert!(!read.names(&open(RunIdentity { started_at: DbTime(2_000_002), ..run })), "another claim");
    let text = std::fs::read_to_string(own.path()).unwrap();
    assert!(text.contains("# a: run 1 failed at 1970-01-01T00:00:05Z"), "{text}");

    kept.forget("boot/1", &ends[1..]).unwrap();
    assert_eq!(kept.read().unwrap().unwrap().ends, ends[1..]);
    kept.forget("boot/1", &[]).unwrap();
    kept.forget("boot/1", &[]).unwrap();
    assert_eq!(kept.read().unwrap(), None);
    own.write(&[]).unwrap();
}

#[test]
fn the_file_of_the_program_before_this_one_is_set_aside_and_found() {
    let (_root, state) = folder();
    for number in 1..=2 {
        let mut before = OwnEnds::new(&state, ME, "boot/1");
        before.write(&[end("a", number)]).unwrap();
        let own = OwnEnds::new(&state, ME, "boot/1");
        own.set_aside().unwrap();
        own.set_aside().unwrap();
    }
    assert_eq!(names(&state), ["812.99.1", "812.99.2"]);
    let found = kept_ends(&state, ME).unwrap();
    let ids: Vec<_> = found.iter().map(|kept| kept.read().unwrap().unwrap().ends[0].finish.run.id.0).collect();
    assert_eq!(ids, [1, 2]);
}

#[test]
fn what_is_not_understood_is_an_error_and_other_files_are_nobodys() {
    let (_root, state) = folder();
    let mut own = OwnEnds::new(&state, ME, "boot/1");
    own.write(&[end("a", 1), end("b", 2)]).unwrap();
    let whole = std::fs::read_to_string(own.path()).unwrap();
    assert!(EndsFile::parse(&whole).is_ok());
    for cut in 0..whole.len() - 1 {
        assert!(EndsFile::parse(&whole[..cut]).is_err(), "cut at {cut}");
    }
    assert!(EndsFile::parse(&whole.replace("version 1", "version 2")).unwrap_err().contains("version 2"));
    assert!(EndsFile::parse(&whole.replace("\"a\"", "\"../a\"")).is_err(), "a name that reaches a path");
    for name in ["812.99.new", "812", "812.x", "x.99", "812.99.1.2", "hello"] {
        std::fs::write(state.unrecorded().join(name), "x").unwrap();
    }
    assert!(kept_ends(&state, ME).unwrap().is_empty());
}
