//! Small values that both doors, agent and CLI, read from text.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use pillion_backend::open::{DEFAULT_MAX_CONNECTIONS, Rate};
use pillion_repository::cache::least_bytes;

/// How hard new blobs are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    #[default]
    Auto,
    Off,
    Fastest,
    Max,
}

impl From<Compression> for pillion_repository::format::blob::Compression {
    fn from(compression: Compression) -> Self {
        match compression {
            Compression::Auto => Self::Auto,
            Compression::Off => Self::Off,
            Compression::Fastest => Self::Fastest,
            Compression::Max => Self::Max,
        }
    }
}

impl FromStr for Compression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            "fastest" => Ok(Self::Fastest),
            // Beyond our `max` lies nothing but more memory, so restic's step before its own is the same here.
            "better" | "max" => Ok(Self::Max),
            _ => Err(format!("{text:?} is no compression: there are auto, off, fastest, better and max")),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Off => "off",
            Self::Fastest => "fastest",
            Self::Max => "max",
        })
    }
}

/// The size at which a pack is closed: restic's bounds are 4 and 128 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackSize {
    mebibytes: u32,
}

impl PackSize {
    pub fn bytes(self) -> u32 {
        self.mebibytes << 20
    }

    pub fn mebibytes(self) -> u32 {
        self.mebibytes
    }
}

impl Default for PackSize {
    fn default() -> Self {
        Self { mebibytes: pillion_repository::limits::PACK_SIZE_BYTES >> 20 }
    }
}

impl FromStr for PackSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            // restic's 0 is "not set".
            Ok(0) => Ok(Self::default()),
            Ok(mebibytes @ 4..=128) => Ok(Self { mebibytes }),
            _ => Err(format!("{text:?} is no pack size: it is a number of MiB from 4 to 128")),
        }
    }
}

/// A bound on the bytes a second, in KiB as restic's options have it; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimit {
    kibibytes_per_second: u32,
}

impl RateLimit {
    pub fn rate(self) -> Option<Rate> {
        Rate::new(u64::from(self.kibibytes_per_second) << 10)
    }
}

impl FromStr for RateLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = |_| format!("{text:?} is no rate: it is a number of KiB a second, and 0 is no limit");
        text.parse().map(|kibibytes_per_second| Self { kibibytes_per_second }).map_err(refuse)
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kibibytes_per_second.fmt(f)
    }
}

/// How many requests to a store may be in flight at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxConnections(NonZeroUsize);

impl MaxConnections {
    /// Each costs memory on both sides, and no store is faster with more.
    const MAX: usize = 256;

    pub fn count(self) -> usize {
        self.0.get()
    }
}

impl Default for MaxConnections {
    fn default() -> Self {
        Self(NonZeroUsize::new(DEFAULT_MAX_CONNECTIONS).expect("the default is not zero"))
    }
}

impl FromStr for MaxConnections {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse().map(NonZeroUsize::new) {
            // In a manifest the zero is what was not written.
            Ok(None) => Ok(Self::default()),
            Ok(Some(count)) if count.get() <= Self::MAX => Ok(Self(count)),
            _ => Err(format!("{text:?} is no number of connections: it is one from 1 to {}", Self::MAX)),
        }
    }
}

impl fmt::Display for MaxConnections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The region of a bucket. What it may be the store knows; it becomes part of a host's name and of a signature.
pub fn parse_region(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match text.len() <= 64 && text.chars().all(is_plain) {
        true => Ok(text.to_owned()),
        false => Err("a region is at most 64 letters, digits, dashes, dots and underscores".to_owned()),
    }
}

/// What a cache directory may hold where nobody says: the usual, or what larger packs take with as much again for what
/// is kept.
pub fn usual_cache_bytes(usual_bytes: u64, pack_size: PackSize) -> u64 {
    usual_bytes.max(2 * least_bytes(pack_size.bytes()))
}

/// A size as restic's options take it: bytes, or with one of the suffixes k, m, g, t (powers of 1024).
pub fn parse_size_bytes(text: &str) -> Result<u64, String> {
    let refuse = || format!("{text:?} is no size: write it like 500, 64k, 10M or 2G");
    let (number, shift) = match text.bytes().last().ok_or_else(refuse)?.to_ascii_lowercase() {
        b'b' => (&text[..text.len() - 1], 0),
        b'k' => (&text[..text.len() - 1], 10),
        b'm' => (&text[..text.len() - 1], 20),
        b'g' => (&text[..text.len() - 1], 30),
        b't' => (&text[..text.len() - 1], 40),
        _ => (text, 0),
    };
    let value: u64 = number.parse().map_err(|_| refuse())?;
    value.checked_mul(1 << shift).filter(|bytes| i64::try_from(*bytes).is_ok()).ok_or_else(refuse)
}

/// A size as it may be written, exactly: with the largest suffix that leaves a whole number.
pub fn format_size_bytes(bytes: u64) -> String {
    let suffixes = [(40, "T"), (30, "G"), (20, "M"), (10, "k")];
    let whole = suffixes.iter().find(|(shift, _)| bytes > 0 && bytes.trailing_zeros() >= *shift);
    whole.map_or_else(|| bytes.to_string(), |(shift, suffix)| format!("{}{suffix}", bytes >> shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_restics_suffixes() {
        for (text, bytes) in
            [("0", 0), ("500", 500), ("7b", 7), ("64k", 65_536), ("10M", 10 << 20), ("2G", 2 << 30)]
        {
            assert_eq!(parse_size_bytes(text), Ok(bytes), "{text}");
            assert_eq!(parse_size_bytes(&format_size_bytes(bytes)), Ok(bytes));
        }
        assert_eq!([512 << 20, 3 << 30, 1025].map(format_size_bytes), ["512M", "3G", "1025"]);
        for text in ["", "k", "-1", "1x", "9999999999T", "1.5M"] {
            assert!(parse_size_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_rate_is_in_kibibytes_and_zero_is_none() {
        let rate =
            |text: &str| text.parse::<RateLimit>().map(|limit| limit.rate().map(Rate::bytes_per_second));
        assert_eq!(rate("0"), Ok(None));
        assert_eq!(rate("3"), Ok(Some(3072)));
        assert_eq!(rate("4294967295"), Ok(Some(4_294_967_295 << 10)));
        for text in ["", "-1", "1k", "4294967296", "1.5"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn connections_have_bounds_and_zero_is_not_set() {
        for (text, count) in [("0", 5), ("1", 1), ("256", 256)] {
            assert_eq!(text.parse::<MaxConnections>().unwrap().count(), count, "{text}");
        }
        for text in ["257", "-1", "many", ""] {
            assert!(text.parse::<MaxConnections>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_region_is_a_word() {
        assert_eq!(parse_region("eu-central-1"), Ok("eu-central-1".to_owned()));
        for text in ["a/b", "a b", "a@b", "a\r", &"x".repeat(65)] {
            assert!(parse_region(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_pack_has_restics_bounds() {
        assert_eq!("4".parse::<PackSize>().unwrap().bytes(), 4 << 20);
        assert_eq!("0".parse::<PackSize>(), Ok(PackSize::default()));
        for text in ["3", "129", "x", "-4"] {
            assert!(text.parse::<PackSize>().is_err(), "{text}");
        }
    }
}
