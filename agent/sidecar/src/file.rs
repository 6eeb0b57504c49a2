//! Small files that the agent reads again and again while it serves: settings, passwords, patterns, its own notes.
//!
//! A FIFO in the place of one would block whoever opens it, and with it the answer to SIGTERM; a device may never end.
//! So nothing is waited for, only regular files are read, and of them no more than a bound.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use zeroize::Zeroizing;

/// Reads a regular file of at most `max_bytes`. What was read is overwritten when dropped: it may hold a password.
pub fn read_regular(path: &Path, max_bytes: u64) -> Result<Zeroizing<Vec<u8>>> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            "it is no regular file, and nothing else can be read again",
        ));
    }
    // Enough from the start, so that no part of a password is left behind where the buffer was before it grew.
    let expected_bytes = usize::try_from(metadata.len().min(max_bytes)).unwrap_or(0).max(4096);
    let mut bytes = Zeroizing::new(Vec::with_capacity(expected_bytes + 1));
    file.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(Error::new(ErrorKind::FileTooLarge, format!("it holds more than {max_bytes} bytes")));
    }
    Ok(bytes)
}

/// Replaces a file of ours as a whole, durably; makes its directory if there is none. Only our own user reads it.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let directory = path.parent().ok_or(ErrorKind::InvalidFilename)?;
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    // A name of its own: another process with this directory may be writing the same at this moment.
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{:016x}", fastrand::u64(..)));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    })();
    if written.is_err() {
        // On a full disk it would only take more of it.
        let _there_may_be_none = std::fs::remove_file(&temporary);
    }
    written?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_regular_file_within_its_bound_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("file"), "12345").unwrap();
        assert_eq!(**read_regular(&path("file"), 5).unwrap(), *b"12345");
        assert_eq!(read_regular(&path("file"), 4).unwrap_err().kind(), ErrorKind::FileTooLarge);
        assert_eq!(read_regular(&path("none"), 4).unwrap_err().kind(), ErrorKind::NotFound);
        // Nobody ever writes to it: a read that waits would wait for ever.
        let fifo = path("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        for other in [&fifo, directory.path(), Path::new("/dev/zero")] {
            assert_eq!(read_regular(other, 4).unwrap_err().kind(), ErrorKind::InvalidInput, "{other:?}");
        }
    }
}
