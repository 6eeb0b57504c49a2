//! The index stage: remembers which packs are durable and writes index files that name them.
//!
//! **Invariant:** a pack is named only after it was saved (`a_stop_at_any_store_call_harms_nothing`). A killed run
//! loses at most what no index file names yet, so the first file is written soon and each later one at twice the
//! distance.

use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pillion_backend::{Backend, Body, FileKind};
use tokio::task::spawn_blocking;

use crate::error::Result;
use crate::format::id::Id;
use crate::format::index as index_file;
use crate::format::pack::PackEntry;
use crate::limits;
use crate::repository::Repository;
use crate::store::file_name;

/// restic's own limit: blobs do not stay unnamed for longer than this.
const MAX_AGE: Duration = Duration::from_secs(10 * 60);

pub(super) type NamedPack = (Id, Vec<PackEntry>);

pub(super) struct IndexWriter {
    state: Mutex<State>,
}

struct State {
    packs: Vec<NamedPack>,
    blobs: usize,
    bytes: u64,
    due_after_bytes: u64,
    since: Instant,
}

impl IndexWriter {
    /// Small packs are named after a smaller distance: what is lost by a kill is in proportion.
    pub(super) fn new(pack_size_bytes: u32) -> Self {
        let first = limits::FIRST_INDEX_AFTER_BYTES.min(4 * u64::from(pack_size_bytes));
        let state =
            State { packs: Vec::new(), blobs: 0, bytes: 0, due_after_bytes: first, since: Instant::now() };
        Self { state: Mutex::new(state) }
    }

    /// Takes note of a durable pack, and writes an index file when it is time for one.
    pub(super) async fn add(&self, repository: &Repository, pack: NamedPack, bytes: u64) -> Result<()> {
        let due = {
            let mut state = self.state.lock().expect("no thread panics with it");
            state.blobs += pack.1.len();
            state.bytes += bytes;
            state.packs.push(pack);
            let is_due = state.bytes >= state.due_after_bytes
                || state.blobs >= limits::MAX_INDEX_BLOBS
                || state.since.elapsed() >= MAX_AGE;
            if is_due {
                state.due_after_bytes = state.due_after_bytes.saturating_mul(2);
                state.take()
            } else {
                Vec::new()
            }
        };
        write(repository, due).await
    }

    /// Writes what is left.
    pub(super) async fn flush(&self, repository: &Repository) -> Result<()> {
        let rest = self.state.lock().expect("no thread panics with it").take();
        write(repository, rest).await
    }
}

impl State {
    fn take(&mut self) -> Vec<NamedPack> {
        self.blobs = 0;
        self.bytes = 0;
        self.since = Instant::now();
        std::mem::take(&mut self.packs)
    }
}

async fn write(repository: &Repository, packs: Vec<NamedPack>) -> Result<()> {
    let backend: &dyn Backend = &**repository.store.backend();
    let mut rest = &packs[..];
    while !rest.is_empty() {
        let mut blobs = 0;
        let fits = rest.iter().take_while(|(_, entries)| {
            blobs += entries.len();
            blobs <= limits::MAX_INDEX_BLOBS
        });
        // A single pack with more blobs than that still needs a file.
        let (now, later) = rest.split_at(fits.count().max(1));
        rest = later;
        let packs = || now.iter().map(|(pack, entries)| (*pack, &entries[..]));
        let json = |out: &mut dyn Write| index_file::encode(packs(), out);
        let sealed = Bytes::from(repository.encode_written(FileKind::Index, &json));
        let id = Id::of(&sealed);
        // The lock may have been lost meanwhile, and a future is dropped only where it waits.
        repository.store.check_cancelled()?;
        backend.save(&file_name(FileKind::Index, &id), Body::Bytes(sealed.clone())).await?;
        let kept = repository.kept().clone();
        let _without_it = spawn_blocking(move || kept.keep(FileKind::Index, &id, &sealed)).await;
    }
    Ok(())
}
