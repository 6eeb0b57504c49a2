//! Targets and lists of targets: each is backed up by restic for real and laid out by us.
//!
//! Compared by inode, so that a directory with the metadata of another one is noticed.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;

use pillion_repository::filter::files_from::{self, Listing};
use pillion_repository::filter::targets::{existing, snapshot_paths};
use pillion_repository::filter::{ExcludeOptions, PatternOptions, TargetTree};

use super::*;
use crate::restic::{Repository, run};

/// Path in the snapshot to the inode it was taken from.
type Layout = BTreeMap<String, u64>;

struct Oracle {
    repository: Repository,
    source: tempfile::TempDir,
}

impl Oracle {
    fn create() -> Self {
        let source = tempfile::tempdir().expect("a temporary directory");
        create_source(
            source.path(),
            &[b"w/a/b/x", b"w/a/b/y", b"w/a/c", b"w/z", b"w/a-1", b"a/b/q", b"a/r", b"z", b"a-1/s", b"w/[g]"],
        );
        Self { repository: Repository::create(), source }
    }

    fn working_directory(&self) -> PathBuf {
        self.source.path().join("w")
    }

    /// `@` stands for the source's absolute path.
    fn resolve(&self, target: &str) -> Vec<u8> {
        target.replace('@', self.source.path().to_str().expect("UTF-8")).into_bytes()
    }

    /// Backs up with restic and reads back what it stored: the snapshot's paths and its layout.
    fn ask(&self, arguments: &[Vec<u8>]) -> (Vec<String>, Layout) {
        let mut command = self.repository.command(&self.working_directory());
        command.args(["backup", "-q", "--no-scan"]).args(arguments.iter().map(|a| OsStr::from_bytes(a)));
        let status = command.output().expect("restic starts").status;
        assert!(matches!(status.code(), Some(0 | 3)), "{command:?}");
        let listing =
            run(self.repository.command(Path::new("/")).args(["ls", "latest", "--json", "--no-lock"]));
        let mut messages = messages(&listing.stdout);
        let snapshot = messages.next().expect("a snapshot");
        let paths = snapshot["paths"].as_array().expect("paths").iter();
        let layout = messages.map(|node| {
            (node["path"].as_str().expect("a path").to_owned(), node["inode"].as_u64().expect("an inode"))
        });
        (paths.map(|path| path.as_str().expect("a path").to_owned()).collect(), layout.collect())
    }

    fn our_layout(&self, targets: &[Vec<u8>], exclusion: &Exclusion) -> Layout {
        let working_directory = self.working_directory();
        let mut names = |path: &[u8]| {
            Ok(list(&working_directory.join(OsStr::from_bytes(path)))
                .into_iter()
                .map(|(name, _)| name)
                .collect())
        };
        let tree = TargetTree::build(targets, &mut names).expect("a tree");
        let mut layout = Layout::new();
        let mut keep = |place: &[u8], path: &Path| {
            layout.insert(printed(place), path.symlink_metadata().expect("an entry").ino());
        };
        Scan { exclusion, working_directory: &working_directory, keep: &mut keep }
            .children(b"", &tree.children);
        layout
    }

    fn check(&self, targets: &[&str], exclude: &[&str]) {
        let given: Vec<_> = targets.iter().map(|target| self.resolve(target)).collect();
        let excludes: Vec<_> = exclude.iter().map(|pattern| pattern.as_bytes().to_vec()).collect();
        let options = excludes.iter().map(|pattern| [b"--exclude=", &**pattern].concat());
        let (paths, expected) = self.ask(&[given.clone(), options.collect()].concat());

        let working_directory = self.working_directory();
        let mut lstat =
            |path: &[u8]| working_directory.join(OsStr::from_bytes(path)).symlink_metadata().map(drop);
        let found = existing(given, &mut lstat).expect("a target is there");
        let ours: Vec<_> = snapshot_paths(&found.targets, &bytes(&working_directory))
            .iter()
            .map(|path| printed(path))
            .collect();
        assert_eq!(ours, paths, "paths of {targets:?}");
        let patterns = PatternOptions { patterns: excludes, ..PatternOptions::default() };
        let exclusion = Exclusion::parse(ExcludeOptions { patterns, ..ExcludeOptions::default() });
        let layout = self.our_layout(&found.targets, &exclusion.expect("valid patterns"));
        assert_eq!(layout, expected, "layout of {targets:?} without {exclude:?}");
    }
}

#[test]
fn targets_are_laid_out_as_restic_lays_them_out() {
    let oracle = Oracle::create();
    for targets in [
        &["."][..],
        &[".."],
        &["a/.."],
        &["a", "z"],
        &["@/w/a", "@/a"],
        &["a", "../a", "@/a/b"],
        &["z", "../z", "a-1", "a", "../a"],
        &["../a/b", "../a/r", "a/b/x"],
        &["a", "a/b/x"],
        &["a/b/x", "a", "."],
        &[".", ".."],
        &["a/b/../c", "./a//b/", "a/c"],
        &["z", "missing", "z", "@/missing"],
        &["@/w/a/b", "@/w", "@/w/a"],
    ] {
        oracle.check(targets, &[]);
    }
}

#[test]
fn targets_the_user_named_are_kept_whatever_is_excluded() {
    let oracle = Oracle::create();
    for (targets, exclude) in [
        (&["a", "z"][..], &["a", "z"][..]),
        (&["a", "a/b/x"], &["x", "y", "c"]),
        (&["."], &["a", "z"]),
        (&[".", "a"], &["a"]),
        (&["a", "."], &["a"]),
        (&["a/b"], &["a"]),
    ] {
        oracle.check(targets, exclude);
    }
}

#[test]
fn lists_of_files_name_what_they_name_in_restic() {
    struct Disk(PathBuf);
    impl Listing for Disk {
        fn exists(&mut self, path: &[u8]) -> bool {
            self.0.join(OsStr::from_bytes(path)).symlink_metadata().is_ok()
        }

        fn names(&mut self, path: &[u8]) -> Vec<Vec<u8>> {
            let path = self.0.join(OsStr::from_bytes(path));
            if path.is_dir() { list(&path).into_iter().map(|(name, _)| name).collect() } else { Vec::new() }
        }
    }
    let oracle = Oracle::create();
    let lists = tempfile::tempdir().expect("a temporary directory");
    let globs = oracle.resolve("# no\n\n  a/*/[x-z] \r\n../*/r\n\\[g]\nnothing*\n@/?\n*/\n./a-1\n");
    let verbatim = oracle.resolve("[g]\n\n# no\n../z\n");
    let raw = oracle.resolve("@/a-1\0a/c\0");
    let mut arguments = Vec::new();
    for (option, text) in
        [("files-from", &globs), ("files-from-verbatim", &verbatim), ("files-from-raw", &raw)]
    {
        let path = lists.path().join(option);
        std::fs::write(&path, text).expect("write a list");
        arguments.push([b"--", option.as_bytes(), b"=", path.as_os_str().as_bytes()].concat());
    }
    let (paths, expected) = oracle.ask(&arguments);

    let mut disk = Disk(oracle.working_directory());
    let mut targets = Vec::new();
    for pattern in files_from::patterns(&globs) {
        targets.extend(files_from::expand(&pattern, &mut disk).expect("a valid pattern"));
    }
    targets.extend(files_from::verbatim(&verbatim));
    targets.extend(files_from::raw(&raw).expect("a valid list"));
    let found = existing(targets, &mut |path| {
        if disk.exists(path) { Ok(()) } else { Err(std::io::ErrorKind::NotFound.into()) }
    })
    .expect("a target is there");
    let ours = snapshot_paths(&found.targets, &bytes(&oracle.working_directory()));
    assert_eq!(ours.iter().map(|path| printed(path)).collect::<Vec<_>>(), paths);
    let nothing_excluded = Exclusion::parse(ExcludeOptions::default()).expect("valid options");
    assert_eq!(oracle.our_layout(&found.targets, &nothing_excluded), expected);
}
