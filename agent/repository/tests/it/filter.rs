//! The filter against stock restic: the same patterns, targets and lists, and what each of us makes of them.
//!
//! One source with many odd names, one repository a test, many calls of restic that each cost some
//! milliseconds. Random patterns come from a fixed seed, so a failure comes back.

mod patterns;
mod targets;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use pillion_repository::filter::exclude::Header;
use pillion_repository::filter::targets::Children;
use pillion_repository::filter::{Exclusion, TargetNode};

/// Paths as both sides print them: with U+FFFD for each byte that is no part of a character.
type Paths = BTreeSet<String>;

/// A source to back up: paths that end in a slash are directories.
const SOURCE: &[&[u8]] = &[
    b"a",
    b"A",
    b"b.txt",
    b"B.TXT",
    b".hidden",
    b"a b",
    b"a*b",
    b"a?b",
    b"[ab]",
    b"a[b",
    b"a]b",
    b"a\\b",
    b"a-b",
    b"-",
    b"!a",
    b"#c",
    b"**",
    b"a\nb",
    b"\xff",
    b"x\xffy",
    "ä.txt".as_bytes(),
    "Ä.TXT".as_bytes(),
    "é".as_bytes(),
    "e\u{301}".as_bytes(),
    "日本".as_bytes(),
    "\u{1f980}".as_bytes(),
    "İ".as_bytes(),
    "ı".as_bytes(),
    "Σς".as_bytes(),
    b"D/A",
    b"d/a",
    b"d/b.txt",
    b"d/d/a",
    b"d/d/d/b.txt",
    b"d/e/f/a",
    b"d/a b/c",
    b"e/d/a",
    b"e/!a",
    b"e/x/y/z/a",
    b"empty/",
];

fn create_source(root: &Path, entries: &[&[u8]]) {
    for entry in entries {
        let path = root.join(OsStr::from_bytes(entry));
        if entry.ends_with(b"/") {
            std::fs::create_dir_all(path).expect("create a directory");
        } else {
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("create a directory");
            std::fs::write(path, entry).expect("write a file");
        }
    }
}

fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

/// Names and whether each is a directory, sorted.
fn list(directory: &Path) -> Vec<(Vec<u8>, bool)> {
    let entries = std::fs::read_dir(directory).expect("list a directory");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("an entry"))
        .map(|entry| (entry.file_name().as_bytes().to_vec(), entry.file_type().expect("a type").is_dir()))
        .collect();
    names.sort();
    names
}

/// As Go's JSON prints a path.
fn printed(path: &[u8]) -> String {
    let mut text = String::new();
    for chunk in path.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '\u{fffd}'));
    }
    text
}

/// The `item`s of restic's verbose messages whose action is one of `actions`.
fn items(command: &mut Command, actions: &[&str]) -> Paths {
    let output = command.output().expect("restic starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    // A backup of nothing fails in restic; what it kept is the empty set all the same.
    assert!(output.status.success() || errors.contains("snapshot is empty"), "{command:?}: {errors}");
    messages(&output.stdout)
        .filter(|message| message["message_type"] == "verbose_status")
        .filter(|message| message["action"].as_str().is_some_and(|action| actions.contains(&action)))
        .map(|message| message["item"].as_str().expect("a path").trim_end_matches('/').to_owned())
        .collect()
}

fn messages(output: &[u8]) -> impl Iterator<Item = serde_json::Value> {
    output
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).expect("a line of JSON"))
}

/// What a backup of a target tree holds: a scanner in the fewest words, which asks `exclusion` as the real
/// one does.
struct Scan<'a> {
    exclusion: &'a Exclusion,
    working_directory: &'a Path,
    /// Called with the path in the snapshot and the path on disk.
    keep: &'a mut dyn FnMut(&[u8], &Path),
}

impl Scan<'_> {
    fn children(&mut self, place: &[u8], children: &Children) {
        for (name, node) in children {
            let place = [place, b"/", name].concat();
            match node {
                TargetNode::Leaf { path, explicit } => {
                    let path = self.on_disk(path);
                    let parent = path.parent().expect("a parent").to_owned();
                    if *explicit || !self.is_marked(&parent, &path) && !self.is_excluded(&path) {
                        self.entry(&place, &path);
                    }
                }
                TargetNode::Directory { metadata_path, children } => {
                    let path = self.on_disk(metadata_path);
                    (self.keep)(&place, &path);
                    self.children(&place, children);
                }
            }
        }
    }

    fn on_disk(&self, path: &[u8]) -> PathBuf {
        let joined = self.working_directory.join(OsStr::from_bytes(path));
        let mut absolute = PathBuf::new();
        for component in joined.components() {
            match component {
                std::path::Component::ParentDir => drop(absolute.pop()),
                other => absolute.push(other),
            }
        }
        absolute
    }

    fn entry(&mut self, place: &[u8], path: &Path) {
        (self.keep)(place, path);
        if !path.symlink_metadata().expect("an entry").is_dir() {
            return;
        }
        for (name, _) in list(path) {
            let child = path.join(OsStr::from_bytes(&name));
            if !self.is_marked(path, &child) && !self.is_excluded(&child) {
                self.entry(&[place, b"/", &name].concat(), &child);
            }
        }
    }

    fn is_excluded(&self, path: &Path) -> bool {
        let metadata = path.symlink_metadata().expect("an entry");
        self.exclusion.by_name(path.as_os_str().as_bytes())
            || self.exclusion.by_metadata(metadata.is_dir(), metadata.len())
    }

    fn is_marked(&self, directory: &Path, path: &Path) -> bool {
        let markers = self.exclusion.directory_markers().iter().enumerate();
        let found: Vec<_> = markers
            .filter(|(_, marker)| {
                let file = directory.join(OsStr::from_bytes(&marker.name));
                file.symlink_metadata().is_ok()
                    && (marker.header.is_empty()
                        || marker.check(&std::fs::read(file).expect("a file")) == Header::Fits)
            })
            .map(|(position, _)| position)
            .collect();
        self.exclusion.by_markers(&found, path.file_name().expect("a name").as_bytes())
    }
}
