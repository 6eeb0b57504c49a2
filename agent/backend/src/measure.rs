//! What a store was asked, how long it took and what came of it, counted for whoever shows it.
//!
//! Each call that goes down to the store counts, also one that is tried again, so this lies below the wrapper that
//! does. A call is one request nearly always; the further pages of a long list, and what a store wants for letting us in
//! anew, are counted on the wire only, by who stands there. Only looks on: no answer is changed by it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;

use crate::{Backend, Body, BoxStream, Entry, ErrorKind, FileKind, FileName, Operation, Result};

/// What is counted together: the call, and the kind of file it was about.
pub type Asked = (Operation, Option<FileKind>);

/// How long calls take is counted in steps: below a disk's time, a store's usual time, a large pack's on a slow line.
pub const STEPS_MS: [u64; 12] = [5, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 120_000];

/// The counts of one sort of call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub calls: u64,
    /// Loaded or saved by calls that succeeded.
    pub bytes: u64,
    pub time: Duration,
    /// Calls by the least of [`STEPS_MS`] that they took no longer than; those that took longer than all are in none.
    pub by_step: [u64; STEPS_MS.len()],
    pub errors: BTreeMap<ErrorKind, u64>,
}

impl Count {
    fn add(&mut self, took: Duration, result: Result<u64, ErrorKind>) {
        self.calls += 1;
        self.time += took;
        if let Some(step) = STEPS_MS.iter().position(|step| took <= Duration::from_millis(*step)) {
            self.by_step[step] += 1;
        }
        match result {
            Ok(bytes) => self.bytes += bytes,
            Err(kind) => *self.errors.entry(kind).or_default() += 1,
        }
    }

    /// These and others together.
    pub fn join(&mut self, others: &Self) {
        self.calls += others.calls;
        self.bytes += others.bytes;
        self.time += others.time;
        self.by_step.iter_mut().zip(others.by_step).for_each(|(step, other)| *step += other);
        others.errors.iter().for_each(|(kind, count)| *self.errors.entry(*kind).or_default() += count);
    }

    fn since(&self, before: &Self) -> Self {
        let errors =
            self.errors.iter().map(|(kind, count)| (*kind, count - before.errors.get(kind).unwrap_or(&0)));
        Self {
            calls: self.calls - before.calls,
            bytes: self.bytes - before.bytes,
            time: self.time - before.time,
            by_step: std::array::from_fn(|step| self.by_step[step] - before.by_step[step]),
            errors: errors.filter(|(_, count)| *count > 0).collect(),
        }
    }
}

/// What calls came to, by their sort.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(pub BTreeMap<Asked, Count>);

impl Tally {
    /// What was added since `before`, an earlier state of the same counts.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let none = Count::default();
        let added =
            self.0.iter().map(|(asked, count)| (*asked, count.since(before.0.get(asked).unwrap_or(&none))));
        Self(added.filter(|(_, count)| count.calls > 0).collect())
    }
}

impl fmt::Display for Tally {
    /// `load config 1, list lock 2, save snapshot 1`; errors in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, ((operation, kind), count)) in self.0.iter().enumerate() {
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

/// How many files of a kind there are: as the newest whole list of them told, with what we saved and removed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    pub files: u64,
    /// When the list was.
    pub at: SystemTime,
}

/// The counts, shared with whoever shows them. They only grow.
#[derive(Debug, Default)]
pub struct Counts {
    seen: Mutex<Seen>,
    under_way: AtomicU64,
}

#[derive(Debug, Default)]
struct Seen {
    ended: Tally,
    listed: BTreeMap<FileKind, Listed>,
    /// Whether the newest call to end was answered at all.
    answers: Option<bool>,
}

impl Counts {
    pub fn all(&self) -> Tally {
        self.seen().ended.clone()
    }

    /// What is known of the files of each kind without asking; a kind that was not listed is not in it.
    pub fn listed(&self) -> BTreeMap<FileKind, Listed> {
        self.seen().listed.clone()
    }

    /// Whether the newest call that ended was answered, be it with a refusal; `None` before the first.
    pub fn answers(&self) -> Option<bool> {
        self.seen().answers
    }

    /// Another store, or another place in it, is spoken to from now on: what is known of this one says nothing any more.
    pub fn forget_store(&self) {
        let mut seen = self.seen();
        seen.listed.clear();
        seen.answers = None;
    }

    /// Calls that have not ended yet, those about locks aside: a lock is kept by itself, whatever a job does.
    pub fn under_way(&self) -> u64 {
        self.under_way.load(Ordering::Relaxed)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(self: &Arc<Self>, (_, kind): Asked) -> Option<UnderWay> {
        (kind != Some(FileKind::Lock)).then(|| {
            self.under_way.fetch_add(1, Ordering::Relaxed);
            UnderWay(Arc::clone(self))
        })
    }

    fn add(&self, asked: Asked, began: Instant, result: Result<u64, ErrorKind>) {
        let mut seen = self.seen();
        seen.answers = Some(result != Err(ErrorKind::Unavailable));
        seen.ended.0.entry(asked).or_default().add(began.elapsed(), result);
        if result.is_err() {
            return;
        }
        if let (operation, Some(kind)) = asked
            && let Some(listed) = seen.listed.get_mut(&kind)
        {
            match operation {
                Operation::Save => listed.files += 1,
                Operation::Remove => listed.files = listed.files.saturating_sub(1),
                _ => {}
            }
        }
    }

    fn add_list(&self, kind: FileKind, began: Instant, files: u64) {
        self.add((Operation::List, Some(kind)), began, Ok(0));
        self.seen().listed.insert(kind, Listed { files, at: SystemTime::now() });
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
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.all().fmt(f)
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
            stream::unfold(Some((self.inner.list(kind), Instant::now(), 0)), move |listing| async move {
                let (mut entries, began, files) = listing?;
                let _under_way = self.counts.begin(asked);
                match entries.next().await {
                    Some(Ok(entry)) => Some((Ok(entry), Some((entries, began, files + 1)))),
                    Some(Err(error)) => {
                        self.counts.add(asked, began, Err(error.kind));
                        Some((Err(error), None))
                    }
                    None => {
                        self.counts.add_list(kind, began, files);
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
        let all = counts.all();
        let saves = &all.0[&(Operation::Save, Some(FileKind::Config))];
        assert_eq!((saves.calls, saves.bytes), (2, 3));
        assert_eq!(saves.errors, BTreeMap::from([(ErrorKind::Full, 1)]));
        assert_eq!(all.since(&Tally::default()), all);
        store.save(&FileName::config(), vec![1].into()).await.unwrap();
        assert_eq!(counts.all().since(&all).to_string(), "save config 1");
        assert_eq!(counts.all().0[&(Operation::Save, Some(FileKind::Config))].bytes, 4, "they only grow");
    }

    #[test]
    fn a_call_is_in_the_step_that_it_took_no_longer_than() {
        let mut count = Count::default();
        for ms in [0, 5, 6, 120_000, 120_001] {
            count.add(Duration::from_millis(ms), Ok(1));
        }
        assert_eq!((count.by_step[0], count.by_step[1], count.by_step[11]), (2, 1, 1));
        assert_eq!(
            (count.calls, count.by_step.iter().sum::<u64>()),
            (5, 4),
            "one took longer than all steps"
        );
        let mut both = count.clone();
        both.join(&count);
        assert_eq!((both.calls, both.bytes, both.by_step[0], both.since(&count)), (10, 10, 4, count));
    }

    #[tokio::test]
    async fn how_many_files_there_are_is_known_from_lists_and_what_was_done_since() {
        let (counts, inner) = (Arc::new(Counts::default()), Mem::new());
        let faulty = Fault::new(inner.clone());
        faulty.add(Rule::nth(3).of(Operation::List).fails(ErrorKind::Unavailable));
        let store = Measured::new(faulty, Arc::clone(&counts));
        let lock = |letter: &str| FileName::new(FileKind::Lock, &letter.repeat(64)).unwrap();
        let locks = || counts.listed().get(&FileKind::Lock).map(|listed| listed.files);
        store.save(&lock("a"), vec![1].into()).await.unwrap();
        assert_eq!((locks(), counts.answers()), (None, Some(true)), "nothing was listed");
        for _ in 0..2 {
            let _all: Vec<_> = store.list(FileKind::Lock).collect().await;
            assert_eq!(locks(), Some(1));
        }
        store.save(&lock("b"), vec![1].into()).await.unwrap();
        assert_eq!(locks(), Some(2));
        store.remove(&lock("b")).await.unwrap();
        assert_eq!(locks(), Some(1));
        inner.remove_raw(&lock("a"));
        let _cut_off: Vec<_> = store.list(FileKind::Lock).collect().await;
        assert_eq!((locks(), counts.answers()), (Some(1), Some(false)), "that list was not whole");
        store.stat(&lock("a")).await.unwrap_err();
        assert_eq!(counts.answers(), Some(true), "that there is none is an answer");
        counts.forget_store();
        assert_eq!((locks(), counts.answers()), (None, None));
    }
}
