//! What the agent keeps from job to job: its cache, the way to the store, and the opened repository with its key.
//!
//! All of it spares work and, but for the IDs that were accepted ([`super::pin`]), none of it decides anything: another location, other credentials, or a config in the store
//! that is not byte for byte the same, and the repository is opened anew. The index is not kept: it is read from the cache
//! by the run that needs it. A job takes what it uses, so that one that fails or panics leaves nothing behind.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use pillion_backend::Backend;
use pillion_backend::location::Location;
use pillion_backend::measure::{Counts, Tally};
use pillion_backend::secret::Secret;
use pillion_repository::cache::{self, Cache, least_bytes};
use pillion_repository::repository::{Repository, Settings, SharedIndex};

use crate::access::StoreAccess;
use crate::agent::config::Config;
use crate::agent::config::secret::Credentials;
use crate::agent::vitals::Vitals;
use crate::agent::worker::ByWorker;
use crate::environment::Environment;
use crate::open::{Connection, Ears};

use super::pin::Accepted;
use super::predecessor::Processes;

#[derive(Debug)]
pub(super) struct Kept {
    environment: Environment,
    cache: Mutex<Option<OpenCache>>,
    way: Mutex<Option<Way>>,
    /// The cache that was opened last, for whoever looks on: the lock of `cache` is held while a disk is asked.
    shown_cache: Mutex<Option<Cache>>,
    ears: Ears,
    /// Whose answers the ears have heard.
    location: Mutex<Option<Location>>,
    /// What had been asked when that was last told.
    told: Mutex<Tally>,
    accepted: Accepted,
    /// Whether the cache directory is another process's.
    is_aside: bool,
    processes: Processes,
    /// That of the job at work.
    index: SharedIndex,
}

#[derive(Debug)]
struct OpenCache {
    directory: PathBuf,
    max_bytes: u64,
    cache: Cache,
}

/// The way to a store, and what it led to. Whatever decides where it leads, or who is let in, belongs in here.
#[derive(Debug)]
pub(super) struct Way {
    location: Location,
    connection: Connection,
    access: StoreAccess,
    password: Secret,
    backend: Arc<dyn Backend>,
    opened: Option<Repository>,
}

impl Way {
    pub(super) fn new(config: &Config, credentials: &Credentials, backend: Arc<dyn Backend>) -> Self {
        Self {
            location: config.repository.clone(),
            connection: config.connection.clone(),
            access: credentials.access.clone(),
            password: credentials.password.clone(),
            backend,
            opened: None,
        }
    }

    fn is_that_of(&self, config: &Config, credentials: &Credentials) -> bool {
        self.location == config.repository
            && self.connection == config.connection
            && self.access == credentials.access
            && self.password == credentials.password
    }

    pub(super) fn backend(&self) -> Arc<dyn Backend> {
        Arc::clone(&self.backend)
    }

    /// The repository as the last job opened it: for [`Repository::open_again`], and nothing else.
    pub(super) fn opened(&self) -> Option<&Repository> {
        self.opened.as_ref()
    }
}

impl Kept {
    pub(super) fn new(environment: Environment) -> Self {
        Self {
            environment,
            cache: Mutex::default(),
            way: Mutex::default(),
            shown_cache: Mutex::default(),
            ears: Ears::default(),
            location: Mutex::default(),
            told: Mutex::default(),
            accepted: Accepted::default(),
            is_aside: false,
            processes: Processes::new(),
            index: SharedIndex::default(),
        }
    }

    /// For a process of that name beside the one whose cache it is.
    pub(super) fn aside(environment: Environment, process: &str) -> Self {
        Self { is_aside: true, processes: Processes::named(process), ..Self::new(environment) }
    }

    pub(super) fn costly_keys(&self, config: &Config) -> ByWorker {
        ByWorker { environment: self.environment.clone(), settings: config.to_yaml() }
    }

    pub(super) fn processes(&self) -> &Processes {
        &self.processes
    }

    pub(super) fn accepted(&self) -> &Accepted {
        &self.accepted
    }

    pub(super) fn counts(&self) -> &Arc<Counts> {
        &self.ears.counts
    }

    pub(super) fn ears(&self) -> &Ears {
        &self.ears
    }

    /// What is known of the store that was spoken to before does not hold for another one.
    pub(super) fn speak_to(&self, location: &Location) {
        let mut last = lock(&self.location);
        if last.as_ref() != Some(location) {
            self.ears.counts.forget_store();
            self.ears.clock.forget();
            *last = Some(location.clone());
        }
    }

    /// What was asked since this was last called.
    pub(super) fn asked_since_told(&self) -> Tally {
        let (mut told, now) = (lock(&self.told), self.ears.counts.all());
        now.since(&std::mem::replace(&mut told, now.clone()))
    }

    pub(super) fn vitals(&self) -> Vitals {
        let Ears { counts, clock } = &self.ears;
        Vitals {
            asked: counts.all(),
            answers: counts.answers(),
            store_seconds_ahead: clock.seconds_ahead(),
            listed: counts.listed(),
            cache: lock(&self.shown_cache).as_ref().and_then(Cache::usage),
            stuck_sources: Vec::new(),
        }
    }

    pub(super) fn index(&self) -> &SharedIndex {
        &self.index
    }

    /// The cache of a directory: the one that is open, unless it has other settings, is somebody else's, or was deleted.
    pub(super) fn cache(&self, directory: &Path, max_bytes: u64, pack_size_bytes: u32) -> Cache {
        if self.is_aside {
            return Cache::absent(self.environment.temporary_directory());
        }
        let mut kept = lock(&self.cache);
        let is_same = |open: &OpenCache| {
            open.directory == directory && open.max_bytes == max_bytes && open.cache.is_settled()
        };
        if let Some(open) = kept.as_ref().filter(|open| is_same(open)) {
            return open.cache.clone();
        }
        // Its lock has to go before it can be taken anew.
        *kept = None;
        *lock(&self.shown_cache) = None;
        let cache = Cache::open(cache::Options {
            directory: directory.to_owned(),
            max_bytes,
            guest_bytes: least_bytes(pack_size_bytes),
            // Where a spool is if the cache directory cannot be used.
            fallback: self.environment.temporary_directory(),
            tell: Arc::new(|message| tracing::warn!("{message}")),
        });
        *lock(&self.shown_cache) = Some(cache.clone());
        *kept = Some(OpenCache { directory: directory.to_owned(), max_bytes, cache: cache.clone() });
        cache
    }

    /// The way that was kept, if it is this one. Another one is of no use any more.
    pub(super) fn take_way(&self, config: &Config, credentials: &Credentials) -> Option<Way> {
        lock(&self.way).take().filter(|way| way.is_that_of(config, credentials))
    }

    /// The repository as a job opened it, for whoever reads beside the next: its key costs no memory anew. The way stays.
    pub(super) fn opened(&self, config: &Config, credentials: &Credentials) -> Option<Repository> {
        lock(&self.way).as_ref().filter(|way| way.is_that_of(config, credentials))?.opened.clone()
    }

    /// For tests: the next job goes this way.
    #[cfg(test)]
    pub(super) fn put_way(&self, way: Way) {
        *lock(&self.way) = Some(way);
    }

    pub(super) fn keep(&self, way: Way, repository: &Repository) {
        // Without the job's cache, which must not stay open for it.
        let mut opened = repository.without_cache();
        opened.settings = Settings::default();
        *lock(&self.way) = Some(Way { opened: Some(opened), ..way });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no thread panics with it")
}
