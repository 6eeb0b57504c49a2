//! Repositories stock restic made (`tests/golden/make.sh`), read with the decoders of the format.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use pillion_backend::FileKind;
use pillion_repository::format::blob::{BlobKind, Compression, Opener, Sealer};
use pillion_repository::format::config::{Config, Version};
use pillion_repository::format::crypto::MasterKey;
use pillion_repository::format::file;
use pillion_repository::format::id::Id;
use pillion_repository::format::index;
use pillion_repository::format::key::{KeyError, KeyFile};
use pillion_repository::format::lock::Lock;
use pillion_repository::format::pack::{self, PackEntry};
use pillion_repository::format::snapshot::Snapshot;

const PASSWORD: &[u8] = b"geheim";
const VERSIONS: [Version; 2] = [Version::One, Version::Two];

struct Golden {
    folder: PathBuf,
    version: Version,
    key: MasterKey,
}

type Blobs = HashMap<(BlobKind, Id), Vec<u8>>;

fn golden_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

impl Golden {
    fn open(version: Version) -> Self {
        let folder = golden_folder().join(format!("version-{}", version.number()));
        let (_, json) = files(&folder.join("keys")).pop().unwrap();
        let key = KeyFile::decode(&json).unwrap().open(PASSWORD).unwrap();
        Self { folder, version, key }
    }

    fn json(&self, kind: FileKind) -> Vec<Vec<u8>> {
        let stored = files(&self.folder.join(kind.folder()));
        assert!(!stored.is_empty());
        stored.iter().map(|(_, bytes)| file::decode(kind, bytes, &self.key).unwrap()).collect()
    }

    fn snapshots(&self) -> Vec<Snapshot> {
        self.json(FileKind::Snapshot).iter().map(|json| Snapshot::decode(json).unwrap()).collect()
    }

    fn packs(&self) -> HashMap<Id, Vec<u8>> {
        let folders = fs::read_dir(self.folder.join("data")).unwrap();
        folders.flat_map(|folder| files(&folder.unwrap().path())).collect()
    }

    /// The packs as the indexes tell of them, in the order of their offsets.
    fn indexed(&self) -> HashMap<Id, Vec<PackEntry>> {
        let mut indexed: HashMap<Id, Vec<PackEntry>> = HashMap::new();
        for json in self.json(FileKind::Index) {
            index::decode(&json, &mut |pack, blobs| {
                indexed.entry(pack).or_default().extend_from_slice(blobs);
            })
            .unwrap();
        }
        for entries in indexed.values_mut() {
            entries.sort_by_key(|entry| entry.offset);
        }
        indexed
    }

    fn blobs(&self) -> Blobs {
        let (packs, mut opener, mut blobs) = (self.packs(), Opener::default(), Blobs::new());
        for (pack, entries) in self.indexed() {
            for entry in entries {
                let range = entry.range();
                let mut sealed = packs[&pack][range.start as usize..range.end as usize].to_vec();
                let PackEntry { kind, id, uncompressed_length, .. } = entry;
                opener.verify(&self.key, kind, &id, &sealed, uncompressed_length).unwrap();
                let mut plain = Vec::new();
                opener.open(&self.key, kind, &id, &mut sealed, uncompressed_length, &mut plain).unwrap();
                assert_eq!(plain.len() as u64, entry.plain_size_bytes());
                blobs.insert((kind, id), plain);
            }
        }
        blobs
    }
}

/// Names and bytes of the files in a folder; each name is the hash of the bytes.
fn files(folder: &Path) -> Vec<(Id, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            continue;
        }
        let (id, bytes) = (entry.file_name().to_str().unwrap().parse().unwrap(), read(&entry.path()));
        assert_eq!(Id::of(&bytes), id);
        files.push((id, bytes));
    }
    files
}

#[test]
fn a_wrong_password_is_told_as_such_and_the_key_file_is_written_as_restic_writes_it() {
    for version in VERSIONS {
        let golden = Golden::open(version);
        let (_, json) = files(&golden.folder.join("keys")).pop().unwrap();
        let file = KeyFile::decode(&json).unwrap();
        assert_eq!(file.open(b"falsch").unwrap_err(), KeyError::WrongPassword);
        assert_eq!(String::from_utf8(file.encode()).unwrap(), String::from_utf8(json).unwrap());
    }
}

#[test]
fn the_config_is_read_and_written_as_restic_writes_it() {
    for version in VERSIONS {
        let golden = Golden::open(version);
        let json = file::decode(FileKind::Config, &read(&golden.folder.join("config")), &golden.key).unwrap();
        let config = Config::decode(&json).unwrap();
        assert_eq!(config.version, version);
        assert_eq!(config.encode(), json);
        let shown = read(&golden_folder().join(format!("config-{}.json", version.number())));
        assert_eq!(Config::decode(&shown).unwrap(), config);
    }
}

#[test]
fn snapshots_and_locks_are_read_and_written_as_restic_writes_them() {
    for version in VERSIONS {
        let golden = Golden::open(version);
        let snapshots = golden.json(FileKind::Snapshot);
        assert_eq!(snapshots.len(), 3);
        for json in snapshots {
            let snapshot = Snapshot::decode(&json).unwrap();
            assert_eq!(String::from_utf8(snapshot.encode()).unwrap(), String::from_utf8(json).unwrap());
            assert_eq!(snapshot.hostname, "host-0");
            assert!(snapshot.program_version.starts_with("restic 0.19") && snapshot.summary.is_some());
        }
        let stored = read(&golden_folder().join(format!("lock-{}", version.number())));
        let json = file::decode(FileKind::Lock, &stored, &golden.key).unwrap();
        let lock = Lock::decode(&json).unwrap();
        assert!(!lock.exclusive && lock.pid > 0);
        assert_eq!(lock.encode(), json);
    }
}

#[test]
fn the_header_of_every_pack_says_what_the_index_says() {
    for version in VERSIONS {
        let golden = Golden::open(version);
        let (packs, mut indexed) = (golden.packs(), golden.indexed());
        for (id, bytes) in &packs {
            let size = bytes.len() as u64;
            let range = pack::header_range(size, *bytes.last_chunk().unwrap()).unwrap();
            let mut sealed = bytes[range.start as usize..range.end as usize].to_vec();
            let entries = pack::decode_header(&mut sealed, range.start, &golden.key).unwrap();
            assert_eq!(pack::header_size_bytes(&entries) as u64, size - range.start);
            assert_eq!(indexed.remove(id), Some(entries));
        }
        assert!(indexed.is_empty());
    }
}

#[test]
fn an_index_is_written_as_restic_writes_it() {
    for version in VERSIONS {
        for json in Golden::open(version).json(FileKind::Index) {
            let mut packs = Vec::new();
            index::decode(&json, &mut |pack, blobs| packs.push((pack, blobs.to_vec()))).unwrap();
            let mut encoded = Vec::new();
            index::encode(packs.iter().map(|(pack, blobs)| (*pack, &blobs[..])), &mut encoded).unwrap();
            assert_eq!(String::from_utf8(encoded).unwrap(), String::from_utf8(json).unwrap());
        }
    }
}

#[test]
fn every_blob_opens_and_the_trees_of_the_snapshots_are_there() {
    for version in VERSIONS {
        let golden = Golden::open(version);
        let blobs = golden.blobs();
        for snapshot in golden.snapshots() {
            let tree = &blobs[&(BlobKind::Tree, snapshot.tree)];
            assert!(tree.starts_with(b"{\"nodes\":[") && tree.ends_with(b"]}\n"));
        }
        for content in [&b"hello\n"[..], b"changed\n", b"dumped\n", b"bytes"] {
            assert_eq!(blobs[&(BlobKind::Data, Id::of(content))], content);
        }
    }
}

#[test]
fn blobs_sealed_again_open_again() {
    for version in VERSIONS {
        let golden = Golden::open(version);
        let (mut sealer, mut opener) = (Sealer::new(golden.version, Compression::Auto), Opener::default());
        for ((kind, id), plain) in golden.blobs() {
            let mut sealed = Vec::new();
            let uncompressed_length = sealer.seal(&golden.key, kind, &plain, &mut sealed);
            opener.verify(&golden.key, kind, &id, &sealed, uncompressed_length).unwrap();
        }
    }
}

#[test]
fn damage_to_any_file_outside_of_packs_is_noticed() {
    for version in VERSIONS {
        let golden = Golden::open(version);
        for kind in [FileKind::Snapshot, FileKind::Index] {
            for (_, bytes) in files(&golden.folder.join(kind.folder())) {
                for position in 0..bytes.len() {
                    let mut changed = bytes.clone();
                    changed[position] ^= 0x80;
                    assert!(file::decode(kind, &changed, &golden.key).is_err());
                    assert!(file::decode(kind, &bytes[..position], &golden.key).is_err());
                }
            }
        }
    }
}
