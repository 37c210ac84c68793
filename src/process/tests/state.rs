//! Where the state folder is.

use super::*;
use nix::unistd::getuid;
use std::os::unix::fs::PermissionsExt;

fn places(root: &Path) -> Places {
    for folder in ["run", "user", "tmp"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    Places {
        system: root.join("run/tenantcron"),
        runtime: Some(root.join("user")),
        temporary: root.join("tmp"),
        uid: getuid().as_raw(),
    }
}

fn same(places: &Places, want: &Path) {
    let made = StateFolder::make(None, "wcs", places).unwrap();
    assert_eq!(made.path(), want);
    assert_eq!(StateFolder::find(None, "wcs", places).unwrap(), Some(made));
    for part in ["tenants", "wake", "stop", "unrecorded"] {
        assert!(want.join(part).is_dir());
    }
}

#[test]
fn run_makes_it_in_the_first_place_that_serves_and_commands_find_the_same() {
    let root = tempfile::tempdir().unwrap();
    let all = places(root.path());
    assert_eq!(StateFolder::find(None, "wcs", &all).unwrap(), None);
    assert!(!all.system.exists(), "commands make nothing");
    same(&all, &root.path().join("run/tenantcron/wcs"));
    // No /run at all; then no runtime folder either, or another user's.
    let no_run = Places { system: "/nowhere/tenantcron".into(), ..all.clone() };
    same(&no_run, &root.path().join("user/tenantcron/wcs"));
    let private = root.path().join(format!("tmp/tenantcron-{}/wcs", all.uid));
    same(&Places { runtime: None, ..no_run.clone() }, &private);
    assert_eq!(std::fs::metadata(&private).unwrap().permissions().mode() & 0o777, 0o700);
    same(&Places { runtime: Some("/nowhere".into()), ..no_run.clone() }, &private);
    let configured = root.path().join("own/state");
    assert_eq!(StateFolder::find(Some(&configured), "wcs", &all).unwrap(), None);
    assert_eq!(StateFolder::make(Some(&configured), "wcs", &all).unwrap().path(), configured);
    assert!(StateFolder::find(Some(&configured), "wcs", &all).unwrap().is_some());
}

#[test]
fn what_another_could_have_planted_in_tmp_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let places = Places { system: "/nowhere/x".into(), runtime: None, ..places(root.path()) };
    let outer = places.temporary.join(format!("tenantcron-{}", places.uid));
    let refused = |why: &str| {
        for error in
            [StateFolder::make(None, "wcs", &places).unwrap_err(), StateFolder::find(None, "wcs", &places).unwrap_err()]
        {
            assert!(matches!(error, StateError::NotSafe { .. }), "{error}");
            assert!(error.to_string().contains(why), "{error}");
        }
    };
    std::os::unix::fs::symlink(root.path(), &outer).unwrap();
    refused("a link");
    std::fs::remove_file(&outer).unwrap();
    std::fs::create_dir(&outer).unwrap();
    std::fs::set_permissions(&outer, std::fs::Permissions::from_mode(0o755)).unwrap();
    refused("0700");
    std::fs::set_permissions(&outer, std::fs::Permissions::from_mode(0o700)).unwrap();
    same(&places, &outer.join("wcs"));
    let others = Places { uid: places.uid + 1, ..places.clone() };
    std::fs::rename(&outer, places.temporary.join(format!("tenantcron-{}", others.uid))).unwrap();
    let error = StateFolder::make(None, "wcs", &others).unwrap_err();
    assert!(error.to_string().contains("another user"), "{error}");
}

#[test]
fn a_file_in_the_place_of_the_folder_is_an_error_and_no_reason_to_go_elsewhere() {
    let root = tempfile::tempdir().unwrap();
    let places = places(root.path());
    std::fs::create_dir(&places.system).unwrap();
    std::fs::write(places.system.join("wcs"), "").unwrap();
    assert!(StateFolder::make(None, "wcs", &places).is_err());
    assert!(StateFolder::find(None, "wcs", &places).is_err());
}

#[test]
fn one_that_exists_and_cannot_be_written_is_an_error() {
    if !getuid().is_root() {
        return; // the next test's user already is the one who may not
    }
    if !alone(one_that_exists_and_cannot_be_written_is_an_error) {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let places = Places { uid: 65534, ..places(root.path()) };
    StateFolder::make(None, "wcs", &Places { uid: 0, ..places.clone() }).unwrap();
    nix::unistd::setuid(nix::unistd::Uid::from_raw(65534)).unwrap();
    let error = StateFolder::make(None, "wcs", &places).unwrap_err();
    assert!(matches!(error, StateError::NotWritable { .. }), "{error}");
    assert!(StateFolder::find(None, "wcs", &places).unwrap().is_some(), "commands may still look");
}
