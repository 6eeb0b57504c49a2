//! The upload stage: closed packs on their way from the spool into the store.
//!
//! The bridge from the workers' threads to the runtime. A few packs are under way at once; who brings one more
//! waits for a place. An upload that fails ends the run. Uploads outlive a cancelled job, since what is stored
//! and named need not be stored again; they do not outlive the lock.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use pillion_backend::{Body, FileKind};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::index::IndexWriter;
use super::pack::ClosedPack;
use crate::error::{Error, Result};
use crate::limits;
use crate::repository::Repository;
use crate::store::file_name;

pub(super) struct Uploads {
    shared: Arc<Shared>,
}

struct Shared {
    repository: Repository,
    index: IndexWriter,
    places: Arc<Semaphore>,
    max_places: u32,
    failure: Mutex<Option<Error>>,
    /// Ends the whole run when an upload failed.
    run: CancellationToken,
}

impl Uploads {
    /// `repository`'s token ends with the lock; `run` with the job.
    pub(super) fn new(repository: Repository, run: CancellationToken) -> Self {
        let connections = repository.store.backend().max_connections();
        let max_places = connections.clamp(1, limits::MAX_UPLOADS);
        let shared = Shared {
            index: IndexWriter::new(repository.settings.pack_size_bytes),
            repository,
            places: Arc::new(Semaphore::new(max_places)),
            max_places: u32::try_from(max_places).expect("a handful"),
            failure: Mutex::new(None),
            run,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Waits for a place and lets the pack go.
    pub(super) fn start(&self, pack: ClosedPack) -> Result<()> {
        let runtime = self.shared.repository.store.runtime().clone();
        let place = runtime.block_on(async {
            tokio::select! {
                place = Arc::clone(&self.shared.places).acquire_owned() => {
                    Ok(place.expect("the semaphore is never closed"))
                }
                () = self.shared.run.cancelled() => Err(Error::Cancelled),
            }
        })?;
        let shared = Arc::clone(&self.shared);
        runtime.spawn(async move {
            let _place = place;
            let done = AssertUnwindSafe(shared.upload(pack)).catch_unwind().await;
            // A pack that only seems to have arrived would be missing from the index, and nobody would know.
            let panicked = |_| Err(Error::Refused("an upload panicked".to_owned()));
            if let Err(e) = done.unwrap_or_else(panicked) {
                shared.failure.lock().expect("no thread panics with it").get_or_insert(e);
                shared.run.cancel();
            }
        });
        Ok(())
    }

    /// Waits for every upload, then writes the index of all that are durable. The first failure of an upload
    /// is the result, but the index is tried in any case.
    pub(super) fn finish(&self) -> Result<()> {
        let shared = &self.shared;
        let lock = shared.repository.store.cancel_token();
        shared.repository.store.runtime().block_on(async {
            let all = tokio::select! {
                biased;
                () = lock.cancelled() => return Err(Error::Cancelled),
                all = shared.places.acquire_many(shared.max_places) => all,
            };
            let _all = all.expect("the semaphore is never closed");
            let flushed = tokio::select! {
                biased;
                () = lock.cancelled() => Err(Error::Cancelled),
                flushed = shared.index.flush(&shared.repository) => flushed,
            };
            let failed = shared.failure.lock().expect("no thread panics with it").take();
            failed.map_or(flushed, Err)
        })
    }
}

impl Shared {
    async fn upload(&self, pack: ClosedPack) -> Result<()> {
        let lock = self.repository.store.cancel_token();
        let file = file_name(FileKind::Pack, &pack.id);
        let body = Body::File {
            path: Arc::from(pack.file.path()),
            size_bytes: pack.size_bytes,
            // A pack is named by its hash.
            sha256: Some(*pack.id.as_bytes()),
        };
        let work = async {
            self.repository.store.backend().save(&file, body).await?;
            drop(pack.file);
            self.index.add(&self.repository, (pack.id, pack.entries), pack.size_bytes).await
        };
        tokio::select! {
            biased;
            () = lock.cancelled() => Err(Error::Cancelled),
            done = work => done,
        }
    }
}
