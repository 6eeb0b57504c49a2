//! The trees: each is loaded once, however many snapshots share it, and everything it names has to be in the index.
//!
//! They are walked level by level, the trees of a level in the order they lie in the packs, so that neighbours are
//! read together and whatever waits is a list of positions. Paths are not known here: `affected` finds them, and
//! only if something is lost.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use pillion_backend::FileKind;

use super::Check;
use super::files::Root;
use super::findings::{of_the_file, reason};
use super::packs::Packs;
use crate::error::{Error, Result};
use crate::format::blob::{BlobKind, Opener};
use crate::format::id::Id;
use crate::format::tree::{self, Node, NodeKind};
use crate::index::Index;
use crate::limits::{self, KIB, MIB};
use crate::parallel::parallel;
use crate::repository::BlobReader;
use crate::store::file_name;

/// Trees are read together up to this size, over gaps up to that.
const GROUP_BYTES: u64 = MIB as u64;
const GAP_BYTES: u64 = 64 * KIB as u64;

/// Walks the trees of the snapshots; returns how many there are.
pub(super) fn walk(check: &Check<'_>, packs: &Packs, roots: &[Root], stray: &Index) -> Result<u64> {
    let walk = Walk { check, packs, stray, missing: Mutex::default() };
    let mut level = Vec::new();
    for root in roots {
        let needed_by = || format!("snapshot {}", root.snapshot);
        level.extend(walk.enter(&root.tree, needed_by));
    }
    check.progress.files_done.store(0, Ordering::Relaxed);
    check.progress.files_total.store(0, Ordering::Relaxed);
    check.progress.bytes_done.store(0, Ordering::Relaxed);
    check.progress.bytes_total.store(0, Ordering::Relaxed);
    let mut trees = 0;
    while !level.is_empty() {
        trees += level.len() as u64;
        let index = &check.index;
        level.sort_unstable_by_key(|position| {
            let location = index.location(*position as usize);
            (location.pack_position, location.offset)
        });
        let groups = group(index, &level);
        let below = parallel(
            check.connections,
            &groups,
            || Worker::new(&walk),
            |worker, group| worker.group(&level[group.clone()]),
        )?;
        level = below.concat();
    }
    Ok(trees)
}

/// Runs of trees that are worth reading together.
fn group(index: &Index, level: &[u32]) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut start = 0;
    for (at, pair) in level.windows(2).enumerate() {
        let [before, after] = [pair[0], pair[1]].map(|position| index.location(position as usize));
        let first = index.location(level[start] as usize);
        let end = u64::from(before.offset) + u64::from(before.length);
        let new_end = u64::from(after.offset) + u64::from(after.length);
        let is_near = before.pack_position == after.pack_position
            && u64::from(after.offset) <= end + GAP_BYTES
            && new_end <= u64::from(first.offset) + GROUP_BYTES;
        if !is_near {
            groups.push(start..at + 1);
            start = at + 1;
        }
    }
    groups.push(start..level.len());
    groups
}

struct Walk<'a> {
    check: &'a Check<'a>,
    packs: &'a Packs,
    /// What lies in packs that no index names.
    stray: &'a Index,
    /// Named already, up to a limit.
    missing: Mutex<HashSet<(BlobKind, Id)>>,
}

impl Walk<'_> {
    /// The position of a tree that is met for the first time.
    fn enter(&self, tree: &Id, needed_by: impl FnOnce() -> String) -> Option<u32> {
        match self.check.index.position(BlobKind::Tree, tree) {
            Some(position) => self.check.used.insert(position).then_some(position as u32),
            None => {
                self.tell_missing(BlobKind::Tree, tree, needed_by);
                None
            }
        }
    }

    fn tell_missing(&self, kind: BlobKind, id: &Id, needed_by: impl FnOnce() -> String) {
        let findings = self.check.findings;
        findings.lost_something();
        {
            let mut missing = self.missing.lock().expect("no thread panics with it");
            if missing.contains(&(kind, *id)) {
                return;
            }
            if missing.len() >= limits::MAX_NAMED_BLOBS {
                findings.untold_damage();
                return;
            }
            missing.insert((kind, *id));
        }
        let noun = kind.noun();
        let needed_by = needed_by();
        match self.stray.lookup(kind, id).next() {
            Some(location) => {
                findings.suggest_repair_index();
                let pack = location.pack;
                findings.damage(format!(
                    "{noun} blob {id} is in no index, needed by {needed_by}; pack {pack} has it: run `restic repair index`"
                ));
            }
            None => findings.damage(format!("{noun} blob {id} is in no index, needed by {needed_by}")),
        }
    }
}

/// Reads trees, for one thread.
struct Worker<'a> {
    walk: &'a Walk<'a>,
    opener: Opener,
    reader: BlobReader,
    sealed: Vec<u8>,
    plain: Vec<u8>,
}

impl<'a> Worker<'a> {
    fn new(walk: &'a Walk<'a>) -> Self {
        Self {
            walk,
            opener: Opener::default(),
            reader: BlobReader::new(walk.check.repository, &walk.check.index),
            sealed: Vec::new(),
            plain: Vec::new(),
        }
    }

    /// Looks at trees that lie near one another; returns the positions of those below that are new.
    fn group(&mut self, positions: &[u32]) -> Result<Vec<u32>> {
        let index = &self.walk.check.index;
        let [first, last] =
            [positions[0], positions[positions.len() - 1]].map(|position| index.location(position as usize));
        let start = u64::from(first.offset);
        let range = start..u64::from(last.offset) + u64::from(last.length);
        let is_plausible = range.end - range.start <= limits::MAX_TREE_BLOB_BYTES as u64;
        let file = file_name(FileKind::Pack, &first.pack);
        let loaded = if is_plausible && !self.walk.check.damaged.contains(positions[0] as usize) {
            self.walk.check.repository.store.load_range(&file, range)
        } else {
            Ok(bytes::Bytes::new())
        };
        // Whatever went wrong is told by each tree, which has other places to look for.
        let bytes = match loaded {
            Ok(bytes) => bytes,
            Err(e) => of_the_file(e).map(|_| bytes::Bytes::new())?,
        };
        let mut below = Vec::new();
        for position in positions {
            let location = index.location(*position as usize);
            let from = (u64::from(location.offset) - start) as usize;
            let sealed = bytes.get(from..from + location.length as usize).unwrap_or_default();
            self.tree(*position as usize, sealed, &mut below)?;
            self.walk.check.progress.files_done.fetch_add(1, Ordering::Relaxed);
        }
        Ok(below)
    }

    fn tree(&mut self, position: usize, sealed: &[u8], below: &mut Vec<u32>) -> Result<()> {
        let check = self.walk.check;
        let entry = check.index.entry(position);
        let Self { opener, sealed: buffer, plain, reader, walk } = self;
        buffer.clear();
        buffer.extend_from_slice(sealed);
        let key = check.repository.key();
        let opened = opener.open(key, entry.kind, &entry.id, buffer, entry.uncompressed_length, plain);
        let json = match opened {
            Ok(()) => &plain[..],
            Err(_) => match reader.load(BlobKind::Tree, &entry.id) {
                Ok(json) => {
                    // It lies elsewhere too: nothing is lost, but this place is not whole.
                    walk.packs.suspect(check.index.location(position).pack_position);
                    json
                }
                Err(e) => {
                    walk.tell_unreadable(&entry.id, &of_the_file(e)?);
                    return Ok(());
                }
            },
        };
        walk.look_at(&entry.id, json, below);
        if plain.capacity() > limits::KEPT_BUFFER_BYTES {
            *plain = Vec::new();
            *buffer = Vec::new();
        }
        Ok(())
    }
}

impl Walk<'_> {
    fn tell_unreadable(&self, tree: &Id, error: &Error) {
        let Check { index, damaged, findings, .. } = self.check;
        findings.lost_something();
        // Of a pack that is known to be broken this has been told.
        if index.positions(BlobKind::Tree, tree).all(|position| damaged.contains(position)) {
            return;
        }
        for position in index.positions(BlobKind::Tree, tree) {
            damaged.insert(position);
            self.packs.suspect(index.location(position).pack_position);
        }
        findings.damage(format!("tree {tree}: {}", reason(error)));
    }

    fn look_at(&self, tree: &Id, json: &[u8], below: &mut Vec<u32>) {
        let findings = self.check.findings;
        let mut nodes = tree::nodes(json);
        let mut is_whole = true;
        for node in &mut nodes {
            match node {
                Ok(node) => self.node(tree, &node, below),
                Err(why) => {
                    is_whole = false;
                    findings.damage(format!("tree {tree}: {why}"));
                }
            }
        }
        if let Some(name) = nodes.disorder() {
            let name = shown(name);
            findings.note(format!("tree {tree}: {name} is not behind the name before it, or there twice"));
        }
        if !is_whole {
            findings.lost_something();
            for position in self.check.index.positions(BlobKind::Tree, tree) {
                self.check.damaged.insert(position);
            }
        }
    }

    fn node(&self, tree: &Id, node: &Node, below: &mut Vec<u32>) {
        let named = || format!("{} {} of tree {tree}", node.kind.word(), shown(&node.name));
        if let Some(fault) = fault(node) {
            self.check.findings.lost_something();
            self.check.findings.damage(format!("{} {fault}", named()));
            return;
        }
        if let Some(subtree) = &node.subtree {
            below.extend(self.enter(subtree, named));
        }
        let Some(content) = &node.content else { return };
        let mut size_bytes = Some(0);
        for id in content {
            match self.check.index.position(BlobKind::Data, id) {
                Some(position) => {
                    self.check.used.insert(position);
                    let more = self.check.index.location(position).plain_bytes();
                    size_bytes = size_bytes.map(|size: u64| size.saturating_add(more));
                }
                None => {
                    size_bytes = None;
                    self.tell_missing(BlobKind::Data, id, named);
                }
            }
        }
        if let Some(size_bytes) = size_bytes.filter(|size| *size != node.size) {
            // Old versions of restic stored files that grew while they were read like this.
            self.check.findings.note(format!(
                "{} holds {size_bytes} bytes and is said to have {}",
                named(),
                node.size
            ));
        }
    }
}

/// What is wrong with a node by itself.
pub(super) fn fault(node: &Node) -> Option<&'static str> {
    match node.kind {
        NodeKind::File if node.content.is_none() => Some("has no list of blobs"),
        NodeKind::Dir if node.subtree.is_none() => Some("has no tree"),
        NodeKind::Irregular => Some("is of no type that can be restored"),
        _ => None,
    }
}

/// A path for people: what is no text or would move the cursor is escaped.
pub(super) fn shown(path: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(path))
}
