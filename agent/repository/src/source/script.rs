//! A file system in memory that plays its part on cue: what an application does between two of our calls, and
//! what a failing disk answers, happens in a test exactly there and every time.
//!
//! [`Script`] is the tree; its methods change it as an application would. [`Script::before`] hangs such a change
//! on the n-th call of a kind at a path. Handles stay with the thing they opened, as the system's do: a file
//! removed or renamed while it is open reads on.

mod entry;
mod handles;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

pub use entry::Entry;
use entry::{Body, Thing};
use handles::ScriptDirectory;

use super::{Directory, Metadata, RootError, Source, root};
use crate::format::time::Timestamp;
use crate::format::tree::{ExtendedAttribute, NodeKind};

/// The calls that can be waited for. Those on an entry have the entry's path, not its directory's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    Names,
    Stat,
    OpenDir,
    OpenFile,
    ReadLink,
    ExtendedAttributes,
    Read,
    MetadataNow,
}

type Change = Box<dyn FnOnce(&Script) + Send>;

struct Cue {
    call: Call,
    path: Vec<u8>,
    /// Counted from 1; 0 is every call.
    turn: usize,
    then: Then,
}

enum Then {
    Do(Change),
    Fail(Errno),
}

#[derive(Default)]
struct State {
    things: HashMap<u64, Thing>,
    now: Timestamp,
    last_mount: u64,
    cues: Vec<Cue>,
    calls: HashMap<(Call, Vec<u8>), usize>,
}

/// Shared by the test and by every handle opened in it.
pub struct Script {
    state: Mutex<State>,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").finish_non_exhaustive()
    }
}

const TOP: u64 = 2;
const FIRST_DEVICE: u64 = 2049;

impl Script {
    /// An empty `/`, at a time long ago.
    pub fn new() -> Arc<Self> {
        let now = Timestamp { seconds: 1_000_000_000, nanoseconds: 0 };
        let mut state = State { now, last_mount: 1, ..State::default() };
        state.things.insert(TOP, Thing::new(&Entry::Dir, TOP, now, FIRST_DEVICE, 1));
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// The source at `path`, as if it had been opened there.
    pub fn source(self: &Arc<Self>, path: &str) -> Source {
        let components = components(path);
        let mut ancestors: Vec<Arc<dyn Directory>> = Vec::new();
        for length in 0..components.len().max(1) {
            let inode = self.state().inode(&components[..length]);
            ancestors.push(Arc::new(ScriptDirectory::new(self, inode, root::join(&components[..length]))));
        }
        Source {
            path: root::join(&components),
            ancestors,
            name: components.last().map(|name| name.to_vec()).unwrap_or_default(),
            metadata: self.metadata(path),
        }
    }

    /// As the system opens a source: an error where there is none.
    pub fn open(self: &Arc<Self>, path: &[u8]) -> Result<Source, RootError> {
        let missing = || RootError::Missing { path: path.to_vec() };
        let text = std::str::from_utf8(path).map_err(|_| missing())?;
        let found = self.state().find(&root::components(path)?);
        found.map(|_| self.source(text)).ok_or_else(missing)
    }

    /// The time at which changes happen from now on.
    pub fn set_now(&self, now: Timestamp) {
        self.state().now = now;
    }

    pub fn advance(&self, seconds: i64) {
        self.state().now.seconds += seconds;
    }

    /// Puts a new thing at `path`, with the directories above it; what was there is gone.
    pub fn put(&self, path: &str, entry: Entry) -> &Self {
        let components = components(path);
        let mut state = self.state();
        for length in 1..components.len() {
            if state.find(&components[..length]).is_none() {
                state.create(&components[..length], &Entry::Dir);
            }
        }
        state.unlink(&components);
        state.create(&components, &entry);
        self
    }

    pub fn file(&self, path: &str, content: &[u8]) -> &Self {
        self.put(path, Entry::File(content.to_vec()))
    }

    pub fn dir(&self, path: &str) -> &Self {
        self.put(path, Entry::Dir)
    }

    pub fn symlink(&self, path: &str, target: &str) -> &Self {
        self.put(path, Entry::Symlink(target.as_bytes().to_vec()))
    }

    /// Removes an entry, a directory with all that is in it.
    pub fn remove(&self, path: &str) -> &Self {
        self.state().unlink(&components(path));
        self
    }

    pub fn rename(&self, from: &str, to: &str) -> &Self {
        let mut state = self.state();
        let inode = state.inode(&components(from));
        state.unlink(&components(to));
        state.detach(&components(from));
        state.attach(&components(to), inode);
        self
    }

    /// A second name for a file.
    pub fn hard_link(&self, existing: &str, new: &str) -> &Self {
        let mut state = self.state();
        let inode = state.inode(&components(existing));
        state.unlink(&components(new));
        state.attach(&components(new), inode);
        let now = state.now;
        let metadata = &mut state.thing_mut(inode).metadata;
        metadata.links += 1;
        metadata.ctime = now;
        self
    }

    /// Gives a file another content, at the time it is now.
    pub fn write(&self, path: &str, content: &[u8]) -> &Self {
        self.write_unseen(path, content);
        let now = self.state().now;
        self.change(path, |metadata| (metadata.mtime, metadata.ctime) = (now, now))
    }

    /// Gives a file another content without a trace in its times, as a store through a mapping may.
    pub fn write_unseen(&self, path: &str, content: &[u8]) -> &Self {
        let mut state = self.state();
        let inode = state.inode(&components(path));
        let thing = state.thing_mut(inode);
        assert_eq!(thing.metadata.kind, NodeKind::File, "{path} is no file");
        thing.set_content(content.to_vec());
        drop(state);
        self
    }

    /// Changes what `stat` tells: owner, times, mode. The identity of the thing should be left alone.
    pub fn change(&self, path: &str, change: impl FnOnce(&mut Metadata)) -> &Self {
        let mut state = self.state();
        let inode = state.inode(&components(path));
        change(&mut state.thing_mut(inode).metadata);
        drop(state);
        self
    }

    pub fn set_extended_attributes(&self, path: &str, attributes: Vec<ExtendedAttribute>) -> &Self {
        let mut state = self.state();
        let inode = state.inode(&components(path));
        state.thing_mut(inode).attributes = attributes;
        drop(state);
        self
    }

    /// Mounts something over `path`: an empty directory in a mount of its own, on `device`. What is put below
    /// later lies in that mount as well.
    pub fn mount(&self, path: &str, device: u64) -> &Self {
        self.put(path, Entry::Dir);
        let mut state = self.state();
        state.last_mount += 1;
        let (inode, mount) = (state.inode(&components(path)), state.last_mount);
        let metadata = &mut state.thing_mut(inode).metadata;
        (metadata.device, metadata.mount) = (device, mount);
        drop(state);
        self
    }

    /// Does something right before the `turn`-th (from 1) such call at `path`.
    pub fn before(
        &self,
        call: Call,
        path: &str,
        turn: usize,
        change: impl FnOnce(&Self) + Send + 'static,
    ) -> &Self {
        assert!(turn > 0, "turns are counted from 1");
        self.cue(call, path, turn, Then::Do(Box::new(change)))
    }

    /// The `turn`-th (from 1) such call at `path` fails.
    pub fn fail(&self, call: Call, path: &str, turn: usize, errno: Errno) -> &Self {
        assert!(turn > 0, "turns are counted from 1");
        self.cue(call, path, turn, Then::Fail(errno))
    }

    /// Every such call at `path` fails.
    pub fn fail_always(&self, call: Call, path: &str, errno: Errno) -> &Self {
        self.cue(call, path, 0, Then::Fail(errno))
    }

    /// Every cue that was not yet used is dropped: the disk has been repaired.
    pub fn forget_cues(&self) -> &Self {
        self.state().cues.clear();
        self
    }

    /// Reading the file fails at the byte `offset`; what lies before can be read.
    pub fn fail_reads_from(&self, path: &str, offset: u64, errno: Errno) -> &Self {
        let mut state = self.state();
        let inode = state.inode(&components(path));
        state.thing_mut(inode).bad_from = Some((offset, errno));
        drop(state);
        self
    }

    /// How often such a call was made at `path`.
    pub fn calls(&self, call: Call, path: &str) -> usize {
        self.state().calls.get(&(call, path.as_bytes().to_vec())).copied().unwrap_or(0)
    }

    pub fn metadata(&self, path: &str) -> Metadata {
        let state = self.state();
        state.thing(state.inode(&components(path))).metadata
    }

    fn cue(&self, call: Call, path: &str, turn: usize, then: Then) -> &Self {
        self.state().cues.push(Cue { call, path: path.as_bytes().to_vec(), turn, then });
        self
    }

    /// A call begins: counts it and plays what waits for it.
    fn enter(&self, call: Call, path: &[u8]) -> Result<(), Errno> {
        let (changes, failure) = {
            let mut state = self.state();
            let count = state.calls.entry((call, path.to_vec())).or_default();
            *count += 1;
            let turn = *count;
            let mut changes: Vec<Change> = Vec::new();
            let mut failure = None;
            for cue in std::mem::take(&mut state.cues) {
                let is_due = cue.call == call && cue.path == path && (cue.turn == turn || cue.turn == 0);
                match cue.then {
                    Then::Do(change) if is_due => changes.push(change),
                    Then::Fail(errno) if is_due => {
                        failure = Some(errno);
                        if cue.turn == 0 {
                            state.cues.push(cue);
                        }
                    }
                    _ => state.cues.push(cue),
                }
            }
            (changes, failure)
        };
        // Without the lock: a change calls back into the script.
        for change in changes {
            change(self);
        }
        failure.map_or(Ok(()), Err)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn find(&self, components: &[&[u8]]) -> Option<u64> {
        components.iter().try_fold(TOP, |inode, name| self.children(inode)?.get(*name).copied())
    }

    fn inode(&self, components: &[&[u8]]) -> u64 {
        let found = self.find(components);
        found.unwrap_or_else(|| panic!("{} is not there", root::join(components).escape_ascii()))
    }

    fn thing(&self, inode: u64) -> &Thing {
        self.things.get(&inode).expect("things stay for handles that may be open")
    }

    fn thing_mut(&mut self, inode: u64) -> &mut Thing {
        self.things.get_mut(&inode).expect("things stay for handles that may be open")
    }

    fn children(&self, inode: u64) -> Option<&BTreeMap<Vec<u8>, u64>> {
        match &self.thing(inode).body {
            Body::Dir(children) => Some(children),
            _ => None,
        }
    }

    fn create(&mut self, components: &[&[u8]], entry: &Entry) {
        let (_, parent) = components.split_last().expect("/ is there already");
        let directory = self.thing(self.inode(parent)).metadata;
        let inode = TOP + self.things.len() as u64;
        let thing = Thing::new(entry, inode, self.now, directory.device, directory.mount);
        self.things.insert(inode, thing);
        self.attach(components, inode);
    }

    fn attach(&mut self, components: &[&[u8]], inode: u64) {
        self.change_entries(components, |children, name| {
            children.insert(name, inode);
        });
    }

    fn detach(&mut self, components: &[&[u8]]) {
        self.change_entries(components, |children, name| {
            children.remove(&name);
        });
    }

    fn unlink(&mut self, components: &[&[u8]]) {
        let Some(inode) = self.find(components) else { return };
        let now = self.now;
        let metadata = &mut self.thing_mut(inode).metadata;
        metadata.links = if metadata.kind == NodeKind::Dir { 0 } else { metadata.links - 1 };
        metadata.ctime = now;
        self.detach(components);
    }

    fn change_entries(
        &mut self,
        components: &[&[u8]],
        change: impl FnOnce(&mut BTreeMap<Vec<u8>, u64>, Vec<u8>),
    ) {
        let (name, parent) = components.split_last().expect("/ is no entry");
        let (inode, now) = (self.inode(parent), self.now);
        let directory = self.thing_mut(inode);
        let Body::Dir(children) = &mut directory.body else { panic!("an entry needs a directory") };
        change(children, name.to_vec());
        (directory.metadata.mtime, directory.metadata.ctime) = (now, now);
    }
}

fn components(path: &str) -> Vec<&[u8]> {
    root::components(path.as_bytes()).expect("a script has absolute paths")
}
