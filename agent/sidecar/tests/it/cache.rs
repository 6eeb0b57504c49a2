//! The cache of the command line: used from one command to the next, and never needed.

use std::path::PathBuf;

use crate::restic;
use crate::scene::Scene;

fn kept(scene: &Scene) -> PathBuf {
    scene.path(".cache/pillion/repositories")
}

/// Takes away every pack that the store has.
fn lose_packs(scene: &Scene) {
    std::fs::remove_dir_all(scene.repository.path().join("data")).unwrap();
    std::fs::create_dir(scene.repository.path().join("data")).unwrap();
}

#[test]
fn the_cache_serves_the_next_command_and_without_it_the_store_is_asked() {
    let scene = Scene::new();
    let source = scene.source();
    scene.ok(&["backup", "--no-cache", source.to_str().unwrap()]);
    assert!(!kept(&scene).exists());
    let listed = scene.ok(&["ls", "latest"]);
    assert!(kept(&scene).exists());
    lose_packs(&scene);
    assert_eq!(scene.ok(&["ls", "latest"]), listed, "trees are in the cache");
    scene.fails(1, &["ls", "--no-cache", "latest"]);
    scene.fails(1, &["check"]);
    std::fs::remove_dir_all(scene.path(".cache")).unwrap();
    scene.fails(1, &["ls", "latest"]);
}

#[test]
fn a_cache_that_cannot_be_used_is_told_and_the_command_does_its_work() {
    let scene = Scene::new();
    std::fs::write(scene.path(".cache"), "a file where a directory is to be").unwrap();
    let source = scene.source();
    for arguments in [&["backup", source.to_str().unwrap()][..], &["ls", "latest"]] {
        let printed = scene.run(arguments);
        assert_eq!(printed.code, 0, "{}", printed.err);
        assert!(printed.err.contains("the cache cannot be used: "), "{}", printed.err);
    }
}

#[test]
fn a_cache_on_a_full_disk_gives_way_to_the_packs() {
    let scene = Scene::new();
    let script = r#"
        export RESTIC_CACHE_DIR="$MOUNT/cache"
        $P backup "$SOURCE"
        dd if=/dev/zero of="$MOUNT/fill" bs=4k 2> "$MOUNT/../told" || grep -q "No space left" "$MOUNT/../told"
        echo changed > "$SOURCE/a.txt"
        $P backup "$SOURCE"
        $P ls latest
    "#;
    let printed = scene.on_a_small_disk(script, &[]);
    assert!(printed.out.contains("/a.txt"), "{}", printed.out);
    restic::run(scene.repository.command(scene.path(".").as_path()).args(["check", "--read-data"]));
}
