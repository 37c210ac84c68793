//! The host's wall clock, for log lines only: no decision is made by it. Syslog's lines carry local time, as RFC 3164
//! wants; all others UTC.

use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tz::{DateTime, TimeZone};

/// The time to print.
#[expect(clippy::disallowed_methods, reason = "log lines show the host's wall time")]
pub(super) fn now() -> SystemTime {
    SystemTime::now()
}

/// `2026-11-24T06:40:00Z`
pub(super) fn utc(at: SystemTime) -> impl std::fmt::Display {
    // Before 1970 and after 9999 it would refuse: a clock so wrong prints as the epoch.
    const YEAR_10000: Duration = Duration::from_secs(253_402_300_800);
    let printable = at.duration_since(UNIX_EPOCH).is_ok_and(|since| since < YEAR_10000);
    humantime::format_rfc3339_seconds(if printable { at } else { UNIX_EPOCH })
}

/// The host's time zone, read once: a file read per line would be the dearest part of it.
#[derive(Debug)]
pub(super) struct LocalZone(TimeZone);

impl LocalZone {
    /// By `TZ`, as libc does: unset means /etc/localtime, unreadable means UTC.
    pub(super) fn read(tz: Option<&str>) -> Self {
        let zone = match tz {
            None => TimeZone::local(),
            Some(tz) => TimeZone::from_posix_tz(tz),
        };
        Self(zone.unwrap_or_else(|_| TimeZone::utc()))
    }

    /// `Nov  4 07:05:09`, always 15 bytes; none for a time out of all bounds.
    pub(super) fn rfc3164(&self, at: SystemTime) -> Option<String> {
        const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let seconds = i64::try_from(at.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()?;
        let local = DateTime::from_timespec(seconds, 0, self.0.as_ref()).ok()?;
        let month = MONTHS.get(usize::from(local.month()).checked_sub(1)?)?;
        let mut text = String::with_capacity(15);
        let (day, hour, minute, second) = (local.month_day(), local.hour(), local.minute(), local.second());
        write!(text, "{month} {day:2} {hour:02}:{minute:02}:{second:02}").ok()?;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syslog_time_is_local_summer_and_winter() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let paris = LocalZone::read(Some("CET-1CEST,M3.5.0,M10.5.0/3"));
        let table = [(1_793_772_309, "Nov  4 07:05:09"), (1_784_267_999, "Jul 17 07:59:59")];
        for (seconds, expected) in table {
            assert_eq!(paris.rfc3164(at(seconds)).as_deref(), Some(expected));
        }
        let utc = LocalZone::read(Some("no such zone"));
        assert_eq!(utc.rfc3164(at(0)).as_deref(), Some("Jan  1 00:00:00"));
        assert!(LocalZone::read(None).rfc3164(now()).is_some_and(|text| text.len() == 15));
        assert_eq!(paris.rfc3164(UNIX_EPOCH - Duration::from_secs(1)), None);
    }

    #[test]
    fn a_clock_out_of_bounds_still_prints() {
        assert_eq!(utc(UNIX_EPOCH + Duration::from_secs(1_795_502_400)).to_string(), "2026-11-24T06:40:00Z");
        assert_eq!(utc(UNIX_EPOCH - Duration::from_secs(9)).to_string(), "1970-01-01T00:00:00Z");
        let far = UNIX_EPOCH + Duration::from_secs(1 << 40);
        assert_eq!(utc(far).to_string(), "1970-01-01T00:00:00Z");
    }
}
