//! Runs that end early, with the real program: killed at any moment, or out of space. The next run goes on from there,
//! and what was whole before stays whole.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::scene::{Printed, Scene, check_failure};

/// As many as a run has moments worth telling apart.
const KILLS: u64 = 12;
const FILES: u64 = 240;

fn write_many(scene: &Scene) {
    for number in 0..FILES {
        let folder = scene.source().join(format!("many/{:02}", number % 20));
        std::fs::create_dir_all(&folder).unwrap();
        let mut noise = fastrand::Rng::with_seed(number);
        let bytes: Vec<u8> = std::iter::repeat_with(|| noise.u8(..)).take(100_000).collect();
        std::fs::write(folder.join(number.to_string()), bytes).unwrap();
    }
}

fn count(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries.flatten().map(|entry| if entry.path().is_dir() { count(&entry.path()) } else { 1 }).sum()
}

/// Kills the process once there are so many files more in `folder`, unless it is done before. Whether it was killed.
fn kill_at(mut child: Child, folder: &Path, files: u64) -> bool {
    loop {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if count(folder) >= files {
            child.kill().unwrap();
            return !child.wait().unwrap().success();
        }
    }
}

fn spawn(scene: &Scene, arguments: &[&str]) -> Child {
    scene.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn assert_same(left: &Path, right: &Path) {
    let compared =
        Command::new("diff").args(["-r", "--no-dereference"]).args([left, right]).output().unwrap();
    assert!(compared.status.success(), "{}", String::from_utf8_lossy(&compared.stdout));
}

#[test]
fn a_backup_killed_at_any_moment_leaves_what_was_there_and_the_next_one_is_whole() {
    let scene = Scene::new();
    let source = scene.source();
    scene.back_up();
    write_many(&scene);
    let packs = scene.repository.path().join("data");
    let mut killed = 0;
    // 24 MB in packs of the least size a person can choose.
    for kill in 0..KILLS {
        let files = count(&packs) + kill % 4;
        let arguments = ["backup", "--pack-size", "4", source.to_str().unwrap()];
        killed += u64::from(kill_at(spawn(&scene, &arguments), &packs, files));
        scene.ok(&["unlock", "--remove-all"]);
        scene.restic(&["check", "--read-data"]);
    }
    assert!(killed > 0, "every run was done before it was killed");
    scene.back_up();
    assert_eq!(scene.run(&["check", "--read-data"]).code, 0);
    let target = scene.path("target");
    scene.restic(&["restore", &format!("latest:{}", source.display()), "--target", target.to_str().unwrap()]);
    assert_same(&source, &target);
}

#[test]
fn a_restore_killed_at_any_moment_is_finished_by_the_next_one() {
    let scene = Scene::new();
    write_many(&scene);
    scene.back_up();
    let (target, from) = (scene.path("target"), format!("latest:{}", scene.source().display()));
    let arguments = ["restore", &from, "--target", target.to_str().unwrap()];
    let mut killed = 0;
    for kill in 0..KILLS {
        let was_killed = kill_at(spawn(&scene, &arguments), &target, kill * FILES / KILLS);
        killed += u64::from(was_killed);
        scene.ok(&["unlock", "--remove-all"]);
        // No file is there by its name before it is whole.
        for number in 0..FILES {
            let name = format!("many/{:02}/{number}", number % 20);
            if let Ok(restored) = std::fs::read(target.join(&name)) {
                assert!(
                    restored == std::fs::read(scene.source().join(&name)).unwrap(),
                    "{name} after kill {kill}"
                );
            }
        }
        if was_killed && target.join(".pillion-restore").exists() {
            let said = scene.run(&["backup", "--dry-run", target.to_str().unwrap()]).err;
            assert!(said.contains(".pillion-restore in it says so"), "{said}");
        }
    }
    assert!(killed > 0, "every run was done before it was killed");
    scene.ok(&arguments);
    assert!(!target.join(".pillion-restore").exists());
    assert_same(&scene.source(), &target);
}

#[test]
fn a_restore_onto_a_full_disk_says_so_and_is_finished_where_there_is_room() {
    let scene = Scene::new();
    write_many(&scene);
    scene.back_up();
    let script = r#"
        set +e
        "$P" restore "$FROM" --target "$MOUNT/target" 2>&1 > /dev/null
        echo "code $?"
        head -c 20000000 /dev/urandom > "$SOURCE/../large"
        "$P" --cache-dir "$MOUNT/cache" backup "$SOURCE/../large" 2>&1 > /dev/null
        echo "code $?"
        set -e
        mount -o remount,size=100m "$MOUNT"
        "$P" restore "$FROM" --target "$MOUNT/target"
        diff -r --no-dereference "$SOURCE" "$MOUNT/target"
    "#;
    let from = format!("latest:{}", scene.source().display());
    let printed = scene.on_a_small_disk(script, &[("FROM", OsStr::new(&from))]);
    let said: Vec<&str> = printed.out.split("code 1\n").collect();
    let [restore, backup, _] = said[..] else { panic!("{}", printed.out) };
    for (what, said) in [("restore", restore), ("backup", backup)] {
        check_failure(&Printed { code: 1, out: String::new(), err: said.to_owned() }, 1, what);
        assert!(
            said.contains("No space left") && said.contains("Hint: free some space there"),
            "{what}: {said}"
        );
    }
    assert!(restore.contains("/target/.pillion-restore stays"), "{restore}");
}
