//! `tenants.directory`: the names of a folder's subfolders; links to folders count. One small blocking read of the
//! file system: on a dead network mount it blocks like any other program, so keep it off the loop's thread if such
//! mounts are used.
//!
//! A listing that fails in the middle is a failure, never a shorter list.

use super::Listing;
use std::ffi::OsString;
use std::fs::DirEntry;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Reads the folder.
///
/// # Errors
/// What failed, on which path, and why.
pub fn listing(folder: &Path) -> Result<Listing, String> {
    let failed = |error: io::Error| format!("cannot list {}: {error}", folder.display());
    let entries = std::fs::read_dir(folder).map_err(failed)?;
    from_entries(entries.map(|entry| entry.and_then(|entry| Ok((entry.file_name(), is_folder(&entry)?)))))
        .map_err(failed)
}

/// The names of those entries that are folders; the first error is the answer.
fn from_entries(entries: impl Iterator<Item = io::Result<(OsString, bool)>>) -> io::Result<Listing> {
    let mut folders = Vec::new();
    for entry in entries {
        let (name, is_folder) = entry?;
        if is_folder {
            folders.push(name);
        }
    }
    folders.sort_unstable(); // the file system's order is none, and reports should not change with it
    let mut listing = Listing::default();
    for name in folders {
        listing.add(name.as_bytes(), None, None);
    }
    Ok(listing)
}

/// True for a folder and for a link to one. What vanished since it was listed, and a link that leads nowhere, is none;
/// whatever else keeps us from knowing is an error.
fn is_folder(entry: &DirEntry) -> io::Result<bool> {
    let kind = entry.file_type().and_then(|kind| match kind.is_symlink() {
        true => std::fs::metadata(entry.path()).map(|target| target.is_dir()),
        false => Ok(kind.is_dir()),
    });
    match kind {
        Err(error) if leads_nowhere(&error) => Ok(false),
        Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", entry.path().display()))),
        Ok(is_folder) => Ok(is_folder),
    }
}

fn leads_nowhere(error: &io::Error) -> bool {
    let loops = error.raw_os_error() == Some(nix::errno::Errno::ELOOP as i32);
    loops || matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn folders_and_links_to_folders_count_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir(at("b.example")).unwrap();
        fs::create_dir(at("a.example")).unwrap();
        fs::write(at("file"), "").unwrap();
        symlink(at("a.example"), at("linked")).unwrap();
        symlink(at("file"), at("to-file")).unwrap();
        symlink(at("nowhere"), at("dangling")).unwrap();
        symlink(at("circle"), at("circle")).unwrap();
        fs::create_dir(at("lost+found")).unwrap();
        fs::create_dir(root.path().join(OsStr::from_bytes(b"caf\xe9"))).unwrap();
        let listing = listing(root.path()).unwrap();
        let names: Vec<_> = listing.candidates.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["a.example", "b.example", "linked"]);
        let refused: Vec<_> = listing.refused.iter().map(|r| r.text.as_str()).collect();
        assert!(refused[0].contains("caf\\xe9") && refused[1].contains("lost+found"), "{refused:?}");
    }

    #[test]
    fn a_missing_folder_is_a_failure_that_names_it() {
        let root = tempfile::tempdir().unwrap();
        let gone = root.path().join("gone");
        let why = listing(&gone).unwrap_err();
        assert!(why.contains(&gone.display().to_string()) && why.contains("No such file"), "{why}");
        assert_eq!(listing(root.path()).unwrap(), Listing::default());
    }

    #[test]
    fn a_listing_that_breaks_off_is_no_shorter_list() {
        let entries = [Ok((OsString::from("a"), true)), Err(io::Error::other("EIO")), Ok((OsString::from("b"), true))];
        assert!(from_entries(entries.into_iter()).is_err());
    }
}
