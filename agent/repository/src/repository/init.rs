//! Makes a new repository, so that of several who try at once exactly one succeeds.
//!
//! The config decides: whoever's config is in the store has made the repository. Where the store can save a
//! file only if it is absent, it picks the winner. Elsewhere the last one to save a config does, and everybody knows
//! after a while who that was: between the last look and the end of a save there is less time than between a save
//! and the look that follows it. That most leave the field to the smallest key ID before only saves them the trouble.
//! Nobody keeps a master key that was not read back from the store: the result of `init` is opened like any other
//! repository.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pillion_backend::{Backend, Body, Entry, ErrorKind, FileKind, FileName};

use super::{Repository, Settings};
use crate::error::{Error, Result};
use crate::format::config::{Config, Version};
use crate::format::crypto::{MasterKey, fill_random};
use crate::format::file::{self, max_bytes};
use crate::format::id::Id;
use crate::format::key::{Cost, KeyFile};
use crate::format::polynomial::Polynomial;
use crate::format::time::Timestamp;
use crate::store::{Store, file_name};

/// A key without a config that is older than this is what a dead `init` left behind.
const DEAD_INIT_AGE: Duration = Duration::from_secs(3600);

/// What making a repository takes. Tests, which make thousands, take less.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// How long those whom the store cannot tell apart wait for each other's files to show.
    settle: Duration,
    /// What a look for a config and its saving may take together, tries again included: not more than `settle`.
    save_max: Duration,
    key_cost: Cost,
}

const USUAL_PACE: Pace =
    Pace { settle: Duration::from_secs(3), save_max: Duration::from_secs(3), key_cost: Cost::USUAL };

/// A store that is too slow so many times is too slow.
const SLOW_SAVES_MAX: u32 = 10;

/// Who makes the repository, for the key file.
#[derive(Clone, Debug)]
pub struct Creator {
    pub hostname: String,
    pub username: String,
}

/// What is decided when a repository is made, and never again.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    pub version: Version,
    /// Another repository's, so that blobs of the two can be the same; else a new one.
    pub chunker_polynomial: Option<Polynomial>,
}

impl Default for Form {
    fn default() -> Self {
        Self { version: Version::Two, chunker_polynomial: None }
    }
}

/// Makes a repository of the usual form. The loser of a race gets [`Error::AlreadyInitialized`] and leaves nothing.
pub fn init(store: &Store, password: &[u8], creator: &Creator, settings: Settings) -> Result<Repository> {
    init_as(Form::default(), store, password, creator, settings)
}

/// Makes a repository as [`init`] does, of the form that is wanted.
pub fn init_as(
    form: Form,
    store: &Store,
    password: &[u8],
    creator: &Creator,
    settings: Settings,
) -> Result<Repository> {
    init_at(USUAL_PACE, form, store, password, creator, settings)
}

fn init_at(
    pace: Pace,
    form: Form,
    store: &Store,
    password: &[u8],
    creator: &Creator,
    settings: Settings,
) -> Result<Repository> {
    let already = || Error::AlreadyInitialized { location: store.location() };
    if store.load_if_present(&FileName::config())?.is_some() {
        return Err(already());
    }
    super::refuse_old_layout(store)?;
    store.create()?;
    if !store.list(FileKind::Snapshot)?.is_empty() || !store.list(FileKind::Pack)?.is_empty() {
        return Err(Error::HalfRepository { location: store.location() });
    }
    let other_keys = store.list(FileKind::Key)?;
    // Our own clock may be wrong, and is asked first all the same: a key of ours would be in the others' way.
    refuse_living(store, &other_keys, Some(SystemTime::now()))?;

    let master_key = MasterKey::random();
    let random = || Polynomial::random(&mut random_number).expect("irreducible ones are common");
    let polynomial = form.chunker_polynomial.unwrap_or_else(random);
    let config = Config { version: form.version, ..Config::create(polynomial) };
    let created = Timestamp::from(SystemTime::now());
    let Creator { hostname, username } = creator;
    let key_file = KeyFile::create_at(pace.key_cost, password, &master_key, created, hostname, username);
    let key_file = key_file.encode();
    let key_id = Id::of(&key_file);
    let key_name = file_name(FileKind::Key, &key_id);
    let compression = settings.compression;
    let sealed_config =
        file::encode(FileKind::Config, &config.encode(), &master_key, config.version, compression);

    let saved = store.save(&key_name, Body::from(key_file.clone()));
    let tried = saved.and_then(|()| {
        clear_dead_init(store, &key_name, &other_keys)?;
        match keeps_what_is_there(store, &key_name, key_file)? {
            true => write_new_config(store, &sealed_config),
            false => write_config_of_smallest_key(store, pace, &key_id, &sealed_config),
        }
    });
    match (tried, store.load_if_present(&FileName::config())) {
        // What counts is what is there: the answer to our own save may have been lost on its way.
        (_, Ok(Some(found))) if found == sealed_config => {}
        // Nothing is sealed with our key: without it the winner's repository is as if nobody else had tried.
        (tried, Ok(_)) => {
            store.remove(&key_name)?;
            return Err(tried.err().unwrap_or_else(already));
        }
        // Perhaps ours is there, and would be lost without its key.
        (tried, Err(e)) => return Err(tried.err().unwrap_or(e)),
    }
    match Repository::open(store.clone(), password, settings) {
        Ok(repository) if repository.config.id == config.id => Ok(repository),
        Ok(_) | Err(Error::WrongPassword | Error::NoKey | Error::UnusableKey(_)) => {
            store.remove(&key_name)?;
            Err(already())
        }
        Err(e) => Err(e),
    }
}

fn random_number() -> u64 {
    let mut bytes = [0; 8];
    fill_random(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// Whether the store saves a file only if there is none. Some servers say they do and overwrite all the same, so it is
/// tried on our own key, to which its own bytes do no harm.
fn keeps_what_is_there(store: &Store, key_name: &FileName, key_file: Vec<u8>) -> Result<bool> {
    if !store.backend().can_save_new() {
        return Ok(false);
    }
    match store.save_new(key_name, Body::from(key_file)) {
        Ok(()) => Ok(false),
        Err(Error::Backend(e)) if e.kind == ErrorKind::AlreadyExists => Ok(true),
        Err(Error::Backend(e)) if e.kind == ErrorKind::Unsupported => Ok(false),
        Err(e) => Err(e),
    }
}

/// Puts our config into the store, unless there is one.
fn write_new_config(store: &Store, sealed_config: &[u8]) -> Result<()> {
    match store.save_new(&FileName::config(), Body::from(sealed_config.to_vec())) {
        Err(Error::Backend(e)) if e.kind == ErrorKind::AlreadyExists => Ok(()),
        saved => saved,
    }
}

/// Puts our config into the store, unless another's counts. Returns when no other's can come any more.
fn write_config_of_smallest_key(store: &Store, pace: Pace, own_key: &Id, sealed_config: &[u8]) -> Result<()> {
    let is_smallest = || Ok::<_, Error>(store.list_ids(FileKind::Key)?.first() == Some(own_key));
    for _ in 0..SLOW_SAVES_MAX {
        if !is_smallest()? {
            return Ok(());
        }
        store.sleep(pace.settle)?;
        if !is_smallest()? {
            return Ok(());
        }
        let saved = store.within(pace.save_max, save_first_config(store.backend(), sealed_config));
        // A save that was given up or has failed may be there all the same: it is looked for in the next round, or by
        // whoever called.
        if !matches!(saved, Ok(None)) {
            store.sleep(pace.settle)?;
            return saved.map(|_| ());
        }
    }
    Err(Error::Refused(format!(
        "the store takes longer than {} s to save a small file: who makes the repository cannot be decided",
        pace.save_max.as_secs()
    )))
}

/// Saves the config where none is to be seen. Whether it is ours that is there, this does not tell.
async fn save_first_config(backend: &Arc<dyn Backend>, sealed_config: &[u8]) -> pillion_backend::Result<()> {
    let (config, body) = (FileName::config(), Body::from(sealed_config.to_vec()));
    match backend.load(&config, max_bytes(FileKind::Config) as u64).await {
        Err(e) if e.kind == ErrorKind::NotFound => {}
        found => return found.map(|_| ()),
    }
    // A store that was taken for one that overwrites may be better than that: the answer to our question can be lost.
    let saved = match backend.can_save_new() {
        true => backend.save_new(&config, body.clone()).await,
        false => return backend.save(&config, body).await,
    };
    match saved {
        Err(e) if e.kind == ErrorKind::AlreadyExists => Ok(()),
        Err(e) if e.kind == ErrorKind::Unsupported => backend.save(&config, body).await,
        saved => saved,
    }
}

/// Removes the keys of an `init` that died before its config. How old they are is told by the store's own clock, in
/// which our key was saved just now.
fn clear_dead_init(store: &Store, own_key: &FileName, others: &[Entry]) -> Result<()> {
    if others.is_empty() {
        return Ok(());
    }
    let own = store.list(FileKind::Key)?.into_iter().find(|entry| entry.file == *own_key);
    refuse_living(store, others, own.and_then(|own| own.modified))?;
    others.iter().try_for_each(|entry| store.remove(&entry.file))
}

/// Refuses where one of these keys may be somebody's who is about to save a config.
fn refuse_living(store: &Store, keys: &[Entry], now: Option<SystemTime>) -> Result<()> {
    let age = |entry: &Entry| now?.duration_since(entry.modified?).ok();
    match keys.iter().all(|entry| age(entry).is_some_and(|age| age > DEAD_INIT_AGE)) {
        true => Ok(()),
        false => Err(Error::HalfRepository { location: store.location() }),
    }
}

#[cfg(test)]
mod tests;
