//! Lock files: who works on the repository, and when another may take their lock for dead.
//!
//! Only the form and the two rules, as functions of what they are given; reading, writing and refreshing belong to
//! [`crate::lock`]. Times are compared by the wall clock, so that a machine that slept counts as one that was gone.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::time::Timestamp;
use super::{Invalid, json};

/// A lock is refreshed every five minutes; one older than this belongs to nobody any more.
pub const STALE_AFTER: Duration = Duration::from_secs(30 * 60);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    pub time: Timestamp,
    #[serde(default)]
    pub exclusive: bool,
    #[serde(default)]
    pub hostname: String,
    #[serde(default)]
    pub username: String,
    #[serde(default)]
    pub pid: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub uid: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gid: u32,
}

impl Lock {
    pub fn decode(json: &[u8]) -> Result<Self, Invalid> {
        serde_json::from_slice(json).map_err(Invalid::malformed)
    }

    pub fn encode(&self) -> Vec<u8> {
        json::to_vec(self)
    }

    /// Whether the two cannot be held at once. A stale lock conflicts like any other until it is removed.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        self.exclusive || other.exclusive
    }

    /// Whether `unlock` may remove it: older than [`STALE_AFTER`], or of this host and of a process that is no
    /// more. A lock from the future is of another clock, and kept. `is_alive` is asked only for this host's.
    pub fn is_stale(&self, now: Timestamp, own_hostname: &str, is_alive: impl FnOnce(i64) -> bool) -> bool {
        let too_old = now.since(self.time).is_some_and(|age| age > STALE_AFTER);
        too_old || (self.hostname == own_hostname && !is_alive(self.pid))
    }
}

impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.exclusive { "exclusively " } else { "" };
        let Self { time, hostname, username, pid, .. } = self;
        write!(f, "{how}by PID {pid} on {hostname:?} by {username:?}, since {time}")
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"time":"2024-05-06T07:08:09Z","exclusive":false,"hostname":"host-0","username":"root","pid":7,"uid":1,"gid":2}"#;

    fn lock() -> Lock {
        Lock::decode(TEXT.as_bytes()).unwrap()
    }

    fn later(seconds: i64, nanoseconds: u32) -> Timestamp {
        Timestamp { seconds: lock().time.seconds + seconds, nanoseconds }
    }

    #[test]
    fn a_lock_is_written_in_restic_s_order_without_zero_owners() {
        assert_eq!(String::from_utf8(lock().encode()).unwrap(), TEXT);
        let root = Lock { uid: 0, gid: 0, ..lock() };
        assert_eq!(String::from_utf8(root.encode()).unwrap(), TEXT.replace(r#","uid":1,"gid":2"#, ""));
        for length in 0..TEXT.len() {
            assert!(Lock::decode(&TEXT.as_bytes()[..length]).is_err());
        }
    }

    #[test]
    fn age_and_dead_processes_of_the_same_host_make_a_lock_stale() {
        let cases = [
            (later(0, 0), "host-0", true, false),
            (later(1800, 0), "host-0", true, false),
            (later(1800, 1), "host-0", true, true),
            (later(1800, 1), "other", true, true),
            (later(-86_400, 0), "host-0", true, false),
            (later(0, 0), "host-0", false, true),
            (later(-86_400, 0), "host-0", false, true),
            (later(1800, 0), "other", false, false),
        ];
        for (now, own_hostname, alive, stale) in cases {
            assert_eq!(lock().is_stale(now, own_hostname, |pid| pid == 7 && alive), stale);
        }
    }

    #[test]
    fn only_two_shared_locks_go_together() {
        let exclusive = Lock { exclusive: true, ..lock() };
        assert!(!lock().conflicts_with(&lock()));
        assert!(lock().conflicts_with(&exclusive));
        assert!(exclusive.conflicts_with(&lock()));
    }

    #[test]
    fn a_hostile_name_cannot_write_on_the_terminal() {
        let evil = Lock { hostname: "\u{1b}[2J".to_owned(), ..lock() };
        assert!(!evil.to_string().contains('\u{1b}'));
    }
}
