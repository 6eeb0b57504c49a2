//! Listing the directory store, folder by folder, a batch of entries at a time.
//!
//! A file is listed where [`FileName::path`] would look for it and nowhere else: temporary files of ours and of
//! restic, folders and files in the wrong folder are passed over, so that whatever is listed can be loaded.
//! Must never keep more than one batch in memory.

use std::fs::{self, DirEntry, ReadDir};
use std::io;
use std::path::{Path, PathBuf};
use std::vec::IntoIter;

use futures_util::StreamExt;
use futures_util::stream;

use super::{failed, read};
use crate::blocking::blocking;
use crate::{BoxStream, Entry, FileKind, FileName, Operation, Result};

/// Entries that one blocking step yields: some hundred microseconds of `lstat`, about 150 KB.
const BATCH_ENTRIES: usize = 1024;

pub(super) fn entries(root: &Path, kind: FileKind) -> BoxStream<'static, Result<Entry>> {
    let walk = Walk { kind, root: root.to_owned(), folders: folders(kind).into_iter(), reading: None };
    let batches = stream::unfold(Some(walk), |walk| async {
        let mut walk = walk?;
        match blocking(|| walk.batch()) {
            Ok(batch) if batch.is_empty() => None,
            Ok(batch) => Some((batch.into_iter().map(Ok).collect::<Vec<_>>(), Some(walk))),
            Err(source) => {
                let name = format!("the {} files", walk.kind.noun());
                Some((vec![Err(failed(Operation::List, name, source))], None))
            }
        }
    });
    batches.flat_map(stream::iter).boxed()
}

/// See [`crate::Backend::has_legacy_layout`].
pub(super) fn has_legacy_layout(root: &Path) -> io::Result<bool> {
    if ["key", "lock", "snapshot"].iter().any(|folder| root.join(folder).is_dir()) {
        return Ok(true);
    }
    let packs = match fs::read_dir(root.join(FileKind::Pack.folder())) {
        Ok(packs) => packs,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    for found in packs {
        let name = found?.file_name();
        if name.to_str().is_some_and(|name| FileName::new(FileKind::Pack, name).is_some()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The folders a kind's files lie in, below the root.
fn folders(kind: FileKind) -> Vec<String> {
    match kind {
        FileKind::Pack => (0..=u8::MAX).map(|byte| format!("{}/{byte:02x}", kind.folder())).collect(),
        kind => vec![kind.folder().to_owned()],
    }
}

struct Walk {
    kind: FileKind,
    root: PathBuf,
    folders: IntoIter<String>,
    /// The folder being read, and its path below the root.
    reading: Option<(ReadDir, String)>,
}

impl Walk {
    /// The next entries; none at the end.
    fn batch(&mut self) -> io::Result<Vec<Entry>> {
        if self.kind == FileKind::Config {
            return self.config();
        }
        let mut batch = Vec::new();
        while batch.len() < BATCH_ENTRIES {
            let Some((reading, folder)) = &mut self.reading else {
                let Some(folder) = self.folders.next() else { break };
                match fs::read_dir(self.root.join(&folder)) {
                    Ok(reading) => self.reading = Some((reading, folder)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
                continue;
            };
            match reading.next().transpose()? {
                Some(found) => batch.extend(entry_of(self.kind, folder, &found)?),
                None => self.reading = None,
            }
        }
        Ok(batch)
    }

    /// The config has a name of its own at the root, beside the folders: there is nothing to search.
    fn config(&mut self) -> io::Result<Vec<Entry>> {
        if self.folders.next().is_none() {
            return Ok(Vec::new());
        }
        let config = FileName::config();
        match fs::metadata(self.root.join(config.path())) {
            Ok(metadata) if metadata.is_file() => Ok(vec![read::entry(config, &metadata)]),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(Vec::new()),
        }
    }
}

fn entry_of(kind: FileKind, folder: &str, found: &DirEntry) -> io::Result<Option<Entry>> {
    let name = found.file_name();
    let Some(file) = name.to_str().and_then(|name| FileName::new(kind, name)) else { return Ok(None) };
    if kind == FileKind::Pack && !folder.ends_with(&file.name()[..2]) {
        return Ok(None);
    }
    let metadata = match found.metadata() {
        Ok(metadata) if metadata.is_symlink() => fs::metadata(found.path()),
        result => result,
    };
    match metadata {
        Ok(metadata) if metadata.is_file() => Ok(Some(read::entry(file, &metadata))),
        Ok(_) => Ok(None),
        // Removed since its name was read.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
