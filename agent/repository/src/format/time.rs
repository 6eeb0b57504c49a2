//! Points in time as Go writes them: RFC 3339 with nanoseconds, fraction trimmed, `Z` for UTC.

/// Seconds and nanoseconds since 1970-01-01 UTC; compared as an instant whatever zone it was written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    pub seconds: i64,
    /// Always below 1,000,000,000, also before 1970.
    pub nanoseconds: u32,
}
