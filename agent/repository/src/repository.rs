//! An opened repository: its key, its config, and how files and blobs are loaded and saved.
//!
//! Relies on `format` for every byte and on [`Store`] for every call. Opening needs no lock; whoever goes on
//! to read or write takes one first (see `lock`). Nothing in here decides what to back up or restore.

mod blobs;
#[cfg(test)]
pub(crate) mod fixture;
mod init;
mod shared;

use std::sync::Arc;

use bytes::Bytes;
use pillion_backend::{Body, ErrorKind, FileKind, FileName};

pub use blobs::{BlobReader, Modesty};
pub use init::{Creator, Form, init, init_as};
pub use shared::SharedIndex;

use crate::cache::{Cache, Files};
use crate::error::{Error, Result};
use crate::format::blob::Compression;
use crate::format::chunker::Tables;
use crate::format::config::{Config, ConfigError};
use crate::format::crypto::MasterKey;
use crate::format::id::Id;
use crate::format::key::{KeyError, KeyFile};
use crate::format::snapshot::Snapshot;
use crate::format::{file, index as index_file, lock::Lock as LockFile};
use crate::index::{Index, IndexBuilder};
use crate::limits;
use crate::parallel::parallel;
use crate::store::{Store, entry_id, file_name};

/// A snapshot and the ID it was loaded under.
pub type NamedSnapshot = (Id, Snapshot);

/// What a user may choose about writing, and where files of this machine are.
#[derive(Clone, Debug)]
pub struct Settings {
    pub compression: Compression,
    pub pack_size_bytes: u32,
    /// Packs grow in files here before they are uploaded, and what is read often is kept.
    pub cache: Cache,
    /// Work done at once; the number of processors is a good choice.
    pub workers: usize,
    /// What jobs share that are at work at the same time.
    pub index: SharedIndex,
    /// Who opens keys that ask for more memory than this process has for them; without one they open nothing.
    pub costly_keys: Option<Arc<dyn CostlyKeys>>,
}

/// Opens keys that ask for more than [`limits::MAX_SCRYPT_BYTES`], where that does no harm.
pub trait CostlyKeys: std::fmt::Debug + Send + Sync {
    /// `file` is the key file's text.
    fn open(&self, file: &[u8], password: &[u8]) -> Result<MasterKey, KeyError>;
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            compression: Compression::Auto,
            pack_size_bytes: limits::PACK_SIZE_BYTES,
            cache: Cache::absent(std::env::temp_dir()),
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            costly_keys: None,
            index: SharedIndex::default(),
        }
    }
}

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Repository {
    pub store: Store,
    pub config: Config,
    pub settings: Settings,
    key: Arc<MasterKey>,
    key_id: Id,
    /// The config's file as it was when the repository was opened.
    sealed_config: Bytes,
    kept: Files,
}

impl Repository {
    /// Opens with the first key file that the password fits and whose master key opens the config.
    pub fn open(store: Store, password: &[u8], settings: Settings) -> Result<Self> {
        let (config_file, sealed_config) = (FileName::config(), load_sealed_config(&store)?);
        let (key_id, key, config_json) =
            find_key(&store, password, &sealed_config, settings.costly_keys.as_deref())?;
        let config = Config::decode(&config_json).map_err(|why| match why {
            ConfigError::UnsupportedVersion(version) => Error::UnsupportedVersion { version },
            ConfigError::Invalid(why) => Error::Damaged { file: config_file, why },
        })?;
        let kept = settings.cache.of(config.id);
        Ok(Self { store, config, settings, key: Arc::new(key), key_id, sealed_config, kept })
    }

    /// The same repository for another job, by one call: `None` where the config in the store is not byte for byte
    /// what it was, so that it has to be opened anew. That there is none is an error, as it is for [`Self::open`].
    pub fn open_again(&self, store: Store, settings: Settings) -> Result<Option<Self>> {
        let is_same = load_sealed_config(&store)? == self.sealed_config;
        let kept = settings.cache.of(self.config.id);
        Ok(is_same.then(|| Self { store, settings, kept, ..self.clone() }))
    }

    /// The same for whoever reads beside such a job: what of the cache the job has use for stays its own.
    pub fn open_beside(&self, store: Store, settings: Settings) -> Result<Option<Self>> {
        let is_same = load_sealed_config(&store)? == self.sealed_config;
        let kept = settings.cache.beside(self.config.id);
        Ok(is_same.then(|| Self { store, settings, kept, ..self.clone() }))
    }

    /// The same repository as the store itself has it: for whoever looks for damage.
    #[must_use]
    pub fn without_cache(&self) -> Self {
        Self { kept: Files::none(), ..self.clone() }
    }

    /// The same repository whose store calls end with another token.
    #[must_use]
    pub fn with_store(&self, store: Store) -> Self {
        Self { store, ..self.clone() }
    }

    /// How many threads load and open blobs: as many as the store is worth asking at once, since each of them waits for
    /// it by turns.
    pub fn loading_threads(&self) -> usize {
        let connections = self.store.backend().max_connections();
        connections.max(self.settings.workers).clamp(1, limits::MAX_LOADING_THREADS)
    }

    /// For cutting files as this repository cuts them.
    pub fn tables(&self) -> Tables {
        Tables::new(self.config.chunker_polynomial).expect("the config was checked when it was decoded")
    }

    pub fn key(&self) -> &MasterKey {
        &self.key
    }

    /// What of this repository is on this machine.
    pub(crate) fn kept(&self) -> &Files {
        &self.kept
    }

    /// The key file that opened this repository.
    pub fn key_id(&self) -> &Id {
        &self.key_id
    }

    /// Loads and decodes a file that is called by its ID: a snapshot, a lock or an index. It comes from the store.
    pub fn load_file(&self, kind: FileKind, id: &Id) -> Result<Vec<u8>> {
        self.decode_file(kind, id, &self.store.load_verified(kind, id)?)
    }

    /// The same of a snapshot or index that the store was just seen to have: it may come from the cache.
    fn load_listed_file(&self, kind: FileKind, id: &Id) -> Result<Vec<u8>> {
        self.decode_file(kind, id, &self.kept.load(&self.store, kind, id)?)
    }

    fn decode_file(&self, kind: FileKind, id: &Id, sealed: &[u8]) -> Result<Vec<u8>> {
        file::decode(kind, sealed, &self.key).map_err(|why| Error::Damaged { file: file_name(kind, id), why })
    }

    /// Encodes and saves such a file; returns its ID.
    pub fn save_file(&self, kind: FileKind, json: &[u8]) -> Result<Id> {
        let sealed = Bytes::from(self.encode_file(kind, json));
        let id = Id::of(&sealed);
        self.store.save(&file_name(kind, &id), Body::Bytes(sealed.clone()))?;
        self.kept.keep(kind, &id, &sealed);
        Ok(id)
    }

    pub fn encode_file(&self, kind: FileKind, json: &[u8]) -> Vec<u8> {
        self.encode_written(kind, &|out| out.write_all(json))
    }

    /// The same of JSON that is written, each time alike.
    pub fn encode_written(&self, kind: FileKind, json: file::Json<'_>) -> Vec<u8> {
        file::encode_written(kind, json, &self.key, self.config.version, self.settings.compression)
    }

    pub fn load_snapshot(&self, id: &Id) -> Result<Snapshot> {
        decode_snapshot(id, &self.load_file(FileKind::Snapshot, id)?)
    }

    /// Every snapshot that can be read, oldest first, and what is wrong with the others.
    pub fn load_snapshots(&self) -> Result<(Vec<NamedSnapshot>, Vec<Error>)> {
        self.select_snapshots(|_| true, |_| true)
    }

    /// The same of those that are wanted, first by their IDs alone. The others are never in memory together.
    pub fn select_snapshots(
        &self,
        wants_id: impl Fn(&Id) -> bool,
        wants: impl Fn(&Snapshot) -> bool + Sync,
    ) -> Result<(Vec<NamedSnapshot>, Vec<Error>)> {
        let mut ids = self.store.list_ids(FileKind::Snapshot)?;
        self.kept.listed(FileKind::Snapshot, &ids);
        ids.retain(wants_id);
        let load = |id: &Id| decode_snapshot(id, &self.load_listed_file(FileKind::Snapshot, id)?);
        let loaded = self.each_parallel(&ids, |id| match load(id) {
            Ok(snapshot) if !wants(&snapshot) => Ok((*id, None)),
            Err(e @ Error::Damaged { .. }) => Ok((*id, Some(Err(e)))),
            // Forgotten since it was listed.
            Err(Error::Backend(e)) if e.kind == ErrorKind::NotFound => Ok((*id, None)),
            other => other.map(|snapshot| (*id, Some(Ok(snapshot)))),
        })?;
        let (mut snapshots, mut damaged) = (Vec::new(), Vec::new());
        for (id, snapshot) in loaded {
            match snapshot {
                Some(Ok(snapshot)) => snapshots.push((id, snapshot)),
                Some(Err(e)) => damaged.push(e),
                None => {}
            }
        }
        snapshots.sort_by_key(|(id, snapshot)| (snapshot.time, *id));
        Ok((snapshots, damaged))
    }

    pub fn load_lock(&self, id: &Id) -> Result<LockFile> {
        let json = self.load_file(FileKind::Lock, id)?;
        LockFile::decode(&json).map_err(|why| Error::Damaged { file: file_name(FileKind::Lock, id), why })
    }

    /// Lists and loads every index file. Damage in one is an error: an index with a hole would have blobs
    /// stored twice, and `check` and `restic repair index` exist.
    pub fn load_index(&self) -> Result<LoadedIndex> {
        let files = self.store.list_ids(FileKind::Index)?;
        self.kept.listed(FileKind::Index, &files);
        let index = match self.settings.index.find(|known| known == files) {
            Some(shared) => shared.index,
            None => self.settings.index.share(&files, self.build_index(&files)?),
        };
        self.kept.indexed(&index);
        Ok(LoadedIndex { index, files })
    }

    fn build_index(&self, files: &[Id]) -> Result<Index> {
        let builders = self.each_parallel(files, |id| self.load_index_file(id))?;
        let mut whole = IndexBuilder::default();
        for builder in builders {
            whole.append(builder);
        }
        Ok(whole.build())
    }

    /// One of the index files that the store was just seen to have.
    pub fn load_index_file(&self, id: &Id) -> Result<IndexBuilder> {
        let json = self.load_listed_file(FileKind::Index, id)?;
        let mut builder = IndexBuilder::default();
        index_file::decode(&json, &mut |pack, blobs| builder.add_pack(pack, blobs))
            .map_err(|why| Error::Damaged { file: file_name(FileKind::Index, id), why })?;
        Ok(builder)
    }

    /// Runs `work` on every item, several at once, and stops at the first error. The order is the items'.
    pub fn each_parallel<T: Sync, R: Send>(
        &self,
        items: &[T],
        work: impl Fn(&T) -> Result<R> + Sync,
    ) -> Result<Vec<R>> {
        parallel(self.settings.workers, items, || (), |(), item| work(item))
    }
}

/// The index, and the index files it was made of.
#[derive(Clone, Debug)]
pub struct LoadedIndex {
    pub index: Arc<Index>,
    pub files: Vec<Id>,
}

fn decode_snapshot(id: &Id, json: &[u8]) -> Result<Snapshot> {
    Snapshot::decode(json).map_err(|why| Error::Damaged { file: file_name(FileKind::Snapshot, id), why })
}

fn load_sealed_config(store: &Store) -> Result<Bytes> {
    match store.load(&FileName::config()) {
        Err(Error::Backend(e)) if e.kind == ErrorKind::NotFound => {
            refuse_old_layout(store)?;
            // Of a directory it is clear without the system's words.
            let why = e.source.filter(|why| !why.is::<std::io::Error>()).map(|why| why.to_string());
            Err(Error::NoRepository { location: store.location(), why })
        }
        loaded => loaded,
    }
}

fn refuse_old_layout(store: &Store) -> Result<()> {
    match store.has_legacy_layout()? {
        true => Err(Error::OldLayout { location: store.location() }),
        false => Ok(()),
    }
}

/// Tries every key file. One that cannot be used means "next key"; why is told only if no other opens.
fn find_key(
    store: &Store,
    password: &[u8],
    sealed_config: &[u8],
    costly_keys: Option<&dyn CostlyKeys>,
) -> Result<(Id, MasterKey, Vec<u8>)> {
    let mut keys = store.list(FileKind::Key)?;
    if keys.is_empty() {
        refuse_old_layout(store)?;
        return Err(Error::NoKey);
    }
    // The oldest first: that is the one most people use, and the order is the same at every open.
    keys.sort_by_key(|entry| (entry.modified, entry.file.clone()));
    let mut unusable = Vec::new();
    let mut wrong_password = false;
    for entry in keys.iter().take(limits::MAX_KEY_FILES) {
        store.check_cancelled()?;
        match try_key(store, entry, password, costly_keys) {
            Ok(key) => match file::decode(FileKind::Config, sealed_config, &key) {
                Ok(json) => return Ok((entry_id(entry), key, json)),
                Err(why) => unusable.push(format!("{} does not open the config: {why}", entry.file)),
            },
            Err(TryKeyError::WrongPassword) => wrong_password = true,
            Err(TryKeyError::Unusable(why)) => unusable.push(format!("{}: {why}", entry.file)),
            Err(TryKeyError::Store(e)) => return Err(e),
        }
    }
    match (wrong_password, unusable.is_empty()) {
        (true, true) => Err(Error::WrongPassword),
        (true, false) => {
            Err(Error::UnusableKey(format!("wrong password for every readable key; {}", unusable.join("; "))))
        }
        (false, _) => Err(Error::UnusableKey(unusable.join("; "))),
    }
}

enum TryKeyError {
    WrongPassword,
    Unusable(String),
    Store(Error),
}

fn try_key(
    store: &Store,
    entry: &pillion_backend::Entry,
    password: &[u8],
    costly_keys: Option<&dyn CostlyKeys>,
) -> Result<MasterKey, TryKeyError> {
    // Under another name it might open here, but restic refuses it: there is nobody to rely on such a repository.
    let bytes = match store.load_verified(FileKind::Key, &entry_id(entry)) {
        Ok(bytes) => bytes,
        Err(Error::Backend(e)) if e.kind == ErrorKind::NotFound => {
            return Err(TryKeyError::Unusable("it was just removed".to_owned()));
        }
        Err(Error::Damaged { why, .. }) => return Err(TryKeyError::Unusable(why.to_string())),
        Err(e) => return Err(TryKeyError::Store(e)),
    };
    let key_file = KeyFile::decode(&bytes).map_err(|why| TryKeyError::Unusable(why.to_string()))?;
    let opened = match (key_file.open(password), costly_keys) {
        (Err(KeyError::TooCostly { .. }), Some(others)) => others.open(&bytes, password),
        (opened, _) => opened,
    };
    opened.map_err(|e| match e {
        KeyError::WrongPassword => TryKeyError::WrongPassword,
        other => TryKeyError::Unusable(other.to_string()),
    })
}
