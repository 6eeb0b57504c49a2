//! A backend as the engine's threads see it: blocking calls that end when the job is cancelled.
//!
//! This is the bridge between threads, which do the work, and the runtime, which does the waiting. It relies
//! on being called from threads that do not belong to the runtime. It adds no retries: a backend that needs
//! them comes wrapped.

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use pillion_backend::{self as backend, Backend, Body, Entry, ErrorKind, FileKind, FileName};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::format::Invalid;
use crate::format::file::max_bytes;
use crate::format::id::Id;

/// Cheap to clone; every clone talks to the same backend.
#[derive(Clone, Debug)]
pub struct Store {
    backend: Arc<dyn Backend>,
    runtime: Handle,
    cancel: CancellationToken,
}

impl Store {
    pub fn new(backend: Arc<dyn Backend>, runtime: Handle, cancel: CancellationToken) -> Self {
        Self { backend, runtime, cancel }
    }

    /// The same store whose calls end with another token.
    #[must_use]
    pub fn with_cancel(&self, cancel: CancellationToken) -> Self {
        Self { cancel, ..self.clone() }
    }

    /// The same calls on another backend.
    #[must_use]
    pub fn with_backend(&self, backend: Arc<dyn Backend>) -> Self {
        Self { backend, ..self.clone() }
    }

    pub fn cancel_token(&self) -> &CancellationToken {
        &self.cancel
    }

    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    pub fn location(&self) -> String {
        self.backend.location()
    }

    /// Fails once the job was asked to stop.
    pub fn check_cancelled(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    fn wait<T>(&self, call: impl Future<Output = backend::Result<T>>) -> Result<T> {
        self.check_cancelled()?;
        self.runtime.block_on(async {
            tokio::select! {
                // A call whose job has ended meanwhile gets no further.
                biased;
                () = self.cancel.cancelled() => Err(Error::Cancelled),
                result = call => Ok(result?),
            }
        })
    }

    pub fn has_legacy_layout(&self) -> Result<bool> {
        self.wait(self.backend.has_legacy_layout())
    }

    pub fn create(&self) -> Result<()> {
        self.wait(self.backend.create())
    }

    pub fn stat(&self, file: &FileName) -> Result<Entry> {
        self.wait(self.backend.stat(file))
    }

    /// `None` where there is no such file.
    pub fn load_if_present(&self, file: &FileName) -> Result<Option<Bytes>> {
        match self.load(file) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Error::Backend(e)) if e.kind == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// A file that is larger than any of its kind is damaged: no memory is taken on the word of a store.
    pub fn load(&self, file: &FileName) -> Result<Bytes> {
        let max_bytes = max_bytes(file.kind()) as u64;
        self.wait(self.backend.load(file, max_bytes)).map_err(|e| match e {
            Error::Backend(e) if e.kind == ErrorKind::TooLarge => {
                let why = Invalid::Malformed(format!("it has more than {max_bytes} bytes"));
                Error::Damaged { file: file.clone(), why }
            }
            e => e,
        })
    }

    /// Loads a file whose name is the hash of its bytes. A mismatch is tried once more before it is called
    /// damage: some stores show half a file for a moment.
    pub fn load_verified(&self, kind: FileKind, id: &Id) -> Result<Bytes> {
        let file = file_name(kind, id);
        for _ in 0..2 {
            let bytes = self.load(&file)?;
            if Id::of(&bytes) == *id {
                return Ok(bytes);
            }
        }
        Err(Error::Damaged { file, why: Invalid::WrongId })
    }

    pub fn load_range(&self, file: &FileName, range: Range<u64>) -> Result<Bytes> {
        self.wait(self.backend.load_range(file, range))
    }

    pub fn save(&self, file: &FileName, body: Body) -> Result<()> {
        self.wait(self.backend.save(file, body))
    }

    pub fn save_new(&self, file: &FileName, body: Body) -> Result<()> {
        self.wait(self.backend.save_new(file, body))
    }

    pub fn remove(&self, file: &FileName) -> Result<()> {
        self.wait(self.backend.remove(file))
    }

    pub fn list(&self, kind: FileKind) -> Result<Vec<Entry>> {
        self.wait(async { self.backend.list(kind).try_collect().await })
    }

    /// The IDs of a kind of file, sorted.
    pub fn list_ids(&self, kind: FileKind) -> Result<Vec<Id>> {
        let mut ids: Vec<Id> = self.list(kind)?.iter().map(entry_id).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// `None` where the call took longer: it may have had its effect, or still have it in a moment.
    pub fn within<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = backend::Result<T>>,
    ) -> Result<Option<T>> {
        self.wait(async { tokio::time::timeout(limit, call).await.ok().transpose() })
    }

    /// Lets time pass without keeping a cancelled job waiting.
    pub fn sleep(&self, duration: Duration) -> Result<()> {
        self.wait(async {
            tokio::time::sleep(duration).await;
            Ok(())
        })
    }
}

/// The name of a file that is called by its ID.
pub fn file_name(kind: FileKind, id: &Id) -> FileName {
    FileName::new(kind, &id.to_string()).expect("an ID is a valid name")
}

/// The ID a listed file is called by.
pub fn entry_id(entry: &Entry) -> Id {
    entry.file.name().parse().expect("a listed name is 64 hex digits")
}
