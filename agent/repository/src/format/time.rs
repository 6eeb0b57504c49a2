//! Points in time as Go writes them: RFC 3339 with nanoseconds, fraction trimmed, `Z` for UTC.
//!
//! A backup formats three of them for every entry of a tree, so both directions are written out by hand and
//! formatting takes no memory. Any offset is read and only the instant is kept; UTC alone is written, so that the
//! zone of a machine never makes other bytes. Nothing in here asks a clock.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Invalid;

const SECONDS_PER_DAY: i64 = 86_400;
const NANOSECONDS_PER_SECOND: u32 = 1_000_000_000;

/// `9999-12-31T23:59:59.999999999Z`
const MAX_TEXT_BYTES: usize = 30;

/// Seconds and nanoseconds since 1970-01-01 UTC; compared as an instant whatever zone it was written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    pub seconds: i64,
    /// Always below 1,000,000,000, also before 1970.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// The year 1, Go's zero value of a time.
    pub const GO_ZERO: Self = Self { seconds: -62_135_596_800, nanoseconds: 0 };

    pub const UNIX_EPOCH: Self = Self { seconds: 0, nanoseconds: 0 };

    /// Appends the text, without quotes. Years outside 0 to 9999 are written as by [`Timestamp::clamped`].
    pub fn write_to(self, out: &mut Vec<u8>) {
        let (text, length) = self.to_text();
        out.extend_from_slice(&text[..length]);
    }

    /// The nearest instant the format can hold, by restic's rule: the year alone is moved to 0 or 9999 and
    /// everything else stays (29 February becomes 1 March, since 9999 is no leap year).
    #[must_use]
    pub fn clamped(self) -> Self {
        let (year, month, day) = civil_from_days(self.seconds.div_euclid(SECONDS_PER_DAY));
        let clamped_year = year.clamp(0, 9999);
        if clamped_year == year {
            return self;
        }
        let second_of_day = self.seconds.rem_euclid(SECONDS_PER_DAY);
        let seconds = days_from_civil(clamped_year, month, day) * SECONDS_PER_DAY + second_of_day;
        Self { seconds, nanoseconds: self.nanoseconds }
    }

    /// How much later this is than `earlier`; `None` if it is not later or equal.
    pub fn since(self, earlier: Self) -> Option<Duration> {
        if self < earlier {
            return None;
        }
        let seconds = self.seconds.abs_diff(earlier.seconds);
        Some(if self.nanoseconds >= earlier.nanoseconds {
            Duration::new(seconds, self.nanoseconds - earlier.nanoseconds)
        } else {
            Duration::new(seconds - 1, NANOSECONDS_PER_SECOND + self.nanoseconds - earlier.nanoseconds)
        })
    }

    /// The instant that much earlier, or the earliest there is.
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        let seconds = i64::try_from(duration.as_secs()).ok().and_then(|s| self.seconds.checked_sub(s));
        let (borrow, nanoseconds) = match self.nanoseconds.checked_sub(duration.subsec_nanos()) {
            Some(nanoseconds) => (0, nanoseconds),
            None => (1, self.nanoseconds + NANOSECONDS_PER_SECOND - duration.subsec_nanos()),
        };
        match seconds.and_then(|seconds| seconds.checked_sub(borrow)) {
            Some(seconds) => Self { seconds, nanoseconds },
            None => Self { seconds: i64::MIN, nanoseconds: 0 },
        }
    }

    /// `None` where the system's type cannot hold it.
    pub fn to_system_time(self) -> Option<SystemTime> {
        let whole = Duration::from_secs(self.seconds.unsigned_abs());
        let base =
            if self.seconds < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
        base?.checked_add(Duration::from_nanos(self.nanoseconds.into()))
    }

    fn to_text(self) -> ([u8; MAX_TEXT_BYTES], usize) {
        let clamped = self.clamped();
        let (year, month, day) = civil_from_days(clamped.seconds.div_euclid(SECONDS_PER_DAY));
        let second_of_day = clamped.seconds.rem_euclid(SECONDS_PER_DAY);
        let mut text = *b"0000-00-00T00:00:00.000000000Z";
        write_digits(&mut text[0..4], year.unsigned_abs());
        write_digits(&mut text[5..7], month.into());
        write_digits(&mut text[8..10], day.into());
        write_digits(&mut text[11..13], second_of_day.unsigned_abs() / 3600);
        write_digits(&mut text[14..16], second_of_day.unsigned_abs() / 60 % 60);
        write_digits(&mut text[17..19], second_of_day.unsigned_abs() % 60);
        let mut end = 19;
        if clamped.nanoseconds != 0 {
            write_digits(&mut text[20..29], clamped.nanoseconds.into());
            end = 29;
            while text[end - 1] == b'0' {
                end -= 1;
            }
        }
        text[end] = b'Z';
        (text, end + 1)
    }
}

fn write_digits(place: &mut [u8], mut value: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Days since 1970-01-01 to year, month and day of the Gregorian calendar, by counting in eras of 400 years that
/// begin with March, so that the leap day is the last day of a year.
fn civil_from_days(days: i64) -> (i64, u8, u8) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month as u8, day as u8)
}

/// The inverse of [`civil_from_days`]; a 29 February of a common year is the 1 March.
fn days_from_civil(year: i64, month: u8, day: u8) -> i64 {
    let (month, day) = (i64::from(month), i64::from(day));
    let year_from_march = year - i64::from(month <= 2);
    let era = year_from_march.div_euclid(400);
    let year_of_era = year_from_march.rem_euclid(400);
    let month_from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn days_in_month(year: i64, month: u8) -> u8 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Takes the text apart from the front.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn expect(&mut self, wanted: u8) -> Option<()> {
        (self.byte()? == wanted).then_some(())
    }

    fn number(&mut self, digits: usize, max: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..digits {
            let digit = self.byte()?;
            if !digit.is_ascii_digit() {
                return None;
            }
            value = value * 10 + u32::from(digit - b'0');
        }
        (value <= max).then_some(value)
    }

    /// The digits after a point, cut off after nanoseconds as Go does.
    fn fraction(&mut self) -> Option<u32> {
        let mut value = 0;
        let mut digits = 0;
        while let Some(digit) = self.0.first().copied().filter(u8::is_ascii_digit) {
            if digits < 9 {
                value = value * 10 + u32::from(digit - b'0');
            }
            digits += 1;
            self.0 = &self.0[1..];
        }
        (digits > 0).then(|| value * 10_u32.pow(9_u32.saturating_sub(digits)))
    }

    fn offset_seconds(&mut self) -> Option<i64> {
        let sign = match self.byte()? {
            b'Z' => return Some(0),
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let hours = self.number(2, 23)?;
        self.expect(b':')?;
        let minutes = self.number(2, 59)?;
        Some(sign * i64::from(hours * 3600 + minutes * 60))
    }
}

fn parse(text: &[u8]) -> Option<Timestamp> {
    let mut cursor = Cursor(text);
    let year = i64::from(cursor.number(4, 9999)?);
    cursor.expect(b'-')?;
    let month = cursor.number(2, 12)? as u8;
    cursor.expect(b'-')?;
    let day = cursor.number(2, 31)? as u8;
    if month == 0 || day == 0 || day > days_in_month(year, month) {
        return None;
    }
    cursor.expect(b'T')?;
    let hour = cursor.number(2, 23)?;
    cursor.expect(b':')?;
    let minute = cursor.number(2, 59)?;
    cursor.expect(b':')?;
    let second = cursor.number(2, 59)?;
    let mut nanoseconds = 0;
    if cursor.0.first() == Some(&b'.') {
        cursor.byte();
        nanoseconds = cursor.fraction()?;
    }
    let offset_seconds = cursor.offset_seconds()?;
    if !cursor.0.is_empty() {
        return None;
    }
    let local =
        days_from_civil(year, month, day) * SECONDS_PER_DAY + i64::from(hour * 3600 + minute * 60 + second);
    Some(Timestamp { seconds: local - offset_seconds, nanoseconds })
}

impl FromStr for Timestamp {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        parse(text.as_bytes()).ok_or_else(|| Invalid::malformed("a time is not written as RFC 3339 wants it"))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, length) = self.to_text();
        f.write_str(std::str::from_utf8(&text[..length]).expect("a time is ASCII"))
    }
}

/// Every time a file system or clock of this system can tell fits.
impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self { seconds: seconds(after), nanoseconds: after.subsec_nanos() },
            Err(error) => Self::UNIX_EPOCH.saturating_sub(error.duration()),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (text, length) = self.to_text();
        serializer.serialize_str(std::str::from_utf8(&text[..length]).expect("a time is ASCII"))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Timestamp;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time in RFC 3339")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Timestamp, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests;
