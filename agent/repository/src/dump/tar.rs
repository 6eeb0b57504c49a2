//! The headers of a tar archive: `ustar`, with an extended header (`pax`) before it for what that cannot say.
//!
//! An extended header is written for names and link targets that are long or not ASCII, numbers that are too large,
//! times with a fraction, and extended attributes. ACLs are written as text, as GNU tar and bsdtar read them.

use crate::format::tree::{ExtendedAttribute, Node, NodeKind, mode};

const BLOCK_BYTES: usize = 512;
static ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];

/// Two empty blocks.
pub(super) const END: [u8; 2 * BLOCK_BYTES] = [0; 2 * BLOCK_BYTES];

/// The fields of a header block: where they begin and how long they are.
const NAME: (usize, usize) = (0, 100);
const MODE: (usize, usize) = (100, 8);
const UID: (usize, usize) = (108, 8);
const GID: (usize, usize) = (116, 8);
const SIZE: (usize, usize) = (124, 12);
const MTIME: (usize, usize) = (136, 12);
const CHECKSUM: (usize, usize) = (148, 8);
const TYPE: usize = 156;
const LINK_TARGET: (usize, usize) = (157, 100);
const MAGIC: (usize, usize) = (257, 8);
const USER: (usize, usize) = (265, 32);
const GROUP: (usize, usize) = (297, 32);

/// What fills a file's last block.
pub(super) fn padding(size_bytes: u64) -> &'static [u8] {
    let used = (size_bytes % BLOCK_BYTES as u64) as usize;
    &ZEROS[..(BLOCK_BYTES - used) % BLOCK_BYTES]
}

/// The blocks before an entry's content. `path` is relative.
pub(super) fn header(path: &[u8], node: &Node) -> Vec<u8> {
    let mut name = path.to_vec();
    if node.kind == NodeKind::Dir {
        name.push(b'/');
    }
    let mut block = Block::default();
    let size_bytes = if node.kind == NodeKind::File { node.size } else { 0 };
    block.text(NAME, &name, "path");
    block.text(USER, node.user.as_bytes(), "uname");
    block.text(GROUP, node.group.as_bytes(), "gname");
    block.number(MODE, mode::unix_permissions(node.mode).into(), None);
    block.number(UID, node.uid.into(), Some("uid"));
    block.number(GID, node.gid.into(), Some("gid"));
    block.number(SIZE, size_bytes, Some("size"));
    block.time(node);
    block.bytes[TYPE] = match node.kind {
        NodeKind::Dir => b'5',
        NodeKind::Symlink => b'2',
        _ => b'0',
    };
    if node.kind == NodeKind::Symlink {
        block.text(LINK_TARGET, &node.link_target, "linkpath");
    }
    for attribute in &node.rare.extended_attributes {
        block.attribute(attribute);
    }
    block.finish(&name)
}

struct Block {
    bytes: [u8; BLOCK_BYTES],
    /// Records of the extended header.
    records: Vec<u8>,
}

impl Default for Block {
    fn default() -> Self {
        let mut block = Self { bytes: [0; BLOCK_BYTES], records: Vec::new() };
        block.put(MAGIC, b"ustar\x0000");
        block
    }
}

impl Block {
    fn put(&mut self, (start, _): (usize, usize), bytes: &[u8]) {
        self.bytes[start..start + bytes.len()].copy_from_slice(bytes);
    }

    fn text(&mut self, field: (usize, usize), text: &[u8], key: &str) {
        if text.len() > field.1 || !text.is_ascii() {
            self.record(key, text);
        }
        // Readers that know no extended headers see the beginning.
        self.put(field, &text[..text.len().min(field.1)]);
    }

    fn number(&mut self, field: (usize, usize), number: u64, key: Option<&str>) {
        let digits = format!("{number:0width$o}", width = field.1 - 1);
        if digits.len() < field.1 {
            return self.put(field, digits.as_bytes());
        }
        self.put(field, "0".repeat(field.1 - 1).as_bytes());
        if let Some(key) = key {
            self.record(key, number.to_string().as_bytes());
        }
    }

    fn time(&mut self, node: &Node) {
        let time = node.mtime;
        let whole = u64::try_from(time.seconds).ok().filter(|seconds| *seconds < 1 << 33);
        self.number(MTIME, whole.unwrap_or(0), None);
        if whole.is_none() || time.nanoseconds > 0 {
            // Before 1970 the fraction counts forward from the second, the text away from zero.
            let (sign, seconds, nanoseconds) = match (time.seconds < 0, time.nanoseconds) {
                (true, 0) => ("-", time.seconds.unsigned_abs(), 0),
                (true, part) => ("-", (time.seconds + 1).unsigned_abs(), 1_000_000_000 - part),
                (false, part) => ("", time.seconds.unsigned_abs(), part),
            };
            let text = match nanoseconds {
                0 => format!("{sign}{seconds}"),
                part => format!("{sign}{seconds}.{part:09}").trim_end_matches('0').to_owned(),
            };
            self.record("mtime", text.as_bytes());
        }
    }

    fn attribute(&mut self, attribute: &ExtendedAttribute) {
        let acl = match attribute.name.as_slice() {
            b"system.posix_acl_access" => Some("SCHILY.acl.access"),
            b"system.posix_acl_default" => Some("SCHILY.acl.default"),
            _ => None,
        };
        if let Some(key) = acl {
            if let Some(text) = acl_text(&attribute.value) {
                self.record(key, text.as_bytes());
            }
            return;
        }
        let key = String::from_utf8_lossy(&attribute.name);
        // The key of a record ends at the first of these.
        if !key.contains('=') {
            self.record(&format!("SCHILY.xattr.{key}"), &attribute.value);
        }
    }

    /// `LENGTH KEY=VALUE\n`, where the length counts its own digits too.
    fn record(&mut self, key: &str, value: &[u8]) {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while rest + length.to_string().len() != length {
            length = rest + length.to_string().len();
        }
        self.records.extend_from_slice(format!("{length} {key}=").as_bytes());
        self.records.extend_from_slice(value);
        self.records.push(b'\n');
    }

    fn finish(mut self, name: &[u8]) -> Vec<u8> {
        let records = std::mem::take(&mut self.records);
        let mut blocks = Vec::with_capacity(2 * BLOCK_BYTES + records.len());
        if !records.is_empty() {
            let mut extended = Self::default();
            let last = name.split(|byte| *byte == b'/').rfind(|part| !part.is_empty()).unwrap_or_default();
            let shown = [b"PaxHeaders.0/", &last[..last.len().min(NAME.1 - 13)]].concat();
            extended.put(NAME, &shown);
            extended.number(MODE, 0o644, None);
            extended.number(UID, 0, None);
            extended.number(GID, 0, None);
            extended.number(SIZE, records.len() as u64, None);
            extended.number(MTIME, 0, None);
            extended.bytes[TYPE] = b'x';
            extended.append_to(&mut blocks);
            blocks.extend_from_slice(&records);
            blocks.extend_from_slice(padding(records.len() as u64));
        }
        self.append_to(&mut blocks);
        blocks
    }

    fn append_to(mut self, blocks: &mut Vec<u8>) {
        // The sum is taken with blanks in its own place.
        self.put(CHECKSUM, b"        ");
        let sum: u32 = self.bytes.iter().map(|byte| u32::from(*byte)).sum();
        self.put(CHECKSUM, format!("{sum:06o}\0 ").as_bytes());
        blocks.extend_from_slice(&self.bytes);
    }
}

/// An ACL as text, from the form in which Linux stores it; `None` where it is none.
fn acl_text(value: &[u8]) -> Option<String> {
    let (version, entries) = value.split_first_chunk::<4>()?;
    let (entries, rest) = entries.as_chunks::<8>();
    if u32::from_le_bytes(*version) != 2 || !rest.is_empty() {
        return None;
    }
    let mut text = String::new();
    for entry in entries {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        let permissions = u16::from_le_bytes([entry[2], entry[3]]);
        let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
        let who = match tag {
            0x01 => "user:".to_owned(),
            0x02 => format!("user:{id}"),
            0x04 => "group:".to_owned(),
            0x08 => format!("group:{id}"),
            0x10 => "mask:".to_owned(),
            0x20 => "other:".to_owned(),
            _ => return None,
        };
        let letter = |bit: u16, letter: char| if permissions & bit == 0 { '-' } else { letter };
        text.push_str(&format!("{who}:{}{}{}\n", letter(4, 'r'), letter(2, 'w'), letter(1, 'x')));
    }
    Some(text)
}
