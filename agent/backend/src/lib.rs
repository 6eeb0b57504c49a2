//! Bytes under names, in any object store.
//!
//! This crate knows nothing of what the bytes mean: names, sizes and durability are its whole world.
//! [`Backend`] is the contract, in prose; `conformance` is the same contract as tests, and every backend and
//! every wrapper passes it. Cross-cutting behaviour (retry, faults) is a wrapper of the same trait, never a flag.

pub mod conformance;
mod error;
pub mod fault;
mod file;
pub mod local;
pub mod location;
pub mod mem;
pub mod retry;

use std::fmt::Debug;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

pub use bytes::Bytes;
pub use error::{Error, ErrorKind, Operation};
pub use file::{FileKind, FileName};
pub use futures_util::stream::BoxStream;

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
    /// A whole, closed file that nobody writes to any more. The backend may link it into its own place
    /// instead of copying it, and may change the file's mode; it never changes its bytes or its name.
    File {
        path: Arc<Path>,
        size_bytes: u64,
    },
}

impl Body {
    pub fn size_bytes(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { size_bytes, .. } => *size_bytes,
        }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

/// A place that keeps files under the names of a repository.
///
/// Every method may be called from many tasks at once. A future that is dropped in the middle leaves either
/// the whole effect or none that a reader could see. No method retries by itself: [`retry`] does that, once.
#[async_trait::async_trait]
pub trait Backend: Debug + Send + Sync + 'static {
    /// Where this is, for people: never holds a credential.
    fn location(&self) -> String;

    /// How many calls are worth having under way at once.
    fn max_connections(&self) -> usize;

    /// Whether [`Backend::save_new`] is decided by the store itself, so that of two concurrent calls for
    /// one name exactly one succeeds. Where this is `false`, `save_new` fails with [`ErrorKind::Unsupported`].
    fn can_save_new(&self) -> bool;

    /// Makes what the store needs before the first file can be saved (directories, a bucket). What exists
    /// is left alone. Never called on the way to reading.
    async fn create(&self) -> Result<()>;

    /// The size of a file. [`ErrorKind::NotFound`] if there is none.
    async fn stat(&self, file: &FileName) -> Result<Entry>;

    /// The bytes of a file, whole. [`ErrorKind::NotFound`] if there is none.
    async fn load(&self, file: &FileName) -> Result<Bytes>;

    /// The bytes `range` of a file: exactly `range.end - range.start` of them. A range that ends past
    /// the end of the file is [`ErrorKind::OutOfRange`] (permanent), never a short answer.
    async fn load_range(&self, file: &FileName, range: Range<u64>) -> Result<Bytes>;

    /// Stores a file. When this returns `Ok`, the bytes survive a power cut and every later call sees them;
    /// before, no call sees a part of them. An existing file of that name is replaced as a whole (names are
    /// hashes: its bytes are the same, or it is a damaged one). No space left is [`ErrorKind::Full`].
    async fn save(&self, file: &FileName, body: Body) -> Result<()>;

    /// Stores a file only if there is none of that name, else fails with [`ErrorKind::AlreadyExists`] and
    /// changes nothing. See [`Backend::can_save_new`].
    async fn save_new(&self, file: &FileName, body: Body) -> Result<()>;

    /// Every file of a kind, in no order, streamed. A store that was never created lists nothing.
    /// Files that are not named like the kind's files are not listed.
    fn list(&self, kind: FileKind) -> BoxStream<'_, Result<Entry>>;

    /// Removes a file, durably. Removing what is not there succeeds, since a retried remove finds nothing.
    async fn remove(&self, file: &FileName) -> Result<()>;
}
