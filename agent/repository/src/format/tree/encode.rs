//! Writes nodes and trees. Hundreds of thousands a second are wanted, so bytes are pushed, nothing is formatted.
//!
//! The order of keys, and which are left out when empty, is restic's and must not change: it is hashed.

use data_encoding::{BASE64, HEXLOWER};

use super::{ExtendedAttribute, Node, check_name};
use crate::format::Invalid;
use crate::format::go_json::{write_name, write_string};
use crate::format::id::Id;

/// Appends one node, an element of a tree's `nodes`.
pub fn encode_node(out: &mut Vec<u8>, node: &Node) {
    out.extend_from_slice(b"{\"name\":");
    write_name(out, &node.name);
    out.extend_from_slice(b",\"type\":\"");
    out.extend_from_slice(node.kind.word().as_bytes());
    out.push(b'"');
    write_number(out, b",\"mode\":", u64::from(node.mode));
    write_times(out, node);
    out.extend_from_slice(b",\"uid\":");
    write_decimal(out, u64::from(node.uid));
    out.extend_from_slice(b",\"gid\":");
    write_decimal(out, u64::from(node.gid));
    write_text(out, b",\"user\":", node.user.as_bytes());
    write_text(out, b",\"group\":", node.group.as_bytes());
    write_number(out, b",\"inode\":", node.inode);
    write_number(out, b",\"device_id\":", node.device_id);
    write_number(out, b",\"size\":", node.size);
    write_number(out, b",\"links\":", node.links);
    write_text(out, b",\"linktarget\":", &node.link_target);
    if std::str::from_utf8(&node.link_target).is_err() {
        out.extend_from_slice(b",\"linktarget_raw\":\"");
        write_base64(out, &node.link_target);
        out.push(b'"');
    }
    write_extended_attributes(out, &node.rare.extended_attributes);
    if let Some(attributes) = &node.rare.generic_attributes {
        out.extend_from_slice(b",\"generic_attributes\":");
        out.extend_from_slice(attributes.as_bytes());
    }
    write_number(out, b",\"device\":", node.rare.device);
    write_content(out, node.content.as_deref());
    if let Some(subtree) = &node.subtree {
        out.extend_from_slice(b",\"subtree\":");
        write_id(out, subtree);
    }
    write_text(out, b",\"error\":", node.rare.error.as_bytes());
    out.push(b'}');
}

fn write_times(out: &mut Vec<u8>, node: &Node) {
    out.extend_from_slice(b",\"mtime\":\"");
    let start = out.len();
    node.mtime.write_to(out);
    let end = out.len();
    out.extend_from_slice(b"\",\"atime\":\"");
    if node.atime == node.mtime {
        out.extend_from_within(start..end);
    } else {
        node.atime.write_to(out);
    }
    out.extend_from_slice(b"\",\"ctime\":\"");
    if node.ctime == node.mtime {
        out.extend_from_within(start..end);
    } else {
        node.ctime.write_to(out);
    }
    out.push(b'"');
}

fn write_extended_attributes(out: &mut Vec<u8>, attributes: &[ExtendedAttribute]) {
    if attributes.is_empty() {
        return;
    }
    out.extend_from_slice(b",\"extended_attributes\":");
    let mut before = b'[';
    for attribute in attributes {
        out.push(before);
        before = b',';
        out.extend_from_slice(b"{\"name\":");
        write_string(out, &attribute.name);
        out.extend_from_slice(b",\"value\":\"");
        write_base64(out, &attribute.value);
        out.extend_from_slice(b"\"}");
    }
    out.push(b']');
}

fn write_content(out: &mut Vec<u8>, content: Option<&[Id]>) {
    out.extend_from_slice(b",\"content\":");
    let Some(content) = content else {
        out.extend_from_slice(b"null");
        return;
    };
    out.push(b'[');
    for (position, id) in content.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write_id(out, id);
    }
    out.push(b']');
}

fn write_text(out: &mut Vec<u8>, key: &[u8], text: &[u8]) {
    if !text.is_empty() {
        out.extend_from_slice(key);
        write_string(out, text);
    }
}

fn write_number(out: &mut Vec<u8>, key: &[u8], number: u64) {
    if number != 0 {
        out.extend_from_slice(key);
        write_decimal(out, number);
    }
}

fn write_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    while number >= 100 {
        start -= 2;
        digits[start..start + 2].copy_from_slice(&two_digits(number % 100));
        number /= 100;
    }
    start -= 2;
    digits[start..start + 2].copy_from_slice(&two_digits(number));
    start += usize::from(number < 10);
    out.extend_from_slice(&digits[start..]);
}

fn two_digits(number: u64) -> [u8; 2] {
    [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]
}

fn write_id(out: &mut Vec<u8>, id: &Id) {
    let mut quoted = [b'"'; 66];
    HEXLOWER.encode_mut(id.as_bytes(), &mut quoted[1..65]);
    out.extend_from_slice(&quoted);
}

fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + BASE64.encode_len(bytes.len()), 0);
    BASE64.encode_mut(bytes, &mut out[start..]);
}

/// Builds the text of one tree from nodes in ascending order of their names.
#[derive(Debug)]
pub struct TreeWriter {
    json: Vec<u8>,
    last_name: Vec<u8>,
}

impl TreeWriter {
    pub fn new() -> Self {
        Self { json: b"{\"nodes\":[".to_vec(), last_name: Vec::new() }
    }

    /// Bytes of the text so far.
    pub fn size_bytes(&self) -> usize {
        self.json.len()
    }

    /// # Errors
    /// If the name is no name, or does not come behind the one before; the tree is then as it was.
    pub fn push(&mut self, node: &Node) -> Result<(), Invalid> {
        self.begin_node(&node.name)?;
        encode_node(&mut self.json, node);
        Ok(())
    }

    /// The same with a node that [`encode_node`] has written before; `name` must be its name.
    pub fn push_encoded(&mut self, name: &[u8], node_json: &[u8]) -> Result<(), Invalid> {
        self.begin_node(name)?;
        self.json.extend_from_slice(node_json);
        Ok(())
    }

    fn begin_node(&mut self, name: &[u8]) -> Result<(), Invalid> {
        check_name(name)?;
        if name <= &self.last_name[..] {
            return Err(Invalid::malformed(format_args!(
                "the name \"{}\" comes behind \"{}\" in a tree",
                name.escape_ascii(),
                self.last_name.escape_ascii()
            )));
        }
        if !self.last_name.is_empty() {
            self.json.push(b',');
        }
        self.last_name.clear();
        self.last_name.extend_from_slice(name);
        Ok(())
    }

    /// The bytes of the tree blob.
    pub fn finish(mut self) -> Vec<u8> {
        self.json.extend_from_slice(b"]}\n");
        self.json
    }
}

impl Default for TreeWriter {
    fn default() -> Self {
        Self::new()
    }
}
