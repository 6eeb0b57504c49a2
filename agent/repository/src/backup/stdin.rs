//! A backup of one stream: a dump that a command writes becomes the only file of a snapshot.
//!
//! **Invariant:** a stream that its producer did not end well becomes no snapshot
//! (`a_command_that_fails_stores_nothing_and_its_words_are_heard`): half a dump that looks whole is worse than none.

use std::io::Read;
use std::sync::{Arc, Mutex};

use super::chunk::{FileInWork, Input, ReadFile, Stop};
use super::tree::{Directory, Listing, PathPart, Place};
use super::worker::Worker;
use crate::error::{Error, Result};
use crate::format::time::Timestamp;
use crate::format::tree::{Node, NodeKind};

/// What ends a stream: an error here and nothing is stored.
pub type Finish = Box<dyn FnOnce() -> Result<(), String> + Send>;

/// A stream and where it goes in the snapshot.
pub struct Stream {
    /// The path in the snapshot, absolute or relative to its root.
    pub name: Vec<u8>,
    pub mode: u32,
    pub reader: Box<dyn Read + Send>,
    /// Asked after the last byte.
    pub finish: Finish,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stream to {}", String::from_utf8_lossy(&self.name))
    }
}

struct StreamInput<'a>(&'a mut dyn Read);

impl Input for StreamInput<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Stop> {
        // Pipes give little at a time: a full buffer makes fewer passes of the chunker.
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Stop::Run(Error::local("read", "standard input", e))),
            }
        }
        Ok(filled)
    }
}

impl Worker<'_, '_> {
    pub(super) fn stream(&mut self, stream: &Mutex<Option<Stream>>, time: Timestamp) -> Result<()> {
        let run = self.run;
        let taken = stream.lock().expect("no thread panics with it").take();
        let mut stream = taken.ok_or_else(|| Error::Refused("a stream can be read only once".to_owned()))?;
        let components: Vec<&[u8]> =
            stream.name.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
        let Some((name, folders)) = components.split_last() else {
            return Err(Error::Refused("a stream needs a file name".to_owned()));
        };
        let place = self.folders(folders, time)?;
        let work = FileInWork::new(place);
        let size_bytes = match self.cut(&mut StreamInput(&mut *stream.reader), &work, u64::MAX) {
            Ok(size_bytes) => size_bytes,
            // Whoever waits for input is woken by an error.
            Err(Stop::Run(_)) if run.token.is_cancelled() => return Err(Error::Cancelled),
            Err(Stop::Run(e)) => return Err(e),
            Err(Stop::Source(e)) => return Err(Error::Refused(e.to_string())),
        };
        (stream.finish)().map_err(Error::Refused)?;
        if size_bytes == 0 {
            // A dump that died before its first byte leaves a pipe that ends like any other.
            return Err(Error::Refused(
                "there was nothing to read: no snapshot is made of an empty stream".to_owned(),
            ));
        }
        let node = Node {
            size: size_bytes,
            content: Some(Vec::new()),
            ..plain_node(name, NodeKind::File, stream.mode, time)
        };
        self.sealing.file_read(run, &work, ReadFile { node, previous: None })
    }

    /// The directories down to the file, each with one entry that is still to come.
    fn folders(&mut self, folders: &[&[u8]], time: Timestamp) -> Result<(Arc<Directory>, usize)> {
        let one = || Listing { entries: vec![None], open: 1, equal: 0 };
        let mut directory = Directory::new(Place::Root, PathPart::Whole(Box::from(&b"/"[..])), None, None);
        for folder in folders {
            directory.extend(one());
            let node = plain_node(folder, NodeKind::Dir, 1 << 31 | 0o755, time);
            let place = Place::Slot(Arc::clone(&directory), 0);
            let inner = Directory::new(place, PathPart::Name((*folder).into()), Some(node), None);
            self.sealing.listed(self.run, &directory)?;
            directory = inner;
        }
        directory.extend(one());
        self.sealing.listed(self.run, &directory)?;
        Ok((directory, 0))
    }
}

fn plain_node(name: &[u8], kind: NodeKind, mode: u32, time: Timestamp) -> Node {
    Node { mode, mtime: time, atime: time, ctime: time, ..Node::new(name, kind) }
}
