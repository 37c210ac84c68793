//! Where the state folder lies for whom: configured, the system's, the session's, the temporary one; and when that is
//! an error rather than another place.

use crate::support::cluster::{TestDatabase, cluster};
use crate::support::daemon::{BINARY, Supervisor, output_within};
use crate::support::rows;
use crate::support::wait::{eventually, exit_within, secs};
use crate::support::world::{signal, world};
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, chown, geteuid};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const NOBODY: u32 = 65_534;

/// A binary and a configuration that an ordinary user may read, under an instance's name of its own.
struct Stage {
    folder: PathBuf,
    instance: String,
    database: TestDatabase,
}

impl Stage {
    fn new() -> Self {
        let folder = world().folder("stage");
        fs::copy(BINARY, folder.join("tenantcron")).unwrap();
        let instance = format!("test-{}-{}", std::process::id(), world().number());
        Self { folder, instance, database: cluster().database() }
    }

    /// One look with these further lines of configuration, by an ordinary user where the tests are run by root.
    fn look(&self, lines: &str, runtime: Option<&Path>) -> (Option<i32>, String) {
        let mut command = self.command(lines, runtime);
        if geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        ended(command)
    }

    fn command(&self, lines: &str, runtime: Option<&Path>) -> Command {
        let config = self.folder.join(format!("{}.toml", self.instance));
        let url = self.database.url();
        let text = format!(
            "node = \"n\"\n{lines}\n[job]\ncommand = [\"/bin/true\"]\nlog = \"/dev/null\"\n[tenants]\nlist = [\"a\"]\n\
             [database]\nurl = \"{url}\"\n[log]\ntarget = \"stderr\"\n"
        );
        fs::write(&config, text).unwrap();
        let mut command = world().command(self.folder.join("tenantcron"), None);
        command.args(["run", "--once", "-v", "--config"]).arg(config).env_remove("XDG_RUNTIME_DIR").current_dir("/");
        command.envs(runtime.map(|folder| ("XDG_RUNTIME_DIR", folder)));
        command
    }

    fn temporary(&self) -> PathBuf {
        Path::new("/tmp").join(format!("tenantcron-{}", user())).join(&self.instance)
    }

    fn system(&self) -> PathBuf {
        Path::new("/run/tenantcron").join(&self.instance)
    }

    /// A folder of the ordinary user.
    fn folder_of_user(&self, name: &str, mode: u32) -> PathBuf {
        let folder = self.folder.join(name);
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
        if geteuid().is_root() {
            chown(&folder, Some(Uid::from_raw(NOBODY)), Some(Gid::from_raw(NOBODY))).unwrap();
        }
        folder
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for folder in [self.temporary(), self.system()] {
            fs::remove_dir_all(&folder).ok();
            // Empty: nobody else's either.
            folder.parent().map(fs::remove_dir);
        }
        fs::remove_dir_all(&self.folder).ok();
    }
}

fn user() -> u32 {
    if geteuid().is_root() { NOBODY } else { geteuid().as_raw() }
}

fn ended(command: Command) -> (Option<i32>, String) {
    let done = output_within(command, secs(30));
    (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn an_ordinary_user_gets_the_sessions_folder() {
    let stage = Stage::new();
    let runtime = stage.folder_of_user("runtime", 0o700);
    let (code, words) = stage.look("", Some(&runtime));
    assert_eq!(code, Some(0), "{words}");
    let state = runtime.join("tenantcron").join(&stage.instance);
    assert!(words.contains(&format!("state in {}", state.display())), "{words}");
    assert!(state.join("tenants/a.lock").exists());
    assert!(!stage.temporary().exists());
}

#[test]
fn an_ordinary_user_without_a_session_gets_a_private_folder_in_tmp() {
    let stage = Stage::new();
    let (code, words) = stage.look("", None);
    assert_eq!(code, Some(0), "{words}");
    let state = stage.temporary();
    assert!(words.contains(&format!("state in {}", state.display())), "{words}");
    assert_eq!((mode(&state), mode(state.parent().unwrap())), (0o700, 0o700));
    assert_eq!(fs::metadata(&state).unwrap().uid(), user());
    // Another's XDG_RUNTIME_DIR, left over by su, is not used either.
    if geteuid().is_root() {
        let roots = stage.folder.join("roots");
        fs::create_dir(&roots).unwrap();
        let (code, words) = stage.look("", Some(&roots));
        assert_eq!(code, Some(0), "{words}");
        assert!(words.contains(&format!("state in {}", state.display())), "{words}");
    }
}

#[test]
fn a_folder_in_tmp_that_others_could_have_planted_is_refused() {
    let stage = Stage::new();
    assert_eq!(stage.look("", None).0, Some(0));
    let state = stage.temporary();
    fs::set_permissions(&state, Permissions::from_mode(0o777)).unwrap();
    let (code, words) = stage.look("", None);
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains(&state.display().to_string()) && words.contains("others may enter it"), "{words}");
    fs::remove_dir_all(&state).unwrap();
    std::os::unix::fs::symlink(&stage.folder, &state).unwrap();
    let (code, words) = stage.look("", None);
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("it is a link or a file"), "{words}");
    fs::remove_file(&state).unwrap();
}

#[test]
fn a_configured_folder_is_made_and_one_that_cannot_be_written_is_an_error() {
    let stage = Stage::new();
    let ours = stage.folder_of_user("ours", 0o755);
    let state = ours.join("deep/state");
    let line = |path: &Path| format!("state = \"{}\"", path.display());
    let (code, words) = stage.look(&line(&state), None);
    assert_eq!(code, Some(0), "{words}");
    assert!(state.join("tenants/a.lock").exists());

    if geteuid().is_root() {
        let roots = stage.folder.join("roots");
        fs::create_dir(&roots).unwrap();
        // It exists: another place would hide the locks of whoever may write there.
        let (code, words) = stage.look(&line(&roots), None);
        assert_eq!(code, Some(1), "{words}");
        assert!(words.contains(&format!("{} exists and cannot be written", roots.display())), "{words}");
        let (code, words) = stage.look(&line(&roots.join("new")), None);
        assert_eq!(code, Some(1), "{words}");
        assert!(words.contains(&roots.join("new").display().to_string()), "{words}");
        assert!(fs::read_dir(&roots).unwrap().next().is_none());
    }
    let file = stage.folder.join("file");
    fs::write(&file, "").unwrap();
    let (code, words) = stage.look(&line(&file), None);
    assert!(code == Some(1) && words.contains(&file.display().to_string()), "{words}");
    assert!(!stage.temporary().exists(), "no other place was taken");
}

#[test]
fn roots_folder_is_the_systems_and_shuts_out_who_may_not_write_there() {
    if !geteuid().is_root() {
        println!("not proved here: it takes root");
        return;
    }
    let stage = Stage::new();
    let (code, words) = ended(stage.command("", None));
    assert_eq!(code, Some(0), "{words}");
    assert!(words.contains(&format!("state in {}", stage.system().display())), "{words}");
    let (code, words) = stage.look("", None);
    assert_eq!(code, Some(1), "{words}");
    let want = format!("{} exists and cannot be written", stage.system().display());
    assert!(words.contains(&want), "{words}");
    assert!(!stage.temporary().exists(), "no other place was taken");
}

#[test]
fn commands_find_the_folder_and_never_make_one() {
    let database = cluster().database();
    let supervisor = Supervisor::builder().database(&database).tenants(&["a"]).prepare();
    fs::remove_dir(supervisor.state()).unwrap();
    for verb in [&["status"][..], &["config"], &["migrate"], &["run", "--dry-run"]] {
        assert!(supervisor.command(verb).status.success(), "{verb:?}");
        assert!(!supervisor.state().exists(), "{verb:?} made it");
    }
}

#[test]
fn a_folder_that_is_removed_under_a_supervisor_is_made_anew_and_the_night_goes_on() {
    let database = cluster().database();
    let mut supervisor = Supervisor::builder().database(&database).tenants(&["a", "b"]).plan_for_all("true").start();
    let ended = |supervisor: &Supervisor, tenant: &str| supervisor.journal().read().ended(tenant);
    eventually(secs(20), "both run", || ended(&supervisor, "a") > 0 && ended(&supervisor, "b") > 0);
    fs::remove_dir_all(supervisor.state()).unwrap();
    supervisor.wait_for_log("was removed: made anew", secs(20));
    let before = (ended(&supervisor, "a"), ended(&supervisor, "b"));
    eventually(secs(30), "both run again", || {
        ended(&supervisor, "a") > before.0 + 1 && ended(&supervisor, "b") > before.1 + 1
    });
    // Its place is its own again.
    let second = supervisor.command(&["run"]);
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    assert_eq!(supervisor.journal().read().overlaps(), [""; 0]);
    assert!(supervisor.stop().success());
}

#[test]
fn a_folder_that_somebody_else_removed_and_made_anew_is_noticed_at_the_next_look() {
    let database = cluster().database();
    let mut supervisor = Supervisor::builder().database(&database).tenants(&["a"]).set("schedule.every", "1h").start();
    eventually(secs(20), "it has run", || supervisor.journal().read().ended("a") == 1);
    fs::remove_dir_all(supervisor.state()).unwrap();
    for part in ["tenants", "wake", "stop", "unrecorded"] {
        fs::create_dir_all(supervisor.state().join(part)).unwrap();
    }
    supervisor.wait_for_log("made anew by somebody else: our place in it is taken again", secs(20));
    let second = supervisor.command(&["run"]);
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(second.status.code() == Some(1) && said.contains(&format!("pid {}", supervisor.pid())), "{said}");
    assert!(supervisor.stop().success());
}

#[test]
fn who_finds_another_in_its_place_drains_and_leaves() {
    let database = cluster().database();
    let mut first = Supervisor::builder().database(&database).tenants(&["a"]).plan_for_all("sleep 8; exit 5").start();
    let mut client = database.connect();
    // Without the folder its pid in the row is all that speaks for it.
    eventually(secs(20), "the row knows its pid", || rows::runs(&mut client).iter().any(|run| run.pid.is_some()));
    first.signal(Signal::SIGSTOP);
    fs::remove_dir_all(first.state()).unwrap();
    let mut command = first.plain_command();
    command.arg("run").arg("--config").arg(first.config_path());
    let mut second = command.stderr(Stdio::null()).spawn().unwrap();
    eventually(secs(20), "the second has taken the place", || first.state().join("supervisor.node1.lock").exists());
    first.signal(Signal::SIGCONT);
    first.wait_for_log("another supervisor took our place meanwhile", secs(20));
    assert_eq!(first.wait_exit(secs(30)).code(), Some(0), "{}", first.log());
    // Its child was waited for; the other adopted it, and one of the two recorded its end.
    let run = rows::runs_of(&mut client, "a").remove(0);
    assert!(["failed", "adopted"].contains(&run.how().0), "{run:?}");
    signal(second.id() as i32, Signal::SIGTERM);
    assert!(exit_within(&mut second, secs(30)).expect("it ends").success());
    assert_eq!(first.journal().read().overlaps(), [""; 0]);
}
