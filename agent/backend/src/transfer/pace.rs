//! A bound on bytes a second, over all requests of one direction.
//!
//! Who wants to send takes what it has and then waits until so much was due: small pieces pass evenly, and many
//! requests share the rate. Nothing is saved up while nobody sends, and who is given up gives back what it took.
//!
//! **Invariant:** no upload is silent for long, or the store ends it, some after 20 s, and all of it is sent again. Each
//! sends a piece in its turn, so pieces are small where the rate is
//! (`no_upload_is_silent_for_long_however_low_the_rate`).

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::upload::PIECE_BYTES;
use crate::open::Rate;

/// A piece is due in this part of a second, where it is not of the least size: as many requests side by side are each
/// silent for no more than four.
const PIECES_PER_SECOND: u64 = 64;

/// Smaller ones would be mostly overhead. At one of them a second five requests are each silent for five.
const MIN_PIECE_BYTES: usize = 1 << 10;

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

    /// How much is best sent at a time.
    pub(super) fn piece_bytes(&self) -> usize {
        let bytes = self.rate.bytes_per_second() / PIECES_PER_SECOND;
        usize::try_from(bytes).unwrap_or(PIECE_BYTES).clamp(MIN_PIECE_BYTES, PIECE_BYTES)
    }

    /// Returns when so many bytes more may pass.
    pub(super) async fn take(&self, bytes: usize) {
        let cost = Duration::from_secs_f64(bytes as f64 / self.rate.bytes_per_second() as f64);
        let due = self.change_due(|due| due.max(Instant::now()) + cost);
        let taken = Taken { pace: self, cost };
        tokio::time::sleep_until(due).await;
        std::mem::forget(taken);
    }

    fn change_due(&self, change: impl FnOnce(Instant) -> Instant) -> Instant {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        *due = change(*due);
        *due
    }
}

/// What somebody waits for. Dropped before its time, it is given back.
struct Taken<'a> {
    pace: &'a Pace,
    cost: Duration,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.pace.change_due(|due| due - self.cost);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use futures_util::future::join_all;

    use super::*;
    use crate::Body;
    use crate::transfer::{Digests, Upload};

    #[tokio::test(start_paused = true)]
    async fn all_who_send_share_the_rate_and_nothing_is_saved_up() {
        let pace = Pace::new(Rate::new(1_000).unwrap());
        tokio::time::sleep(Duration::from_secs(100)).await;
        let began = Instant::now();
        tokio::join!(pace.take(500), pace.take(1_500));
        assert_eq!(began.elapsed().as_millis(), 2_000);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_given_up_gives_back_what_was_not_sent() {
        let pace = Pace::new(Rate::new(1_000).unwrap());
        let began = Instant::now();
        let given_up = tokio::time::timeout(Duration::from_secs(1), pace.take(60_000)).await;
        assert!(given_up.is_err());
        pace.take(1_000).await;
        assert_eq!(began.elapsed().as_millis(), 2_000);
    }

    /// The longest that one of so many uploads, side by side and of a minute together, sends nothing.
    async fn longest_silence(rate_bytes: u64, uploads: u64, folder: &tempfile::TempDir) -> Duration {
        let pace = Pace::new(Rate::new(rate_bytes).unwrap());
        let bytes = vec![7; usize::try_from(rate_bytes * 60 / uploads).unwrap()];
        let path = folder.path().join("body");
        std::fs::write(&path, &bytes).unwrap();
        let size_bytes = bytes.len() as u64;
        let bodies = [Body::File { path: path.into(), size_bytes, sha256: None }, Body::Bytes(bytes.into())];
        let began = Instant::now();
        let silences = join_all((0..uploads).map(|number| {
            let (pace, body) = (&pace, bodies[number as usize % 2].clone());
            async move {
                let upload = Upload::prepare(body, Digests::default()).unwrap();
                let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
                let mut pieces = upload.pieces(Some(pace));
                while let Some(piece) = pieces.next().await {
                    pace.take(piece.unwrap().len()).await;
                    longest = longest.max(last.elapsed());
                    last = Instant::now();
                }
                longest
            }
        }));
        let longest = silences.await.into_iter().max().unwrap();
        let took = began.elapsed();
        assert!(took.abs_diff(Duration::from_secs(60)) < Duration::from_secs(1), "{took:?}");
        longest
    }

    #[tokio::test(start_paused = true)]
    async fn no_upload_is_silent_for_long_however_low_the_rate() {
        let folder = tempfile::tempdir().unwrap();
        for (rate_kib, uploads, seconds_max) in
            [(1, 1, 1), (1, 5, 5), (25, 5, 1), (1_024, 5, 1), (26, 256, 10), (1_024, 256, 4)]
        {
            let silence = longest_silence(rate_kib << 10, uploads, &folder).await;
            // The clock of the tests counts whole milliseconds.
            let max = Duration::from_secs(seconds_max) + Duration::from_millis(100);
            assert!(silence <= max, "{uploads} at {rate_kib} KiB a second: {silence:?}");
        }
    }
}
