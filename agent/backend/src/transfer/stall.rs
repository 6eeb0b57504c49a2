//! Ends what makes no progress.
//!
//! A request is watched from outside, since a body that nobody takes any more does not notice. What waits for our own
//! pace is not stalled.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use crate::ErrorKind;
use crate::remote::Failed;

use super::ANSWER_TIMEOUT_FACTOR;

/// When a request is given up, moved on by whatever it achieves.
#[derive(Debug)]
pub(super) struct Progress {
    idle: Duration,
    deadline: Mutex<Deadline>,
}

#[derive(Clone, Copy, Debug)]
enum Deadline {
    At(Instant),
    Paused,
}

impl Progress {
    pub(super) fn new(idle: Duration) -> Self {
        // Until the first piece is taken or the answer comes: name, connection, TLS, and the store's thinking.
        Self { idle, deadline: Mutex::new(Deadline::At(Instant::now() + idle)) }
    }

    /// A piece of the body was taken. If it was the last one, the answer has this time to come.
    pub(super) fn made(&self) {
        self.set(Deadline::At(Instant::now() + self.idle * ANSWER_TIMEOUT_FACTOR));
    }

    /// We keep the store waiting.
    pub(super) fn pause(&self) {
        self.set(Deadline::Paused);
    }

    fn set(&self, deadline: Deadline) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
    }

    fn deadline(&self) -> Instant {
        match *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) {
            Deadline::At(instant) => instant,
            Deadline::Paused => Instant::now() + self.idle,
        }
    }

    /// The result of `work`, unless it stalls.
    pub(super) async fn watch<T>(&self, work: impl Future<Output = T>) -> Result<T, Failed> {
        let mut work = std::pin::pin!(work);
        loop {
            let deadline = self.deadline();
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                () = sleep_until(deadline) => {
                    if self.deadline() <= Instant::now() {
                        return Err(stalled());
                    }
                }
            }
        }
    }
}

/// The result of one read, unless nothing comes.
pub(super) async fn within<T>(idle: Duration, read: impl Future<Output = T>) -> Result<T, Failed> {
    timeout(idle, read).await.map_err(|_| stalled())
}

fn stalled() -> Failed {
    Failed::because(ErrorKind::Unavailable, "the connection stalled")
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn what_goes_on_slowly_is_not_stalled_and_what_stands_still_is() {
        let progress = Progress::new(IDLE);
        let slow = async {
            for _ in 0..10 {
                tokio::time::sleep(IDLE - Duration::from_secs(1)).await;
                progress.made();
            }
        };
        progress.watch(slow).await.unwrap();
        let began = Instant::now();
        assert!(progress.watch(std::future::pending::<()>()).await.is_err());
        assert_eq!(began.elapsed(), IDLE * ANSWER_TIMEOUT_FACTOR);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_for_our_own_pace_is_no_stall() {
        let progress = Progress::new(IDLE);
        let paced = async {
            progress.pause();
            tokio::time::sleep(IDLE * 10).await;
        };
        progress.watch(paced).await.unwrap();
    }
}
