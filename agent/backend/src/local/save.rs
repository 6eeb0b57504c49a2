//! Saving into the directory store: temporary name, write, fsync, publish, fsync of the folder, in this order.
//!
//! A reader sees a file under its own name only after its bytes are on the disk, whatever the moment of a power
//! cut. Killed in between, a temporary file stays, under a name no list shows; a later save removes it once it
//! is a day old. Must never change a file that is there in any way but to replace it as a whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use rustix::fs::{AtFlags, CWD, RenameFlags};
use rustix::io::Errno;

use super::{Local, Modes, failed, sync, sync_folder};
use crate::{Body, Error, ErrorKind, FileName, Operation, Result, wrong_size};

/// Hidden, and not 64 hex digits: neither we nor restic take such a name for a file of a repository.
pub(super) const TEMPORARY_PREFIX: &str = ".tmp-";

/// A save takes seconds. What is a day old has nobody who will finish it: process IDs prove nothing here,
/// since the directory may be shared between machines and containers.
const ABANDONED_AFTER_SECONDS: i64 = 24 * 60 * 60;

/// Gives the file at the first path its final name.
type Publish = fn(&Path, &Path) -> io::Result<()>;

impl Local {
    pub(super) fn store(&self, file: &FileName, body: &Body, publish: Publish) -> Result<()> {
        let error = |source| failed(Operation::Save, file, source);
        let folder = self.folder(file);
        let (temporary, written) = self.write(file, &folder, body)?;
        let written_at_seconds = written.metadata().map_err(error)?.ctime();
        drop(written);

        match publish(&temporary.0, &self.root.join(file.path())) {
            Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {
                // The other's file must survive a power cut before anybody relies on its being there.
                sync_folder(&folder).map_err(error)?;
                return Err(error(source));
            }
            result => result.map_err(error)?,
        }
        drop(temporary);
        sync_folder(&folder).map_err(error)?;
        self.wait_for_new_folders();
        self.sweep_once(&folder, written_at_seconds);
        Ok(())
    }

    /// The body under a temporary name in `folder`, with its final mode, durable but for its name.
    fn write(&self, file: &FileName, folder: &Path, body: &Body) -> Result<(Temporary, File)> {
        let modes = self.modes();
        let written = match body {
            Body::Bytes(bytes) => {
                let (temporary, mut open) = self.new_temporary(file, folder)?;
                open.write_all(bytes).map(|()| (temporary, open))
            }
            Body::File { path, size_bytes, .. } => return self.take(file, folder, path, *size_bytes, modes),
        };
        let (temporary, open) = written.map_err(|source| failed(Operation::Save, file, source))?;
        finish(&open, modes).map_err(|source| failed(Operation::Save, file, source))?;
        Ok((temporary, open))
    }

    /// A body that is a file: linked where that is possible and right, else copied.
    fn take(
        &self,
        file: &FileName,
        folder: &Path,
        body: &Path,
        size_bytes: u64,
        modes: Modes,
    ) -> Result<(Temporary, File)> {
        let error = |source| failed(Operation::Save, file, source);
        let unusable = || Error::new(ErrorKind::UnusableBody, Operation::Save, file.to_string());
        let mut source = File::open(body).map_err(|source| unusable().because(source))?;
        let found_bytes = source.metadata().map_err(|source| unusable().because(source))?.len();
        if found_bytes != size_bytes {
            return Err(unusable().because(wrong_size(found_bytes, size_bytes)));
        }
        // A link would keep the file's own group, where a new file gets its folder's, which the group reads by.
        if modes == Modes::PRIVATE
            && let Some(temporary) = self.link(file, folder, body)?
        {
            let linked = File::open(&temporary.0).map_err(error)?;
            finish(&linked, modes).map_err(|source| match failed(Operation::Save, file, source) {
                // The system tells lost writes of a file once: the next fsync would succeed all the same.
                lost if lost.kind == ErrorKind::Unavailable => unusable().because(lost),
                other => other,
            })?;
            return Ok((temporary, linked));
        }
        let (temporary, mut open) = self.new_temporary(file, folder)?;
        let copied_bytes = io::copy(&mut source, &mut open).map_err(error)?;
        if copied_bytes != size_bytes {
            return Err(unusable().because(wrong_size(copied_bytes, size_bytes)));
        }
        finish(&open, modes).map_err(error)?;
        Ok((temporary, open))
    }

    fn new_temporary(&self, file: &FileName, folder: &Path) -> Result<(Temporary, File)> {
        let path = temporary_path(folder);
        let open = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let open = self.with_folder(file, open)?;
        Ok((Temporary(path), open))
    }

    /// `None` where the body's file system or its owner forbids a link.
    fn link(&self, file: &FileName, folder: &Path, body: &Path) -> Result<Option<Temporary>> {
        let path = temporary_path(folder);
        let linked = self.with_folder(file, || {
            match rustix::fs::linkat(CWD, body, CWD, &path, AtFlags::SYMLINK_FOLLOW) {
                Ok(()) => Ok(true),
                Err(
                    Errno::XDEV
                    | Errno::PERM
                    | Errno::ACCESS
                    | Errno::MLINK
                    | Errno::OPNOTSUPP
                    | Errno::NOSYS,
                ) => Ok(false),
                Err(errno) => Err(errno.into()),
            }
        })?;
        Ok(linked.then(|| Temporary(path)))
    }

    /// Tries `work`, and once more after making the folder of `file` if it was missing.
    fn with_folder<T>(&self, file: &FileName, work: impl Fn() -> io::Result<T>) -> Result<T> {
        let missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        let result = match work() {
            Err(error) if missing(&error) => self.make_folders(file).and_then(|()| work()),
            result => result,
        };
        result.map_err(|source| match source {
            source if missing(&source) => {
                Error::new(ErrorKind::Misconfigured, Operation::Save, file.to_string())
                    .because(format!("there is no directory {}", self.root.display()))
            }
            source => failed(Operation::Save, file, source),
        })
    }

    /// Looks through a folder once in the life of this store. What goes wrong is left for another day:
    /// a leftover costs nothing but its space.
    fn sweep_once(&self, folder: &Path, now_seconds: i64) {
        {
            let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
            if swept.iter().any(|known| known == folder) {
                return;
            }
            swept.push(folder.to_owned());
        }
        sweep(folder, now_seconds);
    }
}

/// Removes abandoned temporary files. `now_seconds` is the file system's own clock, read off a file just
/// written to it: the machine's clock may be another.
pub(super) fn sweep(folder: &Path, now_seconds: i64) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().as_encoded_bytes().starts_with(TEMPORARY_PREFIX.as_bytes()) {
            continue;
        }
        // The time of the last change of any kind: a linked file's own times are older than the link.
        let abandoned = entry.metadata().is_ok_and(|metadata| {
            metadata.is_file() && metadata.ctime().saturating_add(ABANDONED_AFTER_SECONDS) < now_seconds
        });
        if abandoned {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// A temporary name, removed when dropped. That is needed after success too: renaming one link of a file over
/// another link of the same file does nothing and leaves both, which happens when a body is saved twice.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn temporary_path(folder: &Path) -> PathBuf {
    folder.join(format!("{TEMPORARY_PREFIX}{:016x}", fastrand::u64(..)))
}

/// Final mode and fsync, before the file gets its name.
fn finish(file: &File, modes: Modes) -> io::Result<()> {
    match file.set_permissions(fs::Permissions::from_mode(modes.file)) {
        // Some network and foreign file systems keep no modes; restic stores there all the same.
        Err(error)
            if !matches!(
                Errno::from_io_error(&error),
                Some(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP | Errno::NOSYS)
            ) =>
        {
            return Err(error);
        }
        _ => {}
    }
    sync(file)
}

pub(super) fn replace(temporary: &Path, name: &Path) -> io::Result<()> {
    fs::rename(temporary, name)
}

/// Of all concurrent callers the kernel lets exactly one through.
pub(super) fn publish_new(temporary: &Path, name: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, temporary, CWD, name, RenameFlags::NOREPLACE) {
        // NFS and some FUSE file systems know no such rename, but links, which never replace either.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => fs::hard_link(temporary, name),
        result => Ok(result?),
    }
}
