//! The data: the same from the same seed, rewritten by about a percent, made anew where it is not whole.

use std::collections::BTreeMap;

use super::*;

/// Every file of a source with its bytes.
fn read_all(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                files.insert(path.strip_prefix(root).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

fn prepare(set: DataSet, directory: &Path) -> Source {
    Source::prepare(set, directory, 42, 0.005).unwrap()
}

#[test]
fn one_seed_makes_the_same_files_wherever_they_lie() {
    for set in [DataSet::Large, DataSet::Small] {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = read_all(&prepare(set, here.path()).path);
        assert_eq!(first, read_all(&prepare(set, there.path()).path));
        assert_eq!(first.len(), if set == DataSet::Large { 16 } else { 1000 });
    }
}

#[test]
fn about_one_percent_is_rewritten_and_can_be_put_back() {
    for set in [DataSet::Large, DataSet::Small] {
        let directory = tempfile::tempdir().unwrap();
        let source = prepare(set, directory.path());
        let before = read_all(&source.path);
        source.rewrite(Generation::Rewritten).unwrap();
        let after = read_all(&source.path);
        let changed: usize = before
            .iter()
            .map(|(path, old)| {
                old.chunks(BLOCK_BYTES).zip(after[path].chunks(BLOCK_BYTES)).filter(|(a, b)| a != b).count()
            })
            .sum();
        assert!((1..=25).contains(&changed), "{changed} places of {set:?} changed");
        source.rewrite(Generation::Pristine).unwrap();
        assert_eq!(before, read_all(&source.path));
    }
}

#[test]
fn data_without_its_stamp_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let source = prepare(DataSet::Small, directory.path());
    let whole = read_all(&source.path);
    let first = source.path.join(whole.keys().next().unwrap());
    fs::remove_file(&source.stamp).unwrap();
    fs::write(&first, "half").unwrap();
    assert_eq!(whole, read_all(&prepare(DataSet::Small, directory.path()).path));
}

#[test]
fn data_that_was_just_written_has_yet_to_age() {
    let directory = tempfile::tempdir().unwrap();
    let source = prepare(DataSet::Small, directory.path());
    assert!(source.time_until_aged().unwrap() > Duration::from_secs(30));
    let long_ago = SystemTime::now() - RACY;
    File::options().write(true).open(&source.stamp).unwrap().set_modified(long_ago).unwrap();
    assert_eq!(source.time_until_aged().unwrap(), Duration::ZERO);
}
