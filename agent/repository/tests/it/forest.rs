//! Random trees of files, of everything a file system can hold, and a picture of one for comparing.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use fastrand::Rng;
use pillion_repository::format::id::Id;
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

/// Around the limits of the chunker, and some that a small file has.
const SIZES_BYTES: [usize; 10] =
    [0, 1, 4095, 70_000, (512 << 10) - 1, 512 << 10, (512 << 10) + 1, (8 << 20) - 1, 8 << 20, (8 << 20) + 1];

/// A directory whose content a seed decides.
pub(crate) struct Forest {
    random: Rng,
    root: PathBuf,
    serial: usize,
}

impl Forest {
    /// One of everything, and more at random.
    pub(crate) fn plant(root: &Path, seed: u64) -> Self {
        let mut forest = Self::bare(root, seed);
        forest.plant_everything();
        forest.grow()
    }

    /// Some small things at random.
    pub(crate) fn sow(root: &Path, seed: u64) -> Self {
        Self::bare(root, seed).grow()
    }

    fn bare(root: &Path, seed: u64) -> Self {
        fs::create_dir(root).unwrap();
        Self { random: Rng::with_seed(seed), root: root.to_owned(), serial: 0 }
    }

    fn grow(mut self) -> Self {
        for _ in 0..40 {
            self.change();
        }
        self
    }

    fn plant_everything(&mut self) {
        let root = self.root.clone();
        let path = |name: &[u8]| root.join(OsStr::from_bytes(name));
        for (number, size_bytes) in SIZES_BYTES.into_iter().enumerate() {
            self.write(&path(format!("size-{number}").as_bytes()), size_bytes);
        }
        fs::write(path(b"zeros"), vec![0; 9 << 20]).unwrap();
        let sparse = File::create(path(b"sparse")).unwrap();
        sparse.set_len(40 << 20).unwrap();
        for offset in [4096, 700 << 10, (3 << 20) + 5, 39 << 20] {
            sparse.write_all_at(&self.noise(10_000), offset).unwrap();
        }
        let odd_names: [&[u8]; 8] = [
            b"not \xff utf-8 \xc3",
            b"new\nline",
            b"quote\"back\\slash",
            b"<&>\x7f\x01",
            "\u{2028}\u{fffd}\u{e9}".as_bytes(),
            b" ",
            b"...",
            &[b'n'; 255],
        ];
        for name in odd_names {
            self.write(&path(name), 10);
        }
        symlink("gone/\u{e9}", path(b"link")).unwrap();
        symlink(OsStr::from_bytes(b"not \xff utf-8"), path(b"odd-link")).unwrap();
        symlink("x".repeat(4000), path(b"long-link")).unwrap();
        fs::hard_link(path(b"size-3"), path(b"hard-link")).unwrap();
        rustix::fs::mknodat(CWD, path(b"pipe"), FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
        if rustix::process::geteuid().is_root() {
            let device = rustix::fs::makedev(259, 300_000);
            for (name, kind) in [(&b"char"[..], FileType::CharacterDevice), (b"block", FileType::BlockDevice)]
            {
                rustix::fs::mknodat(CWD, path(name), kind, Mode::from_raw_mode(0o600), device).unwrap();
            }
            std::os::unix::fs::lchown(path(b"size-1"), Some(12345), Some(54321)).unwrap();
        }
        fs::create_dir(path(b"empty")).unwrap();
        let deep = path(b"deep").join(["a-directory-below"; 60].join("/"));
        fs::create_dir_all(&deep).unwrap();
        self.write(&deep.join("file"), 100);
        for (name, mode) in [("size-2", 0o4755), ("size-4", 0o2711), ("size-5", 0), ("empty", 0o1777)] {
            fs::set_permissions(path(name.as_bytes()), fs::Permissions::from_mode(mode)).unwrap();
        }
        for (name, value) in [("user.text", &b"value"[..]), ("user.empty", b""), ("user.bytes", b"\0\xff")] {
            for file in ["size-1", "empty"] {
                rustix::fs::lsetxattr(path(file.as_bytes()), name, value, XattrFlags::empty()).unwrap();
            }
        }
        // user::rw-, user:1:r--, group::r--, mask::r--, other::---
        let entries =
            [(1u16, 6u16, u32::MAX), (2, 4, 1), (4, 4, u32::MAX), (16, 4, u32::MAX), (32, 0, u32::MAX)];
        let mut list = 2u32.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries {
            list.extend([tag.to_le_bytes(), permissions.to_le_bytes()].concat());
            list.extend(id.to_le_bytes());
        }
        rustix::fs::lsetxattr(path(b"size-3"), "system.posix_acl_access", &list, XattrFlags::empty())
            .unwrap();
        for (name, seconds, nanoseconds) in
            [("size-0", -5, 1), ("size-2", 1, 999_999_999), ("empty", 1 << 33, 10)]
        {
            let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
            let times = Timestamps { last_access: time, last_modification: time };
            rustix::fs::utimensat(CWD, path(name.as_bytes()), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        }
    }

    fn noise(&mut self, size_bytes: usize) -> Vec<u8> {
        let mut bytes = vec![0; size_bytes];
        self.random.fill(&mut bytes);
        // Something for compression: a third is text.
        let third = size_bytes / 3;
        bytes[..third].fill(b'a');
        bytes
    }

    fn write(&mut self, path: &Path, size_bytes: usize) {
        let bytes = self.noise(size_bytes);
        fs::write(path, bytes).unwrap();
    }

    fn all(&self, wanted: impl Fn(&fs::FileType) -> bool) -> Vec<PathBuf> {
        let (mut found, mut open) = (Vec::new(), vec![self.root.clone()]);
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(&directory).unwrap() {
                let entry = entry.unwrap();
                let kind = entry.file_type().unwrap();
                if kind.is_dir() && entry.file_name() != "deep" {
                    open.push(entry.path());
                }
                if wanted(&kind) && entry.file_name() != "deep" {
                    found.push(entry.path());
                }
            }
        }
        found.sort();
        found
    }

    fn some(&mut self, wanted: impl Fn(&fs::FileType) -> bool) -> Option<PathBuf> {
        let all = self.all(wanted);
        (!all.is_empty()).then(|| all[self.random.usize(..all.len())].clone())
    }

    /// A new name in some directory.
    fn place(&mut self) -> PathBuf {
        self.serial += 1;
        let mut directories = self.all(fs::FileType::is_dir);
        directories.push(self.root.clone());
        directories[self.random.usize(..directories.len())].join(format!("entry-{}", self.serial))
    }

    /// One random edit.
    pub(crate) fn change(&mut self) {
        let place = self.place();
        match self.random.u32(..11) {
            0 | 1 => fs::create_dir(place).unwrap(),
            2 | 3 => {
                let size_bytes = self.random.usize(..20_000);
                self.write(&place, size_bytes);
            }
            4 => symlink("somewhere", place).unwrap(),
            5 => {
                if let Some(file) = self.some(fs::FileType::is_file) {
                    let length = fs::metadata(&file).unwrap().len();
                    let file = fs::OpenOptions::new().write(true).open(file).unwrap();
                    let offset = self.random.u64(..=length);
                    file.write_all_at(&self.noise(500), offset).unwrap();
                }
            }
            6 => {
                if let Some(file) = self.some(fs::FileType::is_file) {
                    let length = fs::metadata(&file).unwrap().len();
                    let file = fs::OpenOptions::new().write(true).open(file).unwrap();
                    file.set_len(self.random.u64(..=length)).unwrap();
                }
            }
            7 => {
                if let Some(from) = self.some(|_| true)
                    && !place.starts_with(&from)
                {
                    fs::rename(from, place).unwrap();
                }
            }
            8 => {
                if let Some(file) = self.some(|kind| !kind.is_dir()) {
                    fs::remove_file(file).unwrap();
                }
            }
            9 => {
                if let Some(file) = self.some(|kind| kind.is_file() || kind.is_dir()) {
                    let mode = 0o700 | self.random.u32(..0o100);
                    fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
                }
            }
            _ => {
                if let Some(file) = self.some(fs::FileType::is_file) {
                    fs::hard_link(file, place).unwrap();
                }
            }
        }
    }
}

/// What a tool can restore of every entry, by its path below `root`.
pub(crate) fn picture(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut picture = BTreeMap::new();
    let mut names_of_inode = HashMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let kind = metadata.file_type();
            if kind.is_dir() {
                open.push(path.clone());
            }
            let content = if kind.is_file() {
                Id::of(&fs::read(&path).unwrap()).to_string()
            } else if kind.is_symlink() {
                format!("{:?}", fs::read_link(&path).unwrap())
            } else {
                String::new()
            };
            let size_bytes = if kind.is_file() { metadata.len() } else { 0 };
            let modified = (metadata.mtime(), metadata.mtime_nsec());
            let (mode, owner) = (metadata.mode(), (metadata.uid(), metadata.gid()));
            let device = metadata.rdev();
            let attributes = attributes(&path);
            let below = path.strip_prefix(root).unwrap().as_os_str().to_owned().into_vec();
            if !kind.is_dir() && metadata.nlink() > 1 {
                names_of_inode.entry(metadata.ino()).or_insert_with(Vec::new).push(below.clone());
            }
            let seen =
                format!("{mode:o} {owner:?} {modified:?} {size_bytes} {device} {content} {attributes:?}");
            picture.insert(below, seen);
        }
    }
    for mut names in names_of_inode.into_values() {
        names.sort();
        for name in &names {
            picture.get_mut(name).unwrap().push_str(&format!(" linked {}", names.len()));
        }
    }
    picture
}

fn attributes(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; 4096];
    let Ok(length) = rustix::fs::llistxattr(path, &mut names[..]) else { return BTreeMap::new() };
    names.truncate(length);
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let name = String::from_utf8_lossy(name).into_owned();
            let mut value = vec![0; 4096];
            let length = rustix::fs::lgetxattr(path, name.as_str(), &mut value[..]).unwrap();
            value.truncate(length);
            (name, value)
        })
        .filter(|(name, _)| name != "security.selinux")
        .collect()
}

/// Says which entries differ rather than print all.
#[track_caller]
pub(crate) fn assert_same_picture(left: &BTreeMap<Vec<u8>, String>, right: &BTreeMap<Vec<u8>, String>) {
    let mut paths: Vec<_> = left.keys().chain(right.keys()).collect();
    paths.dedup();
    for path in paths {
        assert_eq!(left.get(path), right.get(path), "{}", path.escape_ascii());
    }
}
