//! The two lines that frame a run in its tenant's log:
//!
//! ```text
//! 2026-11-24T06:40:00Z tenantcron[812]: start run=4711 tenant=a.example
//! 2026-11-24T06:43:02Z tenantcron[812]: end run=4711 tenant=a.example pid=913 outcome=ok exit=0 elapsed=3m2s cpu=41.2s rss=88M
//! ```
//!
//! Scripts read them: words are only ever added at the end, and what is not known is left out.

use super::wall;
use crate::model::{Outcome, RunId, TenantName};
use std::fmt::Write;
use std::time::{Duration, SystemTime};

/// How a run ended, as far as it is known.
#[derive(Debug, Clone, PartialEq)]
pub struct RunEnd {
    /// The run.
    pub run: RunId,
    /// Its main process.
    pub pid: Option<i32>,
    /// How it ended.
    pub outcome: Outcome,
    /// Exit status, if it exited.
    pub exit_code: Option<i32>,
    /// Signal, if it died of one.
    pub signal: Option<i32>,
    /// From start to end.
    pub elapsed: Option<Duration>,
    /// User and system time.
    pub cpu: Option<Duration>,
    /// Peak memory, KiB.
    pub max_rss_kb: Option<i64>,
}

pub(super) fn start_line(at: SystemTime, supervisor: u32, run: RunId, tenant: &TenantName) -> String {
    format!("{} tenantcron[{supervisor}]: start run={run} tenant={tenant}\n", wall::utc(at))
}

pub(super) fn end_line(at: SystemTime, supervisor: u32, tenant: &TenantName, end: &RunEnd) -> String {
    let mut line = format!("{} tenantcron[{supervisor}]: end run={} tenant={tenant}", wall::utc(at), end.run);
    let words = [
        end.pid.map(|pid| format!("pid={pid}")),
        Some(format!("outcome={}", end.outcome)),
        end.exit_code.map(|status| format!("exit={status}")),
        end.signal.map(|signal| format!("signal={signal}")),
        end.elapsed.map(|time| format!("elapsed={}", short(time))),
        end.cpu.map(|time| format!("cpu={}", short(time))),
        end.max_rss_kb.map(|kib| format!("rss={}", memory(kib))),
    ];
    for word in words.into_iter().flatten() {
        _ = write!(line, " {word}");
    }
    line.push('\n');
    line
}

/// `0.04s`, `41.2s`, `3m2s`, `2h5m0s`, `1d0h3m`: three figures are enough.
fn short(time: Duration) -> String {
    let hundredths = (time.as_millis() + 5) / 10;
    let tenths = (time.as_millis() + 50) / 100;
    let seconds = (time.as_millis() + 500) / 1000;
    if hundredths < 1000 {
        format!("{}.{:02}s", hundredths / 100, hundredths % 100)
    } else if tenths < 600 {
        format!("{}.{}s", tenths / 10, tenths % 10)
    } else if seconds < 3600 {
        format!("{}m{}s", seconds / 60, seconds % 60)
    } else if seconds < 86_400 {
        format!("{}h{}m{}s", seconds / 3600, seconds / 60 % 60, seconds % 60)
    } else {
        format!("{}d{}h{}m", seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60)
    }
}

/// `900K`, `88M`, `1.2G`
fn memory(kib: i64) -> String {
    const MIB: i64 = 1024;
    const GIB: i64 = 1024 * MIB;
    match kib.max(0) {
        kib @ 0..MIB => format!("{kib}K"),
        kib @ MIB..GIB => format!("{}M", kib / MIB),
        kib => format!("{}.{}G", kib / GIB, kib % GIB * 10 / GIB),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    #[test]
    fn the_lines_are_those_of_the_manual() {
        let tenant = TenantName::parse("a.example").unwrap();
        let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(1_795_502_400 + seconds);
        assert_eq!(
            start_line(at(0), 812, RunId(4711), &tenant),
            "2026-11-24T06:40:00Z tenantcron[812]: start run=4711 tenant=a.example\n"
        );
        let end = RunEnd {
            run: RunId(4711),
            pid: Some(913),
            outcome: Outcome::Ok,
            exit_code: Some(0),
            signal: None,
            elapsed: Some(Duration::from_millis(182_300)),
            cpu: Some(Duration::from_millis(41_230)),
            max_rss_kb: Some(88 * 1024 + 900),
        };
        assert_eq!(
            end_line(at(182), 812, &tenant, &end),
            "2026-11-24T06:43:02Z tenantcron[812]: end run=4711 tenant=a.example pid=913 outcome=ok exit=0 \
             elapsed=3m2s cpu=41.2s rss=88M\n"
        );
        let bare = RunEnd { pid: None, outcome: Outcome::Killed, exit_code: None, signal: Some(9), ..end };
        let bare = RunEnd { elapsed: None, cpu: None, max_rss_kb: None, ..bare };
        assert_eq!(
            end_line(at(182), 812, &tenant, &bare),
            "2026-11-24T06:43:02Z tenantcron[812]: end run=4711 tenant=a.example outcome=killed signal=9\n"
        );
    }

    #[test]
    fn times_and_sizes_are_short() {
        let table = [
            (0, "0.00s"),
            (44, "0.04s"),
            (9_994, "9.99s"),
            (9_996, "10.0s"),
            (59_949, "59.9s"),
            (59_951, "1m0s"),
            (182_000, "3m2s"),
            (3_599_500, "1h0m0s"),
            (7_505_000, "2h5m5s"),
            (86_580_000, "1d0h3m"),
        ];
        for (milliseconds, expected) in table {
            assert_eq!(short(Duration::from_millis(milliseconds)), expected, "{milliseconds} ms");
        }
        for (kib, expected) in [(-1, "0K"), (900, "900K"), (90_112, "88M"), (1_310_720, "1.2G")] {
            assert_eq!(memory(kib), expected);
        }
    }
}
