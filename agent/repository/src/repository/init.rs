//! Makes a new repository, so that of several who try at once exactly one succeeds.
//!
//! The config decides: whoever's config is in the store has made the repository. Where the store can save a
//! file only if it is absent, it picks the winner; elsewhere the smallest key ID does. Nobody keeps a master
//! key that was not read back from the store: the result of `init` is opened like any other repository.

use std::time::{Duration, SystemTime};

use pillion_backend::{Body, Entry, ErrorKind, FileKind, FileName};

use super::{Repository, Settings};
use crate::error::{Error, Result};
use crate::format::config::{Config, Version};
use crate::format::crypto::{MasterKey, fill_random};
use crate::format::file;
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
    /// How long two whom the store cannot tell apart wait for each other's key to show.
    settle: Duration,
    key_cost: Cost,
}

const USUAL_PACE: Pace = Pace { settle: Duration::from_secs(2), key_cost: Cost::USUAL };

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
    clear_dead_init(store)?;

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
    let tried = saved.and_then(|()| match keeps_what_is_there(store, &key_name, key_file)? {
        true => write_new_config(store, &sealed_config),
        false => write_config_of_smallest_key(store, pace.settle, &key_id, &sealed_config),
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

/// Puts our config into the store, unless another's counts.
fn write_config_of_smallest_key(
    store: &Store,
    settle: Duration,
    own_key: &Id,
    sealed_config: &[u8],
) -> Result<()> {
    let is_smallest = || Ok::<_, Error>(store.list_ids(FileKind::Key)?.first() == Some(own_key));
    if !is_smallest()? {
        return Ok(());
    }
    store.sleep(settle)?;
    if !is_smallest()? || store.load_if_present(&FileName::config())?.is_some() {
        return Ok(());
    }
    store.save(&FileName::config(), Body::from(sealed_config.to_vec()))
}

/// Refuses where somebody's repository may be; removes the keys of an `init` that died before its config.
fn clear_dead_init(store: &Store) -> Result<()> {
    let keys = store.list(FileKind::Key)?;
    let holds_data = || -> Result<bool> {
        Ok(!store.list(FileKind::Snapshot)?.is_empty() || !store.list(FileKind::Pack)?.is_empty())
    };
    let now = SystemTime::now();
    let is_dead = |entry: &Entry| {
        let age = entry.modified.and_then(|modified| now.duration_since(modified).ok());
        age.is_some_and(|age| age > DEAD_INIT_AGE)
    };
    if holds_data()? || !keys.iter().all(is_dead) {
        return Err(Error::HalfRepository { location: store.location() });
    }
    keys.iter().try_for_each(|entry| store.remove(&entry.file))
}

#[cfg(test)]
mod tests;
