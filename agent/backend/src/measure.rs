//! What a store was asked, how long it took and what came of it, counted for whoever shows it.
//!
//! Each call that goes down to the store counts, also one that is tried again, so this lies below the wrapper that
//! does. A call is one request nearly always; the further pages of a long list, and what a store wants for letting us in
//! anew, are counted on the wire only, by who stands there. Only looks on: no answer is changed by it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;

use crate::{Backend, Body, BoxStream, Entry, ErrorKind, FileKind, FileName, Operation, Result};

/// What is counted together: the call, and the kind of file it was about.
pub type Asked = (Operation, Option<FileKind>);

/// The counts of one sort of call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub calls: u64,
    /// Loaded or saved by calls that succeeded.
    pub bytes: u64,
    pub time: Duration,
    pub errors: BTreeMap<ErrorKind, u64>,
}

/// The counts, shared with whoever shows them.
#[derive(Debug, Default)]
pub struct Counts {
    ended: Mutex<BTreeMap<Asked, Count>>,
    under_way: AtomicU64,
}

impl Counts {
    pub fn all(&self) -> BTreeMap<Asked, Count> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The counts so far, which begin anew.
    #[must_use]
    pub fn take(&self) -> Self {
        let ended = std::mem::take(&mut *self.ended.lock().unwrap_or_else(PoisonError::into_inner));
        Self { ended: Mutex::new(ended), under_way: AtomicU64::new(0) }
    }

    /// Calls that have not ended yet, those about locks aside: a lock is kept by itself, whatever a job does.
    pub fn under_way(&self) -> u64 {
        self.under_way.load(Ordering::Relaxed)
    }

    fn begin(self: &Arc<Self>, (_, kind): Asked) -> Option<UnderWay> {
        (kind != Some(FileKind::Lock)).then(|| {
            self.under_way.fetch_add(1, Ordering::Relaxed);
            UnderWay(Arc::clone(self))
        })
    }

    fn add(&self, asked: Asked, began: Instant, result: Result<u64, ErrorKind>) {
        let mut counts = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(asked).or_default();
        count.calls += 1;
        count.time += began.elapsed();
        match result {
            Ok(bytes) => count.bytes += bytes,
            Err(kind) => *count.errors.entry(kind).or_default() += 1,
        }
    }
}

/// A call that has not ended; also one that is dropped has.
struct UnderWay(Arc<Counts>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Display for Counts {
    /// `load config 1, list lock 2, save snapshot 1`; errors in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, ((operation, kind), count)) in self.all().into_iter().enumerate() {
            let separator = if position == 0 { "" } else { ", " };
            let noun = kind.map_or("store", FileKind::noun);
            write!(f, "{separator}{operation} {noun} {}", count.calls)?;
            match count.errors.values().sum::<u64>() {
                0 => {}
                errors => write!(f, " ({errors} failed)")?,
            }
        }
        Ok(())
    }
}

/// A backend whose calls are counted.
#[derive(Debug)]
pub struct Measured<B> {
    inner: B,
    counts: Arc<Counts>,
}

impl<B: Backend> Measured<B> {
    pub fn new(inner: B, counts: Arc<Counts>) -> Self {
        Self { inner, counts }
    }

    async fn count<T>(
        &self,
        asked: Asked,
        bytes: impl FnOnce(&T) -> u64,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let began = Instant::now();
        let _under_way = self.counts.begin(asked);
        let result = call.await;
        self.counts.add(asked, began, result.as_ref().map(bytes).map_err(|error| error.kind));
        result
    }
}

fn about(operation: Operation, file: &FileName) -> Asked {
    (operation, Some(file.kind()))
}

#[async_trait::async_trait]
impl<B: Backend> Backend for Measured<B> {
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
        self.inner.has_legacy_layout().await
    }

    async fn create(&self) -> Result<()> {
        self.count((Operation::Create, None), |()| 0, self.inner.create()).await
    }

    async fn stat(&self, file: &FileName) -> Result<Entry> {
        self.count(about(Operation::Stat, file), |_| 0, self.inner.stat(file)).await
    }

    async fn load(&self, file: &FileName, max_bytes: u64) -> Result<Bytes> {
        let load = self.inner.load(file, max_bytes);
        self.count(about(Operation::Load, file), |bytes| bytes.len() as u64, load).await
    }

    async fn load_range(&self, file: &FileName, range: Range<u64>) -> Result<Bytes> {
        let load = self.inner.load_range(file, range);
        self.count(about(Operation::Load, file), |bytes| bytes.len() as u64, load).await
    }

    async fn save(&self, file: &FileName, body: Body) -> Result<()> {
        let size_bytes = body.size_bytes();
        self.count(about(Operation::Save, file), |()| size_bytes, self.inner.save(file, body)).await
    }

    async fn save_new(&self, file: &FileName, body: Body) -> Result<()> {
        let size_bytes = body.size_bytes();
        self.count(about(Operation::Save, file), |()| size_bytes, self.inner.save_new(file, body)).await
    }

    fn list(&self, kind: FileKind) -> BoxStream<'_, Result<Entry>> {
        let asked = (Operation::List, Some(kind));
        let listed =
            stream::unfold(Some((self.inner.list(kind), Instant::now())), move |listing| async move {
                let (mut entries, began) = listing?;
                let _under_way = self.counts.begin(asked);
                match entries.next().await {
                    Some(Ok(entry)) => Some((Ok(entry), Some((entries, began)))),
                    Some(Err(error)) => {
                        self.counts.add(asked, began, Err(error.kind));
                        Some((Err(error), None))
                    }
                    None => {
                        self.counts.add(asked, began, Ok(0));
                        None
                    }
                }
            });
        listed.boxed()
    }

    async fn remove(&self, file: &FileName) -> Result<()> {
        self.count(about(Operation::Remove, file), |()| 0, self.inner.remove(file)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;
    use crate::fault::{Fault, Rule};
    use crate::mem::Mem;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_measured_store_holds_the_contract() {
        conformance::check(Arc::new(Measured::new(Mem::new(), Arc::default()))).await;
    }

    #[tokio::test]
    async fn every_call_is_counted_under_its_name() {
        let counts = Arc::new(Counts::default());
        let faulty = Fault::new(Mem::new());
        faulty.add(Rule::nth(2).of(Operation::Save).fails(ErrorKind::Full));
        let store = Measured::new(faulty, Arc::clone(&counts));
        store.save(&FileName::config(), vec![1, 2, 3].into()).await.unwrap();
        store.save(&FileName::config(), vec![1, 2, 3].into()).await.unwrap_err();
        store.load_range(&FileName::config(), 1..3).await.unwrap();
        let _all: Vec<_> = store.list(FileKind::Lock).collect().await;
        assert_eq!(counts.to_string(), "load config 1, save config 2 (1 failed), list lock 1");
        let saves = counts.all()[&(Operation::Save, Some(FileKind::Config))].clone();
        assert_eq!((saves.calls, saves.bytes), (2, 3));
        assert_eq!(saves.errors, BTreeMap::from([(ErrorKind::Full, 1)]));
        assert_eq!(counts.take().all().len(), 3);
        assert!(counts.all().is_empty());
    }
}
