//! What `find` finds: entries snapshot by snapshot, and the places of blobs, trees and packs.
//!
//! JSON is one array, as restic prints it, and goes out piece by piece: a long search neither waits nor fills
//! memory. A printer that is not finished leaves the array open.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use pillion_repository::format::blob::BlobKind;
use pillion_repository::format::id::Id;
use pillion_repository::format::time::Timestamp;
use pillion_repository::format::tree::Node;
use pillion_repository::index::Index;
use serde::Serialize;

use super::listing::{LineStyle, is_zero, kind_word, node_line};
use super::quote::quote;
use super::{Output, Style, Verbosity, format};

#[derive(Serialize)]
struct FoundNode<'a> {
    path: &'a str,
    permissions: String,
    r#type: &'static str,
    #[serde(skip_serializing_if = "is_zero")]
    mode: u64,
    mtime: String,
    atime: String,
    ctime: String,
    uid: u32,
    gid: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    user: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    group: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    inode: u64,
    #[serde(skip_serializing_if = "is_zero")]
    device_id: u64,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    #[serde(skip_serializing_if = "is_zero")]
    links: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    linktarget: &'a str,
}

fn found_json(path: &[u8], node: &Node) -> String {
    super::to_json(&FoundNode {
        path: &String::from_utf8_lossy(path),
        permissions: format::mode(node.mode),
        r#type: kind_word(node.kind),
        mode: node.mode.into(),
        mtime: format::rfc3339(node.mtime),
        atime: format::rfc3339(node.atime),
        ctime: format::rfc3339(node.ctime),
        uid: node.uid,
        gid: node.gid,
        user: &node.user,
        group: &node.group,
        inode: node.inode,
        device_id: node.device_id,
        size: node.size,
        links: node.links,
        linktarget: &String::from_utf8_lossy(&node.link_target),
    })
}

/// Prints what `find` finds, snapshot by snapshot. [`FindPrinter::finish`] ends the JSON.
#[derive(Debug)]
pub struct FindPrinter<'a> {
    output: &'a Output,
    line_style: LineStyle,
    /// The snapshot of the last hit, and how many it has.
    current: Option<(Id, u64)>,
    /// JSON is one array; a line of it is a snapshot's hits.
    text: String,
}

impl<'a> FindPrinter<'a> {
    pub fn new(output: &'a Output, line_style: LineStyle) -> Self {
        Self { output, line_style, current: None, text: String::new() }
    }

    pub fn hit(&mut self, snapshot: Id, time: Timestamp, path: &[u8], node: &Node) {
        let is_first = self.current.is_none();
        let is_new = self.current.is_none_or(|(id, _)| id != snapshot);
        if self.output.style == Style::Json {
            if is_new {
                self.end_snapshot();
                self.text.push_str(if is_first { "[{\"matches\":[" } else { ",{\"matches\":[" });
            } else {
                self.text.push(',');
            }
            self.text.push_str(&found_json(path, node));
        } else {
            if is_new {
                if !is_first {
                    self.output.tell(Verbosity::Essential, "");
                }
                let time = format::time(time, &self.output.zone);
                let header = format!("Found matching entries in snapshot {} from {time}", snapshot.short());
                self.output.tell(Verbosity::Essential, &header);
            }
            self.output.line(&node_line(path, node, self.line_style, &self.output.zone));
        }
        let hits = self.current.filter(|_| !is_new).map_or(0, |(_, hits)| hits);
        self.current = Some((snapshot, hits + 1));
    }

    fn end_snapshot(&mut self) {
        if let Some((id, hits)) = self.current {
            self.text.push_str(&format!("],\"hits\":{hits},\"snapshot\":\"{id}\"}}"));
        }
        // A snapshot at a time goes out, so that a long search neither waits nor fills memory.
        if !self.text.is_empty() && self.output.raw(self.text.as_bytes()).is_ok() {
            self.text.clear();
        }
        self.text.clear();
    }

    pub fn finish(mut self) {
        if self.output.style == Style::Json {
            let end = if self.current.is_some() { "]" } else { "[]" };
            self.end_snapshot();
            self.output.line(end);
        }
    }
}

/// A place of a blob or a tree in a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct ObjectPlace<'a> {
    pub kind: BlobKind,
    pub id: Id,
    pub path: &'a [u8],
    /// The tree that names the blob.
    pub parent_tree: Id,
    pub snapshot: Id,
    pub time: Timestamp,
}

#[derive(Serialize)]
struct FoundObject<'a> {
    object_type: &'static str,
    id: Id,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_tree: Option<Id>,
    snapshot: Id,
    time: Timestamp,
}

/// Prints where objects are. [`ObjectPrinter::finish`] ends the JSON.
#[derive(Debug)]
pub struct ObjectPrinter<'a> {
    output: &'a Output,
    has_hits: bool,
}

impl<'a> ObjectPrinter<'a> {
    pub fn new(output: &'a Output) -> Self {
        Self { output, has_hits: false }
    }

    pub fn hit(&mut self, place: &ObjectPlace<'_>) {
        let is_blob = place.kind == BlobKind::Data;
        if self.output.style == Style::Json {
            let object = super::to_json(&FoundObject {
                object_type: object_word(place.kind),
                id: place.id,
                path: &String::from_utf8_lossy(place.path),
                parent_tree: is_blob.then_some(place.parent_tree),
                snapshot: place.snapshot,
                time: place.time,
            });
            let text = format!("{}{object}", if self.has_hits { "," } else { "[" });
            self.output.text(&text);
        } else {
            self.output.line(&format!("Found {} {}", object_word(place.kind), place.id));
            if is_blob {
                self.output.line(&format!(" ... in file {}", quote(place.path)));
                self.output.line(&format!("     (tree {})", place.parent_tree));
            } else {
                self.output.line(&format!(" ... path {}", quote(place.path)));
            }
            let time = format::time(place.time, &self.output.zone);
            self.output.line(&format!(" ... in snapshot {} ({time})", place.snapshot.short()));
        }
        self.has_hits = true;
    }

    pub fn finish(self) {
        if self.output.style == Style::Json {
            self.output.line(if self.has_hits { "]" } else { "[]" });
        }
    }
}

fn object_word(kind: BlobKind) -> &'static str {
    match kind {
        BlobKind::Data => "blob",
        BlobKind::Tree => "tree",
    }
}

/// Which pack each object lies in, for people alone: restic's JSON has no word for it.
pub fn packs_of(output: &Output, index: &Index, objects: &BTreeSet<(BlobKind, Id)>) {
    if output.style == Style::Json {
        return;
    }
    for (kind, id) in objects {
        let word = match kind {
            BlobKind::Data => "data",
            BlobKind::Tree => "tree",
        };
        match index.lookup(*kind, id).next() {
            Some(place) => {
                output.line(&format!("Object belongs to pack {}", place.pack));
                let (pack, id, offset, length) = (place.pack.short(), id.short(), place.offset, place.length);
                let plain = place.uncompressed_length.map_or(0, NonZeroU32::get);
                output.line(&format!(
                    " ... Pack {pack}: <Blob ({word}) {id}, offset {offset}, length {length}, uncompressed length {plain}>"
                ));
            }
            None => output.line(&format!("Object {} with type {word} not found in the index", id.short())),
        }
    }
}
