//! The byte budget of a cache directory: who has how much of it, and what goes first.
//!
//! Numbers and names only; who calls removes the files, while it holds the lock around this. The spool comes before
//! everything that is kept: what it reserves can always be written, since what is kept gives way. Reserved is what
//! a pack may become, written what it is: only written bytes push out kept ones, so that a run which stores little
//! costs the cache little.
//!
//! **Invariant:** written and kept bytes together are within the budget before a byte is written
//! (`the_directory_never_holds_more_than_its_budget`).

use std::collections::{BTreeMap, HashMap};

use super::Key;
use crate::limits;

/// What gives way first comes first: a tree costs one request for many, an index file is needed whole by every run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Tree,
    File,
}

/// When a kept file was last used; greater is later.
type Tick = u64;

#[derive(Clone, Copy, Debug)]
struct Kept {
    size_bytes: u64,
    used: Tick,
}

#[derive(Debug)]
pub(super) struct Budget {
    total_bytes: u64,
    reserved_bytes: u64,
    written_bytes: u64,
    kept_bytes: u64,
    kept: HashMap<Key, Kept>,
    /// In the order in which they give way.
    order: BTreeMap<(Class, Tick), Key>,
    tick: Tick,
    /// What was used since is used by the job of now.
    job_began: Tick,
}

impl Budget {
    pub(super) fn new(total_bytes: u64) -> Self {
        Self {
            total_bytes,
            reserved_bytes: 0,
            written_bytes: 0,
            kept_bytes: 0,
            kept: HashMap::new(),
            order: BTreeMap::new(),
            tick: 0,
            job_began: 0,
        }
    }

    pub(super) fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    pub(super) fn kept_bytes(&self) -> u64 {
        self.kept_bytes
    }

    /// By the spool.
    pub(super) fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// A job begins: what it uses does not give way to what it keeps.
    pub(super) fn begin_job(&mut self) {
        self.job_began = self.tick + 1;
    }

    /// Reserves for the spool, if so much is not reserved by others.
    pub(super) fn reserve(&mut self, bytes: u64) -> bool {
        let fits = self.reserved_bytes.checked_add(bytes).is_some_and(|all| all <= self.total_bytes);
        if fits {
            self.reserved_bytes += bytes;
        }
        fits
    }

    pub(super) fn give_back(&mut self, reserved_bytes: u64) {
        self.reserved_bytes -= reserved_bytes;
    }

    /// So many reserved bytes are about to be written. What is returned has to go first.
    #[must_use]
    pub(super) fn write(&mut self, bytes: u64) -> Vec<Key> {
        self.written_bytes += bytes;
        debug_assert!(self.written_bytes <= self.reserved_bytes, "only what was reserved is written");
        // Not enough only where a file that was to go could not be removed.
        self.make_room(|_, _| true).unwrap_or_else(|| self.take_all())
    }

    /// All that is kept is to go.
    #[must_use]
    pub(super) fn take_all(&mut self) -> Vec<Key> {
        self.order.clear();
        self.kept_bytes = 0;
        self.kept.drain().map(|(key, _)| key).collect()
    }

    pub(super) fn unwrite(&mut self, bytes: u64) {
        self.written_bytes -= bytes;
    }

    pub(super) fn holds(&self, key: &Key) -> bool {
        self.kept.contains_key(key)
    }

    /// Takes note of a file that is about to be written. What is returned has to go first. `None` if it is not to be
    /// kept: it would push out what this job itself has use for, and next time the other way round.
    #[must_use]
    pub(super) fn keep(&mut self, key: Key, size_bytes: u64) -> Option<Vec<Key>> {
        self.forget(&key);
        let (class, job_began) = (key.class(), self.job_began);
        self.insert(key, size_bytes);
        let may_go = |other: Class, used: Tick| other < class || (other == class && used < job_began);
        let going = self.make_room(may_go);
        if going.is_none() {
            self.forget(&key);
        }
        going
    }

    /// A file that was there already: found when the directory was opened, the longest unused first.
    #[must_use]
    pub(super) fn found(&mut self, key: Key, size_bytes: u64) -> Vec<Key> {
        self.insert(key, size_bytes);
        self.make_room(|_, _| true).unwrap_or_else(|| self.take_all())
    }

    /// Takes note that a kept file is used; whether there is one, and whether it is the first time in this job.
    pub(super) fn used(&mut self, key: &Key) -> Option<FirstUse> {
        let used = self.kept.get(key)?.used;
        self.order.remove(&(key.class(), used));
        self.tick += 1;
        self.order.insert((key.class(), self.tick), *key);
        self.kept.get_mut(key)?.used = self.tick;
        Some(FirstUse(used < self.job_began))
    }

    /// A kept file is gone.
    pub(super) fn forget(&mut self, key: &Key) {
        if let Some(kept) = self.kept.remove(key) {
            self.order.remove(&(key.class(), kept.used));
            self.kept_bytes -= kept.size_bytes;
        }
    }

    /// A file that was to go could not be removed: its bytes are lost to the budget.
    pub(super) fn lose(&mut self, bytes: u64) {
        self.total_bytes = self.total_bytes.saturating_sub(bytes);
    }

    /// Every kept file for which `is_one` says so.
    pub(super) fn select(&self, is_one: impl Fn(&Key) -> bool) -> Vec<Key> {
        self.kept.keys().filter(|key| is_one(key)).copied().collect()
    }

    fn insert(&mut self, key: Key, size_bytes: u64) {
        self.tick += 1;
        self.kept_bytes += size_bytes;
        self.kept.insert(key, Kept { size_bytes, used: self.tick });
        self.order.insert((key.class(), self.tick), key);
    }

    fn is_over(&self) -> bool {
        self.written_bytes + self.kept_bytes > self.total_bytes || self.kept.len() > limits::MAX_CACHED_FILES
    }

    /// Chooses what gives way until all is within the budget; `None`, and nothing goes, if that is not enough.
    fn make_room(&mut self, may_go: impl Fn(Class, Tick) -> bool) -> Option<Vec<Key>> {
        let mut going = Vec::new();
        let (mut bytes, mut files) = (self.written_bytes + self.kept_bytes, self.kept.len());
        let mut candidates = self.order.iter().filter(|((class, used), _)| may_go(*class, *used));
        while bytes > self.total_bytes || files > limits::MAX_CACHED_FILES {
            let (_, key) = candidates.next()?;
            bytes -= self.kept[key].size_bytes;
            files -= 1;
            going.push(*key);
        }
        going.iter().for_each(|key| self.forget(key));
        debug_assert!(!self.is_over());
        Some(going)
    }
}

/// Whether a file was not used before in this job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FirstUse(pub(super) bool);
