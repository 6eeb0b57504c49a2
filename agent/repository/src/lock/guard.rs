//! A store as the holder of a lock sees it: nothing is written while nobody knows whether the lock still holds.
//!
//! After a suspended machine wakes up, a job goes on before the next refresh; meanwhile somebody may have taken
//! the lock for dead and pruned. So a write waits until a refresh has succeeded, or for ever: then the job ends
//! by its token. Reads do no harm and pass.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use pillion_backend::{Backend, Body, BoxStream, Entry, FileKind, FileName, Result};

use super::Shared;

/// How often a write that waits looks again.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Guarded {
    pub(super) inner: Arc<dyn Backend>,
    pub(super) shared: Arc<Shared>,
    pub(super) lost_after: Duration,
}

impl Guarded {
    /// **Invariant:** measured by the wall clock, which goes on while a machine sleeps
    /// (`nothing_is_written_while_a_lock_is_too_old`).
    async fn wait_for_lock(&self) {
        loop {
            let refreshed = *self.shared.refreshed.lock().expect("no thread panics with it");
            if SystemTime::now().duration_since(refreshed).unwrap_or_default() < self.lost_after {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

#[async_trait::async_trait]
impl Backend for Guarded {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn max_connections(&self) -> usize {
        self.inner.max_connections()
    }

    fn can_save_new(&self) -> bool {
        self.inner.can_save_new()
    }

    async fn create(&self) -> Result<()> {
        self.wait_for_lock().await;
        self.inner.create().await
    }

    async fn stat(&self, file: &FileName) -> Result<Entry> {
        self.inner.stat(file).await
    }

    async fn load(&self, file: &FileName, max_bytes: u64) -> Result<Bytes> {
        self.inner.load(file, max_bytes).await
    }

    async fn load_range(&self, file: &FileName, range: Range<u64>) -> Result<Bytes> {
        self.inner.load_range(file, range).await
    }

    async fn save(&self, file: &FileName, body: Body) -> Result<()> {
        self.wait_for_lock().await;
        self.inner.save(file, body).await
    }

    async fn save_new(&self, file: &FileName, body: Body) -> Result<()> {
        self.wait_for_lock().await;
        self.inner.save_new(file, body).await
    }

    fn list(&self, kind: FileKind) -> BoxStream<'_, Result<Entry>> {
        self.inner.list(kind)
    }

    async fn remove(&self, file: &FileName) -> Result<()> {
        self.wait_for_lock().await;
        self.inner.remove(file).await
    }
}
