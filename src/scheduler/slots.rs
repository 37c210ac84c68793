//! Slots in time: slot k of a tenant starts at k × every + offset since the Unix epoch.

use crate::model::DbTime;
use std::time::Duration;

/// The newest slot not later than `now`.
pub fn newest(now: DbTime, every: Duration, offset: Duration) -> DbTime {
    let (every, offset) = (micros(every).max(1), micros(offset));
    let since = now.0.saturating_sub(offset);
    DbTime(now.0 - since.rem_euclid(every))
}

/// The first slot later than `time`.
pub fn next_after(time: DbTime, every: Duration, offset: Duration) -> DbTime {
    newest(time, every, offset) + every
}

/// The offset that a name gives: FNV-1a 64 of it, modulo `every` in milliseconds.
pub fn offset_of(name: &str, every: Duration) -> Duration {
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let every = u64::try_from(every.as_millis()).unwrap_or(u64::MAX).max(1);
    Duration::from_millis(hash % every)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_secs(60);

    fn at(seconds: i64) -> DbTime {
        DbTime(seconds * 1_000_000)
    }

    #[test]
    fn slots_lie_at_multiples_of_every_plus_offset() {
        let none = Duration::ZERO;
        let offset = Duration::from_secs(10);
        for (now, offset, want_newest, want_next) in [
            (0, none, 0, 60),
            (59, none, 0, 60),
            (60, none, 60, 120),
            (61, none, 60, 120),
            (9, offset, -50, 10),
            (10, offset, 10, 70),
            (75, offset, 70, 130),
        ] {
            assert_eq!(newest(at(now), MIN, offset), at(want_newest), "newest slot at {now}");
            assert_eq!(next_after(at(now), MIN, offset), at(want_next), "slot after {now}");
        }
    }

    #[test]
    fn offsets_by_name_are_fnv_1a_modulo_every() {
        assert_eq!(
            offset_of("", Duration::from_millis(u64::MAX / 2)),
            Duration::from_millis(0xcbf2_9ce4_8422_2325 % (u64::MAX / 2))
        );
        // FNV-1a 64 of "a" is af63dc4c8601ec8c.
        assert_eq!(offset_of("a", 20 * MIN), Duration::from_millis(0xaf63_dc4c_8601_ec8c % 1_200_000));
        assert!(offset_of("wcs", MIN) < MIN);
    }
}
