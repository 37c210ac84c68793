//! The password file, as libpq reads it: lines of `host:port:database:user:password`, `*` for any,
//! `\:` and `\\` escaped, the first match counts, ignored if others than its owner may read it.

use super::parse::SOCKETS;
use super::{DatabaseUrl, Host, Place};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// A password and whatever kept a file from being used.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Password {
    /// The password, if there is one.
    pub word: Option<String>,
    /// Why the password file was not used.
    pub problem: Option<PassfileProblem>,
}

/// Why a password file was not used; the text says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("password file {path} is ignored: {why}")]
pub(crate) struct PassfileProblem {
    path: String,
    why: String,
}

impl DatabaseUrl {
    /// The password for one of its hosts: from the URL or `PGPASSWORD`, else from the password file, read now.
    pub(crate) fn password_for(&self, place: &Place) -> Password {
        if self.password.is_some() {
            return Password { word: self.password.clone(), problem: None };
        }
        let Some(path) = self.passfile.as_deref() else { return Password::default() };
        match read(path) {
            Ok(text) => Password { word: text.as_deref().and_then(|text| self.find(place, text)), problem: None },
            Err(why) => {
                Password { word: None, problem: Some(PassfileProblem { path: path.display().to_string(), why }) }
            }
        }
    }

    fn find(&self, place: &Place, text: &str) -> Option<String> {
        let port = place.port.to_string();
        let hosts: [&str; 2] = match &place.host {
            Host::Tcp { name, .. } => [name, name],
            Host::Socket(folder) => {
                let folder = folder.to_str().unwrap_or_default();
                [folder, if folder == SOCKETS { "localhost" } else { folder }]
            }
        };
        text.lines().find_map(|line| {
            let mut fields = Fields(line.strip_prefix('#').map_or(line, |_| ""));
            let host = fields.next()?;
            let fits = (host == "*" || hosts.contains(&host.as_str()))
                && [port.as_str(), &self.dbname, &self.user]
                    .iter()
                    .all(|wanted| fields.next().is_some_and(|field| field == "*" || field == *wanted));
            if fits { Some(unescape(fields.0)).filter(|word| !word.is_empty()) } else { None }
        })
    }
}

/// The text of the file, none if it does not exist.
fn read(path: &Path) -> Result<Option<String>, String> {
    let about = match std::fs::metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    if !about.is_file() {
        return Err("it is not a plain file".to_owned());
    }
    let mode = about.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(format!("others than its owner may read it (mode {mode:04o}); chmod 0600 it"));
    }
    std::fs::read(path).map(|raw| Some(String::from_utf8_lossy(&raw).into_owned())).map_err(|error| error.to_string())
}

/// Cuts fields off a line at colons that no backslash precedes.
struct Fields<'a>(&'a str);

impl Fields<'_> {
    fn next(&mut self) -> Option<String> {
        let mut escaped = false;
        let end = self.0.char_indices().find(|(_, letter)| {
            let found = *letter == ':' && !escaped;
            escaped = *letter == '\\' && !escaped;
            found
        });
        let (at, _) = end?;
        let field = unescape(self.0.get(..at)?);
        self.0 = self.0.get(at + 1..)?;
        Some(field)
    }
}

fn unescape(field: &str) -> String {
    let mut letters = field.chars();
    let mut plain = String::with_capacity(field.len());
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => plain.extend(letters.next()),
            _ => plain.push(letter),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::super::Environment;
    use super::*;

    fn url(path: &Path, rest: &str) -> DatabaseUrl {
        let environment = Environment { user: Some("ann".into()), ..Environment::default() };
        DatabaseUrl::parse(&format!("postgresql://{rest}passfile={}", path.display()), &environment).unwrap()
    }

    #[test]
    fn a_password_file_is_read_as_libpq_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pass");
        let lines = "# db1:*:*:*:comment\n\ndb1:5433:*:ann:first\ndb1:*:x:*:second\n::1:5432:x:ann:broken\n\
                     \\:\\:1:5432:x:ann:a\\:b\\\\c:d\nlocalhost:*:x:ann:socket\n/run/x:*:x:ann:folder\n*:*:*:bob:last\n";
        std::fs::write(&path, lines).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        for (rest, want) in [
            ("db1:5433/y?", Some("first")),
            ("db1/x?", Some("second")),
            ("db1/y?", None),
            ("[::1]/x?", Some("a:b\\c:d")),
            ("/x?", Some("socket")),
            ("/x?host=/run/x&", Some("folder")),
            ("/x?host=/run/y&", None),
            ("bob@elsewhere/z?", Some("last")),
            ("bob:own@elsewhere/z?", Some("own")),
        ] {
            let url = url(&path, rest);
            let password = url.password_for(url.places.first().unwrap());
            assert_eq!((password.word.as_deref(), password.problem), (want, None), "{rest}");
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let url = url(&path, "db1/x?");
        let password = url.password_for(url.places.first().unwrap());
        assert_eq!(password.word, None);
        assert!(password.problem.unwrap().to_string().contains("mode 0640"));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(url.password_for(url.places.first().unwrap()), Password::default());
    }
}
