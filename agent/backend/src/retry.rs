//! Tries again what may succeed the next time. The only place that does.
//!
//! Relies on [`Error::is_permanent`] and on nothing else to tell what is worth it, and on tokio's clock, so that
//! tests with a paused clock wait for nothing. Must never try without end, and never hide that it tried: every
//! wait is told to a hook before it begins. Dropping the future ends the waiting.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use tokio::time::Instant;

use crate::blocking::blocking;
use crate::{Backend, Body, BoxStream, Entry, Error, ErrorKind, FileKind, FileName, Result};

/// How long it is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Calls for one answer, the first one counted.
    pub tries_max: u32,
    /// No call begins later than this after the first failure. The first call itself may take what it takes.
    pub total_max: Duration,
    /// The wait before the second call; each later one is about twice as long.
    pub first_delay: Duration,
    pub delay_max: Duration,
}

impl Default for Policy {
    /// restic's patience: a store may be away for a quarter of an hour.
    fn default() -> Self {
        Self {
            tries_max: 30,
            total_max: Duration::from_secs(15 * 60),
            first_delay: Duration::from_secs(1),
            delay_max: Duration::from_secs(60),
        }
    }
}

impl Policy {
    /// The wait after the given number of failures in a row: between half and one and a half of a doubling
    /// delay, so that many clients of one store that went away do not all come back at once.
    fn delay(&self, failures: u32) -> Duration {
        let doubled = self.first_delay.saturating_mul(1_u32.checked_shl(failures - 1).unwrap_or(u32::MAX));
        doubled.min(self.delay_max).mul_f64(0.5 + fastrand::f64())
    }
}

/// Told of each failure that is tried again, with the wait that follows.
pub type Hook = Box<dyn Fn(&Error, Duration) + Send + Sync>;

/// A backend whose calls are tried again.
///
/// [`Backend::save_new`] that finds its name taken after a try of its own failed takes a file with the very same
/// bytes for its own, whose answer was lost. So whoever lets it decide between actors must give each of them
/// bytes that no other has, as encryption with a random nonce does.
pub struct Retry<B> {
    inner: B,
    policy: Policy,
    hook: Hook,
}

impl<B: Backend> Retry<B> {
    pub fn new(inner: B, policy: Policy, hook: Hook) -> Self {
        Self { inner, policy, hook }
    }

    pub fn inner(&self) -> &B {
        &self.inner
    }

    fn attempts(&self) -> Attempts<'_> {
        Attempts { policy: &self.policy, hook: &self.hook, failures: 0, first_failure: None }
    }

    async fn run<T, F>(&self, call: impl Fn() -> F + Send + Sync) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send,
        T: Send,
    {
        let mut attempts = self.attempts();
        loop {
            match call().await {
                Ok(answer) => return Ok(answer),
                Err(error) => attempts.wait_after(error).await?,
            }
        }
    }

    /// Whether the file that is there, if any, is the one we meant to save.
    async fn holds(&self, file: &FileName, body: &Body) -> Result<bool> {
        match self.load(file, body.size_bytes()).await {
            Ok(stored) => Ok(stored == blocking(|| body.read(file))?),
            Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::TooLarge) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl<B: fmt::Debug> fmt::Debug for Retry<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("inner", &self.inner)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// The failures of one call so far.
struct Attempts<'a> {
    policy: &'a Policy,
    hook: &'a Hook,
    failures: u32,
    first_failure: Option<Instant>,
}

impl Attempts<'_> {
    /// Returns after the wait, or with the error where another try is not worth it.
    async fn wait_after(&mut self, error: Error) -> Result<()> {
        if error.is_permanent() {
            return Err(error);
        }
        self.failures += 1;
        let first_failure = *self.first_failure.get_or_insert_with(Instant::now);
        let delay = self.policy.delay(self.failures).max(error.retry_after.unwrap_or_default());
        if self.failures >= self.policy.tries_max || first_failure.elapsed() + delay > self.policy.total_max {
            return Err(error);
        }
        (self.hook)(&error, delay);
        tokio::time::sleep(delay).await;
        Ok(())
    }

    fn start_over(&mut self) {
        self.failures = 0;
        self.first_failure = None;
    }
}

#[async_trait::async_trait]
impl<B: Backend> Backend for Retry<B> {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn max_connections(&self) -> usize {
        self.inner.max_connections()
    }

    fn can_save_new(&self) -> bool {
        self.inner.can_save_new()
    }

    async fn has_legacy_layout(&self) -> Result<bool> {
        self.run(|| self.inner.has_legacy_layout()).await
    }

    async fn create(&self) -> Result<()> {
        self.run(|| self.inner.create()).await
    }

    async fn stat(&self, file: &FileName) -> Result<Entry> {
        self.run(|| self.inner.stat(file)).await
    }

    async fn load(&self, file: &FileName, max_bytes: u64) -> Result<Bytes> {
        self.run(|| self.inner.load(file, max_bytes)).await
    }

    async fn load_range(&self, file: &FileName, range: Range<u64>) -> Result<Bytes> {
        self.run(|| self.inner.load_range(file, range.clone())).await
    }

    async fn save(&self, file: &FileName, body: Body) -> Result<()> {
        self.run(|| self.inner.save(file, body.clone())).await
    }

    async fn save_new(&self, file: &FileName, body: Body) -> Result<()> {
        let mut attempts = self.attempts();
        loop {
            match self.inner.save_new(file, body.clone()).await {
                Ok(()) => return Ok(()),
                // An earlier try of ours may have been stored and only its answer lost.
                Err(error) if error.kind == ErrorKind::AlreadyExists && attempts.failures > 0 => {
                    return if self.holds(file, &body).await? { Ok(()) } else { Err(error) };
                }
                Err(error) => attempts.wait_after(error).await?,
            }
        }
    }

    fn list(&self, kind: FileKind) -> BoxStream<'_, Result<Entry>> {
        let listing = Listing {
            inner: &self.inner,
            kind,
            entries: self.inner.list(kind),
            yielded: HashSet::new(),
            attempts: self.attempts(),
        };
        let items = stream::unfold(Some(listing), |listing| async {
            let mut listing = listing?;
            match listing.next().await? {
                Ok(entry) => Some((Ok(entry), Some(listing))),
                Err(error) => Some((Err(error), None)),
            }
        });
        items.boxed()
    }

    async fn remove(&self, file: &FileName) -> Result<()> {
        self.run(|| self.inner.remove(file)).await
    }
}

/// A list that begins again where it broke off.
struct Listing<'a, B> {
    inner: &'a B,
    kind: FileKind,
    entries: BoxStream<'a, Result<Entry>>,
    /// The first half of every name yielded so far: enough to tell hashes apart, and half the memory.
    yielded: HashSet<u128>,
    attempts: Attempts<'a>,
}

impl<B: Backend> Listing<'_, B> {
    async fn next(&mut self) -> Option<Result<Entry>> {
        loop {
            match self.entries.next().await? {
                Ok(entry) => {
                    if self.yielded.insert(half_of(&entry.file)) {
                        // It got further than ever: what failed before is overcome.
                        self.attempts.start_over();
                        return Some(Ok(entry));
                    }
                }
                Err(error) => {
                    if let Err(error) = self.attempts.wait_after(error).await {
                        return Some(Err(error));
                    }
                    self.entries = self.inner.list(self.kind);
                }
            }
        }
    }
}

fn half_of(file: &FileName) -> u128 {
    match file.kind() {
        FileKind::Config => 0,
        _ => u128::from_str_radix(&file.name()[..32], 16).expect("a file name is 64 hex digits"),
    }
}

#[cfg(test)]
mod tests;
