//! The handles of a scripted file system: the system's own answers, errors included.

use std::sync::Arc;

use rustix::io::Errno;

use super::entry::{BLOCK_BYTES, Body, is_hole};
use super::{Call, Script};
use crate::format::tree::{ExtendedAttribute, NodeKind};
use crate::source::handle::is_component;
use crate::source::{Directory, Error, Extent, Metadata, Names, OpenFile, Result};

#[derive(Debug)]
pub(super) struct ScriptDirectory {
    script: Arc<Script>,
    inode: u64,
    path: Vec<u8>,
    metadata: Metadata,
}

impl ScriptDirectory {
    pub(super) fn new(script: &Arc<Script>, inode: u64, path: Vec<u8>) -> Self {
        let metadata = script.state().thing(inode).metadata;
        Self { script: Arc::clone(script), inode, path, metadata }
    }

    fn path_of(&self, name: &[u8]) -> Vec<u8> {
        let mut path = self.path.clone();
        if path != b"/" {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        path
    }

    /// Makes the call and gives the inode of the entry.
    fn enter(&self, call: Call, name: &[u8]) -> Result<(u64, Metadata), Errno> {
        if !is_component(name) {
            return Err(Errno::INVAL);
        }
        self.script.enter(call, &self.path_of(name))?;
        let state = self.script.state();
        let children = state.children(self.inode).ok_or(Errno::NOTDIR)?;
        let inode = *children.get(name).ok_or(Errno::NOENT)?;
        Ok((inode, state.thing(inode).metadata))
    }

    fn open(&self, call: Call, name: &[u8], expected: &Metadata) -> Result<(u64, Metadata)> {
        let opened = self.enter(call, name).and_then(|(inode, found)| match (call, found.kind) {
            (_, NodeKind::Symlink) => Err(Errno::LOOP),
            (_, NodeKind::Socket) => Err(Errno::NXIO),
            (Call::OpenDir, kind) if kind != NodeKind::Dir => Err(Errno::NOTDIR),
            _ => Ok((inode, found)),
        });
        let (inode, found) = opened.map_err(|errno| Error::of_open("open", errno))?;
        if found.is_same_thing(expected) { Ok((inode, found)) } else { Err(Error::Swapped) }
    }
}

impl Directory for ScriptDirectory {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn names(&self, names: &mut Names) -> Result<()> {
        self.script.enter(Call::Names, &self.path).map_err(|errno| Error::of("list", errno))?;
        let state = self.script.state();
        if state.thing(self.inode).metadata.links == 0 {
            return Err(Error::Vanished);
        }
        names.clear();
        for name in state.children(self.inode).expect("a directory stays one").keys() {
            names.push(name)?;
        }
        names.sort();
        Ok(())
    }

    fn stat(&self, name: &[u8]) -> Result<Metadata> {
        let (_, metadata) = self.enter(Call::Stat, name).map_err(|errno| Error::of("stat", errno))?;
        Ok(metadata)
    }

    fn open_dir(&self, name: &[u8], expected: &Metadata) -> Result<Arc<dyn Directory>> {
        let (inode, _) = self.open(Call::OpenDir, name, expected)?;
        Ok(Arc::new(Self::new(&self.script, inode, self.path_of(name))))
    }

    fn open_file(&self, name: &[u8], expected: &Metadata) -> Result<Box<dyn OpenFile>> {
        if expected.kind != NodeKind::File {
            return Err(Error::bad_name());
        }
        let (inode, metadata) = self.open(Call::OpenFile, name, expected)?;
        let (script, path) = (Arc::clone(&self.script), self.path_of(name));
        Ok(Box::new(ScriptFile { script, inode, path, metadata, position: 0 }))
    }

    fn read_link(&self, name: &[u8]) -> Result<Vec<u8>> {
        let (inode, _) = self.enter(Call::ReadLink, name).map_err(|errno| Error::of("read link", errno))?;
        match &self.script.state().thing(inode).body {
            Body::Symlink(target) => Ok(target.clone()),
            _ => Err(Error::Swapped),
        }
    }

    fn extended_attributes(&self, name: &[u8]) -> Result<Vec<ExtendedAttribute>> {
        let (inode, _) = self
            .enter(Call::ExtendedAttributes, name)
            .map_err(|errno| Error::of("read extended attributes", errno))?;
        Ok(self.script.state().thing(inode).attributes.clone())
    }

    fn extended_attributes_of_self(&self) -> Result<Vec<ExtendedAttribute>> {
        attributes(&self.script, self.inode, &self.path)
    }
}

fn attributes(script: &Script, inode: u64, path: &[u8]) -> Result<Vec<ExtendedAttribute>> {
    script
        .enter(Call::ExtendedAttributes, path)
        .map_err(|errno| Error::of("read extended attributes", errno))?;
    Ok(script.state().thing(inode).attributes.clone())
}

#[derive(Debug)]
struct ScriptFile {
    script: Arc<Script>,
    inode: u64,
    path: Vec<u8>,
    metadata: Metadata,
    position: u64,
}

impl OpenFile for ScriptFile {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn metadata_now(&self) -> Result<Metadata> {
        self.script.enter(Call::MetadataNow, &self.path).map_err(|errno| Error::of("stat", errno))?;
        Ok(self.script.state().thing(self.inode).metadata)
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let read = self.read_at(buffer, self.position)?;
        self.position += read as u64;
        Ok(read)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        self.script.enter(Call::Read, &self.path).map_err(|errno| Error::of("read", errno))?;
        let state = self.script.state();
        let thing = state.thing(self.inode);
        let mut end = thing.content().len() as u64;
        if let Some((bad_from, errno)) = thing.bad_from {
            if offset >= bad_from && offset < end {
                return Err(Error::of("read", errno));
            }
            end = end.min(bad_from);
        }
        let length = end.saturating_sub(offset).min(buffer.len() as u64) as usize;
        if length > 0 {
            buffer[..length].copy_from_slice(&thing.content()[offset as usize..][..length]);
        }
        Ok(length)
    }

    fn next_data(&self, offset: u64) -> Result<Extent> {
        let state = self.script.state();
        let content = state.thing(self.inode).content();
        let size_bytes = content.len() as u64;
        let is_data = |block: usize| {
            let start = block * BLOCK_BYTES;
            start < content.len() && !is_hole(&content[start..content.len().min(start + BLOCK_BYTES)])
        };
        let blocks = content.len().div_ceil(BLOCK_BYTES);
        let first = usize::try_from(offset).unwrap_or(usize::MAX) / BLOCK_BYTES;
        let Some(start) = (first..blocks).find(|block| is_data(*block)) else {
            let end = size_bytes.max(offset);
            return Ok(Extent { start: end, end });
        };
        let end = (start..blocks).find(|block| !is_data(*block)).unwrap_or(blocks);
        Ok(Extent {
            start: offset.max((start * BLOCK_BYTES) as u64),
            end: size_bytes.min((end * BLOCK_BYTES) as u64),
        })
    }

    fn extended_attributes(&self) -> Result<Vec<ExtendedAttribute>> {
        attributes(&self.script, self.inode, &self.path)
    }
}
