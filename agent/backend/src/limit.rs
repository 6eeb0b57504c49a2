//! So many calls at once, and fewer while the store is busy.
//!
//! A call that waits for its turn has not begun. When the store says that it is busy, half as many may be under way
//! from then on; after a good number of calls that went well there is room for one more again. Must never let a
//! caller that keeps a list open without asking for its next entry hold a turn: it may be waiting for its own other
//! call.

use std::fmt;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{Backend, Body, BoxStream, Entry, ErrorKind, FileKind, FileName, Result};

/// Calls in a row that went well before one more may be under way.
const CALLS_TO_GROW: u32 = 32;

/// A backend that is asked so many things at once.
pub struct Limited<B> {
    inner: B,
    turns: Semaphore,
    state: Mutex<State>,
    max: usize,
}

#[derive(Debug)]
struct State {
    /// Calls that may be under way.
    allowed: usize,
    /// Turns still out that are not to come back.
    surplus: usize,
    /// Counts the halvings: a call that began before the last one says nothing new.
    halvings: u64,
    went_well: u32,
}

impl<B: Backend> Limited<B> {
    /// As many calls as the backend itself says are worth it.
    pub fn new(inner: B) -> Self {
        let max = inner.max_connections().max(1);
        Self {
            turns: Semaphore::new(max),
            state: Mutex::new(State { allowed: max, surplus: 0, halvings: 0, went_well: 0 }),
            max,
            inner,
        }
    }

    /// How many calls may be under way now.
    pub fn allowed(&self) -> usize {
        self.state().allowed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn turn(&self) -> Turn<'_, B> {
        let permit = self.turns.acquire().await.expect("the semaphore is never closed");
        Turn { limited: self, permit: Some(permit), halvings: self.state().halvings }
    }

    async fn within<T>(&self, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let turn = self.turn().await;
        let result = call.await;
        turn.ended(result.as_ref().err().map(|error| error.kind));
        result
    }

    fn ended(&self, failed: Option<ErrorKind>, began_after_halvings: u64) {
        let mut state = self.state();
        match failed {
            Some(ErrorKind::Throttled) if began_after_halvings == state.halvings => {
                let fewer = (state.allowed / 2).max(1);
                state.surplus += state.allowed - fewer;
                state.allowed = fewer;
                state.halvings += 1;
                state.went_well = 0;
            }
            Some(_) => state.went_well = 0,
            None if state.allowed == self.max => {}
            None => {
                state.went_well += 1;
                if state.went_well == CALLS_TO_GROW {
                    state.went_well = 0;
                    state.allowed += 1;
                    match state.surplus.checked_sub(1) {
                        Some(fewer) => state.surplus = fewer,
                        None => self.turns.add_permits(1),
                    }
                }
            }
        }
    }
}

/// The right to one call.
struct Turn<'a, B: Backend> {
    limited: &'a Limited<B>,
    permit: Option<SemaphorePermit<'a>>,
    halvings: u64,
}

impl<B: Backend> Turn<'_, B> {
    fn ended(self, failed: Option<ErrorKind>) {
        self.limited.ended(failed, self.halvings);
    }
}

impl<B: Backend> Drop for Turn<'_, B> {
    /// Also when the call was dropped.
    fn drop(&mut self) {
        let mut state = self.limited.state();
        if let Some(fewer) = state.surplus.checked_sub(1) {
            state.surplus = fewer;
            if let Some(permit) = self.permit.take() {
                permit.forget();
            }
        }
    }
}

impl<B: fmt::Debug> fmt::Debug for Limited<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limited").field("inner", &self.inner).field("max", &self.max).finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl<B: Backend> Backend for Limited<B> {
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
        self.within(self.inner.has_legacy_layout()).await
    }

    async fn create(&self) -> Result<()> {
        self.within(self.inner.create()).await
    }

    async fn stat(&self, file: &FileName) -> Result<Entry> {
        self.within(self.inner.stat(file)).await
    }

    async fn load(&self, file: &FileName, max_bytes: u64) -> Result<Bytes> {
        self.within(self.inner.load(file, max_bytes)).await
    }

    async fn load_range(&self, file: &FileName, range: Range<u64>) -> Result<Bytes> {
        self.within(self.inner.load_range(file, range)).await
    }

    async fn save(&self, file: &FileName, body: Body) -> Result<()> {
        self.within(self.inner.save(file, body)).await
    }

    async fn save_new(&self, file: &FileName, body: Body) -> Result<()> {
        self.within(self.inner.save_new(file, body)).await
    }

    fn list(&self, kind: FileKind) -> BoxStream<'_, Result<Entry>> {
        // A page is asked for by one of these calls, and who asks holds the turn. A name says nothing of how busy the
        // store is, since most of them come with the page before: the list went well when it is at its end.
        let entries = stream::unfold(self.inner.list(kind), |mut entries| async {
            let turn = self.turn().await;
            let entry = entries.next().await;
            match &entry {
                Some(Ok(_)) => drop(turn),
                Some(Err(error)) => turn.ended(Some(error.kind)),
                None => turn.ended(None),
            }
            Some((entry?, entries))
        });
        entries.boxed()
    }

    async fn remove(&self, file: &FileName) -> Result<()> {
        self.within(self.inner.remove(file)).await
    }
}

#[cfg(test)]
mod tests;
