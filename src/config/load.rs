//! The entry: which file, which instance, and the way through the layers.
//!
//! It asks nothing of the host itself but the files: the rest comes with the [`Request`].

use super::check::check;
use super::layers::{Settings, whole_file};
use super::mistake::{Mistake, Mistakes, Origin};
use super::schema::Config;
use super::{explain, keys};
use crate::model::TenantName;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Where configurations stand.
const FOLDER: &str = "/etc/tenantcron";

/// What is asked for, and what the host is.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// `--config`: the main file.
    pub config: Option<PathBuf>,
    /// `--instance`; without `config` it also names the file in /etc/tenantcron.
    pub instance: Option<String>,
    /// The whole environment; only what begins with `TENANTCRON_` counts, and `XDG_STATE_HOME`.
    pub environment: Vec<(OsString, OsString)>,
    /// What the command line sets: pairs of key path and text, such as `("workers", "cpu*2")`.
    pub arguments: Vec<(String, String)>,
    /// The host's name: the default of `node`.
    pub hostname: String,
    /// Whether the effective user is root; decides where tenants' logs are by default.
    pub root: bool,
    /// The user's home folder, if there is one.
    pub home: Option<PathBuf>,
}

/// A configuration that was read and found right.
#[derive(Debug)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// The instance; follows the rule of tenants' names.
    pub instance: String,
    /// The main file.
    pub file: PathBuf,
    settings: Settings,
}

impl Loaded {
    /// Each effective value and where it came from, as lines of TOML with comments; passwords hidden.
    pub fn explanation(&self) -> Vec<String> {
        explain::lines(&self.settings)
    }
}

/// Reads every layer and checks the whole.
///
/// # Errors
/// [`Mistakes`]: all of them, of all layers.
pub fn load(request: &Request) -> Result<Loaded, Mistakes> {
    let (file, instance) = locate(request);
    let mut settings = Settings::defaults(host_defaults(request));
    if let Err(why) = TenantName::parse(&instance) {
        let source = Origin::CommandLine.at(0);
        let what = format!("{why}; an instance is named as a tenant is, by --instance or by the file's name");
        settings.mistakes.push(Mistake::about(source, "instance", what));
        if request.config.is_none() {
            // Such a name may not reach a path.
            return Err(Mistakes::new(settings.mistakes));
        }
    }
    settings.files(&file);
    settings.environment(&request.environment);
    settings.arguments(&request.arguments);
    match check(&settings, whole_file(&file)) {
        Ok(config) => Ok(Loaded { config, instance, file, settings }),
        Err(mistakes) => Err(Mistakes::new(mistakes)),
    }
}

/// The main file and the instance. A file that was named names the instance, unless that was named too.
fn locate(request: &Request) -> (PathBuf, String) {
    if let Some(file) = &request.config {
        let stem = || file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        return (file.clone(), request.instance.clone().unwrap_or_else(stem));
    }
    let from_environment = || variable(request, "TENANTCRON_INSTANCE").map(|name| name.to_string_lossy().into_owned());
    let instance = request.instance.clone().or_else(from_environment).unwrap_or_else(|| "default".to_owned());
    (Path::new(FOLDER).join(format!("{instance}.toml")), instance)
}

/// The defaults that only the host can tell. What it cannot tell stays unset, and is missed by the check.
fn host_defaults(request: &Request) -> Vec<(&'static str, String)> {
    let mut all = vec![("node", request.hostname.clone())];
    let folder = if request.root {
        Some(PathBuf::from("/var/log"))
    } else {
        let xdg = variable(request, "XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        xdg.or_else(|| request.home.as_ref().map(|home| home.join(".local/state")))
    };
    if let Some(folder) = folder.as_deref().and_then(Path::to_str) {
        let literal = folder.replace('{', "{{").replace('}', "}}");
        all.push(("job.log", format!("{}/tenantcron/{{tenant}}.log", literal.trim_end_matches('/'))));
    }
    debug_assert!(all.iter().all(|(path, _)| matches!(keys::shape(path), Some(keys::Shape::Value(_)))));
    all
}

/// A variable, empty counting as absent.
fn variable<'r>(request: &'r Request, name: &str) -> Option<&'r OsStr> {
    let found = request.environment.iter().find(|(key, _)| key == name);
    found.map(|(_, value)| value.as_os_str()).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_names_the_instance_and_the_instance_the_file() {
        let request = |config: Option<&str>, instance: Option<&str>, environment: &str| Request {
            config: config.map(PathBuf::from),
            instance: instance.map(str::to_owned),
            environment: vec![("TENANTCRON_INSTANCE".into(), environment.into())],
            ..Request::default()
        };
        for (config, instance, environment, file, name) in [
            (None, None, "", "/etc/tenantcron/default.toml", "default"),
            (None, Some("wcs"), "bijoe", "/etc/tenantcron/wcs.toml", "wcs"),
            (None, None, "bijoe", "/etc/tenantcron/bijoe.toml", "bijoe"),
            (Some("/tmp/a.b.toml"), None, "bijoe", "/tmp/a.b.toml", "a.b"),
            (Some("/tmp/a.toml"), Some("wcs"), "", "/tmp/a.toml", "wcs"),
        ] {
            assert_eq!(locate(&request(config, instance, environment)), (PathBuf::from(file), name.to_owned()));
        }
        let told = load(&request(None, Some("../x"), "")).unwrap_err().to_string();
        assert!(told.starts_with("command line: instance: bad name \"../x\": it starts with '-' or '.'"), "{told}");
    }

    #[test]
    fn tenants_logs_are_where_the_user_may_write() {
        let log = |root, xdg: &str, home: Option<&str>| {
            let environment = vec![("XDG_STATE_HOME".into(), xdg.into())];
            let home = home.map(PathBuf::from);
            let all = host_defaults(&Request { environment, root, home, ..Request::default() });
            all.into_iter().find(|(key, _)| *key == "job.log").map(|(_, log)| log)
        };
        assert_eq!(log(true, "/x", Some("/root")).as_deref(), Some("/var/log/tenantcron/{tenant}.log"));
        assert_eq!(log(false, "/x/", Some("/h")).as_deref(), Some("/x/tenantcron/{tenant}.log"));
        assert_eq!(log(false, "", Some("/h")).as_deref(), Some("/h/.local/state/tenantcron/{tenant}.log"));
        assert_eq!(log(false, "x", Some("/{h}")).as_deref(), Some("/{{h}}/.local/state/tenantcron/{tenant}.log"));
        assert_eq!(log(false, "", None), None);
    }
}
