//! What is in a repository: the table of snapshots, and the lines of `ls` and `diff`. An entry is shown in one way by
//! all that list one: [`node_line`].

use pillion_repository::format::id::Id;
use pillion_repository::format::time::Timestamp;
use pillion_repository::format::tree::{Node, NodeKind};
use serde::Serialize;

use super::quote::quote;
use super::table::Table;
use super::{Output, Style, Verbosity, format};

/// What the table shows of a snapshot.
#[derive(Clone, Debug)]
pub struct SnapshotRow {
    pub id: Id,
    pub time: Timestamp,
    pub hostname: String,
    pub tags: Vec<String>,
    pub paths: Vec<String>,
    /// `total_bytes_processed` of its summary.
    pub size_bytes: Option<u64>,
}

/// The table of snapshots, oldest first whatever the order given.
pub fn snapshot_table(mut rows: Vec<SnapshotRow>, is_compact: bool, zone: &format::DisplayZone) -> String {
    rows.sort_by_key(|row| row.time);
    let has_size = rows.iter().any(|row| row.size_bytes.is_some());
    let mut columns = match is_compact {
        true => vec!["ID", "Time", "Host", "Tags  "],
        false => vec!["ID", "Time", "Host      ", "Tags      ", "Paths"],
    };
    if has_size {
        columns.push("Size");
    }
    let mut table = Table::new(columns);
    let shown = |texts: &[String], between: &str| {
        texts.iter().map(|text| quote(text.as_bytes()).into_owned()).collect::<Vec<_>>().join(between)
    };
    for row in &rows {
        let time = format::time(row.time, zone);
        let host = quote(row.hostname.as_bytes()).into_owned();
        let mut cells =
            vec![row.id.short(), time, host, shown(&row.tags, if is_compact { "\n" } else { "," })];
        if !is_compact {
            cells.push(shown(&row.paths, "\n"));
            table.is_spaced |= row.paths.len() > 1;
        }
        if has_size {
            cells.push(row.size_bytes.map(format::bytes).unwrap_or_default());
        }
        table.add(cells);
    }
    table.render(&[format!("Timestamps shown in {}", zone.name()), format!("{} snapshots", rows.len())])
}

/// What a group of snapshots has in common; fields that are not grouped by are `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct GroupKey {
    pub hostname: String,
    pub paths: Option<Vec<String>>,
    pub tags: Option<Vec<String>>,
}

impl GroupKey {
    /// The line above the group's table; none where nothing is grouped by.
    pub fn header(&self) -> Option<String> {
        let quoted = |texts: &[String]| {
            texts.iter().map(|text| quote(text.as_bytes()).into_owned()).collect::<Vec<_>>().join(", ")
        };
        let mut parts = Vec::new();
        if !self.hostname.is_empty() {
            parts.push(format!("host [{}]", quote(self.hostname.as_bytes())));
        }
        parts.extend(self.tags.as_ref().map(|tags| format!("tags [{}]", quoted(tags))));
        parts.extend(self.paths.as_ref().map(|paths| format!("paths [{}]", quoted(paths))));
        (!parts.is_empty()).then(|| format!("snapshots for ({}):", parts.join(", ")))
    }
}

/// A snapshot with its ID, as `snapshots --json` prints it. `S` is the snapshot as it is stored.
#[derive(Debug, Serialize)]
pub struct Identified<'a, S> {
    #[serde(flatten)]
    pub snapshot: &'a S,
    pub id: Id,
    pub short_id: String,
}

impl<'a, S> Identified<'a, S> {
    pub fn new(id: Id, snapshot: &'a S) -> Self {
        Self { snapshot, id, short_id: id.short() }
    }
}

/// A group of `snapshots --group-by --json`.
#[derive(Debug, Serialize)]
pub struct Group<'a, S> {
    pub group_key: GroupKey,
    pub snapshots: Vec<Identified<'a, S>>,
}

/// The first line of `ls --json`.
#[derive(Debug, Serialize)]
pub struct LsSnapshot<'a, S> {
    #[serde(flatten)]
    snapshot: Identified<'a, S>,
    message_type: &'static str,
    struct_type: &'static str,
}

impl<'a, S> LsSnapshot<'a, S> {
    pub fn new(id: Id, snapshot: &'a S) -> Self {
        Self { snapshot: Identified::new(id, snapshot), message_type: "snapshot", struct_type: "snapshot" }
    }
}

/// How an entry is shown: a path alone, or a long line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineStyle {
    #[default]
    Path,
    Long,
    /// Long, with sizes in KiB, MiB...
    LongHuman,
}

/// The line of an entry in `ls` and `find`. `path` is the entry's in the snapshot.
pub fn node_line(path: &[u8], node: &Node, style: LineStyle, zone: &format::DisplayZone) -> String {
    if style == LineStyle::Path {
        return quote(path).into_owned();
    }
    let size = match style {
        LineStyle::LongHuman => format::bytes(node.size),
        _ => format!("{:6}", node.size),
    };
    let mode = format::mode(node.mode | kind_bits(node.kind));
    let time = format::time(node.mtime, zone);
    let target = match node.kind {
        NodeKind::Symlink => format!(" -> {}", quote(&node.link_target)),
        _ => String::new(),
    };
    format!("{mode} {:5} {:5} {size} {time} {}{target}", node.uid, node.gid, quote(path))
}

fn kind_bits(kind: NodeKind) -> u32 {
    match kind {
        NodeKind::File | NodeKind::Irregular => 0,
        NodeKind::Dir => 1 << 31,
        NodeKind::Symlink => 1 << 27,
        NodeKind::Dev => 1 << 26,
        NodeKind::Chardev => 1 << 26 | 1 << 21,
        NodeKind::Fifo => 1 << 25,
        NodeKind::Socket => 1 << 24,
    }
}

pub(super) fn kind_word(kind: NodeKind) -> &'static str {
    match kind {
        NodeKind::File => "file",
        NodeKind::Dir => "dir",
        NodeKind::Symlink => "symlink",
        NodeKind::Dev => "dev",
        NodeKind::Chardev => "chardev",
        NodeKind::Fifo => "fifo",
        NodeKind::Socket => "socket",
        NodeKind::Irregular => "irregular",
    }
}

#[derive(Serialize)]
struct LsNode<'a> {
    name: &'a str,
    r#type: &'static str,
    path: &'a str,
    uid: u32,
    gid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "is_zero")]
    mode: u64,
    permissions: String,
    mtime: String,
    atime: String,
    ctime: String,
    #[serde(skip_serializing_if = "is_zero")]
    inode: u64,
    message_type: &'static str,
    struct_type: &'static str,
}

/// An entry as `ls --json` prints it.
pub fn ls_json(path: &[u8], node: &Node) -> String {
    super::to_json(&LsNode {
        name: &String::from_utf8_lossy(&node.name),
        r#type: kind_word(node.kind),
        path: &String::from_utf8_lossy(path),
        uid: node.uid,
        gid: node.gid,
        size: (node.kind == NodeKind::File).then_some(node.size),
        mode: node.mode.into(),
        permissions: format::mode(node.mode),
        mtime: format::rfc3339(node.mtime),
        atime: format::rfc3339(node.atime),
        ctime: format::rfc3339(node.ctime),
        inode: node.inode,
        message_type: "node",
        struct_type: "node",
    })
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
pub(super) fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// One changed entry of `diff`. `modifier` is restic's: `+`, `-`, `M`, `T`, `U`, `?` and their sums.
pub fn diff_change(output: &Output, path: &[u8], modifier: &str) {
    #[derive(Serialize)]
    struct Change<'a> {
        message_type: &'static str,
        path: &'a str,
        modifier: &'a str,
    }
    match output.style {
        _ if output.verbosity == Verbosity::Quiet => {}
        Style::Json => {
            output.json(&Change { message_type: "change", path: &String::from_utf8_lossy(path), modifier });
        }
        Style::Text => output.line(&format!("{modifier:<5}{}", quote(path))),
    }
}
