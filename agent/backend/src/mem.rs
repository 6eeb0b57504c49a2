//! A store in memory, for tests.
//!
//! Clones share one store. Beside the contract there is a back door, through which a test looks at the stored
//! bytes, damages them, or lets a file grow old; it must never be used by anything but tests.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;

use crate::blocking::blocking;
use crate::{Backend, Body, BoxStream, Entry, Error, ErrorKind, FileKind, FileName, Operation, Result};

/// The store in memory.
#[derive(Clone, Debug)]
pub struct Mem {
    files: Arc<Mutex<BTreeMap<FileName, Stored>>>,
    save_new: SaveNew,
}

/// What becomes of a file that is to be saved only if there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SaveNew {
    Decided,
    Unsupported,
    /// Saved in any case, though the store says otherwise.
    Ignored,
}

#[derive(Clone, Debug)]
struct Stored {
    bytes: Bytes,
    modified: SystemTime,
}

impl Default for Mem {
    fn default() -> Self {
        Self::new()
    }
}

impl Mem {
    pub fn new() -> Self {
        Self::with(SaveNew::Decided)
    }

    fn with(save_new: SaveNew) -> Self {
        Self { files: Arc::default(), save_new }
    }

    /// A store that cannot decide between two who save one name, as some object stores cannot.
    pub fn without_save_new() -> Self {
        Self::with(SaveNew::Unsupported)
    }

    /// A store that takes the condition and does not heed it, as some servers do. It does not hold the contract.
    pub fn with_false_save_new() -> Self {
        Self::with(SaveNew::Ignored)
    }

    /// All that is stored.
    pub fn files(&self) -> BTreeMap<FileName, Bytes> {
        self.lock().iter().map(|(file, stored)| (file.clone(), stored.bytes.clone())).collect()
    }

    /// A store of its own with the same files: what happens to one does not happen to the other.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let files = self.lock().clone();
        Self { files: Arc::new(Mutex::new(files)), save_new: self.save_new }
    }

    pub fn put_raw(&self, file: &FileName, bytes: impl Into<Bytes>) {
        self.lock().insert(file.clone(), Stored { bytes: bytes.into(), modified: SystemTime::now() });
    }

    /// What was there, if anything.
    pub fn remove_raw(&self, file: &FileName) -> Option<Bytes> {
        self.lock().remove(file).map(|stored| stored.bytes)
    }

    /// Changes the bytes of a stored file in place. Panics if there is none, for then the test is wrong.
    pub fn damage(&self, file: &FileName, change: impl FnOnce(&mut Vec<u8>)) {
        let mut files = self.lock();
        let stored = files.get_mut(file).unwrap_or_else(|| panic!("no {file} to damage"));
        let mut bytes = stored.bytes.to_vec();
        change(&mut bytes);
        stored.bytes = bytes.into();
    }

    /// Sets when the store says the file was written. Panics if there is none.
    pub fn set_modified(&self, file: &FileName, modified: SystemTime) {
        let mut files = self.lock();
        files.get_mut(file).unwrap_or_else(|| panic!("no {file} to age")).modified = modified;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<FileName, Stored>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, operation: Operation, file: &FileName) -> Result<Stored> {
        self.lock()
            .get(file)
            .cloned()
            .ok_or_else(|| Error::new(ErrorKind::NotFound, operation, file.to_string()))
    }
}

fn entry(file: &FileName, stored: &Stored) -> Entry {
    Entry { file: file.clone(), size_bytes: stored.bytes.len() as u64, modified: Some(stored.modified) }
}

#[async_trait::async_trait]
impl Backend for Mem {
    fn location(&self) -> String {
        "memory".to_owned()
    }

    fn max_connections(&self) -> usize {
        4
    }

    fn can_save_new(&self) -> bool {
        self.save_new != SaveNew::Unsupported
    }

    async fn create(&self) -> Result<()> {
        Ok(())
    }

    async fn stat(&self, file: &FileName) -> Result<Entry> {
        Ok(entry(file, &self.find(Operation::Stat, file)?))
    }

    async fn load(&self, file: &FileName, max_bytes: u64) -> Result<Bytes> {
        let bytes = self.find(Operation::Load, file)?.bytes;
        match bytes.len() as u64 > max_bytes {
            true => Err(Error::new(ErrorKind::TooLarge, Operation::Load, file.to_string())),
            false => Ok(bytes),
        }
    }

    async fn load_range(&self, file: &FileName, range: Range<u64>) -> Result<Bytes> {
        let bytes = self.find(Operation::Load, file)?.bytes;
        if range.start > range.end || range.end > bytes.len() as u64 {
            return Err(Error::new(ErrorKind::OutOfRange, Operation::Load, file.to_string()));
        }
        Ok(bytes.slice(range.start as usize..range.end as usize))
    }

    async fn save(&self, file: &FileName, body: Body) -> Result<()> {
        let bytes = blocking(|| body.read(file))?;
        self.put_raw(file, bytes);
        Ok(())
    }

    async fn save_new(&self, file: &FileName, body: Body) -> Result<()> {
        let error = |kind| Error::new(kind, Operation::Save, file.to_string());
        if self.save_new == SaveNew::Unsupported {
            return Err(error(ErrorKind::Unsupported));
        }
        let bytes = blocking(|| body.read(file))?;
        let mut files = self.lock();
        if self.save_new == SaveNew::Decided && files.contains_key(file) {
            return Err(error(ErrorKind::AlreadyExists));
        }
        files.insert(file.clone(), Stored { bytes, modified: SystemTime::now() });
        Ok(())
    }

    fn list(&self, kind: FileKind) -> BoxStream<'_, Result<Entry>> {
        let list = async move {
            let files = self.lock();
            let entries: Vec<_> = files
                .iter()
                .filter(|(file, _)| file.kind() == kind)
                .map(|(file, stored)| Ok(entry(file, stored)))
                .collect();
            stream::iter(entries)
        };
        stream::once(list).flatten().boxed()
    }

    async fn remove(&self, file: &FileName) -> Result<()> {
        self.lock().remove(file);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn memory_holds_the_contract() {
        conformance::check(Arc::new(Mem::new())).await;
    }

    #[tokio::test]
    async fn memory_without_save_new_holds_the_contract() {
        conformance::check(Arc::new(Mem::without_save_new())).await;
    }

    #[tokio::test]
    async fn clones_share_the_files_and_a_duplicate_does_not() {
        let store = Mem::new();
        let config = FileName::config();
        let duplicate = store.duplicate();
        store.clone().save(&config, vec![1, 2, 3].into()).await.unwrap();
        store.damage(&config, |bytes| bytes[1] = 9);
        store.set_modified(&config, SystemTime::UNIX_EPOCH);
        assert_eq!(store.files()[&config], Bytes::from_static(&[1, 9, 3]));
        assert_eq!(store.stat(&config).await.unwrap().modified, Some(SystemTime::UNIX_EPOCH));
        assert_eq!(duplicate.files().len(), 0);
        assert_eq!(store.remove_raw(&config), Some(Bytes::from_static(&[1, 9, 3])));
        assert_eq!(store.remove_raw(&config), None);
    }
}
