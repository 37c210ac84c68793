//! File systems that are full or read-only: mounts in the world's folder, taken away with their value, or by the guardian.
//! They take root, and a container that lets root mount; without that a test says so and proves nothing.

use super::world::world;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// A mount.
pub struct Mount {
    at: PathBuf,
}

impl Mount {
    /// An empty file system of so much room (`64k`) on a folder; none where this is not allowed, which is told.
    pub fn small(at: &Path, size: &str) -> Option<Self> {
        let mounted = mount(&["-t", "tmpfs", "-o", &format!("size={size},mode=0755"), "tmpfs"], at);
        Self::told(mounted, at)
    }

    /// The folder itself, but read-only for whoever opens anything in it from now on.
    pub fn read_only(at: &Path) -> Option<Self> {
        let path = at.to_str().expect("an ASCII path");
        let bound = Self::told(mount(&["--bind", path], at), at)?;
        assert!(mount(&["-o", "remount,bind,ro"], at), "a bind mount that cannot be made read-only");
        Some(bound)
    }

    fn told(mounted: bool, at: &Path) -> Option<Self> {
        if !mounted {
            println!("not proved here: it takes root, and leave to mount");
        }
        mounted.then(|| Self { at: at.to_owned() })
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let mut command = world().command("umount", None);
        command.arg("-l").arg(&self.at).status().ok();
    }
}

fn mount(options: &[&str], at: &Path) -> bool {
    let mut command = world().command("mount", None);
    command.args(options).arg(at).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
