//! Whether what was restored is what was backed up: every entry's name, size and time, a sample's bytes.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::content::BLOCK_BYTES;

/// Of the blocks (64 KiB, or a whole small file) this many are passed over for one that is compared.
const COMPARE_ONE_IN: u64 = 20;

/// Compares `restored` with `source`, entry by entry, both ways.
pub fn same(source: &Path, restored: &Path) -> Result<()> {
    let mut blocks_seen = 0;
    let mut pending = vec![(source.to_owned(), restored.to_owned())];
    while let Some((expected, found)) = pending.pop() {
        let mut entries = 0;
        for entry in fs::read_dir(&expected)? {
            let name = entry?.file_name();
            let (expected, found) = (expected.join(&name), found.join(&name));
            entries += 1;
            if same_entry(&expected, &found, &mut blocks_seen)? {
                pending.push((expected, found));
            }
        }
        let restored = fs::read_dir(&found)?.count();
        ensure!(restored == entries, "{}: {restored} entries restored of {entries}", found.display());
    }
    Ok(())
}

/// Succeeds with whether the entry is a directory.
fn same_entry(expected: &Path, found: &Path, blocks_seen: &mut u64) -> Result<bool> {
    let before = fs::symlink_metadata(expected)?;
    let after =
        fs::symlink_metadata(found).with_context(|| format!("{} was not restored", found.display()))?;
    let told = |m: &fs::Metadata| (m.mode(), m.uid(), m.gid(), m.mtime(), m.mtime_nsec());
    ensure!(told(&before) == told(&after), "{}: mode, owner or time differs", found.display());
    if before.is_dir() {
        return Ok(true);
    }
    ensure!(before.len() == after.len(), "{}: {} bytes, not {}", found.display(), after.len(), before.len());
    let (left, right) = (File::open(expected)?, File::open(found)?);
    let (mut left_bytes, mut right_bytes) = ([0; BLOCK_BYTES], [0; BLOCK_BYTES]);
    for offset in (0..before.len()).step_by(BLOCK_BYTES) {
        *blocks_seen += 1;
        if !blocks_seen.is_multiple_of(COMPARE_ONE_IN) {
            continue;
        }
        let length = BLOCK_BYTES.min((before.len() - offset) as usize);
        left.read_exact_at(&mut left_bytes[..length], offset)?;
        right.read_exact_at(&mut right_bytes[..length], offset)?;
        ensure!(
            left_bytes[..length] == right_bytes[..length],
            "{}: other bytes at {offset}",
            found.display()
        );
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    /// Two equal folders, one of them changed by `damage`.
    fn verdict(damage: impl FnOnce(&Path)) -> Result<()> {
        let (source, restored) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        for root in [&source, &restored] {
            for number in 0..COMPARE_ONE_IN {
                let path = root.path().join(format!("{number}"));
                fs::write(&path, [7; 1000]).unwrap();
                File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
            }
        }
        damage(restored.path());
        same(source.path(), restored.path())
    }

    #[test]
    fn equal_folders_are_the_same() {
        verdict(|_| {}).unwrap();
    }

    #[test]
    fn a_missing_an_added_and_a_shorter_file_are_found() {
        assert!(verdict(|root| fs::remove_file(root.join("3")).unwrap()).is_err());
        assert!(verdict(|root| fs::write(root.join("more"), "").unwrap()).is_err());
        assert!(verdict(|root| fs::write(root.join("3"), [7; 999]).unwrap()).is_err());
    }

    #[test]
    fn other_bytes_in_a_sampled_block_are_found() {
        let error = verdict(|root| {
            for entry in fs::read_dir(root).unwrap() {
                let path = entry.unwrap().path();
                let modified = fs::metadata(&path).unwrap().modified().unwrap();
                fs::write(&path, [8; 1000]).unwrap();
                File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
            }
        });
        assert!(error.unwrap_err().to_string().contains("other bytes"));
    }
}
