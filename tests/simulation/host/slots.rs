//! A node's slots, as `src/process/slots.rs` counts them.

use super::{Held, Host};
use crate::supervisor::SupervisorId;

impl Host {
    /// Takes up to so many free slots among the first `workers` of a node.
    pub fn take_slots(&mut self, node: usize, wanted: u32, workers: u32, supervisor: SupervisorId) -> Vec<u32> {
        let free: Vec<_> = (1..=workers).filter(|number| !self.slots.contains_key(&(node, *number))).collect();
        let taken: Vec<_> = free.into_iter().take(wanted as usize).collect();
        for number in &taken {
            self.slots.insert((node, *number), Held { supervisor: Some(supervisor), ..Held::default() });
        }
        taken
    }

    /// How many slots with numbers above `workers` anybody holds.
    pub fn slots_above(&self, node: usize, workers: u32) -> u32 {
        let above = self.slots.keys().filter(|(of, number)| *of == node && *number > workers);
        u32::try_from(above.count()).unwrap()
    }
}
