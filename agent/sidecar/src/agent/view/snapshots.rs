//! Snapshots and what is in them, as JSON.
//!
//! Names of files are any bytes and JSON is text: a name is told as well as that goes, and beside it the path as a
//! request takes it, to the byte.

use pillion_repository::format::id::Id;
use pillion_repository::format::snapshot;
use pillion_repository::format::time::Timestamp;
use pillion_repository::format::tree::{Node, NodeKind};
use serde::Serialize;

use crate::cli::output::format;
use crate::percent;

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// 64 hex digits.
    pub id: String,
    /// When it was begun.
    pub time: String,
    pub host: String,
    pub paths: Vec<String>,
    pub tags: Vec<String>,
    /// What is in it; `null` where the program that made it did not say.
    pub files: Option<u64>,
    pub bytes: Option<u64>,
}

impl Snapshot {
    pub fn of(id: Id, snapshot: &snapshot::Snapshot) -> Self {
        let summary = snapshot.summary.as_ref();
        Self {
            id: id.to_string(),
            time: time(snapshot.time),
            host: snapshot.hostname.clone(),
            paths: snapshot.paths.clone(),
            tags: snapshot.tags.clone(),
            files: summary.map(|summary| summary.total_files_processed),
            bytes: summary.map(|summary| summary.total_bytes_processed),
        }
    }
}

/// A folder of a snapshot. Its entries are written one by one, as they are read.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Folder {
    /// The snapshot's ID.
    pub snapshot: String,
    /// As the parameter `path` takes it.
    pub path: String,
    pub entries: Vec<Entry>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// For people: what is no text is replaced.
    pub name: String,
    /// As the parameter `path` takes it: percent-encoded, to the byte.
    pub path: String,
    pub r#type: EntryKind,
    /// Of a file.
    pub size: Option<u64>,
    /// Like `-rw-r--r--`.
    pub mode: String,
    pub uid: u32,
    pub gid: u32,
    /// When it was last written.
    pub mtime: String,
    /// Of a symbolic link, for people.
    pub link_target: Option<String>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    File,
    Dir,
    Symlink,
    Dev,
    Chardev,
    Fifo,
    Socket,
    Irregular,
}

impl Entry {
    /// `folder` ends with a slash.
    pub fn of(folder: &[u8], node: &Node) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            name: text(&node.name),
            path: percent::encode(&[folder, &node.name].concat()),
            r#type: match node.kind {
                NodeKind::File => EntryKind::File,
                NodeKind::Dir => EntryKind::Dir,
                NodeKind::Symlink => EntryKind::Symlink,
                NodeKind::Dev => EntryKind::Dev,
                NodeKind::Chardev => EntryKind::Chardev,
                NodeKind::Fifo => EntryKind::Fifo,
                NodeKind::Socket => EntryKind::Socket,
                NodeKind::Irregular => EntryKind::Irregular,
            },
            size: (node.kind == NodeKind::File).then_some(node.size),
            mode: format::mode(node.mode),
            uid: node.uid,
            gid: node.gid,
            mtime: time(node.mtime),
            link_target: (node.kind == NodeKind::Symlink).then(|| text(&node.link_target)),
        }
    }
}

fn time(at: Timestamp) -> String {
    format::rfc3339(at.clamped())
}
