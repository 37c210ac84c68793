//! `tenants.command`: reads what the command printed, a tenant a line: `name [database=… group=… key=value…]`.
//! Blank lines are skipped, keys that we do not know too (a later version may). The command is spawned, timed and
//! reaped elsewhere; a command that did not end well has no output worth reading: it may have broken off.

use super::Listing;
use nix::sys::signal::Signal;
use std::time::Duration;

/// How the command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandEnd {
    /// It exited with this status.
    Exited(i32),
    /// It died of this signal.
    Killed(i32),
    /// It was ended after this long.
    TimedOut(Duration),
    /// It printed more than this many bytes, the rest was not read.
    TooMuch(usize),
}

/// Reads the output of a command.
///
/// # Errors
/// How it ended if it was not by exit 0, with the last line that it wrote to standard error.
pub fn listing(end: CommandEnd, stdout: &[u8], stderr: &[u8]) -> Result<Listing, String> {
    let failed = match end {
        CommandEnd::Exited(0) => return Ok(read(stdout)),
        CommandEnd::Exited(status) => format!("the command exited with status {status}"),
        CommandEnd::Killed(signal) => match Signal::try_from(signal) {
            Ok(signal) => format!("the command was killed by {}", signal.as_str()),
            Err(_) => format!("the command was killed by signal {signal}"),
        },
        CommandEnd::TimedOut(after) => format!("the command did not end within {} s", after.as_secs()),
        CommandEnd::TooMuch(bytes) => format!("the command printed more than {bytes} bytes"),
    };
    Err(match last_line(stderr) {
        Some(line) => format!("{failed}: {line}"),
        None => failed,
    })
}

fn read(stdout: &[u8]) -> Listing {
    let mut listing = Listing::default();
    for (at, line) in stdout.split(|&byte| byte == b'\n').enumerate() {
        let Ok(text) = std::str::from_utf8(line) else {
            listing.refuse(format!("line {}: \"{}\" is not UTF-8", at + 1, shown(line)));
            continue;
        };
        let mut words = text.split_ascii_whitespace();
        let Some(name) = words.next() else { continue };
        match fields(words) {
            Ok((database, group)) => listing.add(name.as_bytes(), database, group),
            Err(why) => listing.refuse(format!("line {}: \"{}\": {why}", at + 1, shown(line.trim_ascii()))),
        }
    }
    listing
}

type Fields = (Option<String>, Option<String>);

fn fields<'a>(words: impl Iterator<Item = &'a str>) -> Result<Fields, String> {
    let (mut database, mut group) = (None, None);
    for word in words {
        let (key, value) = match word.split_once('=') {
            Some((key, value)) if !key.is_empty() => (key, value),
            _ => return Err(format!("\"{}\" is not key=value", shown(word.as_bytes()))),
        };
        let field = match key {
            "database" => &mut database,
            "group" => &mut group,
            _ => continue,
        };
        if field.replace(value.to_owned()).is_some() {
            return Err(format!("{key} is given twice"));
        }
    }
    Ok((database, group))
}

fn last_line(stderr: &[u8]) -> Option<String> {
    let line = stderr.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).rfind(|line| !line.is_empty())?;
    Some(shown(line))
}

/// Bytes of the world as they may stand in a message: escaped where not plain, and not too long.
fn shown(bytes: &[u8]) -> String {
    const LONGEST: usize = 200;
    let clean = |text: &str| text.chars().flat_map(escaped).take(LONGEST).collect();
    std::str::from_utf8(bytes).map_or_else(|_| clean(&bytes.escape_ascii().to_string()), clean)
}

fn escaped(c: char) -> impl Iterator<Item = char> {
    let control = c.is_control().then(|| c.escape_default());
    let plain = (!c.is_control()).then_some(c);
    control.into_iter().flatten().chain(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Fields;
    use crate::tenants::Candidate;

    fn field(candidate: &Candidate, of: fn(&Fields) -> &Option<String>) -> Option<&str> {
        candidate.fields.as_deref().and_then(|fields| of(fields).as_deref())
    }

    fn ok(stdout: &[u8]) -> Listing {
        listing(CommandEnd::Exited(0), stdout, b"").unwrap()
    }

    #[test]
    fn each_line_is_a_tenant_with_its_fields() {
        let out = b"a.example\n\n  b database=wcs_b group=db1 colour=red\r\nc group=\t\n   \nd database=x=y";
        let listing = ok(out);
        let seen: Vec<_> = listing
            .candidates
            .iter()
            .map(|c| (c.name.as_str(), field(c, |f| &f.database), field(c, |f| &f.group)))
            .collect();
        assert_eq!(
            seen,
            [("a.example", None, None), ("b", Some("wcs_b"), Some("db1")), ("c", None, None), ("d", Some("x=y"), None)]
        );
        assert!(listing.refused.is_empty());
    }

    #[test]
    fn a_bad_line_is_refused_and_named_and_the_others_are_kept() {
        let table: [(&[u8], &str); 6] = [
            (b"caf\xe9 group=x", "line 2: \"caf\\xe9 group=x\" is not UTF-8"),
            (b"b c", "line 2: \"b c\": \"c\" is not key=value"),
            (b"b =x", "line 2: \"b =x\": \"=x\" is not key=value"),
            (b"b group=1 group=2", "line 2: \"b group=1 group=2\": group is given twice"),
            (b"../etc database=x", "bad name \"../etc\": it starts with '-' or '.'"),
            (b"b \x1b[31m", "line 2: \"b \\u{1b}[31m\": \"\\u{1b}[31m\" is not key=value"),
        ];
        for (line, expected) in table {
            let listing = ok(&[b"first\n", line, b"\nlast\n"].concat());
            assert_eq!(listing.refused.len(), 1, "{expected}");
            assert_eq!(listing.refused[0].text, expected);
            assert_eq!(listing.candidates.len(), 2, "{expected}");
        }
    }

    #[test]
    fn a_command_that_did_not_end_well_has_failed_whatever_it_printed() {
        let table = [
            (CommandEnd::Exited(3), "warn\ncannot open: no\n\n", "the command exited with status 3: cannot open: no"),
            (CommandEnd::Killed(9), "", "the command was killed by SIGKILL"),
            (CommandEnd::Killed(40), " ", "the command was killed by signal 40"),
            (CommandEnd::TimedOut(Duration::from_secs(30)), "", "the command did not end within 30 s"),
            (CommandEnd::TooMuch(1000), "", "the command printed more than 1000 bytes"),
        ];
        for (end, stderr, expected) in table {
            assert_eq!(listing(end, b"a\nb\n", stderr.as_bytes()), Err(expected.to_owned()));
        }
    }

    #[test]
    fn no_output_and_exit_0_means_that_there_are_none() {
        assert_eq!(ok(b""), Listing::default());
    }
}
