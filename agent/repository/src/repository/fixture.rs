//! Repositories for tests: in memory, and opened in no time.

use std::sync::{Arc, OnceLock};

use pillion_backend::mem::Mem;
use pillion_backend::{Backend, FileKind, FileName};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use super::{Repository, Settings};
use crate::cache::Cache;
use crate::format::config::{Config, Version};
use crate::format::crypto::MasterKey;
use crate::format::file;
use crate::format::id::Id;
use crate::format::key::{Cost, KeyFile};
use crate::format::polynomial::Polynomial;
use crate::format::time::Timestamp;
use crate::store::{Store, file_name};

/// The password of every repository in tests.
pub(crate) const PASSWORD: &[u8] = b"password";

pub(crate) const PACK_SIZE_BYTES: u32 = 256 << 10;

/// The runtime of all tests of one process.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap())
}

pub(crate) fn store(backend: impl Backend) -> Store {
    let backend: Arc<dyn Backend> = Arc::new(backend);
    Store::new(backend, runtime().handle().clone(), CancellationToken::new())
}

/// An empty repository. The polynomial is always the same, so that files are always cut alike.
pub(crate) fn create(version: Version) -> Mem {
    let store = Mem::new();
    let key = MasterKey::random();
    let time = Timestamp::default();
    let key_file = KeyFile::create_at(Cost::NONE, PASSWORD, &key, time, "test", "test").encode();
    store.put_raw(&file_name(FileKind::Key, &Id::of(&key_file)), key_file);
    let config = Config { version, ..Config::create(Polynomial(0x3D_A335_8B4D_C173)) };
    let sealed =
        file::encode(FileKind::Config, &config.encode(), &key, version, Settings::default().compression);
    store.put_raw(&FileName::config(), sealed);
    store
}

/// Opens it with packs so small that a few files make several.
pub(crate) fn open(backend: impl Backend) -> Repository {
    open_with(backend, Cache::absent(std::env::temp_dir()))
}

/// The same with a cache.
pub(crate) fn open_with(backend: impl Backend, cache: Cache) -> Repository {
    let settings = Settings { pack_size_bytes: PACK_SIZE_BYTES, cache, workers: 2, ..Settings::default() };
    Repository::open(store(backend), PASSWORD, settings).expect("a repository of a test opens")
}
