//! Dice that are thrown by name: what one thing of the world meets by chance depends on the seed and on the thing alone,
//! so that a world from which something is left out goes on as nearly as can be as it did with it.

use fastrand::Rng;

/// Whose luck it is.
#[derive(Debug, Clone, Copy)]
pub enum Of {
    Plan,
    Deeds,
    Supervisor,
    Exchange,
    Child,
}

/// The dice of one thing, by two numbers that name it.
pub fn dice(seed: u64, of: Of, one: u64, two: u64) -> Rng {
    let mut mixed = seed;
    for part in [of as u64 + 1, one, two] {
        mixed = (mixed ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed ^= mixed >> 32;
    }
    Rng::with_seed(mixed)
}
