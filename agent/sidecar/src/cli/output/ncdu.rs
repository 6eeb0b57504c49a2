//! `ls --ncdu`: a snapshot as ncdu imports it, byte for byte as restic exports it.
//!
//! Nested lists, streamed: a directory's list is closed when an entry comes that is not in it. A printer that is not
//! finished leaves them open. The format is described at <https://dev.yorhel.nl/ncdu/jsonfmt>.

use pillion_repository::format::tree::{Node, NodeKind, mode};
use serde::Serialize;

use super::Output;

const BLOCK_BYTES: u64 = 512;

#[derive(Debug)]
pub struct NcduPrinter<'a> {
    output: &'a Output,
    /// How many directories are open, the root among them.
    open: usize,
}

#[derive(Serialize)]
struct NcduNode<'a> {
    name: &'a str,
    asize: u64,
    dsize: u64,
    dev: u64,
    ino: u64,
    nlink: u64,
    notreg: bool,
    uid: u32,
    gid: u32,
    mode: u32,
    mtime: i64,
}

impl<'a> NcduPrinter<'a> {
    /// Begins with the snapshot as it is stored.
    pub fn new(output: &'a Output, snapshot: &impl Serialize) -> Self {
        output.text(&format!("[1, 2, {}, [{{\"name\":\"/\"}}", super::to_json(snapshot)));
        Self { output, open: 1 }
    }

    /// `path` is absolute; the directory it is in was the last one told at its level.
    pub fn entry(&mut self, path: &[u8], node: &Node) {
        self.close(path.iter().filter(|byte| **byte == b'/').count());
        let indent = "  ".repeat(self.open);
        let text = ncdu_json(node);
        if node.kind == NodeKind::Dir {
            self.output.text(&format!(",\n{indent}[\n{indent}  {text}"));
            self.open += 1;
        } else {
            self.output.text(&format!(",\n{indent}{text}"));
        }
    }

    /// Closes directories until so many are open.
    fn close(&mut self, open: usize) {
        while self.open > open {
            self.open -= 1;
            self.output.text(&format!("\n{}]", "  ".repeat(self.open)));
        }
    }

    pub fn finish(mut self) {
        self.close(1);
        self.output.text("\n]\n]\n");
    }
}

fn ncdu_json(node: &Node) -> String {
    let size_bytes = if node.kind == NodeKind::File { node.size } else { 0 };
    super::to_json(&NcduNode {
        name: &String::from_utf8_lossy(&node.name),
        asize: size_bytes,
        dsize: size_bytes.div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES),
        dev: node.device_id,
        ino: node.inode,
        nlink: node.links,
        notreg: !matches!(node.kind, NodeKind::Dir | NodeKind::File),
        uid: node.uid,
        gid: node.gid,
        mode: mode::unix_permissions(node.mode),
        // ncdu refuses times before 1970.
        mtime: node.mtime.seconds.max(0),
    })
}
