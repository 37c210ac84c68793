//! Who waits for a session, in which order: what a run waits for before mere looks, first come first
//! served within each. Knows nothing of places or sessions.

use std::collections::VecDeque;

/// The waiting.
#[derive(Debug)]
pub(crate) struct Lanes<T> {
    urgent: VecDeque<T>,
    looks: VecDeque<T>,
}

/// What is to happen with one that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It waits on.
    Wait,
    /// It has been served, or no longer waits.
    Leave,
}

impl<T> Lanes<T> {
    pub fn new() -> Self {
        Self { urgent: VecDeque::new(), looks: VecDeque::new() }
    }

    /// Goes to the end of its lane.
    pub fn join(&mut self, who: T, urgent: bool) {
        if urgent { self.urgent.push_back(who) } else { self.looks.push_back(who) }
    }

    /// Gives each its turn, in order.
    pub fn each(&mut self, mut turn: impl FnMut(&T) -> Turn) {
        for lane in [&mut self.urgent, &mut self.looks] {
            lane.retain(|who| turn(who) == Turn::Wait);
        }
    }

    /// Everyone who waits.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.urgent.iter().chain(&self.looks)
    }
}
