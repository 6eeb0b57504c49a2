//! Reads trees: what restic and rustic write, in any order of keys, with any white space, unknown keys passed over.
//!
//! Names that are no names are errors of their node alone, so that the rest of the tree can be read; names out of order
//! are told and not refused, as restic had versions that wrote them.

use data_encoding::BASE64;

use super::json::Reader;
use super::{ExtendedAttribute, Node, NodeKind, SharedText, check_name, usual};
use crate::format::Invalid;
use crate::format::go_json::unquote;
use crate::format::id::Id;

/// All nodes of a tree; the first thing wrong refuses the whole. Disorder is not refused: ask [`nodes`] for it.
pub fn decode(json: &[u8]) -> Result<Vec<Node>, Invalid> {
    nodes(json).collect()
}

/// The nodes of a tree one by one.
///
/// An error may be one node's: then more nodes follow. After damage to the text itself nothing follows.
pub fn nodes(json: &[u8]) -> Nodes<'_> {
    Nodes {
        reader: Reader::new(json),
        place: Place::Start,
        last_name: Vec::new(),
        disorder: None,
        user: SharedText::default(),
        group: SharedText::default(),
    }
}

/// See [`nodes`].
#[derive(Clone, Debug)]
pub struct Nodes<'a> {
    reader: Reader<'a>,
    place: Place,
    last_name: Vec<u8>,
    disorder: Option<Vec<u8>>,
    /// Those of the node before: most nodes have the same.
    user: SharedText,
    group: SharedText,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Start,
    Nodes,
    End,
}

impl Iterator for Nodes<'_> {
    type Item = Result<Node, Invalid>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.advance() {
            Ok(true) => Some(self.node()),
            Ok(false) => None,
            Err(damage) => {
                self.place = Place::End;
                Some(Err(damage))
            }
        }
    }
}

impl std::iter::FusedIterator for Nodes<'_> {}

impl Nodes<'_> {
    /// The first name, of the nodes read so far, that is not behind the one before it: a duplicate or disorder.
    pub fn disorder(&self) -> Option<&[u8]> {
        self.disorder.as_deref()
    }

    /// Goes to the next node, and tells whether there is one.
    fn advance(&mut self) -> Result<bool, Invalid> {
        let more = match self.place {
            Place::Start => self.begin()?,
            Place::Nodes if self.reader.take(b',') => true,
            Place::Nodes => {
                self.reader.expect(b']', "a comma or the end of the nodes")?;
                false
            }
            Place::End => return Ok(false),
        };
        self.place = if more { Place::Nodes } else { Place::End };
        if !more {
            self.end()?;
        }
        Ok(more)
    }

    /// Goes to the first node, and tells whether there is one.
    fn begin(&mut self) -> Result<bool, Invalid> {
        self.reader.expect(b'{', "a tree")?;
        while self.reader.key()? != "nodes" {
            self.reader.skip_value()?;
            self.reader.expect(b',', "the nodes of the tree")?;
        }
        // An empty list that Go had never made a list.
        if self.reader.take_null() {
            return Ok(false);
        }
        self.reader.expect(b'[', "the list of nodes")?;
        Ok(!self.reader.take(b']'))
    }

    fn end(&mut self) -> Result<(), Invalid> {
        while self.reader.take(b',') {
            self.reader.key()?;
            self.reader.skip_value()?;
        }
        self.reader.expect(b'}', "the end of the tree")?;
        if self.reader.peek().is_some() { Err(self.reader.unexpected("the end")) } else { Ok(()) }
    }

    fn node(&mut self) -> Result<Node, Invalid> {
        let json = self.reader.rest();
        let node = match usual::read(json, &mut self.user, &mut self.group) {
            Some((node, rest)) => {
                self.reader.advance(json.len() - rest.len());
                node
            }
            None => self.unusual_node()?,
        };
        if node.name <= self.last_name && self.disorder.is_none() {
            self.disorder = Some(node.name.clone());
        }
        self.last_name.clone_from(&node.name);
        Ok(node)
    }

    fn unusual_node(&mut self) -> Result<Node, Invalid> {
        let mut node = Node::new(Vec::new(), NodeKind::Irregular);
        let mut name_error = None;
        let mut raw_target = None;
        let (user, group) = (&mut self.user, &mut self.group);
        let read = self.reader.object(|reader, key| {
            if key != "content" && reader.take_null() {
                return Ok(());
            }
            match key {
                "name" => match read_name(reader)? {
                    Ok(name) => (node.name, name_error) = (name, None),
                    Err(error) => name_error = Some(error),
                },
                "user" => node.user = read_shared(reader, user)?,
                "group" => node.group = read_shared(reader, group)?,
                "linktarget" => node.link_target = reader.string()?.into_owned().into_bytes(),
                "linktarget_raw" => raw_target = Some(read_base64(reader)?),
                _ => read_field(reader, key, &mut node)?,
            }
            Ok(())
        });
        if let Err(damage) = read {
            self.place = Place::End;
            return Err(damage);
        }
        if let Some(target) = raw_target {
            node.link_target = target;
        }
        // The node has been read to its end, so the next ones can be even if this is an error.
        name_error.map_or_else(|| check_name(&node.name), Err)?;
        Ok(node)
    }
}

fn read_field(reader: &mut Reader<'_>, key: &str, node: &mut Node) -> Result<(), Invalid> {
    match key {
        "type" => node.kind = NodeKind::of_word(&reader.string()?),
        "mode" => node.mode = reader.number_of_32_bits()?,
        "mtime" => node.mtime = reader.string()?.parse()?,
        "atime" => node.atime = reader.string()?.parse()?,
        "ctime" => node.ctime = reader.string()?.parse()?,
        "uid" => node.uid = reader.number_of_32_bits()?,
        "gid" => node.gid = reader.number_of_32_bits()?,
        "inode" => node.inode = reader.number()?,
        "device_id" => node.device_id = reader.number()?,
        "size" => node.size = reader.number()?,
        "links" => node.links = reader.number()?,
        "content" => node.content = read_content(reader)?,
        "subtree" => node.subtree = Some(reader.string()?.parse()?),
        _ => read_rare_field(reader, key, node)?,
    }
    Ok(())
}

#[cold]
fn read_rare_field(reader: &mut Reader<'_>, key: &str, node: &mut Node) -> Result<(), Invalid> {
    match key {
        "extended_attributes" => {
            let attributes = read_extended_attributes(reader)?;
            if !attributes.is_empty() {
                node.rare.extended_attributes = attributes;
            }
        }
        "generic_attributes" => {
            if reader.peek() != Some(b'{') {
                return Err(reader.unexpected("an object"));
            }
            let text = std::str::from_utf8(reader.skip_value()?).map_err(Invalid::malformed)?;
            if !text[1..text.len() - 1].trim_ascii().is_empty() {
                node.rare.generic_attributes = Some(text.into());
            }
        }
        "device" => {
            let device = reader.number()?;
            if device != 0 {
                node.rare.device = device;
            }
        }
        "error" => {
            let error = reader.string()?;
            if !error.is_empty() {
                node.rare.error = error.into_owned();
            }
        }
        _ => {
            reader.skip_value()?;
        }
    }
    Ok(())
}

/// The outer error is damage to the text.
fn read_name(reader: &mut Reader<'_>) -> Result<Result<Vec<u8>, Invalid>, Invalid> {
    let quoted = reader.string()?;
    let unquoted = quoted.bytes().all(|byte| !matches!(byte, b'\\' | b'"' | b'\n'));
    Ok(if unquoted { Ok(quoted.into_owned().into_bytes()) } else { unquote(quoted.as_bytes()) })
}

fn read_shared(reader: &mut Reader<'_>, last: &mut SharedText) -> Result<SharedText, Invalid> {
    let text = reader.string()?;
    if **last != *text {
        *last = SharedText::from(&*text);
    }
    Ok(last.clone())
}

fn read_content(reader: &mut Reader<'_>) -> Result<Option<Vec<Id>>, Invalid> {
    if reader.take_null() {
        return Ok(None);
    }
    let mut content = Vec::new();
    reader.array(|reader| {
        let id = reader.string()?.parse()?;
        // Most files have one blob, and a first growth would make room for four.
        if content.is_empty() {
            content.reserve_exact(1);
        }
        content.push(id);
        Ok(())
    })?;
    Ok(Some(content))
}

fn read_extended_attributes(reader: &mut Reader<'_>) -> Result<Vec<ExtendedAttribute>, Invalid> {
    let mut attributes = Vec::new();
    reader.array(|reader| {
        let mut attribute = ExtendedAttribute { name: Vec::new(), value: Vec::new() };
        reader.object(|reader, key| {
            match key {
                _ if reader.take_null() => {}
                "name" => attribute.name = reader.string()?.into_owned().into_bytes(),
                "value" => attribute.value = read_base64(reader)?,
                _ => {
                    reader.skip_value()?;
                }
            }
            Ok(())
        })?;
        attributes.push(attribute);
        Ok(())
    })?;
    Ok(attributes)
}

fn read_base64(reader: &mut Reader<'_>) -> Result<Vec<u8>, Invalid> {
    let text = reader.string()?;
    BASE64.decode(text.as_bytes()).map_err(|_| Invalid::malformed("a value is not base64"))
}
