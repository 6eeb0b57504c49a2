//! How far a store's clock and ours are apart, as the answers to our requests tell it.
//!
//! Snapshots and locks carry our time and stores judge a request by theirs, so both have to agree. An answer tells its
//! time in whole seconds and was made at some moment between our question and its arrival: what is kept is the least
//! difference that explains it, which is none for clocks that agree. Only looks on, and asks nothing.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// An answer's time says the second that has begun.
const GRAIN: Duration = Duration::from_secs(1);

/// The difference as of the newest answer, shared with whoever shows it.
#[derive(Debug, Default)]
pub struct StoreClock(Mutex<Option<f64>>);

impl StoreClock {
    /// By how many seconds at least the store's clock is ahead of ours, behind it where negative. `None` before the first
    /// answer that tells a time, and where a store has no clock of its own.
    pub fn seconds_ahead(&self) -> Option<f64> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another store is spoken to from now on.
    pub fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// An answer says that it is `told`, to a request that was begun at `asked` and answered at `heard`.
    pub(crate) fn note(&self, told: SystemTime, asked: SystemTime, heard: SystemTime) {
        let least = seconds_after(told, heard);
        let most = seconds_after(told + GRAIN, asked);
        let ahead = match (least > 0.0, most < 0.0) {
            (true, _) => least,
            (_, true) => most,
            _ => 0.0,
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(ahead);
    }
}

fn seconds_after(time: SystemTime, other: SystemTime) -> f64 {
    match time.duration_since(other) {
        Ok(after) => after.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_may_agree_are_not_apart_and_others_by_as_much_as_is_certain() {
        let at = |seconds: f64| SystemTime::UNIX_EPOCH + Duration::from_secs_f64(1000.0 + seconds);
        let clock = StoreClock::default();
        assert_eq!(clock.seconds_ahead(), None);
        for (told, asked, heard, ahead) in [
            (0.0, 0.5, 0.6, 0.0),
            // A slow answer was made at any time on the way.
            (9.0, 0.5, 30.0, 0.0),
            (0.0, 0.9, 1.1, 0.0),
            (60.0, 0.0, 1.0, 59.0),
            (0.0, 60.0, 61.0, -59.0),
        ] {
            clock.note(at(told), at(asked), at(heard));
            let found = clock.seconds_ahead().unwrap();
            assert!((found - ahead).abs() < 1e-6, "{told} {asked} {heard}: {found}");
        }
        clock.forget();
        assert_eq!(clock.seconds_ahead(), None);
    }
}
