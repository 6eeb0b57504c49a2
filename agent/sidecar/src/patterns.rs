//! Files of patterns, which both doors take: lines as restic reads them, the environment's variables replaced.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use pillion_repository::cache::SPOOL_PREFIX;
use pillion_repository::filter::text;

use crate::environment::Environment;
use crate::file;

/// More than this is no list that somebody wrote.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// Reads what a person named: it may be a pipe.
pub fn read(files: &[PathBuf], environment: &Environment) -> anyhow::Result<Vec<Vec<u8>>> {
    read_by(files, environment, |file| Ok(std::fs::read(file)?))
}

/// Reads regular files only: what is read for every run must never be waited for.
pub fn read_regular(files: &[PathBuf], environment: &Environment) -> anyhow::Result<Vec<Vec<u8>>> {
    read_by(files, environment, |path| Ok(file::read_regular(path, MAX_FILE_BYTES)?.to_vec()))
}

/// What leaves out the spools below a directory of temporary files: their names are drawn anew each time. Told as a
/// file's pattern, it is not recorded in the snapshot.
pub fn of_spools(temporary: &Path) -> Vec<u8> {
    let mut pattern = Vec::new();
    for byte in temporary.join(SPOOL_PREFIX).as_os_str().as_bytes() {
        if b"\\[]*?".contains(byte) {
            pattern.push(b'\\');
        }
        pattern.push(*byte);
    }
    pattern.push(b'*');
    pattern
}

fn read_by(
    files: &[PathBuf],
    environment: &Environment,
    read: impl Fn(&Path) -> anyhow::Result<Vec<u8>>,
) -> anyhow::Result<Vec<Vec<u8>>> {
    let lookup = |name: &[u8]| {
        let value = environment.raw(std::str::from_utf8(name).ok()?)?;
        Some(value.as_encoded_bytes().to_vec())
    };
    let mut patterns = Vec::new();
    for file in files {
        let contents = read(file).with_context(|| format!("read patterns from {}", file.display()))?;
        patterns.extend(text::patterns(&contents, &lookup));
    }
    Ok(patterns)
}
