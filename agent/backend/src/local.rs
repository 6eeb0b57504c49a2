//! A repository in a local directory, laid out as restic lays it out.
//!
//! Relies on a POSIX file system: rename replaces as a whole, fsync of a file and of its directory makes both
//! survive a power cut. (Where a file system knows no fsync it is left out, as restic does.) The work is done on
//! the thread that polls. Must never make the root directory on the way to a save, list a temporary name, or
//! remove a file it was not told to, other than temporary files that are its own or a day old.

mod list;
mod read;
mod save;

use std::fs;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};

use bytes::Bytes;
use rustix::io::Errno;

use crate::blocking::blocking;
use crate::{Backend, Body, BoxStream, Entry, Error, ErrorKind, FileKind, FileName, Operation, Result};

/// The directory store.
#[derive(Debug)]
pub struct Local {
    root: PathBuf,
    /// Held for writing while a folder is made and not yet durable: see [`Local::wait_for_new_folders`].
    new_folders: RwLock<()>,
    /// Folders already searched for what dead processes left; there are never more than 261.
    swept: Mutex<Vec<PathBuf>>,
}

/// Permissions of what is made. Folders are made under the process's umask, files are not, as in restic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Modes {
    folder: u32,
    file: u32,
}

impl Modes {
    const PRIVATE: Self = Self { folder: 0o700, file: 0o400 };
    const GROUP: Self = Self { folder: 0o770, file: 0o440 };
}

impl Local {
    /// Touches nothing: the directory may be missing until [`Backend::create`].
    pub fn new(root: PathBuf) -> Self {
        Self { root, new_folders: RwLock::new(()), swept: Mutex::new(Vec::new()) }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A `config` that its owner made readable for the group asks for the same of all that is new.
    /// Looked at anew each time: it is one system call before several slow ones.
    fn modes(&self) -> Modes {
        match fs::metadata(self.root.join("config")) {
            Ok(metadata) if metadata.mode() & 0o040 != 0 => Modes::GROUP,
            _ => Modes::PRIVATE,
        }
    }

    /// The folder `file` lies in.
    fn folder(&self, file: &FileName) -> PathBuf {
        let mut path = self.root.join(file.path());
        path.pop();
        path
    }

    /// Makes the folders between the root and `file`, durably. The root itself must be there.
    fn make_folders(&self, file: &FileName) -> io::Result<()> {
        let _making = self.new_folders.write().unwrap_or_else(PoisonError::into_inner);
        let mode = self.modes().folder;
        let folder = self.folder(file);
        let below = folder.strip_prefix(&self.root).expect("a folder lies below the root");
        let mut parent = self.root.clone();
        for name in below {
            let path = parent.join(name);
            make_folder(&path, mode)?;
            // Also where another process was first: it may not have come so far yet.
            sync_folder(&parent)?;
            parent = path;
        }
        Ok(())
    }

    /// Returns once every folder that somebody in this process is making is durable. Without it a save could
    /// find a folder that another save has just made, and return before the folder itself survives a power cut.
    fn wait_for_new_folders(&self) {
        drop(self.new_folders.read().unwrap_or_else(PoisonError::into_inner));
    }

    fn create_all(&self) -> io::Result<()> {
        let mode = self.modes().folder;
        make_with_parents(&self.root, mode)?;
        let data = self.root.join(FileKind::Pack.folder());
        for kind in FileKind::ALL.into_iter().filter(|kind| *kind != FileKind::Config) {
            make_folder(&self.root.join(kind.folder()), mode)?;
        }
        sync_folder(&self.root)?;
        for first_byte in 0..=u8::MAX {
            make_folder(&data.join(format!("{first_byte:02x}")), mode)?;
        }
        sync_folder(&data)
    }

    fn remove_file(&self, file: &FileName) -> io::Result<()> {
        match fs::remove_file(self.root.join(file.path())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            // Also when the file was gone: a first try may have failed after the removal.
            _ => {}
        }
        match sync_folder(&self.folder(file)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}

#[async_trait::async_trait]
impl Backend for Local {
    fn location(&self) -> String {
        self.root.display().to_string()
    }

    /// Enough to let one fsync wait while others write; a single disk gains nothing from more.
    fn max_connections(&self) -> usize {
        4
    }

    fn can_save_new(&self) -> bool {
        true
    }

    async fn has_legacy_layout(&self) -> Result<bool> {
        blocking(|| list::has_legacy_layout(&self.root))
            .map_err(|source| failed(Operation::List, self.location(), source))
    }

    async fn create(&self) -> Result<()> {
        blocking(|| self.create_all()).map_err(|source| failed(Operation::Create, self.location(), source))
    }

    async fn stat(&self, file: &FileName) -> Result<Entry> {
        blocking(|| read::stat(&self.root, file))
    }

    async fn load(&self, file: &FileName, max_bytes: u64) -> Result<Bytes> {
        blocking(|| read::load(&self.root, file, max_bytes))
    }

    async fn load_range(&self, file: &FileName, range: Range<u64>) -> Result<Bytes> {
        blocking(|| read::load_range(&self.root, file, range))
    }

    async fn save(&self, file: &FileName, body: Body) -> Result<()> {
        blocking(|| self.store(file, &body, save::replace))
    }

    async fn save_new(&self, file: &FileName, body: Body) -> Result<()> {
        blocking(|| self.store(file, &body, save::publish_new))
    }

    fn list(&self, kind: FileKind) -> BoxStream<'_, Result<Entry>> {
        list::entries(&self.root, kind)
    }

    async fn remove(&self, file: &FileName) -> Result<()> {
        blocking(|| self.remove_file(file)).map_err(|source| failed(Operation::Remove, file, source))
    }
}

fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    match fs::DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        result => result,
    }
}

/// Makes `path` and what is missing above it, and syncs the parent of each that was made.
fn make_with_parents(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if parent != path {
        make_with_parents(parent, mode)?;
    }
    make_folder(path, mode)?;
    sync_folder(parent)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    sync(&fs::File::open(path)?)
}

/// fsync, where the file system has such a thing.
fn sync(file: &fs::File) -> io::Result<()> {
    match file.sync_all() {
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::NOTSUP | Errno::INVAL)) => Ok(()),
        result => result,
    }
}

/// The one place where an error of the system becomes an error of the store.
fn failed(operation: Operation, name: impl ToString, source: io::Error) -> Error {
    Error::new(kind_of(&source), operation, name.to_string()).because(source)
}

fn kind_of(error: &io::Error) -> ErrorKind {
    match Errno::from_io_error(error) {
        Some(Errno::NOENT) => ErrorKind::NotFound,
        Some(Errno::EXIST) => ErrorKind::AlreadyExists,
        Some(Errno::NOSPC | Errno::DQUOT) => ErrorKind::Full,
        Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => ErrorKind::PermissionDenied,
        Some(Errno::NOTDIR | Errno::ISDIR | Errno::LOOP | Errno::NAMETOOLONG | Errno::INVAL) => {
            ErrorKind::Misconfigured
        }
        Some(Errno::NOSYS | Errno::OPNOTSUPP) => ErrorKind::Unsupported,
        // EIO, ESTALE, EMFILE, ENOMEM and whatever else may pass.
        _ => ErrorKind::Unavailable,
    }
}

#[cfg(test)]
mod tests;
