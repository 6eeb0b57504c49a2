//! A command at work: the repository it is about, the password, the runtime that waits, the signals that stop it.
//!
//! Engine calls are made from the thread that owns the session, never from a worker of the runtime: the engine's
//! store waits on the runtime. The password is asked for before signals are taken over, so that Ctrl-C at the prompt
//! simply ends the program.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use pillion_backend::location::Location;
use pillion_backend::retry::Hook;
use pillion_backend::{Backend, dry::Dry};
use pillion_repository::cache::{self, Cache, least_bytes};
use pillion_repository::lock::{self, Lock};
use pillion_repository::repository::{BlobReader, Creator, Form, Repository, Settings, init_as};
use pillion_repository::store::Store;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::connection;
use super::failure::Failure;
use super::global::Options;
use super::output::Output;
use super::password::{self, Prompt};
use super::signal;
use crate::access::StoreAccess;
use crate::environment::Environment;
use crate::open::{Connection, Ears, open_backend, open_repository, retry_sentence};
use crate::process::Process;
use crate::setting::usual_cache_bytes;
use pillion_backend::secret::Secret;

/// Enough to wait with; the work is done by the engine's own threads.
const RUNTIME_THREADS: usize = 2;

/// A person's cache, of all repositories together. restic sets no bound; here what is long unused goes.
const USUAL_CACHE_BYTES: u64 = 1 << 30;

#[derive(Debug)]
pub struct Session<'a> {
    pub global: &'a Options,
    pub environment: &'a Environment,
    pub output: Arc<Output>,
    /// Cancelled by the first SIGINT or SIGTERM.
    pub stop: CancellationToken,
    location: Location,
    /// The location as it was given.
    written: String,
    access: StoreAccess,
    connection: Connection,
    password: Secret,
    runtime: Runtime,
    cache: OnceLock<Cache>,
}

impl<'a> Session<'a> {
    pub fn start(
        global: &'a Options,
        environment: &'a Environment,
        output: Arc<Output>,
        prompt: Prompt,
    ) -> Result<Self, Failure> {
        let location = global.location(environment)?;
        let parsed = Location::parse(&location).map_err(pillion_repository::Error::from)?;
        let connection = connection::of(global, &parsed)?;
        let access = connection::access(global, environment, &parsed)?;
        let password = password::read(global, environment, prompt)?;
        let runtime = runtime()?;
        let _context = runtime.enter();
        let stop = signal::listen().map_err(|e| Failure::new(format!("listen for signals: {e}")))?;
        drop(_context);
        Ok(Self {
            global,
            environment,
            output,
            stop,
            location: parsed,
            written: location,
            access,
            connection,
            password,
            runtime,
            cache: OnceLock::new(),
        })
    }

    /// The location as it was given. What is a location holds no credential.
    pub fn written_location(&self) -> &str {
        &self.written
    }

    /// Opens the repository; takes no lock.
    pub fn open(&self) -> Result<Repository, Failure> {
        self.open_on(self.backend()?)
    }

    /// Opens the repository so that nothing is ever written to it.
    pub fn open_dry(&self) -> Result<Repository, Failure> {
        self.open_on(Arc::new(Dry::new(self.backend()?)))
    }

    pub fn init(&self, form: Form) -> Result<Repository, Failure> {
        let store = self.store(self.backend()?);
        let process = Process::current(self.environment);
        let creator = Creator { hostname: process.hostname, username: process.username };
        let settings = self.settings()?;
        Ok(init_as(form, &store, self.password.expose(), &creator, settings)?)
    }

    fn open_on(&self, backend: Arc<dyn Backend>) -> Result<Repository, Failure> {
        let settings = self.settings()?;
        Ok(open_repository(&self.password, |password| {
            Repository::open(self.store(Arc::clone(&backend)), password, settings.clone())
        })?)
    }

    fn store(&self, backend: Arc<dyn Backend>) -> Store {
        Store::new(backend, self.runtime.handle().clone(), self.stop.clone())
    }

    fn backend(&self) -> Result<Arc<dyn Backend>, Failure> {
        let output = Arc::clone(&self.output);
        let hook: Hook = Box::new(move |error, wait| output.warning(&retry_sentence(error, wait)));
        Ok(open_backend(&self.location, &self.access, &self.connection, &Ears::default(), hook)?)
    }

    fn settings(&self) -> Result<Settings, Failure> {
        Ok(Settings {
            compression: self.global.compression(self.environment)?.into(),
            pack_size_bytes: self.global.pack_size(self.environment)?.bytes(),
            cache: self.cache()?.clone(),
            ..Settings::default()
        })
    }

    /// The cache, opened when it is first asked for.
    pub fn cache(&self) -> Result<&Cache, Failure> {
        if let Some(cache) = self.cache.get() {
            return Ok(cache);
        }
        let fallback = self.temporary_directory();
        let pack_size = self.global.pack_size(self.environment)?;
        let output = Arc::clone(&self.output);
        let opened = match self.cache_directory() {
            None => Cache::absent(fallback),
            Some(directory) => Cache::open(cache::Options {
                directory,
                max_bytes: usual_cache_bytes(USUAL_CACHE_BYTES, pack_size),
                guest_bytes: least_bytes(pack_size.bytes()),
                fallback,
                tell: Arc::new(move |message| output.warning(message)),
            }),
        };
        Ok(self.cache.get_or_init(|| opened))
    }

    pub fn cache_directory(&self) -> Option<PathBuf> {
        self.global.cache_directory(self.environment)
    }

    pub fn temporary_directory(&self) -> PathBuf {
        self.environment.temporary_directory()
    }

    /// A lock for a command that writes.
    pub fn lock_options(&self) -> lock::Options {
        let process = Process::current(self.environment);
        lock::Options {
            holder: process.holder(),
            mode: lock::Mode::Shared,
            retry_for: self.global.retry_lock(),
            timing: lock::Timing::default(),
            given_up: lock::GivenUp::default(),
            ended: lock::Ended::default(),
        }
    }

    /// A lock for a command that only reads: none with `--no-lock`.
    pub fn read_lock_options(&self) -> Option<lock::Options> {
        (!self.global.no_lock).then(|| self.lock_options())
    }

    /// Opens the repository, and reads from it under a lock. What `work` is given ends when the lock is lost.
    pub fn read<T>(&self, work: impl FnOnce(&Repository) -> Result<T, Failure>) -> Result<T, Failure> {
        let repository = self.open()?;
        let Some(options) = self.read_lock_options() else { return work(&repository) };
        let lock = Lock::acquire(&repository, &options).map_err(Failure::of_reader)?;
        let reading = repository.with_store(repository.store.with_cancel(lock.token().clone()));
        let result = work(&reading).map_err(|failure| match lock.lost() {
            Some(lost) => lost.into(),
            None => failure,
        });
        if let Err(e) = lock.release() {
            self.output.warning(&format!("the lock could not be removed: {e}"));
        }
        result
    }

    /// Reads under a lock, with the whole index loaded.
    pub fn read_blobs<T>(
        &self,
        work: impl FnOnce(&Repository, BlobReader) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.read(|repository| {
            let index = repository.load_index()?.index;
            work(repository, BlobReader::new(repository, &index))
        })
    }
}

/// A runtime that only waits.
pub fn runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(RUNTIME_THREADS)
        .enable_all()
        .build()
        .map_err(|e| Failure::new(format!("start the runtime: {e}")))
}
