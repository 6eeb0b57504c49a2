//! Every damage times every kind of file: it is told in sentences, nothing panics, and what is not hit still works.

use std::fs;
use std::path::{Path, PathBuf};

use crate::scene::{Scene, check_failure};

#[derive(Clone, Copy, Debug)]
enum Damage {
    Truncated,
    Emptied,
    BitFlipped,
    Missing,
    Misnamed,
    /// To more than any machine has memory for.
    Enlarged,
}

const DAMAGES: [Damage; 6] = [
    Damage::Truncated,
    Damage::Emptied,
    Damage::BitFlipped,
    Damage::Missing,
    Damage::Misnamed,
    Damage::Enlarged,
];

fn inflict(damage: Damage, file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    fs::remove_file(file).unwrap();
    let mut path = PathBuf::from(file);
    match damage {
        Damage::Missing | Damage::Enlarged => {}
        Damage::Truncated => bytes.truncate(bytes.len() / 2),
        Damage::Emptied => bytes.clear(),
        Damage::BitFlipped => {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }
        Damage::Misnamed => {
            let name = file.file_name().unwrap().to_str().unwrap();
            let last = if name.ends_with('0') { '1' } else { '0' };
            path.set_file_name(format!("{}{last}", &name[..name.len() - 1]));
        }
    }
    if !matches!(damage, Damage::Missing) {
        fs::write(&path, bytes).unwrap();
    }
    if matches!(damage, Damage::Enlarged) {
        fs::File::options().write(true).open(path).unwrap().set_len(1 << 40).unwrap();
    }
}

/// A scene with two snapshots of which the second is hit; the kind of file is a folder's name, or `config`.
fn damaged(kind: &str, damage: Damage) -> Scene {
    let scene = Scene::new();
    scene.back_up();
    let before = if kind == "config" { Vec::new() } else { scene.files(kind) };
    fs::write(scene.source().join("more"), crate::scene::numbers(20_000)).unwrap();
    scene.back_up();
    let file = match kind {
        "config" => scene.repository.path().join("config"),
        _ => scene.files(kind).into_iter().find(|file| !before.contains(file) || kind == "keys").unwrap(),
    };
    inflict(damage, &file);
    scene
}

#[test]
fn damage_to_what_snapshots_need_is_found_named_and_never_silent() {
    for kind in ["data", "index", "snapshots"] {
        for damage in DAMAGES {
            let what = format!("{damage:?} {kind}");
            let scene = damaged(kind, damage);
            // A snapshot that is gone with its file is missed by nobody, and a misnamed one is two things: a name
            // without its file, which nobody knows of, and a file that is not what its name says.
            let is_silent = kind == "snapshots" && matches!(damage, Damage::Missing);
            let check = scene.run(&["check", "--read-data"]);
            match is_silent {
                true => assert_eq!(check.code, 0, "{what}: {}", check.err),
                false => {
                    check_failure(&check, 1, &what);
                    assert!(check.err.contains("error: "), "{what}: {}", check.err);
                    assert!(check.err.contains("Fatal: repository contains errors"), "{what}: {}", check.err);
                }
            }
            // Whatever is asked of it, it answers or says in a sentence why not.
            let target = scene.path("target");
            for arguments in [
                &["snapshots"][..],
                &["ls", "latest"],
                &["stats", "--mode", "raw-data"],
                &["find", "*.txt"],
                &["restore", "latest", "--target", target.to_str().unwrap()],
                &["backup", scene.source().to_str().unwrap()],
            ] {
                let printed = scene.run(arguments);
                if printed.code != 0 {
                    check_failure(&printed, 1, &format!("{what}: {arguments:?}"));
                }
            }
            assert!(scene.files("locks").is_empty(), "{what}");
        }
    }
}

#[test]
fn without_its_config_or_key_a_repository_is_told_to_be_so() {
    for damage in DAMAGES {
        for kind in ["config", "keys"] {
            let scene = damaged(kind, damage);
            let expected = match (kind, damage) {
                ("config", Damage::Missing | Damage::Misnamed) => &[10][..],
                ("keys", Damage::BitFlipped) => &[1, 12],
                ("keys", Damage::Missing) => &[12],
                _ => &[1],
            };
            let printed = scene.run(&["snapshots"]);
            assert!(expected.contains(&printed.code), "{damage:?} {kind}: {} {}", printed.code, printed.err);
            check_failure(&printed, printed.code, &format!("{damage:?} {kind}"));
            assert!(printed.err.contains("\nHint: "), "{damage:?} {kind}: {}", printed.err);
            let mut restic = scene.repository.command(&scene.path("."));
            if matches!(damage, Damage::Enlarged) {
                continue; // restic would take the memory.
            }
            let restic = restic.arg("snapshots").output().unwrap();
            assert!(!restic.status.success(), "{damage:?} {kind}");
            if matches!(damage, Damage::Misnamed | Damage::Missing) {
                assert_eq!(restic.status.code(), Some(printed.code), "{kind}");
            }
            // Nobody makes a new one over what is left of it.
            let again = scene.run(&["init"]);
            check_failure(&again, 1, &format!("init over {damage:?} {kind}"));
        }
    }
}

#[test]
fn a_misnamed_lock_is_told_with_the_way_to_remove_it() {
    let scene = Scene::new();
    scene.back_up();
    crate::bad_input::leave_lock(&scene, std::process::id());
    inflict(Damage::Misnamed, &scene.files("locks")[0]);
    let source = scene.source();
    let back_up = ["backup", source.to_str().unwrap()];
    // Each tries for half a minute whether somebody is still writing it, so all at once.
    std::thread::scope(|scope| {
        for arguments in [&["snapshots"][..], &["check"], &back_up] {
            let scene = &scene;
            scope.spawn(move || {
                let said = scene.fails(1, arguments);
                assert!(said.contains("lock ") && said.contains("\nHint: "), "{said}");
                assert!(said.contains("pillion unlock --remove-all"), "{said}");
            });
        }
        let mut restic = scene.repository.command(&scene.path("."));
        let restic = restic.arg("snapshots").output().unwrap();
        assert_eq!(restic.status.code(), Some(1), "{}", String::from_utf8_lossy(&restic.stderr));
    });
    assert_eq!(scene.ok(&["unlock"]), "", "it may be one that is being written");
    assert_eq!(scene.ok(&["unlock", "--remove-all"]), "successfully removed 1 locks\n");
    scene.back_up();
    assert_eq!(scene.snapshots().len(), 2);
}
