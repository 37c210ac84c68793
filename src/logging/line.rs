//! A message made fit for one line of a log: nothing in it can begin a new line, forge a prefix or drive a
//! terminal, and it has an end.

use std::fmt::Write;

/// The longest message, in bytes: with its prefix it stays under the 8 KiB that rsyslog takes by default.
pub(super) const LONGEST: usize = 8000;
const CUT: &str = "... (cut)";

/// The message with control characters escaped, at most [`LONGEST`] bytes, cut between characters.
pub(super) fn clean(message: &str) -> String {
    let mut out = String::with_capacity(message.len().min(LONGEST));
    for c in message.trim_end().chars() {
        if c.is_control() {
            _ = write!(out, "{}", c.escape_default());
        } else {
            out.push(c);
        }
        if out.len() > LONGEST {
            let fits = (0..=LONGEST - CUT.len()).rev().find(|&at| out.is_char_boundary(at));
            out.truncate(fits.unwrap_or(0));
            out.push_str(CUT);
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_message_can_forge_a_line_or_drive_a_terminal() {
        let table = [
            ("plain é ✓", "plain é ✓"),
            ("two\nlines\n", "two\\nlines"),
            ("\r<1>forged", "\\r<1>forged"),
            ("\x1b[2Jgone\0", "\\u{1b}[2Jgone\\u{0}"),
            ("c1 \u{9b}31m", "c1 \\u{9b}31m"),
        ];
        for (message, expected) in table {
            assert_eq!(clean(message), expected);
        }
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        assert_eq!(clean(&"a".repeat(LONGEST)).len(), LONGEST);
        for shift in 0..4 {
            let cut = clean(&format!("{}{}", "a".repeat(shift), "✓".repeat(LONGEST)));
            assert!(cut.ends_with("✓... (cut)") && cut.len() <= LONGEST && cut.len() > LONGEST - 4);
        }
        assert!(clean(&"\0".repeat(10 * LONGEST)).len() <= LONGEST);
    }
}
