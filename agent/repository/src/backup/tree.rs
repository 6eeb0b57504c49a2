//! The tree stage: a directory waits for its entries, and when the last has come it becomes a tree blob.
//!
//! A directory whose entries all equal the parent snapshot's keeps that tree's ID and is not encoded. What
//! closes a directory may close the one above it, up to the root; that is a loop, not a recursion, since paths
//! may be deep.

use std::sync::{Arc, Mutex};

use super::Run;
use super::seal::Sealing;
use super::summary::count;
use crate::error::Result;
use crate::event::{Change, Event};
use crate::format::blob::BlobKind;
use crate::format::id::Id;
use crate::format::tree::{Node, TreeWriter};

/// A directory on its way into the snapshot, from being listed to being a tree.
pub(super) struct Directory {
    place: Place,
    /// The path for messages and patterns: of a target's root whole, of everything below just the name.
    path: PathPart,
    depth: usize,
    /// What the parent snapshot has in the same place.
    previous: Option<Box<Node>>,
    state: Mutex<State>,
}

pub(super) enum Place {
    Root,
    /// A slot in the directory above.
    Slot(Arc<Directory>, usize),
}

pub(super) enum PathPart {
    Whole(Box<[u8]>),
    Name(Box<[u8]>),
}

#[derive(Default)]
struct State {
    /// Of the directory itself; `None` for the root of the snapshot.
    node: Option<Box<Node>>,
    entries: Vec<Option<Node>>,
    /// Entries that are not there yet, and one more while the directory is being listed.
    open: usize,
    equal: usize,
    previous_len: Option<usize>,
}

/// How an entry ended.
pub(super) enum Entry {
    /// Just as in the parent snapshot.
    Equal(Node),
    Other(Node),
    /// Not in the snapshot.
    Absent,
}

impl Directory {
    pub(super) fn new(
        place: Place,
        path: PathPart,
        node: Option<Node>,
        previous: Option<Box<Node>>,
    ) -> Arc<Self> {
        let depth = match &place {
            Place::Root => 0,
            Place::Slot(above, _) => above.depth + 1,
        };
        let state = State { node: node.map(Box::new), open: 1, ..State::default() };
        Arc::new(Self { place, path, depth, previous, state: Mutex::new(state) })
    }

    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// The tree of the same directory in the parent snapshot.
    pub(super) fn previous_tree(&self) -> Option<Id> {
        self.previous.as_ref()?.subtree
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics with it")
    }

    /// The path of an entry, for messages and patterns.
    pub(super) fn path_of(&self, name: &[u8]) -> Vec<u8> {
        let mut path = self.path();
        push_component(&mut path, name);
        path
    }

    pub(super) fn path(&self) -> Vec<u8> {
        let mut names = Vec::new();
        let mut directory = self;
        let mut path = loop {
            match (&directory.path, &directory.place) {
                (PathPart::Whole(path), _) => break path.to_vec(),
                (PathPart::Name(name), Place::Slot(above, _)) => {
                    names.push(name);
                    directory = above;
                }
                (PathPart::Name(name), Place::Root) => break name.to_vec(),
            }
        };
        for name in names.into_iter().rev() {
            push_component(&mut path, name);
        }
        path
    }

    /// Adds entries behind those that are there.
    pub(super) fn extend(&self, listing: Listing) {
        let mut state = self.state();
        state.entries.extend(listing.entries);
        state.open += listing.open;
        state.equal += listing.equal;
    }

    /// How many entries the parent snapshot's tree has; without it the directory equals nothing.
    pub(super) fn set_previous_len(&self, len: usize) {
        self.state().previous_len = Some(len);
    }
}

/// A part of what a scan found, in order. `None` stands for an entry that is still to come, counted in `open`.
#[derive(Default)]
pub(super) struct Listing {
    pub(super) entries: Vec<Option<Node>>,
    pub(super) open: usize,
    pub(super) equal: usize,
}

pub(super) fn push_component(path: &mut Vec<u8>, name: &[u8]) {
    if path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

impl Sealing<'_> {
    /// The listing of a directory is complete.
    pub(super) fn listed(&mut self, run: &Run<'_>, directory: &Arc<Directory>) -> Result<()> {
        self.arrived(run, directory, None)
    }

    /// An entry is done.
    pub(super) fn entry_done(
        &mut self,
        run: &Run<'_>,
        directory: &Arc<Directory>,
        slot: usize,
        entry: Entry,
    ) -> Result<()> {
        self.arrived(run, directory, Some((slot, entry)))
    }

    fn arrived(
        &mut self,
        run: &Run<'_>,
        directory: &Arc<Directory>,
        entry: Option<(usize, Entry)>,
    ) -> Result<()> {
        let mut directory = Arc::clone(directory);
        let mut entry = entry;
        loop {
            let closed = {
                let mut state = directory.state();
                if let Some((slot, entry)) = entry {
                    state.equal += usize::from(matches!(entry, Entry::Equal(_)));
                    state.entries[slot] = match entry {
                        Entry::Equal(node) | Entry::Other(node) => Some(node),
                        Entry::Absent => None,
                    };
                }
                state.open -= 1;
                if state.open > 0 {
                    return Ok(());
                }
                std::mem::take(&mut *state)
            };
            let tree = self.close(run, &directory, &closed)?;
            let Place::Slot(above, slot) = &directory.place else {
                run.set_root(tree, closed.entries.iter().flatten().count());
                return Ok(());
            };
            let node = Node { subtree: Some(tree), ..*closed.node.expect("only the root has no node") };
            let ended = directory_ended(run, &directory, node);
            entry = Some((*slot, ended));
            directory = Arc::clone(above);
        }
    }

    /// The tree of a complete directory.
    fn close(&mut self, run: &Run<'_>, directory: &Directory, state: &State) -> Result<Id> {
        let present = state.entries.iter().flatten().count();
        if let Some(tree) = directory.previous_tree()
            && present == state.equal
            && Some(present) == state.previous_len
        {
            return Ok(tree);
        }
        let mut writer = TreeWriter::new();
        for node in state.entries.iter().flatten() {
            writer.push(node).map_err(|why| crate::Error::Refused(format!("encode a tree: {why}")))?;
        }
        self.store(run, BlobKind::Tree, &writer.finish())
    }
}

fn directory_ended(run: &Run<'_>, directory: &Directory, node: Node) -> Entry {
    let previous = directory.previous.as_deref();
    let dirs = &run.counters.dirs;
    let (counter, change) = match previous {
        None => (&dirs.new, Change::New),
        Some(previous) if *previous == node => (&dirs.unmodified, Change::Unchanged),
        Some(_) => (&dirs.changed, Change::Modified),
    };
    count(counter, 1);
    if run.reporter.wants_items() {
        let mut path = directory.path();
        path.push(b'/');
        run.reporter.report(Event::Item { path: &path, change, size_bytes: 0 });
    }
    if change == Change::Unchanged { Entry::Equal(node) } else { Entry::Other(node) }
}
