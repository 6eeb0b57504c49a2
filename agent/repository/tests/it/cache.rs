//! What restic does to a repository between two runs of ours that keep a cache of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pillion_repository::backup::Report;
use pillion_repository::cache::{Cache, Options, least_bytes};

use crate::forest::{assert_same_picture, picture};
use crate::ours;
use crate::restic::{self, run};

struct Scene {
    repository: restic::Repository,
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let scene = Self { repository: restic::Repository::create(), folder: tempfile::tempdir().unwrap() };
        fs::create_dir_all(scene.source().join("folder")).unwrap();
        fs::write(scene.source().join("folder/same"), "stays as it is").unwrap();
        scene
    }

    fn source(&self) -> PathBuf {
        self.folder.path().join("source")
    }

    fn change(&self, text: &str) {
        fs::write(self.source().join("changing"), text).unwrap();
    }

    fn back_up(&self) -> Report {
        let pack_size_bytes = pillion_repository::limits::PACK_SIZE_BYTES;
        let options = Options {
            directory: self.folder.path().join("cache"),
            max_bytes: 2 * least_bytes(pack_size_bytes),
            guest_bytes: least_bytes(pack_size_bytes),
            fallback: self.folder.path().to_owned(),
            tell: Arc::new(|message| panic!("{message}")),
        };
        let set =
            |settings: &mut pillion_repository::repository::Settings| settings.cache = Cache::open(options);
        let opened = ours::open_with(ours::local(self.repository.path()), restic::PASSWORD, set).unwrap();
        ours::try_backup(&opened, &ours::options(&self.source())).unwrap()
    }

    fn restic(&self, arguments: &[&str]) {
        run(self.repository.command(self.folder.path()).args(arguments));
    }

    /// The newest snapshot is whole, by restic's word, and holds what the source holds.
    fn assert_whole(&self) {
        self.restic(&["check", "--read-data"]);
        let target = tempfile::tempdir().unwrap();
        let folder = format!("latest:{}", self.source().display());
        self.restic(&["restore", &folder, "--target", target.path().to_str().unwrap()]);
        assert_same_picture(&picture(target.path()), &picture(&self.source()));
    }

    /// The names of files below a folder of the repository or of its part of the cache.
    fn names(&self, folder: &Path) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type().unwrap().is_dir() {
                true => names.extend(self.names(&entry.path())),
                false => drop(names.insert(entry.file_name().to_string_lossy()[..64].to_owned())),
            }
        }
        names
    }

    fn kept(&self, folder: &str) -> BTreeSet<String> {
        let repositories = fs::read_dir(self.folder.path().join("cache/repositories")).unwrap();
        let [own] = &repositories.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()[..] else {
            panic!("there is one repository")
        };
        self.names(&own.join(folder))
    }

    fn stored(&self, folder: &str) -> BTreeSet<String> {
        self.names(&self.repository.path().join(folder))
    }
}

#[test]
fn after_a_forget_with_prune_the_cache_follows() {
    let scene = Scene::new();
    for version in 0..4 {
        scene.change(&format!("version {version}"));
        scene.back_up();
    }
    let before = ["snapshots", "index", "trees"].map(|folder| scene.kept(folder));
    assert!(before.iter().all(|kept| kept.len() == 4), "{before:?}");
    scene.restic(&["forget", "--keep-last", "1", "--prune", "--max-unused", "0"]);
    let report = scene.back_up();
    assert_eq!(report.summary.files_unmodified + report.summary.files_changed, 2, "the parent was found");
    assert_eq!(scene.kept("snapshots"), scene.stored("snapshots"));
    assert_eq!(scene.kept("index"), scene.stored("index"));
    assert!(scene.kept("trees").is_subset(&scene.stored("data")));
    scene.assert_whole();
}

#[test]
fn what_a_lost_pack_held_is_stored_again_once_the_index_says_so() {
    let scene = Scene::new();
    scene.change("first");
    scene.back_up();
    for _ in 0..2 {
        // Data and trees, in the end all.
        let lost = scene.stored("data").pop_first().unwrap();
        fs::remove_file(scene.repository.path().join("data").join(&lost[..2]).join(&lost)).unwrap();
        scene.restic(&["repair", "index"]);
        let report = scene.back_up();
        assert!(report.summary.data_blobs + report.summary.tree_blobs > 0, "it is stored again");
        // What was only in the older one stays lost: the directories above the source are others now.
        scene.restic(&["forget", "--keep-last", "1"]);
        scene.assert_whole();
    }
}
