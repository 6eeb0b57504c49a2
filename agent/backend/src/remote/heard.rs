//! Whether the store itself was ever heard through a client.
//!
//! Anything that answers has a 404 of its own. Where the store has answered before, something stands before it on a bad
//! day, which passes; where it never did, the endpoint is that of something else, and to ask again is of no use.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use crate::ErrorKind;

#[derive(Debug, Default)]
pub(crate) struct Heard(AtomicBool);

impl Heard {
    /// It did what it was asked, or refused in its own words.
    pub(crate) fn note(&self) {
        self.0.store(true, Relaxed);
    }

    /// What a 404 is that is not in the store's words, and what to say of it.
    pub(crate) fn stranger(&self) -> Stranger {
        match self.0.load(Relaxed) {
            true => Stranger { kind: ErrorKind::Unavailable, hint: "" },
            false => Stranger {
                kind: ErrorKind::Misconfigured,
                hint: "; check the endpoint, where the store itself has not answered yet",
            },
        }
    }
}

/// A 404 that is not in the store's words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stranger {
    pub kind: ErrorKind,
    pub hint: &'static str,
}
