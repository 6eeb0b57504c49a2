//! What damage means: which snapshots need what is lost, and under which paths.
//!
//! Every tree is counted once, children before parents; then each snapshot is followed only to where something is
//! lost. The list of paths is bounded, the counts are not.

use std::collections::{BTreeMap, HashMap};

use super::Check;
use super::bits::Bits;
use super::files::Root;
use super::findings::of_the_file;
use super::trees::{fault, shown};
use crate::error::Result;
use crate::format::blob::BlobKind;
use crate::format::id::Id;
use crate::format::tree::{self, Node, NodeKind};
use crate::limits;
use crate::repository::BlobReader;

/// What cannot be restored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Affected {
    /// Newest first.
    pub snapshots: Vec<Id>,
    /// Sorted by path, at most [`limits::MAX_AFFECTED_PATHS`].
    pub paths: Vec<AffectedPath>,
    /// How many more there are, each counted in every snapshot it is in.
    pub unlisted: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AffectedPath {
    /// In the snapshot, raw bytes.
    pub path: Vec<u8>,
    pub loss: Loss,
    /// Newest first.
    pub snapshots: Vec<Id>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// Parts of a file's content.
    Content,
    /// A directory with everything in it.
    Directory,
    /// What kind of thing it was cannot be told.
    Entry,
}

/// Snapshots named after a path.
const MAX_NAMED_SNAPSHOTS: usize = 5;

/// Names in [`Affected`] what the checked snapshots have lost, if anything.
pub(super) fn find(check: &Check<'_>, roots: &[Root]) -> Result<Affected> {
    let mut affected = Affected::default();
    if !check.findings.has_loss() {
        return Ok(affected);
    }
    check.step("look for what is affected");
    let mut search = Search {
        check,
        reader: BlobReader::new(check.repository, &check.index),
        done: Bits::new(check.index.len()),
        losses: HashMap::new(),
    };
    let mut paths = BTreeMap::new();
    for root in roots {
        let count = search.count(&root.tree)?;
        if count == 0 {
            continue;
        }
        affected.snapshots.push(root.snapshot);
        let listed = search.list(root, &mut paths)?;
        affected.unlisted += count.saturating_sub(listed);
        let mut time = Vec::new();
        root.time.write_to(&mut time);
        let time = String::from_utf8_lossy(&time);
        check
            .findings
            .affects(format!("snapshot {} of {time} lacks {count} files or directories", root.snapshot));
    }
    for ((path, loss), snapshots) in paths {
        check.findings.affects(sentence(&path, loss, &snapshots));
        affected.paths.push(AffectedPath { path, loss, snapshots });
    }
    if affected.unlisted > 0 {
        check
            .findings
            .affects(format!("and {} more, each counted in every snapshot it is in", affected.unlisted));
    }
    Ok(affected)
}

fn sentence(path: &[u8], loss: Loss, snapshots: &[Id]) -> String {
    let what = match loss {
        Loss::Content => "parts of the content",
        Loss::Directory => "the directory with everything in it",
        Loss::Entry => "the entry",
    };
    let named: Vec<String> = snapshots.iter().take(MAX_NAMED_SNAPSHOTS).map(Id::short).collect();
    let more = match snapshots.len() - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}: {what} cannot be restored from snapshot {}{more}", shown(path), named.join(", "))
}

struct Search<'a> {
    check: &'a Check<'a>,
    reader: BlobReader,
    /// Trees that have been counted.
    done: Bits,
    /// How much is lost below the trees below which something is.
    losses: HashMap<u32, u64>,
}

type Paths = BTreeMap<(Vec<u8>, Loss), Vec<Id>>;

/// A tree whose subtrees are being counted.
struct Frame {
    position: usize,
    below: Vec<usize>,
    count: u64,
}

impl Search<'_> {
    /// A place of a tree that can be read.
    fn find_tree(&self, tree: &Id) -> Option<usize> {
        let is_whole = self.is_whole(BlobKind::Tree, tree);
        self.check.index.position(BlobKind::Tree, tree).filter(|_| is_whole)
    }

    fn is_whole(&self, kind: BlobKind, id: &Id) -> bool {
        self.check.index.positions(kind, id).any(|position| !self.check.damaged.contains(position))
    }

    fn loss(&self, node: &Node) -> Option<Loss> {
        let is_lost = |id: &Id| !self.is_whole(BlobKind::Data, id);
        match (&node.kind, fault(node)) {
            (NodeKind::Dir, Some(_)) => Some(Loss::Directory),
            (NodeKind::File, Some(_)) => Some(Loss::Content),
            (_, Some(_)) => Some(Loss::Entry),
            (NodeKind::File, None) => node.content.iter().flatten().any(is_lost).then_some(Loss::Content),
            (NodeKind::Dir, None) => {
                let subtree = node.subtree.as_ref().expect("a directory without fault has a tree");
                self.find_tree(subtree).is_none().then_some(Loss::Directory)
            }
            _ => None,
        }
    }

    /// How many entries of a tree cannot be restored; 1 if the tree itself is lost.
    fn count(&mut self, root: &Id) -> Result<u64> {
        let Some(root) = self.find_tree(root) else { return Ok(1) };
        let mut stack = Vec::new();
        if self.done.insert(root) {
            stack.push(self.open(root)?);
        }
        while let Some(frame) = stack.last_mut() {
            match frame.below.pop() {
                Some(tree) if self.done.insert(tree) => {
                    frame.below.push(tree);
                    let frame = self.open(tree)?;
                    stack.push(frame);
                }
                Some(tree) => frame.count += self.known(tree),
                None => {
                    if frame.count > 0 {
                        self.losses.insert(frame.position as u32, frame.count);
                    }
                    stack.pop();
                }
            }
        }
        Ok(self.known(root))
    }

    fn known(&self, tree: usize) -> u64 {
        self.losses.get(&(tree as u32)).copied().unwrap_or(0)
    }

    fn open(&mut self, position: usize) -> Result<Frame> {
        let mut frame = Frame { position, below: Vec::new(), count: 0 };
        self.each_node(position, |search, node| {
            if search.loss(&node).is_some() {
                frame.count += 1;
            } else if let Some(subtree) = &node.subtree {
                frame.below.extend(search.find_tree(subtree));
            }
        })?;
        Ok(frame)
    }

    /// What cannot be read of a tree that was whole a moment ago is passed over: its pack is told of by then.
    fn each_node(&mut self, position: usize, mut each: impl FnMut(&Self, Node)) -> Result<()> {
        let (_, tree) = self.check.index.blob(position);
        let json = match self.reader.load(BlobKind::Tree, &tree) {
            Ok(json) => json.to_vec(),
            Err(e) => return of_the_file(e).map(drop),
        };
        tree::nodes(&json).flatten().for_each(|node| each(self, node));
        Ok(())
    }

    /// Adds the losses of a snapshot to the list while there is room; returns how many of them are in it.
    fn list(&mut self, root: &Root, paths: &mut Paths) -> Result<u64> {
        let mut listed = 0;
        let mut add = |path: Vec<u8>, loss: Loss| {
            let has_room = paths.len() < limits::MAX_AFFECTED_PATHS;
            let key = (path, loss);
            if has_room || paths.contains_key(&key) {
                paths.entry(key).or_default().push(root.snapshot);
                listed += 1;
            }
        };
        let mut visited = 0;
        let mut stack = match self.find_tree(&root.tree) {
            Some(tree) => vec![(tree, Vec::new())],
            None => {
                add(b"/".to_vec(), Loss::Directory);
                Vec::new()
            }
        };
        while let Some((tree, path)) = stack.pop() {
            self.each_node(tree, |search, node| {
                let path = || [&path[..], b"/", &node.name[..]].concat();
                if visited >= limits::MAX_AFFECTED_PATHS {
                    return;
                }
                if let Some(loss) = search.loss(&node) {
                    visited += 1;
                    add(path(), loss);
                } else if let Some(tree) = node.subtree.as_ref().and_then(|subtree| search.find_tree(subtree))
                    && search.known(tree) > 0
                {
                    stack.push((tree, path()));
                }
            })?;
            if visited >= limits::MAX_AFFECTED_PATHS {
                break;
            }
        }
        Ok(listed)
    }
}
