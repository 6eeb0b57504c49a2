//! Bytes under names, in any object store.
//!
//! This crate knows nothing of what the bytes mean: names, sizes and durability are its whole world.
//! [`Backend`] is the contract, in prose; `conformance` is the same contract as tests, and every backend and
//! every wrapper passes it. Cross-cutting behaviour (retry, faults) is a wrapper of the same trait, never a flag.
//! Read `file` (the names), then [`location`] and [`local`]; [`mem`] and [`fault`] are for tests.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod azure;
mod b2;
mod blocking;
pub mod clock;
pub mod conformance;
pub mod credentials;
pub mod dry;
mod error;
pub mod fault;
mod file;
pub mod limit;
pub mod local;
pub mod location;
pub mod measure;
pub mod mem;
pub mod open;
mod remote;
pub mod retry;
mod s3;
pub mod secret;
mod transfer;

use std::fmt::Debug;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

pub use bytes::Bytes;
pub use error::{Error, ErrorKind, Operation};
pub use file::{FileKind, FileName};
pub use futures_util::stream::BoxStream;
pub use transfer::tls;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a backend tells of a stored file without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub file: FileName,
    pub size_bytes: u64,
    /// When the store says the file was written, by the store's clock; `None` where it does not say.
    pub modified: Option<SystemTime>,
}

/// The bytes to save. Cloning is cheap: a retry sends the same body again.
#[derive(Clone, Debug)]
pub enum Body {
    Bytes(Bytes),
    /// A whole, closed file that nobody writes to any more, for ever: the backend may link it into its own
    /// place instead of copying it, and may change the file's mode; it never changes its bytes or its name.
    /// Whoever made it may remove its name once the save has returned.
    File {
        path: Arc<Path>,
        size_bytes: u64,
        /// The SHA-256 of the bytes where it is known: a store that is told it takes no others.
        sha256: Option<[u8; 32]>,
    },
}

impl Body {
    pub fn size_bytes(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { size_bytes, .. } => *size_bytes,
        }
    }

    /// The whole body in memory, for `file`.
    pub(crate) fn read(&self, file: &FileName) -> Result<Bytes> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.clone()),
            Self::File { path, size_bytes, .. } => {
                let unusable = || Error::new(ErrorKind::UnusableBody, Operation::Save, file.to_string());
                let bytes = std::fs::read(path).map_err(|source| unusable().because(source))?;
                if bytes.len() as u64 != *size_bytes {
                    return Err(unusable().because(wrong_size(bytes.len() as u64, *size_bytes)));
                }
                Ok(bytes.into())
            }
        }
    }
}

pub(crate) fn wrong_size(found_bytes: u64, said_bytes: u64) -> String {
    format!("it has {found_bytes} bytes instead of {said_bytes}")
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

/// A place that keeps files under the names of a repository.
///
/// Every method may be called from many tasks at once, also for one file; the calls then take effect in some
/// order, each as a whole. A future that is dropped in the middle, and a process that is killed, leave either
/// the whole effect or none that a reader could see; a dropped call may still take effect for a while after.
/// A call that fails with [`ErrorKind::Unavailable`] may have had its whole effect all the same (the answer
/// was lost). No method retries by itself: [`retry`] does that, once.
///
/// Where the whole store is missing (no such directory, no such bucket), nothing is found, lists are empty,
/// removes succeed, and a save fails with [`ErrorKind::Misconfigured`]: only [`Backend::create`] makes a store,
/// so that a volume that is not mounted is told and not filled.
#[async_trait::async_trait]
pub trait Backend: Debug + Send + Sync + 'static {
    /// Where this is, for people: never holds a credential.
    fn location(&self) -> String;

    /// How many calls are worth having under way at once.
    fn max_connections(&self) -> usize;

    /// Whether [`Backend::save_new`] is decided by the store itself, so that of two concurrent calls for
    /// one name exactly one succeeds. Where this is `false`, `save_new` fails with [`ErrorKind::Unsupported`].
    /// A server behind a backend may not heed the condition without saying so: who must be sure tries it.
    fn can_save_new(&self) -> bool;

    /// Whether there are folders of the layout that repositories had before these names (`key`, `lock`, `snapshot`,
    /// packs directly below `data`), which nobody reads any more: so that such a store is told from an empty one.
    /// Asked only where no repository can be opened. A store that never held the old layout answers by default.
    async fn has_legacy_layout(&self) -> Result<bool> {
        Ok(false)
    }

    /// Makes what the store needs before the first file can be saved (directories, a bucket). What exists
    /// is left alone, so it may be called again. Never called on the way to reading.
    async fn create(&self) -> Result<()>;

    /// The size of a file, the same that a list tells. [`ErrorKind::NotFound`] if there is none.
    async fn stat(&self, file: &FileName) -> Result<Entry>;

    /// The bytes of a file, whole. [`ErrorKind::NotFound`] if there is none, [`ErrorKind::TooLarge`] if it has more
    /// than `max_bytes`, and then no memory was taken for them.
    async fn load(&self, file: &FileName, max_bytes: u64) -> Result<Bytes>;

    /// The bytes `range` of a file: exactly `range.end - range.start` of them. A range that ends past
    /// the end of the file, or begins after its own end, is [`ErrorKind::OutOfRange`] (permanent), never a
    /// short answer. An empty range at or before the end of the file gives no bytes. If there is no file it
    /// is [`ErrorKind::NotFound`] whatever the range. Memory taken is bounded by the size of the file.
    async fn load_range(&self, file: &FileName, range: Range<u64>) -> Result<Bytes>;

    /// Stores a file. When this returns `Ok`, the bytes survive a power cut and every later call sees them;
    /// before, no call sees a part of them. An existing file of that name is replaced as a whole (names are
    /// hashes: its bytes are the same, or it is a damaged one); on failure it is left as it was. No space
    /// left is [`ErrorKind::Full`]. A body that is not what it says is [`ErrorKind::UnusableBody`].
    async fn save(&self, file: &FileName, body: Body) -> Result<()>;

    /// Stores a file as [`Backend::save`] does, but only if there is none of that name, else fails with
    /// [`ErrorKind::AlreadyExists`], changes nothing, and the file that is there survives a power cut.
    /// See [`Backend::can_save_new`].
    async fn save_new(&self, file: &FileName, body: Body) -> Result<()>;

    /// Every file of a kind, in no order, streamed, no name twice. What is there during the whole list is in
    /// it; what is saved or removed meanwhile may be or not. Files that are not named like the kind's files
    /// are not listed. The work begins when the stream is first polled. An error is the stream's last item:
    /// what came before it is true, but the list is not whole.
    fn list(&self, kind: FileKind) -> BoxStream<'_, Result<Entry>>;

    /// Removes a file, durably. Removing what is not there succeeds, since a retried remove finds nothing.
    async fn remove(&self, file: &FileName) -> Result<()>;
}

/// A shared backend is a backend, so that a wrapper can be put around one that is chosen at run time.
#[async_trait::async_trait]
impl<T: Backend + ?Sized> Backend for Arc<T> {
    fn location(&self) -> String {
        (**self).location()
    }

    fn max_connections(&self) -> usize {
        (**self).max_connections()
    }

    fn can_save_new(&self) -> bool {
        (**self).can_save_new()
    }

    async fn has_legacy_layout(&self) -> Result<bool> {
        (**self).has_legacy_layout().await
    }

    async fn create(&self) -> Result<()> {
        (**self).create().await
    }

    async fn stat(&self, file: &FileName) -> Result<Entry> {
        (**self).stat(file).await
    }

    async fn load(&self, file: &FileName, max_bytes: u64) -> Result<Bytes> {
        (**self).load(file, max_bytes).await
    }

    async fn load_range(&self, file: &FileName, range: Range<u64>) -> Result<Bytes> {
        (**self).load_range(file, range).await
    }

    async fn save(&self, file: &FileName, body: Body) -> Result<()> {
        (**self).save(file, body).await
    }

    async fn save_new(&self, file: &FileName, body: Body) -> Result<()> {
        (**self).save_new(file, body).await
    }

    fn list(&self, kind: FileKind) -> BoxStream<'_, Result<Entry>> {
        (**self).list(kind)
    }

    async fn remove(&self, file: &FileName) -> Result<()> {
        (**self).remove(file).await
    }
}
