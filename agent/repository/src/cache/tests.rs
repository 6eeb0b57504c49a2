//! Caches without a repository: who owns one, what is in it, and how much.

use std::collections::BTreeMap;
use std::io::Write;

use pillion_backend::FileKind;
use pillion_backend::mem::Mem;

use super::*;
use crate::repository::fixture;
use crate::store::file_name;

struct Scene {
    folder: tempfile::TempDir,
    told: Arc<Mutex<Vec<String>>>,
}

impl Scene {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), told: Arc::default() }
    }

    fn directory(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    fn open(&self, max_bytes: u64) -> Cache {
        let told = Arc::clone(&self.told);
        Cache::open(Options {
            directory: self.directory(),
            max_bytes,
            guest_bytes: 100,
            fallback: self.folder.path().join("fallback"),
            tell: Arc::new(move |message| told.lock().unwrap().push(message.to_owned())),
        })
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    /// The files below the cache directory with their sizes, save the locks, which are empty.
    fn files(&self) -> BTreeMap<String, u64> {
        files(&self.directory())
    }

    /// What is kept, by the names that [`keep`] gave.
    fn kept(&self, names: &[&'static str]) -> Vec<&'static str> {
        let files = self.files();
        let is_kept =
            |name: &str| files.keys().any(|path| path.contains(&Id::of(name.as_bytes()).to_string()));
        names.iter().copied().filter(|name| is_kept(name)).collect()
    }
}

pub(crate) fn files(directory: &Path) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            // Removed since it was listed.
            let Ok(metadata) = entry.metadata() else { continue };
            match metadata.is_dir() {
                true => directories.push(entry.path()),
                false if metadata.len() == 0 => {}
                false => drop(found.insert(entry.path().display().to_string(), metadata.len())),
            }
        }
    }
    found
}

fn repository() -> Id {
    Id::of(b"repository")
}

/// Keeps an index file that has the name's hash for its own name and not for its content.
fn keep(files: &Files, name: &str, bytes: usize) {
    files.keep(FileKind::Index, &Id::of(name.as_bytes()), &vec![b'x'; bytes]);
}

fn keep_tree(files: &Files, name: &str, bytes: usize) {
    let mut content = &vec![b'x'; bytes][..];
    files.keep_trees(&Id::of(name.as_bytes()), &mut |buffer| io::Read::read(&mut content, buffer)).unwrap();
}

/// Loads such a file, which the store does not have; whether it was kept.
fn uses(files: &Files, content: &[u8]) -> bool {
    let store = fixture::store(Mem::new());
    files.load(&store, FileKind::Index, &Id::of(content)).is_ok_and(|bytes| bytes == content)
}

#[test]
fn of_two_processes_one_owns_the_cache_and_both_work() {
    let scene = Scene::new();
    let owner = scene.open(1_000);
    assert_eq!((owner.standing(), owner.is_settled()), (&Standing::Owner, true));
    owner.of(repository()).keep(FileKind::Index, &Id::of(b"content"), b"content");
    let guest = scene.open(1_000);
    assert_eq!((guest.standing(), guest.is_settled()), (&Standing::Guest, false));
    assert_eq!(guest.max_bytes(), 100, "its spool is beside the owner's budget");
    let files = guest.of(repository());
    assert!(uses(&files, b"content"), "it reads what is there");
    keep(&files, "other", 10);
    assert_eq!(scene.files().len(), 1, "and keeps nothing");
    let spools = [&owner, &guest].map(|cache| Spool::open(cache).unwrap());
    let written = spools.each_ref().map(|spool| {
        let mut file = spool.create_file(spool.try_place(100).unwrap()).unwrap();
        file.write_all(b"pack").unwrap();
        file
    });
    assert_eq!(scene.files().len(), 3);
    drop((written, spools, files, owner));
    let next = scene.open(1_000);
    assert_eq!(next.standing(), &Standing::Owner);
    assert!(uses(&next.of(repository()), b"content"));
    assert_eq!(scene.told(), [""; 0]);
}

#[test]
fn a_cache_that_was_deleted_is_no_longer_settled() {
    let scene = Scene::new();
    let cache = scene.open(1_000);
    fs::remove_dir_all(scene.directory()).unwrap();
    assert!(!cache.is_settled());
    let other = scene.open(1_000);
    assert!(other.is_settled() && !cache.is_settled());
}

#[test]
fn a_directory_that_cannot_be_used_is_told_and_done_without() {
    for in_the_place_of in ["", "spool", "owner"] {
        let scene = Scene::new();
        match in_the_place_of {
            "owner" => fs::create_dir_all(scene.directory().join("owner")).unwrap(),
            "" => fs::write(scene.directory(), b"a file").unwrap(),
            name => {
                fs::create_dir(scene.directory()).unwrap();
                fs::write(scene.directory().join(name), b"a file").unwrap();
            }
        }
        let cache = scene.open(1_000);
        assert!(matches!(cache.standing(), Standing::Unusable(_)), "{in_the_place_of}: {cache:?}");
        let [told] = &scene.told()[..] else { panic!("{:?}", scene.told()) };
        assert!(told.starts_with("the cache cannot be used: ") && told.contains("/cache"), "{told}");
        keep(&cache.of(repository()), "a", 10);
        let spool = Spool::open(&cache).unwrap();
        let file = spool.create_file(spool.try_place(1 << 40).unwrap()).unwrap();
        assert!(file.path().starts_with(scene.folder.path().join("fallback")));
    }
}

#[test]
fn what_cannot_be_written_is_told_once_for_a_job() {
    let scene = Scene::new();
    let cache = scene.open(1_000);
    fs::write(scene.directory().join(REPOSITORIES), b"a file").unwrap();
    for _ in 0..2 {
        let files = cache.of(repository());
        keep(&files, "a", 10);
        keep(&files, "b", 10);
    }
    let told = scene.told();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("the cache cannot be written, and is done without: "), "{told:?}");
    fs::remove_file(scene.directory().join(REPOSITORIES)).unwrap();
    keep(&cache.of(repository()), "a", 1_000);
    assert_eq!(scene.kept(&["a"]), ["a"], "what could not be written takes nothing of the budget");
}

#[test]
fn what_a_killed_process_left_is_deleted_and_what_others_own_stays() {
    let scene = Scene::new();
    let cache = scene.open(10_000);
    keep(&cache.of(repository()), "whole", 10);
    drop(cache);
    let own = scene.directory().join(REPOSITORIES).join(repository().to_string());
    let dead = scene.directory().join("spool/pillion-spool-dead");
    let restics = scene.directory().join(repository().to_string()).join("index/ab");
    for directory in [&own.join("trees"), &dead, &restics] {
        fs::create_dir_all(directory).unwrap();
    }
    let index_file = format!("{}", Id::of(b"x"));
    let left =
        [own.join("index/new"), own.join("trees/new"), own.join("trees").join(&index_file), dead.join("0")];
    let others = [own.join("note"), restics.join(&index_file), scene.directory().join("agent.json")];
    for file in left.iter().chain(&others) {
        fs::write(file, b"half").unwrap();
    }
    fs::write(dead.join("in-use"), b"").unwrap();
    let cache = scene.open(10_000);
    assert!(left.iter().all(|file| !file.exists()), "{:?}", scene.files());
    assert!(others.iter().all(|file| file.exists()));
    assert_eq!(scene.kept(&["whole"]), ["whole"]);
    drop(cache);
    assert_eq!(scene.open(9).standing(), &Standing::Owner);
    assert_eq!(scene.kept(&["whole"]), [""; 0], "a smaller budget is kept from the start");
}

#[test]
fn what_was_not_used_for_longest_goes_first_and_trees_before_all_else() {
    let scene = Scene::new();
    let cache = scene.open(100);
    let begin = || cache.of(repository());
    let names = ["a", "b", "t", "u", "c", "d", "large"];
    let files = begin();
    ["a", "b"].iter().for_each(|name| keep(&files, name, 30));
    ["t", "u"].iter().for_each(|name| keep_tree(&files, name, 20));
    assert_eq!(scene.kept(&names), ["a", "b", "t", "u"]);
    let files = begin();
    keep(&files, "c", 20);
    assert_eq!(scene.kept(&names), ["a", "b", "u", "c"], "the older tree makes room");
    keep(&files, "d", 40);
    assert_eq!(scene.kept(&names), ["b", "c", "d"], "then the other tree, then the older file");
    keep_tree(&files, "t", 20);
    assert_eq!(scene.kept(&names), ["b", "c", "d"], "no file goes for a tree");
    keep(&files, "large", 41);
    assert_eq!(
        scene.kept(&names),
        ["b", "c", "d"],
        "and nothing for what does not fit beside what this job uses"
    );
    begin().listed(FileKind::Index, &[]);
    assert_eq!(scene.kept(&names), [""; 0]);
}

#[test]
fn a_walk_that_is_larger_than_the_budget_keeps_what_it_can() {
    let scene = Scene::new();
    let cache = scene.open(50);
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    for _ in 0..2 {
        let files = cache.of(repository());
        for name in names {
            if cache.0.read(&piece_0(name), disk::Part::Range(0..10)).is_none() {
                keep_tree(&files, name, 10);
            }
        }
        // By age alone each walk would push out what the next one begins with.
        assert_eq!(scene.kept(&names), names[..5]);
    }
}

fn piece_0(name: &str) -> Key {
    Key { repository: 0, what: What::Trees(0), id: Id::of(name.as_bytes()) }
}

#[test]
fn the_order_outlives_the_process() {
    let scene = Scene::new();
    let cache = scene.open(100);
    let files = cache.of(repository());
    for content in ["first", "second", "third"] {
        files.keep(FileKind::Index, &Id::of(content.as_bytes()), content.as_bytes());
    }
    let folder = scene.directory().join(REPOSITORIES).join(repository().to_string()).join("index");
    for (content, seconds) in [("first", 1), ("second", 2), ("third", 3)] {
        let path = folder.join(Id::of(content.as_bytes()).to_string());
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
    }
    assert!(uses(&cache.of(repository()), b"first"));
    drop((files, cache));
    let _smaller = scene.open(10);
    assert_eq!(scene.kept(&["first", "second", "third"]), ["first", "third"]);
}

/// Whatever is kept and written in whatever order, by several threads at once.
#[test]
fn the_directory_never_holds_more_than_its_budget() {
    const MAX_BYTES: u64 = 20_000;
    let scene = Scene::new();
    let cache = scene.open(MAX_BYTES);
    let spool = Spool::open(&cache).unwrap();
    let look = || {
        // With the budget locked nobody writes: the sum is of one moment.
        let _nobody_writes = cache.0.budget();
        let files = scene.files();
        assert!(files.values().sum::<u64>() <= MAX_BYTES, "{files:#?}");
    };
    let work = |seed: u64| {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut written = Vec::new();
        for step in 0..400 {
            let files = cache.of(repository());
            let (name, bytes) = (format!("{seed} {}", random.u8(..30)), random.usize(1..4_000));
            match random.u8(..6) {
                0 | 1 => keep(&files, &name, bytes),
                2 => keep_tree(&files, &name, bytes),
                3 => drop(cache.0.read(&piece_0(&name), disk::Part::Range(0..1))),
                4 => drop(written.pop()),
                _ => {
                    if let Some(place) = spool.try_place(4_000) {
                        let mut file = spool.create_file(place).unwrap();
                        file.write_all(&vec![b'y'; bytes]).unwrap();
                        file.settle();
                        written.push(file);
                    }
                }
            }
            if step % 5 == 0 {
                look();
            }
        }
    };
    std::thread::scope(|scope| (0..3).for_each(|seed| drop(scope.spawn(move || work(seed)))));
    look();
    assert!(cache.0.budget().reserve(MAX_BYTES), "all that was reserved is given back");
}

#[test]
fn who_waits_for_a_place_gets_what_is_given_back_and_learns_what_never_fits() {
    let scene = Scene::new();
    let spool = Spool::open(&scene.open(100)).unwrap();
    let runtime = fixture::runtime();
    let first = spool.try_place(60).unwrap();
    runtime.block_on(async {
        let mut second = std::pin::pin!(spool.place(60, 40));
        assert!(futures_util::poll!(second.as_mut()).is_pending());
        assert!(futures_util::poll!(second.as_mut()).is_pending());
        drop(first);
        drop(second.await.unwrap());
    });
    let error = runtime.block_on(spool.place(61, 40)).unwrap_err().to_string();
    let begin =
        format!("the cache {} is too small: its budget is 100 bytes, and 101 ", scene.directory().display());
    assert!(error.starts_with(&begin), "{error}");
}

#[test]
fn what_is_used_is_told_also_to_who_finds_the_budget_taken() {
    let scene = Scene::new();
    let cache = scene.open(1_000);
    keep(&cache.of(repository()), "kept", 30);
    let used = Usage { kept_bytes: 30, spool_bytes: 0, max_bytes: 1_000 };
    assert_eq!(cache.usage(), Some(used));
    let spool = Spool::open(&cache).unwrap();
    let mut file = spool.create_file(spool.try_place(100).unwrap()).unwrap();
    file.write_all(&[0; 70]).unwrap();
    let held = cache.0.budget();
    assert_eq!(cache.usage(), Some(used), "as it was when it was free");
    drop(held);
    assert_eq!(cache.usage(), Some(Usage { spool_bytes: 70, ..used }));
    assert_eq!(Cache::absent(scene.directory().to_owned()).usage(), None);
}

#[test]
fn a_file_of_the_spool_stays_within_its_place() {
    let scene = Scene::new();
    let cache = scene.open(100);
    let spool = Spool::open(&cache).unwrap();
    let mut file = spool.create_file(spool.try_place(10).unwrap()).unwrap();
    file.write_all(&[0; 10]).unwrap();
    assert!(file.write_all(&[0]).is_err());
    let mut growing = spool.create_growing_file().unwrap();
    growing.write_all(&[0; 90]).unwrap();
    let error = growing.write_all(&[0]).unwrap_err().to_string();
    assert!(error.contains("its budget is 100 bytes, and 91 are needed"), "{error}");
    drop((file, growing));
    assert!(cache.0.budget().reserve(100));
}

#[test]
fn only_an_index_or_a_snapshot_is_kept_whole() {
    let scene = Scene::new();
    let files = scene.open(1_000).of(repository());
    let store = Mem::new();
    for kind in [FileKind::Key, FileKind::Lock, FileKind::Snapshot, FileKind::Index] {
        let content = kind.noun().as_bytes();
        let id = Id::of(content);
        store.put_raw(&file_name(kind, &id), content);
        assert_eq!(files.load(&fixture::store(store.clone()), kind, &id).unwrap(), content);
    }
    let folders: Vec<String> = scene.files().into_keys().collect();
    assert!(folders.len() == 2 && folders[0].contains("/index/") && folders[1].contains("/snapshots/"));
}
