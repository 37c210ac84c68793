//! Another copy takes over: a standby that had not received the last commits, or an older backup.

use super::{Content, Database};

/// What another copy knows.
#[derive(Debug, Clone)]
pub struct Copy {
    content: Content,
}

impl Database {
    pub fn copy(&self) -> Copy {
        Copy { content: self.content.clone() }
    }

    /// The copy takes over, by a clock that differs by so many microseconds; answers what the former one knew.
    pub fn become_copy(&mut self, copy: Copy, step: i64) -> Content {
        self.era += 1;
        self.epoch += step;
        self.locked.clear();
        self.locked_runs.clear();
        std::mem::replace(&mut self.content, copy.content)
    }
}
