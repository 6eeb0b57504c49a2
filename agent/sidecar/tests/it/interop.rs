//! What we write restic reads, what restic writes we read, and by turns nothing is stored twice.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use crate::restic;
use crate::scene::Scene;

fn blobs(scene: &Scene) -> Vec<String> {
    let mut blobs: Vec<String> = scene.restic(&["list", "blobs"]).lines().map(str::to_owned).collect();
    blobs.sort();
    blobs
}

fn assert_same_files(scene: &Scene, restored: &str) {
    let difference = Command::new("diff")
        .args(["--recursive", "--no-dereference"])
        .args([scene.source(), scene.path(restored)])
        .output()
        .unwrap();
    assert!(difference.status.success(), "{}", String::from_utf8_lossy(&difference.stdout));
}

#[test]
fn backups_by_turns_add_no_blob_whoever_begins() {
    for restic_begins in [false, true] {
        let scene = Scene::new();
        // By a relative path: the directories above it are others' too, and change while this runs.
        let turn = |ours: bool| match ours {
            true => drop(scene.ok(&["backup", "source"])),
            false => drop(scene.restic(&["backup", "source"])),
        };
        turn(!restic_begins);
        let first = blobs(&scene);
        for ours in [restic_begins, !restic_begins, restic_begins] {
            turn(ours);
            assert_eq!(blobs(&scene), first, "restic began: {restic_begins}; ours: {ours}");
        }
        assert_eq!(scene.snapshots().len(), 4);
        assert!(scene.restic(&["check", "--read-data"]).contains("no errors were found"));
        assert!(scene.ok(&["check", "--read-data"]).contains("no errors were found"));
    }
}

#[test]
fn each_restores_what_the_other_backed_up() {
    let scene = Scene::new();
    let source = scene.source();
    let source = source.to_str().unwrap();
    scene.back_up();
    scene.restic(&[
        "restore",
        &format!("latest:{source}"),
        "--target",
        scene.path("by-restic").to_str().unwrap(),
    ]);
    assert_same_files(&scene, "by-restic");

    std::fs::write(scene.source().join("more"), "more").unwrap();
    scene.restic(&["backup", source]);
    let target = scene.path("by-us");
    let said =
        scene.ok(&["restore", &format!("latest:{source}"), "--target", target.to_str().unwrap(), "--verify"]);
    assert!(said.contains("Summary: Restored") && said.contains("finished verifying"), "{said}");
    assert_same_files(&scene, "by-us");
    assert!(!target.join(".pillion-restore").exists());
}

#[test]
fn a_repository_that_we_made_is_one_for_restic() {
    let scene = Scene::new();
    let repository = scene.path("new");
    let repository = repository.to_str().unwrap();
    let said = scene.ok(&["init", "--repo", repository]);
    assert!(said.starts_with("created restic repository "), "{said}");
    let mut check = scene.repository.command(&scene.path("."));
    check.env("RESTIC_REPOSITORY", repository).args(["check"]);
    restic::run(&mut check);
    let again = scene.fails(1, &["init", "--repo", repository]);
    assert!(again.contains("there is a repository at"), "{again}");
}

#[test]
fn a_repository_is_made_of_the_version_and_with_the_chunker_that_are_asked_for() {
    let scene = Scene::new();
    let config = |repository: &std::path::Path, password: &str| -> serde_json::Value {
        let mut command = scene.repository.command(&scene.path("."));
        command.env("RESTIC_REPOSITORY", repository).env("RESTIC_PASSWORD", password).args(["cat", "config"]);
        serde_json::from_slice(&restic::run(&mut command).stdout).unwrap()
    };
    let of_scene = config(scene.repository.path(), restic::PASSWORD);
    let (old, like, new) = (scene.path("old"), scene.path("like"), scene.path("new"));
    let init = |at: &std::path::Path, arguments: &[&str]| {
        let mut command = scene.command(["init", "--repo", at.to_str().unwrap()]);
        command.args(arguments).env("RESTIC_PASSWORD", "another");
        command
            .env("RESTIC_FROM_REPOSITORY", scene.repository.path())
            .env("RESTIC_FROM_PASSWORD", restic::PASSWORD);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    init(&new, &[]);
    init(&old, &["--repository-version", "1"]);
    init(&like, &["--copy-chunker-params", "--repository-version", "latest"]);
    let config = |repository| config(repository, "another");
    assert_eq!((&config(&old)["version"], &config(&new)["version"]), (&1.into(), &2.into()));
    let polynomial = |config: serde_json::Value| config["chunker_polynomial"].as_str().unwrap().to_owned();
    assert_eq!(polynomial(config(&like)), polynomial(of_scene.clone()));
    assert_ne!(polynomial(config(&new)), polynomial(of_scene));
    scene.fails(1, &["init", "--repo", "nowhere", "--copy-chunker-params"]);
}

#[test]
fn the_others_locks_are_respected_and_stale_ones_go() {
    let scene = Scene::new();
    scene.back_up();
    // A lock of a process on this machine that is long gone.
    let mut sleeper = Command::new("true").spawn().unwrap();
    sleeper.wait().unwrap();
    crate::bad_input::leave_lock(&scene, sleeper.id());
    assert_eq!(scene.files("locks").len(), 1);
    assert_eq!(scene.ok(&["unlock"]), "successfully removed 1 locks\n");
    assert_eq!(scene.ok(&["unlock"]), "");
    crate::bad_input::leave_lock(&scene, std::process::id());
    assert_eq!(scene.ok(&["unlock"]), "", "its process lives");
    assert_eq!(scene.ok(&["unlock", "--remove-all"]), "successfully removed 1 locks\n");
}

#[test]
fn a_name_that_is_no_text_is_an_argument_like_any_other() {
    let scene = Scene::new();
    let name = OsStr::from_bytes(b"\xff\xfename");
    std::fs::write(scene.source().join(name), "bytes").unwrap();
    std::fs::write(scene.source().join("other"), "other").unwrap();
    scene.back_up();
    let path = scene.source().join(name);
    let run = |arguments: &[&OsStr]| -> Vec<u8> {
        let output = scene.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let word = |text: &'static str| OsStr::new(text);
    assert_eq!(run(&[word("dump"), word("latest"), path.as_os_str()]), b"bytes");
    assert!(run(&[word("find"), name]).windows(4).any(|part| part == b"name"));
    assert!(run(&[word("ls"), word("latest"), path.as_os_str()]).windows(4).any(|part| part == b"name"));
    let target = scene.path("target");
    let restore = [word("restore"), word("latest"), word("-t"), target.as_os_str()];
    run(&[&restore[..], &[word("--include"), name]].concat());
    let restored = target.join(path.strip_prefix("/").unwrap());
    assert_eq!(std::fs::read(&restored).unwrap(), b"bytes");
    assert!(!restored.with_file_name("other").exists());
    run(&[word("backup"), word("--exclude"), name, scene.source().as_os_str()]);
    assert!(!run(&[word("ls"), word("latest")]).windows(4).any(|part| part == b"name"));
    let inside = [b"latest:", path.parent().unwrap().as_os_str().as_bytes()].concat();
    assert!(run(&[word("ls"), OsStr::from_bytes(&inside)]).windows(5).any(|part| part == b"other"));
}
