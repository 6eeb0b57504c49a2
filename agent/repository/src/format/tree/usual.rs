//! The fast way to read a node: the keys in restic's order, no white space, no escapes, nothing rare.
//!
//! Nearly all nodes are like that, and matching what is expected takes a fraction of the time of reading whatever comes.
//! Anything else is `None` and read again by `decode`, which alone decides what is an error; what is read here is
//! what would have been read there.

use super::{Node, NodeKind, SharedText, check_name};
use crate::format::id::Id;
use crate::format::time::Timestamp;
use crate::format::usual::Rest;

/// Reads a node from the start of `json`; with it comes what follows.
pub(super) fn read<'a>(
    json: &'a [u8],
    last_user: &mut SharedText,
    last_group: &mut SharedText,
) -> Option<(Node, &'a [u8])> {
    let mut rest = Rest(json);
    let name = rest.after(b"{\"name\":\"")?.text()?;
    check_name(name).ok()?;
    let kind = NodeKind::of_word(str::from_utf8(rest.after(b",\"type\":\"")?.text()?).ok()?);
    let mut node = Node::new(name, kind);
    node.mode = u32::try_from(rest.number(b",\"mode\":")?).ok()?;
    let mtime = rest.after(b",\"mtime\":\"")?.text()?;
    node.mtime = time(mtime)?;
    let atime = rest.after(b",\"atime\":\"")?.text()?;
    node.atime = if atime == mtime { node.mtime } else { time(atime)? };
    node.ctime = time(rest.after(b",\"ctime\":\"")?.text()?)?;
    node.uid = u32::try_from(rest.number(b",\"uid\":")?).ok()?;
    node.gid = u32::try_from(rest.number(b",\"gid\":")?).ok()?;
    node.user = rest.shared(b",\"user\":\"", last_user)?;
    node.group = rest.shared(b",\"group\":\"", last_group)?;
    node.inode = rest.number(b",\"inode\":")?;
    node.device_id = rest.number(b",\"device_id\":")?;
    node.size = rest.number(b",\"size\":")?;
    node.links = rest.number(b",\"links\":")?;
    if rest.take(b",\"linktarget\":\"") {
        node.link_target = rest.text()?.to_vec();
    }
    node.content = rest.after(b",\"content\":")?.content()?;
    if rest.take(b",\"subtree\":\"") {
        node.subtree = Some(rest.id()?);
    }
    rest.after(b"}")?;
    Some((node, rest.0))
}

fn time(text: &[u8]) -> Option<Timestamp> {
    str::from_utf8(text).ok()?.parse().ok()
}

impl Rest<'_> {
    #[inline(always)]
    fn shared<const LENGTH: usize>(
        &mut self,
        key: &[u8; LENGTH],
        last: &mut SharedText,
    ) -> Option<SharedText> {
        if !self.take(key) {
            return Some(SharedText::default());
        }
        let text = self.text()?;
        if last.as_bytes() != text {
            *last = SharedText::from(str::from_utf8(text).ok()?);
        }
        Some(last.clone())
    }

    fn content(&mut self) -> Option<Option<Vec<Id>>> {
        if self.take(b"null") {
            return Some(None);
        }
        if self.take(b"[]") {
            return Some(Some(Vec::new()));
        }
        let first = self.after(b"[\"")?.id()?;
        // Most files have one blob.
        let mut content = vec![first];
        while self.take(b",\"") {
            content.push(self.id()?);
        }
        self.take(b"]").then_some(Some(content))
    }
}
