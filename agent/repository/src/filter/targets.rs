//! From the paths to back up to the tree a snapshot shows, as restic lays it out.
//!
//! An absolute target keeps its whole path; a relative one keeps what was written, without the `..` in
//! front. `.`, `..`, `/` stand for what is in the directory. Two targets that would both be `name` at the top
//! become `name` and `name-1`. A target inside another one splits it: the outer directory turns virtual, with
//! what it holds as leaves.
//!
//! Lexical, but for the listings a closure gives. Nothing in here follows a link or asks what an entry is.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::path;

/// Names below a directory, in the order they are stored.
pub type Children = BTreeMap<Vec<u8>, TargetNode>;

/// What a snapshot holds, before anything is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetTree {
    pub children: Children,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetNode {
    /// The entry at `path` with all that is below it. Relative paths start at the working directory.
    Leaf {
        path: Vec<u8>,
        /// The user named it: no exclude applies to the entry itself. See `filter::exclude`.
        explicit: bool,
    },
    /// A directory on the way to leaves: it has the metadata of `metadata_path` (links followed), and holds
    /// `children` and nothing else. No exclude applies to it.
    Directory { metadata_path: Vec<u8>, children: Children },
}

#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    #[error("nothing to backup, please specify source files/dirs")]
    NoTargets,
    #[error("list {path}: {source}")]
    List { path: String, source: io::Error },
    /// Two targets claim one place: the source changed while the tree was laid out.
    #[error("{path} is a target twice")]
    Collision { path: String },
}

/// Lists the names in a directory, without `.` and `..`, in any order.
pub type ListNames<'a> = dyn FnMut(&[u8]) -> io::Result<Vec<Vec<u8>>> + 'a;

/// The targets that are there, and the others.
#[derive(Debug)]
pub struct Existing {
    pub targets: Vec<Vec<u8>>,
    /// The snapshot is incomplete if there are any.
    pub missing: Vec<MissingTarget>,
}

#[derive(Debug)]
pub struct MissingTarget {
    pub path: Vec<u8>,
    pub source: io::Error,
}

/// Looks at every target (`lstat`, no link followed). That none is named is an error.
pub fn existing(
    targets: Vec<Vec<u8>>,
    lstat: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<Existing, TargetError> {
    if targets.is_empty() {
        return Err(TargetError::NoTargets);
    }
    let mut existing = Existing { targets: Vec::with_capacity(targets.len()), missing: Vec::new() };
    for path in targets {
        // The empty path would be cleaned into the working directory, which nobody asked for.
        let found = if path.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { lstat(&path) };
        match found {
            Ok(()) => existing.targets.push(path),
            Err(source) => existing.missing.push(MissingTarget { path, source }),
        }
    }
    Ok(existing)
}

/// The `paths` of the snapshot: the targets as given (`.` is not expanded), absolute, in their order, with
/// duplicates.
pub fn snapshot_paths(targets: &[Vec<u8>], working_directory: &[u8]) -> Vec<Vec<u8>> {
    targets.iter().map(|target| path::absolute(target, working_directory)).collect()
}

impl TargetTree {
    /// Lays out `targets`, which exist.
    pub fn build(targets: &[Vec<u8>], list: &mut ListNames<'_>) -> Result<Self, TargetError> {
        let mut top = Draft::default();
        let mut seen = BTreeSet::new();
        for (target, explicit) in expand_bare_directories(targets, list)? {
            if seen.insert(target.clone()) {
                top.add_target(&target, explicit)?;
            }
        }
        top.split_leaves(list)?;
        Ok(Self { children: finish_children(top.children) })
    }
}

/// Replaces targets that have no name of their own (`.`, `../..`, `/`) by what is in them.
fn expand_bare_directories(
    targets: &[Vec<u8>],
    list: &mut ListNames<'_>,
) -> Result<Vec<(Vec<u8>, bool)>, TargetError> {
    let mut expanded = Vec::with_capacity(targets.len());
    for target in targets {
        let target = path::clean(target);
        if !components(&target).is_empty() {
            expanded.push((target, true));
            continue;
        }
        let mut names = list_names(&target, list)?;
        names.sort();
        expanded.extend(names.iter().map(|name| (path::join(&target, name), false)));
    }
    Ok(expanded)
}

fn list_names(path: &[u8], list: &mut ListNames<'_>) -> Result<Vec<Vec<u8>>, TargetError> {
    list(path).map_err(|source| TargetError::List { path: path::lossy(path), source })
}

/// The names a target has in the snapshot, outermost first.
fn components(target: &[u8]) -> Vec<Vec<u8>> {
    // Cleaning below the root takes away the `..` in front of a relative target.
    let below_root = path::clean(&[b"/", target].concat());
    below_root.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect()
}

/// The directory on disk that holds the first of a cleaned target's [`components`].
fn starting_directory(target: &[u8]) -> Vec<u8> {
    if target[0] == b'/' {
        return b"/".to_vec();
    }
    let ascents = target.split(|&byte| byte == b'/').take_while(|&name| name == b"..").count();
    path::clean(&vec![&b".."[..]; ascents].join(&b'/'))
}

/// A node while targets are being added: it may be a leaf and have children at once.
#[derive(Debug, Default)]
struct Draft {
    children: BTreeMap<Vec<u8>, Draft>,
    leaf: Option<Leaf>,
    /// Where it is. Only at the top can this end in another name than the node's.
    on_disk: Vec<u8>,
}

#[derive(Debug)]
struct Leaf {
    path: Vec<u8>,
    explicit: bool,
}

impl Draft {
    /// Adds a target at the top.
    ///
    /// restic compares only the directories two equal names come from, so that `p`, `../p`, `../p-1` end as
    /// two entries and `../p` is silently not backed up. Here it is the whole path that has to differ.
    fn add_target(&mut self, target: &[u8], explicit: bool) -> Result<(), TargetError> {
        let names = components(target);
        let (first, below) = names.split_first().expect("a target without a name was expanded");
        let on_disk = path::join(&starting_directory(target), first);
        let mut name = first.clone();
        let mut attempt = 0;
        while self.children.get(&name).is_some_and(|other| other.on_disk != on_disk) {
            attempt += 1;
            name = [first, format!("-{attempt}").as_bytes()].concat();
        }
        let mut node = self.children.entry(name).or_default();
        node.on_disk = on_disk;
        for name in below {
            let on_disk = path::join(&node.on_disk, name);
            node = node.children.entry(name.clone()).or_default();
            node.on_disk = on_disk;
        }
        if node.leaf.is_some() {
            return Err(TargetError::Collision { path: path::lossy(target) });
        }
        node.leaf = Some(Leaf { path: target.to_vec(), explicit });
        Ok(())
    }

    /// Turns each leaf that other targets lie below into a directory of all its entries.
    fn split_leaves(&mut self, list: &mut ListNames<'_>) -> Result<(), TargetError> {
        if !self.children.is_empty()
            && let Some(leaf) = self.leaf.take()
        {
            for name in list_names(&leaf.path, list)? {
                let path = path::join(&leaf.path, &name);
                let child = self.children.entry(name).or_default();
                match &child.leaf {
                    None => child.leaf = Some(Leaf { path, explicit: false }),
                    Some(other) if other.path == path => {}
                    Some(_) => return Err(TargetError::Collision { path: path::lossy(&path) }),
                }
            }
        }
        self.children.values_mut().try_for_each(|child| child.split_leaves(list))
    }
}

fn finish_children(children: BTreeMap<Vec<u8>, Draft>) -> Children {
    let finish = |draft: Draft| match draft.leaf {
        Some(Leaf { path, explicit }) => TargetNode::Leaf { path, explicit },
        None => {
            TargetNode::Directory { metadata_path: draft.on_disk, children: finish_children(draft.children) }
        }
    };
    children.into_iter().map(|(name, draft)| (name, finish(draft))).collect()
}

#[cfg(test)]
mod tests;
