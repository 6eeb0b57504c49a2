//! Which snapshot is meant, and what in it: the words people use, turned into IDs and nodes.
//!
//! As restic has it: a unique beginning of an ID, `latest` with filters, and `SNAPSHOT:/path` for a part of one.
//! Needs no lock for snapshots; walking to a path needs the index. Changes nothing.

use pillion_backend::{self as backend, FileKind};

use crate::error::{Error, Result};
use crate::format::id::Id;
use crate::format::snapshot::Snapshot;
use crate::format::time::Timestamp;
use crate::format::tree::{Node, NodeKind};
use crate::repository::{BlobReader, NamedSnapshot, Repository};

/// Which snapshots count. The default is all of them.
#[derive(Clone, Debug, Default)]
pub struct SnapshotFilter {
    /// One of these, where any is given.
    pub hosts: Vec<String>,
    /// All tags of one of these lists, where any is given; the empty tag stands for "has no tags".
    pub tags: Vec<Vec<String>>,
    /// All of these; absolute and clean.
    pub paths: Vec<String>,
    /// Taken at that time or earlier. Counts for `latest` only.
    pub not_after: Option<Timestamp>,
}

impl SnapshotFilter {
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.tags.is_empty() && self.paths.is_empty()
    }

    pub fn matches(&self, snapshot: &Snapshot) -> bool {
        let has_host = self.hosts.is_empty() || self.hosts.contains(&snapshot.hostname);
        let has_tags = self.tags.is_empty() || self.tags.iter().any(|tags| has_tags(snapshot, tags));
        has_host && has_tags && snapshot.has_paths(&self.paths)
    }
}

fn has_tags(snapshot: &Snapshot, tags: &[String]) -> bool {
    let mut missing = tags.iter().filter(|tag| !snapshot.tags.contains(tag));
    match missing.next() {
        None => true,
        Some(tag) => tag.is_empty() && snapshot.tags.is_empty(),
    }
}

/// The one snapshot that `name` means, and the path behind its colon (empty: the whole snapshot).
///
/// A snapshot that cannot be read is an error for `latest`: it could have been the one.
pub fn find_snapshot(
    repository: &Repository,
    name: &[u8],
    filter: &SnapshotFilter,
) -> Result<(Id, Snapshot, Vec<u8>)> {
    let colon = name.iter().position(|byte| *byte == b':');
    let (name, path) = colon.map_or((name, &b""[..]), |colon| (&name[..colon], &name[colon + 1..]));
    let (id, snapshot) = if name == b"latest" {
        find_latest(repository, filter)?
    } else {
        let id = find_id(repository, &String::from_utf8_lossy(name))?;
        (id, load(repository, &id)?)
    };
    Ok((id, snapshot, path.to_vec()))
}

/// The ID of the one snapshot that begins like this.
pub fn find_id(repository: &Repository, prefix: &str) -> Result<Id> {
    if let Ok(id) = prefix.parse() {
        return Ok(id);
    }
    let ids = repository.store.list_ids(FileKind::Snapshot)?;
    let mut matching = ids.iter().filter(|id| !prefix.is_empty() && id.to_string().starts_with(prefix));
    match (matching.next(), matching.next()) {
        (Some(id), None) => Ok(*id),
        (None, _) => Err(Error::NoSnapshot(prefix.to_owned())),
        (Some(_), Some(_)) => Err(Error::AmbiguousPrefix(prefix.to_owned())),
    }
}

/// The snapshots `names` mean, each once, in their order; without names all that the filter lets through,
/// oldest first, and what is wrong with those that cannot be read.
pub fn select_snapshots(
    repository: &Repository,
    names: &[String],
    filter: &SnapshotFilter,
) -> Result<(Vec<NamedSnapshot>, Vec<Error>)> {
    if names.is_empty() {
        let (mut snapshots, damaged) = repository.load_snapshots()?;
        snapshots.retain(|(_, snapshot)| filter.matches(snapshot));
        return Ok((snapshots, damaged));
    }
    let mut found: Vec<(Id, Snapshot)> = Vec::new();
    for name in names {
        let (id, snapshot, path) = find_snapshot(repository, name.as_bytes(), filter)?;
        if !path.is_empty() {
            return Err(Error::Refused(format!("{name:?}: a path behind a snapshot is not possible here")));
        }
        if found.iter().all(|(known, _)| *known != id) {
            found.push((id, snapshot));
        }
    }
    Ok((found, Vec::new()))
}

fn find_latest(repository: &Repository, filter: &SnapshotFilter) -> Result<(Id, Snapshot)> {
    let (snapshots, damaged) = repository.load_snapshots()?;
    if let Some(error) = damaged.into_iter().next() {
        return Err(error);
    }
    let in_time = |snapshot: &Snapshot| filter.not_after.is_none_or(|limit| snapshot.time <= limit);
    let mut newest_first = snapshots.into_iter().rev();
    newest_first
        .find(|(_, snapshot)| in_time(snapshot) && filter.matches(snapshot))
        .ok_or_else(|| Error::NoSnapshot("latest".to_owned()))
}

fn load(repository: &Repository, id: &Id) -> Result<Snapshot> {
    match repository.load_snapshot(id) {
        Err(Error::Backend(e)) if e.kind == backend::ErrorKind::NotFound => {
            Err(Error::NoSnapshot(id.to_string()))
        }
        loaded => loaded,
    }
}

/// The node at a path below a tree. For the tree itself (an empty path, `/`) a directory without a name.
pub fn find_node(reader: &mut BlobReader, root: &Id, path: &[u8]) -> Result<Node> {
    let mut node = Node { subtree: Some(*root), ..Node::new(Vec::new(), NodeKind::Dir) };
    let mut walked = Vec::new();
    for name in clean(path) {
        let Some(subtree) = node.subtree else { return Err(refused(&walked, "not a directory")) };
        walked.push(b'/');
        walked.extend_from_slice(name);
        let mut found = None;
        reader.each_node(&subtree, &mut |entry| {
            if entry.name == name {
                found = Some(entry);
            }
            Ok(())
        })?;
        node = found.ok_or_else(|| refused(&walked, "not found"))?;
    }
    Ok(node)
}

/// The tree of the directory at a path below a tree.
pub fn find_tree(reader: &mut BlobReader, root: &Id, path: &[u8]) -> Result<Id> {
    let node = find_node(reader, root, path)?;
    node.subtree.filter(|_| node.kind == NodeKind::Dir).ok_or_else(|| refused(path, "not a directory"))
}

fn refused(path: &[u8], why: &'static str) -> Error {
    Error::NotInSnapshot { path: String::from_utf8_lossy(path).into_owned(), why }
}

/// The names a path leads through; `.` counts for nothing, `..` takes the last one back.
fn clean(path: &[u8]) -> Vec<&[u8]> {
    let mut names = Vec::new();
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    names
}

#[cfg(test)]
mod tests;
