//! What is different between two trees: entry by entry as it is found, and in sum at the end.
//!
//! Both are read side by side in the order of names; a directory that is the same in both is only looked through for
//! its blobs, so that the sums are true.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::blob_set::BlobSet;
use crate::error::{Error, Result};
use crate::format::blob::BlobKind;
use crate::format::id::Id;
use crate::format::tree::{Node, NodeKind};
use crate::index::Index;
use crate::limits;
use crate::repository::BlobReader;

/// Whether entries that differ in nothing but metadata are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metadata {
    Ignored,
    Compared,
}

/// What only one side has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Side {
    pub files: u64,
    pub dirs: u64,
    pub others: u64,
    pub data_blobs: u64,
    pub tree_blobs: u64,
    /// Plain bytes of those blobs.
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    pub changed_files: u64,
    pub added: Side,
    pub removed: Side,
}

/// What is told while it is found. An error ends the comparison.
pub trait Listener: Send {
    /// `path` begins with a slash, and ends with one for a directory. `modifier` is restic's: `+`, `-`, `M`, `T`,
    /// `U`, `?` and their sums.
    fn changed(&mut self, path: &[u8], modifier: &str) -> Result<()>;

    /// A tree or blob that cannot be read: the comparison goes on beside it.
    fn unreadable(&mut self, error: Error) -> Result<()>;
}

/// Compares what is below two trees.
pub fn diff(
    reader: &mut BlobReader,
    (from, to): (&Id, &Id),
    metadata: Metadata,
    listener: &mut dyn Listener,
) -> Result<Difference> {
    let index = Arc::clone(reader.index());
    let set = || BlobSet::new(&index);
    let compare = || {
        let mut run = Comparison {
            reader,
            index: &index,
            metadata,
            listener,
            before: set(),
            after: set(),
            common: set(),
            difference: Difference::default(),
        };
        run.before.insert(&index, BlobKind::Tree, *from);
        run.after.insert(&index, BlobKind::Tree, *to);
        run.trees(b"/", from, to, 0)?;
        run.sum()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("diff".to_owned()).stack_size(STACK_BYTES);
        let compared =
            thread.spawn_scoped(scope, compare).map_err(|e| Error::local("start", "a thread", e))?;
        compared.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Trees go through the stack, and whoever has the password may have laid as many below one another as the limit
/// allows. Only what is used is ever taken.
const STACK_BYTES: usize = 64 * limits::MIB;

struct Comparison<'a> {
    reader: &'a mut BlobReader,
    index: &'a Index,
    metadata: Metadata,
    listener: &'a mut dyn Listener,
    before: BlobSet,
    after: BlobSet,
    common: BlobSet,
    difference: Difference,
}

/// Which side an entry is on alone.
#[derive(Clone, Copy)]
enum Alone {
    Before,
    After,
}

impl Comparison<'_> {
    fn trees(&mut self, prefix: &[u8], from: &Id, to: &Id, depth: usize) -> Result<()> {
        check_depth(depth)?;
        let mut before = self.reader.load_tree(from)?.into_iter().peekable();
        let mut after = self.reader.load_tree(to)?.into_iter().peekable();
        loop {
            let order = match (before.peek(), after.peek()) {
                (None, None) => return Ok(()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(one), Some(other)) => one.name.cmp(&other.name),
            };
            let one = (order != Ordering::Greater).then(|| before.next()).flatten();
            let other = (order != Ordering::Less).then(|| after.next()).flatten();
            for (node, set) in [(&one, &mut self.before), (&other, &mut self.after)] {
                node.as_ref().into_iter().for_each(|node| insert_blobs(set, self.index, node));
            }
            match (one, other) {
                (Some(one), Some(other)) => self.pair(prefix, &one, &other, depth)?,
                (Some(one), None) => self.single(prefix, &one, Alone::Before, depth)?,
                (None, Some(other)) => self.single(prefix, &other, Alone::After, depth)?,
                (None, None) => unreachable!("one of the sides has an entry"),
            }
        }
    }

    fn pair(&mut self, prefix: &[u8], one: &Node, other: &Node, depth: usize) -> Result<()> {
        let path = path_of(prefix, other);
        let mut modifier = String::new();
        if one.kind != other.kind {
            modifier.push('T');
        }
        let are_files = one.kind == NodeKind::File && other.kind == NodeKind::File;
        if are_files && one.content != other.content {
            modifier.push('M');
            self.difference.changed_files += 1;
            if (Node { content: None, ..one.clone() }) == (Node { content: None, ..other.clone() }) {
                modifier.push('?');
            }
        } else if self.metadata == Metadata::Compared && one != other {
            modifier.push('U');
        }
        if !modifier.is_empty() {
            self.listener.changed(&path, &modifier)?;
        }
        let done = match (subtree(one), subtree(other)) {
            (Some(one), Some(other)) if one == other => self.common(&one, depth + 1),
            (Some(one), Some(other)) => self.trees(&path, &one, &other, depth + 1),
            _ => Ok(()),
        };
        self.go_on_beside(done)
    }

    fn single(&mut self, prefix: &[u8], node: &Node, alone: Alone, depth: usize) -> Result<()> {
        let path = path_of(prefix, node);
        let (modifier, side) = match alone {
            Alone::Before => ("-", &mut self.difference.removed),
            Alone::After => ("+", &mut self.difference.added),
        };
        match node.kind {
            NodeKind::File => side.files += 1,
            NodeKind::Dir => side.dirs += 1,
            _ => side.others += 1,
        }
        self.listener.changed(&path, modifier)?;
        let Some(tree) = subtree(node) else { return Ok(()) };
        let done = self.all_of(&path, &tree, alone, depth + 1);
        self.go_on_beside(done)
    }

    fn all_of(&mut self, prefix: &[u8], tree: &Id, alone: Alone, depth: usize) -> Result<()> {
        check_depth(depth)?;
        for node in self.reader.load_tree(tree)? {
            let set = match alone {
                Alone::Before => &mut self.before,
                Alone::After => &mut self.after,
            };
            insert_blobs(set, self.index, &node);
            self.single(prefix, &node, alone, depth)?;
        }
        Ok(())
    }

    /// Notes the blobs of a directory that both sides have.
    fn common(&mut self, tree: &Id, depth: usize) -> Result<()> {
        check_depth(depth)?;
        for node in self.reader.load_tree(tree)? {
            let Some(subtree) = subtree(&node) else {
                insert_blobs(&mut self.common, self.index, &node);
                continue;
            };
            // One that was seen is known with all that is below it.
            if self.common.insert(self.index, BlobKind::Tree, subtree) {
                let done = self.common(&subtree, depth + 1);
                self.go_on_beside(done)?;
            }
        }
        Ok(())
    }

    fn go_on_beside(&mut self, done: Result<()>) -> Result<()> {
        match done {
            Err(
                e @ (Error::DamagedBlob { .. }
                | Error::MissingBlob { .. }
                | Error::Damaged { .. }
                | Error::Backend(_)),
            ) => self.listener.unreadable(e),
            done => done,
        }
    }

    fn sum(self) -> Result<Difference> {
        let Self { index, listener, before, after, common, mut difference, .. } = self;
        for (own, other, side) in
            [(&before, &after, &mut difference.removed), (&after, &before, &mut difference.added)]
        {
            let mut only = own.clone();
            only.subtract(other);
            only.subtract(&common);
            for (kind, location) in only.locations(index) {
                count_blob(side, kind);
                side.bytes += location.plain_bytes();
            }
            for (kind, id) in only.unknown() {
                count_blob(side, *kind);
                listener.unreadable(Error::MissingBlob { kind: *kind, id: *id })?;
            }
        }
        Ok(difference)
    }
}

fn count_blob(side: &mut Side, kind: BlobKind) {
    match kind {
        BlobKind::Data => side.data_blobs += 1,
        BlobKind::Tree => side.tree_blobs += 1,
    }
}

fn subtree(node: &Node) -> Option<Id> {
    node.subtree.filter(|_| node.kind == NodeKind::Dir)
}

fn insert_blobs(set: &mut BlobSet, index: &Index, node: &Node) {
    if node.kind == NodeKind::File {
        for id in node.content.iter().flatten() {
            set.insert(index, BlobKind::Data, *id);
        }
    }
    if let Some(tree) = subtree(node) {
        set.insert(index, BlobKind::Tree, tree);
    }
}

fn path_of(prefix: &[u8], node: &Node) -> Vec<u8> {
    let mut path = [prefix, &node.name].concat();
    if node.kind == NodeKind::Dir {
        path.push(b'/');
    }
    path
}

fn check_depth(depth: usize) -> Result<()> {
    match depth < limits::MAX_DEPTH {
        true => Ok(()),
        false => Err(Error::Refused("directories lie deeper than any path can lead".to_owned())),
    }
}
