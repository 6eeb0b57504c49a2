//! Somebody uses restic on the repository while a backup of ours is under way.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use pillion_backend::fault::Fault;
use pillion_backend::{FileKind, Operation};
use pillion_repository::Error;
use pillion_repository::lock::{Lock, Mode};

use crate::forest::{assert_same_picture, picture};
use crate::ours;
use crate::restic::{self, run};

/// What restic says where the repository is locked.
const LOCKED: Option<i32> = Some(11);

struct Scene {
    repository: restic::Repository,
    folder: tempfile::TempDir,
}

impl Scene {
    /// Three snapshots, and a source that has changed since.
    fn new() -> Self {
        let scene = Self { repository: restic::Repository::create(), folder: tempfile::tempdir().unwrap() };
        for version in 0..3 {
            fs::write(scene.folder.path().join("same"), "stays as it is").unwrap();
            fs::write(scene.folder.path().join("changing"), format!("version {version}")).unwrap();
            let ours = ours::open(ours::local(scene.repository.path()));
            ours::backup(&ours, scene.folder.path());
        }
        fs::write(scene.folder.path().join("changing"), "the last").unwrap();
        scene
    }

    fn restic(&self, arguments: &[&str]) -> Output {
        self.repository.command(Path::new("/")).args(arguments).output().unwrap()
    }
}

/// Lets restic do it right before the n-th call to the store, for every n.
fn check(arguments: &'static [&'static str]) {
    check_with(arguments, |_| Vec::new());
}

/// The same with `more` arguments, which that moment's repository gives.
fn check_with(arguments: &'static [&'static str], more: fn(&Path) -> Vec<String>) {
    // restic leaves copies of what it repairs in the directory it runs in.
    let working_directory = tempfile::tempdir().unwrap();
    let mut restored = 0;
    let mut refused = 0;
    for n in 1.. {
        let scene = Scene::new();
        let store = Arc::new(Fault::new(ours::local(scene.repository.path())));
        let calls = AtomicU64::new(0);
        let answer: Arc<Mutex<Option<Output>>> = Arc::default();
        let repository_path = scene.repository.path().to_owned();
        let (hook_answer, runs_in) = (Arc::clone(&answer), working_directory.path().to_owned());
        store.before_each(move |_| {
            if calls.fetch_add(1, Ordering::SeqCst) + 1 == n {
                let mut command = restic::command(&repository_path, &runs_in);
                let output = command.args(arguments).args(more(&repository_path)).output().unwrap();
                *hook_answer.lock().unwrap() = Some(output);
            }
            std::future::ready(())
        });
        let result = ours::open_with(Arc::clone(&store), restic::PASSWORD, |_| {})
            .and_then(|ours| ours::try_backup(&ours, &ours::options(scene.folder.path())));
        let Some(answer) = answer.lock().unwrap().take() else {
            result.expect("restic was never there");
            assert!(n > 10, "a run makes more calls than that");
            assert!(refused > 3, "our lock was there for some of them");
            assert!(restored > 11, "and restic looked closely often enough: {restored} times");
            return;
        };
        let what = format!("{arguments:?} before call {n} ({})", store.calls()[n as usize - 1]);
        let said = String::from_utf8_lossy(&answer.stderr).into_owned();
        assert!(answer.status.success() || answer.status.code() == LOCKED, "{what}: {said}");
        refused += usize::from(answer.status.code() == LOCKED);
        let report = result.unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(report.faults, Default::default(), "{what}");
        let ours = ours::open(ours::local(scene.repository.path()));
        ours::assert_whole(&mut ours::reader(&ours), &report.snapshot.tree)
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        // Where it was refused it has changed nothing.
        if answer.status.success() || n % 2 == 0 {
            restored += 1;
            let target = tempfile::tempdir().unwrap();
            let from = format!("{}:{}", report.snapshot_id.unwrap(), scene.folder.path().display());
            let to = target.path().to_str().unwrap();
            assert!(scene.restic(&["restore", &from, "--target", to]).status.success(), "{what}");
            assert_same_picture(&picture(scene.folder.path()), &picture(target.path()));
            let checked = scene.restic(&["check", "--read-data"]);
            assert!(checked.status.success(), "{what}: {}", String::from_utf8_lossy(&checked.stderr));
        }
    }
}

#[test]
fn a_forget_with_prune_between_any_two_of_our_calls_harms_nothing() {
    check(&["forget", "--keep-last", "1", "--prune", "--max-unused", "0"]);
}

#[test]
fn a_tag_between_any_two_of_our_calls_harms_nothing() {
    check(&["tag", "--add", "tagged"]);
}

#[test]
fn a_rewrite_between_any_two_of_our_calls_harms_nothing() {
    check(&["rewrite", "--exclude", "changing", "--forget"]);
}

#[test]
fn a_rebuilt_index_between_any_two_of_our_calls_harms_nothing() {
    check(&["repair", "index", "--read-all-packs"]);
}

#[test]
fn repaired_packs_between_any_two_of_our_calls_harm_nothing() {
    check_with(&["repair", "packs"], |repository| {
        let folders = fs::read_dir(repository.join("data")).unwrap().map(|folder| folder.unwrap().path());
        let packs = folders.flat_map(|folder| fs::read_dir(folder).unwrap());
        let names = packs.map(|pack| pack.unwrap().file_name().into_string().unwrap());
        // Another call of the run may be writing a pack under its temporary name.
        names.filter(|name| name.len() == 64).collect()
    });
}

#[test]
fn an_exclusive_lock_of_restic_blocks_us_and_ours_blocks_prune() {
    let scene = Scene::new();
    let ours = ours::open(ours::local(scene.repository.path()));
    let shared = Lock::acquire(&ours, &ours::lock_options()).unwrap();
    assert_eq!(scene.restic(&["prune"]).status.code(), LOCKED);
    assert!(scene.restic(&["snapshots"]).status.success(), "two shared locks live side by side");
    shared.release().unwrap();
    assert!(scene.restic(&["prune"]).status.success());
    let mut exclusive = ours::lock_options();
    exclusive.mode = Mode::Exclusive;
    let exclusive = Lock::acquire(&ours, &exclusive).unwrap();
    let source = scene.folder.path().to_str().unwrap();
    for arguments in [&["snapshots"][..], &["backup", source], &["prune"], &["check"]] {
        let refused = scene.restic(arguments);
        assert_eq!(refused.status.code(), LOCKED, "{arguments:?}");
    }
    exclusive.release().unwrap();
    assert_eq!(ours::snapshot_ids(&ours).len(), 3, "nobody wrote");
    assert!(scene.restic(&["backup", source]).status.success());
}

#[test]
fn a_lock_of_restic_s_making_blocks_us() {
    let scene = Scene::new();
    let store = Arc::new(Fault::new(ours::local(scene.repository.path())));
    let ours = ours::open(Arc::clone(&store));
    // A backup of its standard input holds its lock as long as we like.
    let mut command = scene.repository.command(Path::new("/"));
    command.args(["backup", "--stdin", "--stdin-filename", "held"]);
    let mut held =
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while ours.store.list_ids(FileKind::Lock).unwrap().is_empty() {
        assert!(std::time::Instant::now() < deadline, "restic never locked");
        std::thread::yield_now();
    }
    let mut exclusive = ours::lock_options();
    exclusive.mode = Mode::Exclusive;
    let refused = Lock::acquire(&ours, &exclusive);
    assert!(matches!(refused, Err(Error::Locked(_))), "{refused:?}");
    ours::backup(&ours, scene.folder.path());
    let mut input = held.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, b"an end").unwrap();
    drop(input);
    assert!(held.wait().unwrap().success());
    Lock::acquire(&ours, &exclusive).unwrap().release().unwrap();
    let removed_by_us = store.calls().into_iter().filter(|call| call.operation == Operation::Remove).count();
    assert_eq!(removed_by_us, 2, "our own locks alone, and none where we were refused at first sight");
    run(scene.repository.command(Path::new("/")).arg("check"));
}
