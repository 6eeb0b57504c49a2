//! A bound on bytes a second, over all requests of one direction.
//!
//! Who wants to send takes what it has and then waits until so much was due: small pieces pass evenly, and many
//! requests share the rate. Nothing is saved up while nobody sends.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::open::Rate;

#[derive(Debug)]
pub(super) struct Pace {
    rate: Rate,
    /// When all that was taken so far is due.
    due: Mutex<Instant>,
}

impl Pace {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, due: Mutex::new(Instant::now()) }
    }

    /// Returns when so many bytes more may pass.
    pub(super) async fn take(&self, bytes: usize) {
        let cost = Duration::from_secs_f64(bytes as f64 / self.rate.bytes_per_second() as f64);
        let due = {
            let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
            *due = (*due).max(Instant::now()) + cost;
            *due
        };
        tokio::time::sleep_until(due).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_who_send_share_the_rate_and_nothing_is_saved_up() {
        let pace = Pace::new(Rate::new(1_000).unwrap());
        tokio::time::sleep(Duration::from_secs(100)).await;
        let began = Instant::now();
        tokio::join!(pace.take(500), pace.take(1_500));
        assert_eq!(began.elapsed().as_millis(), 2_000);
    }
}
