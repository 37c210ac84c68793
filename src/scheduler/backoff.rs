//! Growing delays with jitter: the first wait short, each next one twice as long, up to a bound.

use crate::model::Moment;
use std::time::Duration;

/// How long to wait after failures in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// One more failure: the moment of the next try. The delay is between half and the whole of
    /// `first × 2^failures`, at most `longest`.
    pub fn next(&mut self, now: Moment, first: Duration, longest: Duration, rng: &mut fastrand::Rng) -> Moment {
        let whole = first.saturating_mul(1 << self.failures.min(16)).min(longest);
        self.failures = self.failures.saturating_add(1);
        now + whole / 2 + (whole / 2).mul_f64(rng.f64())
    }

    /// The last try failed.
    pub fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// It worked.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_bound_and_are_jittered() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut backoff = Backoff::default();
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(30));
        for exponent in 0..12 {
            let wait = backoff.next(Moment(0), first, longest, &mut rng).since(Moment(0));
            let whole = (first * (1 << exponent)).min(longest);
            assert!(wait >= whole / 2 && wait <= whole, "{wait:?} is not between half and all of {whole:?}");
        }
        backoff.reset();
        assert!(backoff.next(Moment(0), first, longest, &mut rng).since(Moment(0)) <= first);
    }
}
