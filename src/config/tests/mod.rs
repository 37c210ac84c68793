//! The configuration as a user meets it: whole files on disk, and the documents that describe it.

mod documents;
mod files;

use super::{Loaded, Mistakes, Request, load};
use std::path::Path;

/// The least that a configuration must say, one line each.
const LEAST: &str = "job.command = [\"/bin/true\"]\ndatabase.url = \"postgresql:///x\"\ntenants.list = [\"a\"]\n";

/// A request for a file, from a host of its own.
fn request(file: &Path) -> Request {
    Request { config: Some(file.to_owned()), hostname: "web1".into(), root: true, ..Request::default() }
}

/// Loads a text as the only file.
fn load_text(text: &str) -> Result<Loaded, Mistakes> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wcs.toml");
    std::fs::write(&file, text).unwrap();
    load(&request(&file))
}

/// What is told about a text, each mistake without the folder's name.
fn told(text: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wcs.toml");
    std::fs::write(&file, text).unwrap();
    told_of(&request(&file), folder.path())
}

fn told_of(request: &Request, folder: &Path) -> Vec<String> {
    let mistakes = load(request).map(|loaded| loaded.config).unwrap_err();
    let prefix = format!("{}/", folder.display());
    mistakes.iter().map(|mistake| mistake.to_string().replace(&prefix, "")).collect()
}
