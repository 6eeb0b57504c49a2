//! Makes a new repository, so that of several who try at once exactly one succeeds.
//!
//! The config decides: whoever's config is in the store has made the repository. Where the store can save a
//! file only if it is absent, it picks the winner. Elsewhere the keys do: everybody saves one first, and a config only
//! while there is no other key. The smallest ID stays until the others have left the field.
//!
//! **Invariant:** a key stays in the store for as long as a config of its owner may arrive
//! (`a_config_that_was_given_up_and_arrives_late_takes_nothing_from_anybody`): nobody else saves one beside it, and what
//! arrives can be opened. Only where keys show late can two save at once; then the last config counts, and everybody
//! knows after a while whose that is: between the last look and the end of a save there is less time than between a
//! save and the look that follows it. Nobody keeps a master key that was not read back from the store: the result of
//! `init` is opened like any other repository.

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

/// A store that is too slow so many times is too slow, and who has not left the field by then is dead.
const ROUNDS_MAX: u32 = 10;

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

/// Makes a repository of the usual form. The loser of a race gets [`Error::AlreadyInitialized`], or
/// [`Error::UnfinishedInit`] where nobody's config is there yet, and leaves nothing.
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

    let mut sent = Sent::default();
    let saved = store.save(&key_name, Body::from(key_file.clone()));
    let tried = saved.and_then(|()| {
        clear_dead_init(store, &key_name, &other_keys)?;
        match keeps_what_is_there(store, &key_name, key_file)? {
            true => write_new_config(store, &sealed_config, &mut sent),
            false => write_config_beside_no_other_key(store, pace, &key_id, &sealed_config, &mut sent),
        }
    });
    match (tried, store.load_if_present(&FileName::config())) {
        // What counts is what is there: the answer to our own save may have been lost on its way.
        (_, Ok(Some(found))) if found == sealed_config => {}
        (tried, Ok(found)) => {
            sent.withdraw(store, &key_name, found.is_some())?;
            return Err(tried.err().unwrap_or_else(|| match found {
                Some(_) => already(),
                None => Error::UnfinishedInit { location: store.location() },
            }));
        }
        // Perhaps ours is there, and would be lost without its key.
        (tried, Err(e)) => return Err(tried.err().unwrap_or(e)),
    }
    match Repository::open(store.clone(), password, settings) {
        Ok(repository) if repository.config.id == config.id => Ok(repository),
        Ok(_) | Err(Error::WrongPassword | Error::NoKey | Error::UnusableKey(_)) => {
            sent.withdraw(store, &key_name, true)?;
            Err(already())
        }
        Err(e) => Err(e),
    }
}

/// What may still come of our saves of a config.
#[derive(Debug, Default)]
struct Sent {
    /// One was given up or got no answer: it may arrive at any time.
    is_open: bool,
    /// What arrives replaces nothing.
    is_conditional: bool,
}

impl Sent {
    /// Takes our key away, where nothing is sealed with it and nothing will be: without it the winner's repository is as
    /// if nobody else had tried.
    fn withdraw(&self, store: &Store, key_name: &FileName, has_config: bool) -> Result<()> {
        match self.is_open && !(self.is_conditional && has_config) {
            true => Ok(()),
            false => store.remove(key_name),
        }
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
fn write_new_config(store: &Store, sealed_config: &[u8], sent: &mut Sent) -> Result<()> {
    let saved = store.save_new(&FileName::config(), Body::from(sealed_config.to_vec()));
    let is_answered = match &saved {
        Ok(()) => true,
        Err(Error::Backend(e)) => e.is_permanent(),
        Err(_) => false,
    };
    *sent = Sent { is_open: !is_answered, is_conditional: true };
    match saved {
        Err(Error::Backend(e)) if e.kind == ErrorKind::AlreadyExists => Ok(()),
        saved => saved,
    }
}

/// Puts our config into the store once there is no other key, unless another's counts. Who saved a key sees all that
/// were saved before, so that of two at least one sees both.
fn write_config_beside_no_other_key(
    store: &Store,
    pace: Pace,
    own_key: &Id,
    sealed_config: &[u8],
    sent: &mut Sent,
) -> Result<()> {
    let mut undecided = Error::UnfinishedInit { location: store.location() };
    for _ in 0..ROUNDS_MAX {
        // The others wait for who has a config on its way: to leave would keep them from nothing.
        if !sent.is_open && store.list_ids(FileKind::Key)?.first() != Some(own_key) {
            return Ok(());
        }
        store.sleep(pace.settle)?;
        if store.list_ids(FileKind::Key)? != [*own_key] {
            if store.load_if_present(&FileName::config())?.is_some() {
                return Ok(());
            }
            continue;
        }
        let mut is_open = false;
        let save = save_first_config(store.backend(), sealed_config, &mut is_open);
        let saved = store.within(pace.save_max, save);
        sent.is_open |= is_open;
        // A save that was given up or has failed may be there all the same: it is looked for in the next round, or by
        // whoever called.
        if !matches!(saved, Ok(None)) {
            store.sleep(pace.settle)?;
            return saved.map(|_| ());
        }
        undecided = Error::Refused(format!(
            "the store takes longer than {} s to save a small file: who makes the repository cannot be decided, and \
             what was sent may still arrive; look again in an hour",
            pace.save_max.as_secs()
        ));
    }
    Err(undecided)
}

/// Saves the config where none is to be seen. Whether it is ours that is there, this does not tell; `is_open` while a
/// save was begun and has no answer.
async fn save_first_config(
    backend: &Arc<dyn Backend>,
    sealed_config: &[u8],
    is_open: &mut bool,
) -> pillion_backend::Result<()> {
    let (config, body) = (FileName::config(), Body::from(sealed_config.to_vec()));
    match backend.load(&config, max_bytes(FileKind::Config) as u64).await {
        Err(e) if e.kind == ErrorKind::NotFound => {}
        found => return found.map(|_| ()),
    }
    *is_open = true;
    let saved = save_config(backend, &config, body).await;
    *is_open = saved.as_ref().is_err_and(|e| !e.is_permanent());
    saved
}

async fn save_config(
    backend: &Arc<dyn Backend>,
    config: &FileName,
    body: Body,
) -> pillion_backend::Result<()> {
    // A store that was taken for one that overwrites may be better than that: the answer to our question can be lost.
    let saved = match backend.can_save_new() {
        true => backend.save_new(config, body.clone()).await,
        false => return backend.save(config, body).await,
    };
    match saved {
        Err(e) if e.kind == ErrorKind::AlreadyExists => Ok(()),
        Err(e) if e.kind == ErrorKind::Unsupported => backend.save(config, body).await,
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
        false => Err(Error::UnfinishedInit { location: store.location() }),
    }
}

#[cfg(test)]
mod tests;
