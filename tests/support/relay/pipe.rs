//! One direction of a relayed connection: what was read and not yet handed on, in order, and when it may be.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// More than this is not read ahead of a side that does not take it.
const MOST_HELD: usize = 1 << 20;

/// One direction of a connection.
#[derive(Default)]
pub struct Pipe {
    held: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
    /// The source has ended.
    ended: bool,
    /// And the far side was told so.
    pub over: bool,
}

impl Pipe {
    pub fn wants_more(&self) -> bool {
        !self.ended && self.bytes < MOST_HELD
    }

    /// When the next piece, or the end, may be handed on.
    pub fn next_due(&self) -> Option<Instant> {
        let piece = self.held.front().map(|(at, _)| *at);
        piece.or_else(|| (self.ended && !self.over).then(Instant::now))
    }

    pub fn take(&mut self, mut source: &TcpStream, delay: Duration) {
        let mut buffer = [0; 16384];
        while self.wants_more() {
            match source.read(&mut buffer) {
                Ok(0) => self.ended = true,
                Ok(size) => {
                    self.bytes += size;
                    self.held.push_back((Instant::now() + delay, buffer[..size].to_vec()));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.ended = true,
            }
        }
    }

    /// Hands on what is due, so many bytes at most. False if the far side takes nothing more.
    pub fn give(&mut self, mut to: &TcpStream, count: &AtomicU64, most: &mut u64) -> bool {
        if *most == 0 {
            return true;
        }
        let now = Instant::now();
        while let Some((at, piece)) = self.held.front_mut() {
            let size = piece.len().min(usize::try_from(*most).unwrap_or(usize::MAX));
            if *at > now || size == 0 {
                return true;
            }
            match to.write(&piece[..size]) {
                Ok(size) => {
                    *most -= size as u64;
                    piece.drain(..size);
                    self.bytes -= size;
                    count.fetch_add(size as u64, Ordering::SeqCst);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
            if piece.is_empty() {
                self.held.pop_front();
            }
        }
        if self.ended && !self.over {
            self.over = true;
            to.shutdown(Shutdown::Write).ok();
        }
        true
    }
}
