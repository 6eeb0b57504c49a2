//! Sizes, durations, percentages and times as restic prints them.

use std::time::Duration;

use chrono::{DateTime, Local, TimeZone};
use pillion_repository::format::time::Timestamp;

/// `14 B`, `1.310 KiB`.
pub fn bytes(count: u64) -> String {
    let value = count as f64;
    match count {
        0x100_0000_0000.. => format!("{:.3} TiB", value / (1u64 << 40) as f64),
        0x4000_0000.. => format!("{:.3} GiB", value / (1 << 30) as f64),
        0x10_0000.. => format!("{:.3} MiB", value / (1 << 20) as f64),
        0x400.. => format!("{:.3} KiB", value / (1 << 10) as f64),
        _ => format!("{count} B"),
    }
}

/// `0:07`, `1:02:03`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// `12.34%`, at most 100; empty where there is no whole.
pub fn percent(part: u64, whole: u64) -> String {
    match whole {
        0 => String::new(),
        _ => format!("{:.2}%", (100.0 * part as f64 / whole as f64).min(100.0)),
    }
}

/// `2026-11-21 09:09:05` in the zone of whoever looks.
pub fn time(timestamp: Timestamp, zone: &DisplayZone) -> String {
    let Some(instant) = DateTime::from_timestamp(timestamp.seconds, timestamp.nanoseconds) else {
        return format!("{} s", timestamp.seconds);
    };
    match zone {
        DisplayZone::Local(_) => Local.from_utc_datetime(&instant.naive_utc()).format("%F %T").to_string(),
        DisplayZone::Utc => instant.format("%F %T").to_string(),
    }
}

/// RFC 3339 as Go writes it: the fraction cut at its last digit that is not 0.
pub fn rfc3339(timestamp: Timestamp) -> String {
    let Some(instant) = DateTime::from_timestamp(timestamp.seconds, timestamp.nanoseconds) else {
        return String::new();
    };
    let text = instant.format("%FT%T%.9f").to_string();
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}Z")
}

/// Where times are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DisplayZone {
    Utc,
    /// The machine's, under the name it goes by.
    Local(String),
}

impl DisplayZone {
    /// By the variable `TZ`, as Go reads it.
    pub fn of(variable: Option<&str>) -> Self {
        match variable {
            None if !std::path::Path::new("/etc/localtime").exists() => Self::Utc,
            None => Self::Local("local time".to_owned()),
            Some("" | "UTC") => Self::Utc,
            Some(name) => Self::Local(name.trim_start_matches(':').to_owned()),
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Self::Utc => "UTC",
            Self::Local(name) => name,
        }
    }
}

/// Go's `fs.FileMode` as its `String` prints it: `drwxr-xr-x`, `urwxr-xr-x`.
pub fn mode(mode: u32) -> String {
    const LETTERS: &[u8; 32] = b"dalTLDpSugct?...................";
    let mut text: String =
        (0..13).filter(|bit| mode >> (31 - bit) & 1 == 1).map(|bit| char::from(LETTERS[bit])).collect();
    if text.is_empty() {
        text.push('-');
    }
    for (bit, letter) in "rwxrwxrwx".chars().enumerate() {
        text.push(if mode >> (8 - bit) & 1 == 1 { letter } else { '-' });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_restics() {
        assert_eq!(
            [bytes(14), bytes(1341), bytes(1 << 20), bytes(5 << 40)],
            ["14 B", "1.310 KiB", "1.000 MiB", "5.000 TiB"]
        );
        assert_eq!(duration(Duration::from_secs(7)), "0:07");
        assert_eq!(duration(Duration::from_secs(3723)), "1:02:03");
        assert_eq!([percent(1, 3), percent(9, 3), percent(1, 0)], ["33.33%", "100.00%", ""]);
    }

    #[test]
    fn modes_are_gos() {
        for (bits, text) in [
            (2_147_484_141, "drwxr-xr-x"),
            (8_389_101, "urwxr-xr-x"),
            (33_554_852, "prw-r--r--"),
            (134_218_239, "Lrwxrwxrwx"),
            (420, "-rw-r--r--"),
            (1 << 26 | 1 << 21 | 0o620, "Dcrw--w----"),
            (1 << 31 | 1 << 20 | 0o777, "dtrwxrwxrwx"),
        ] {
            assert_eq!(mode(bits), text);
        }
    }

    #[test]
    fn times_lose_the_zeros_of_their_fraction() {
        let at = |nanoseconds| Timestamp { seconds: 1_795_252_146, nanoseconds };
        assert_eq!(rfc3339(at(272_763_650)), "2026-11-21T09:09:06.27276365Z");
        assert_eq!(rfc3339(at(0)), "2026-11-21T09:09:06Z");
        assert_eq!(time(at(5), &DisplayZone::Utc), "2026-11-21 09:09:06");
    }
}
