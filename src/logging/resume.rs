//! A line that a byte stream took only in part: the rest goes first, so that lines never mix. On a new connection
//! the line begins anew.

use std::io;

/// The line that is half written.
#[derive(Debug, Default)]
pub(super) struct Resume {
    line: Vec<u8>,
    written: usize,
}

impl Resume {
    /// Writes what is left of the last line, then this one. Ok means that the stream took the line, the last bytes
    /// perhaps later.
    ///
    /// # Errors
    /// Those of `write`; then nothing of this line was written.
    pub(super) fn send(&mut self, line: &[u8], mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<()> {
        self.finish(&mut write)?;
        let mut written = 0;
        while let Some(rest) = line.get(written..).filter(|rest| !rest.is_empty()) {
            match write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(some) => written += some,
                Err(error) if written == 0 => return Err(error),
                Err(_) => {
                    *self = Self { line: line.to_vec(), written };
                    break;
                }
            }
        }
        Ok(())
    }

    /// Writes what is left of the last line.
    ///
    /// # Errors
    /// Those of `write`.
    pub(super) fn finish(&mut self, mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<()> {
        while let Some(rest) = self.line.get(self.written..).filter(|rest| !rest.is_empty()) {
            match write(rest)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                some => self.written += some,
            }
        }
        *self = Self::default();
        Ok(())
    }

    /// The other end is a new one that has seen nothing.
    pub(super) fn restart(&mut self) {
        self.written = 0;
    }

    /// True if nothing is left.
    pub(super) fn is_done(&self) -> bool {
        self.line.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_cut_in_the_middle_is_finished_before_the_next() {
        let mut resume = Resume::default();
        let (mut out, mut room) = (Vec::new(), 7);
        let mut write = |bytes: &[u8], room: &mut usize| {
            let some = bytes.len().min(*room).min(3);
            if some == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            *room -= some;
            out.extend_from_slice(&bytes[..some]);
            Ok(some)
        };
        assert!(resume.send(b"first\n", |bytes| write(bytes, &mut room)).is_ok());
        assert!(resume.send(b"second\n", |bytes| write(bytes, &mut room)).is_ok(), "one byte of it was taken");
        assert!(resume.send(b"third\n", |bytes| write(bytes, &mut room)).is_err());
        room = 100;
        assert!(resume.send(b"fourth\n", |bytes| write(bytes, &mut room)).is_ok());
        assert!(resume.is_done());
        assert_eq!(out, b"first\nsecond\nfourth\n");
    }
}
