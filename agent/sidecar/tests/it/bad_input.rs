//! What a person can get wrong, and what a store can hold: each is one line with a hint and restic's exit code.

use std::process::Command;

use pillion_backend::local::Local;
use pillion_backend::{Body, FileKind};
use pillion_repository::format::blob::Compression;
use pillion_repository::format::config::Version;
use pillion_repository::format::file;
use pillion_repository::format::id::Id;
use pillion_repository::lock::{self, Holder, Lock, Mode};
use pillion_repository::repository::{Repository, Settings};
use pillion_repository::store::{Store, file_name};

use crate::restic;
use crate::scene::{Printed, Scene, check_failure, program};

/// Opens the scene's repository with the engine, to put into it what no program would.
pub(crate) fn with_repository<T>(scene: &Scene, work: impl FnOnce(&Repository) -> T) -> T {
    let runtime = pillion::cli::session::runtime().unwrap();
    let backend = std::sync::Arc::new(Local::new(scene.repository.path().to_owned()));
    let store = Store::new(backend, runtime.handle().clone(), tokio_util::sync::CancellationToken::new());
    let opened = Repository::open(store, restic::PASSWORD.as_bytes(), Settings::default()).unwrap();
    work(&opened)
}

fn lock_options(process: u32, mode: Mode) -> lock::Options {
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let holder = Holder { hostname, username: "test".into(), pid: process, uid: 0, gid: 0 };
    lock::Options {
        holder,
        mode,
        retry_for: std::time::Duration::ZERO,
        timing: lock::Timing::default(),
        given_up: lock::GivenUp::default(),
        ended: lock::Ended::default(),
    }
}

/// Leaves a lock behind, as a process that was killed does.
pub(crate) fn leave_lock(scene: &Scene, process: u32) {
    with_repository(scene, |repository| {
        let lock = Lock::acquire(repository, &lock_options(process, Mode::Exclusive)).unwrap();
        let file = scene.files("locks").pop().unwrap();
        let bytes = std::fs::read(&file).unwrap();
        lock.release().unwrap();
        std::fs::write(&file, bytes).unwrap();
    });
}

#[test]
fn a_password_that_ends_in_a_line_break_opens_with_it_and_else_without_it() {
    let scene = Scene::new();
    let with_break = format!("{}\n", restic::PASSWORD);
    for (given, code) in [(&*with_break, 0), (&*format!("{with_break}\n"), 12), (restic::PASSWORD, 0)] {
        let output = scene.command(["snapshots"]).env("RESTIC_PASSWORD", given).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{given:?}: {output:?}");
    }
    let other = scene.path("other");
    for (verb, given, code) in
        [("init", &*with_break, 0), ("snapshots", &with_break, 0), ("snapshots", restic::PASSWORD, 12)]
    {
        let mut command = scene.command([verb]);
        let output = command.env("RESTIC_REPOSITORY", &other).env("RESTIC_PASSWORD", given).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{verb} with {given:?}: {output:?}");
    }
}

#[test]
fn what_is_wrong_with_the_way_to_the_repository_is_told() {
    let scene = Scene::new();
    let run = |arguments: &[&str], variable: (&str, &str)| -> Printed {
        scene.command(arguments).env(variable.0, variable.1).output().unwrap().into()
    };
    let nowhere = scene.path("nowhere");
    let nowhere = nowhere.to_str().unwrap();
    for (arguments, variable, code, words) in [
        (&["snapshots"][..], ("RESTIC_PASSWORD", "wrong"), 12, "wrong password"),
        (&["backup", "."], ("RESTIC_PASSWORD", "wrong"), 12, "RESTIC_PASSWORD"),
        (&["snapshots"], ("RESTIC_REPOSITORY", nowhere), 10, "pillion init"),
        (&["check"], ("RESTIC_REPOSITORY", nowhere), 10, "there is no repository at"),
        (&["snapshots"], ("RESTIC_REPOSITORY", "rest:https://key:hunter2@host/b"), 1, "rest store"),
        (&["snapshots"], ("RESTIC_REPOSITORY", "s3:https://key:hunter2@host/b"), 1, "a user or password"),
        (
            &["snapshots", "-r", "s3:host/b"],
            ("AWS_ACCESS_KEY_ID", "hunter2"),
            1,
            "AWS_SECRET_ACCESS_KEY is missing",
        ),
        (&["snapshots", "-r", "s3:host/b"], ("MINIO_SECRET_KEY", "hunter2"), 1, "AWS_SECRET_ACCESS_KEY"),
        (
            &["snapshots", "--cacert", "source/a.txt"],
            ("RESTIC_PASSWORD", "hunter2"),
            1,
            "read certificates from source/a.txt",
        ),
        (&["snapshots"], ("RESTIC_REPOSITORY", ""), 1, "no repository location"),
        (&["snapshots"], ("RESTIC_PASSWORD_FILE", "/no/such/file"), 1, "/no/such/file"),
        (&["backup", "."], ("RESTIC_COMPRESSION", "best"), 1, "RESTIC_COMPRESSION"),
    ] {
        let printed = run(arguments, variable);
        check_failure(&printed, code, &format!("{arguments:?} with {}", variable.0));
        assert!(printed.err.contains(words), "{words}: {}", printed.err);
        assert!(!printed.err.contains("hunter2"), "{}", printed.err);
    }
    assert!(!scene.path("nowhere").exists(), "only init makes a repository");
}

#[test]
fn what_is_wrong_with_the_arguments_is_told() {
    let scene = Scene::new();
    scene.back_up();
    for (arguments, words) in [
        (&["ls", "0123abcd"][..], "no snapshot matches"),
        (&["ls", ""], "no snapshot matches"),
        (&["ls", "latest", "relative"], "must be absolute"),
        (&["ls", "latest:/nowhere"], "/nowhere"),
        (&["ls", "latest", "--host", "nobody"], "no snapshot"),
        (&["diff", "latest", "0123abcd"], "no snapshot matches"),
        (&["stats", "0123abcd"], "no snapshot matches"),
        (&["find", "["], "invalid pattern"),
        (&["find", "x", "--oldest", "2020-01-02", "--newest", "2020-01-01"], "--oldest"),
        (&["restore", "0123abcd", "--target", "t"], "no snapshot matches"),
        (&["restore", "latest", "--target", "/", "--delete"], "--delete"),
        (&["restore", "latest", "--target", "t", "--include", "["], "invalid pattern"),
        (&["backup", "--exclude", "[", "."], "invalid pattern"),
        (&["backup", "--exclude-file", "no-such-file", "."], "no-such-file"),
        (&["backup", "--parent", "0123abcd", "source"], "no snapshot matches"),
        (&["backup", "no-such-path"], "no-such-path: it does not exist"),
        (&["dump", "latest", "/nowhere"], "/nowhere"),
    ] {
        let said = scene.fails(1, arguments);
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    assert!(!scene.path("t").exists());
    let none_left = scene.fails(1, &["backup", "no-such-path"]);
    assert!(
        none_left.contains("Fatal: none of the source directories/files can be backed up"),
        "{none_left}"
    );
    for arguments in [&["nope"][..], &["backup", "--nope"], &["stats", "--mode", "nope"], &["diff", "latest"]]
    {
        assert_eq!(scene.run(arguments).code, 1, "{arguments:?}");
    }
}

#[test]
fn a_path_that_is_missing_or_unreadable_makes_the_snapshot_incomplete() {
    let scene = Scene::new();
    let source = scene.source();
    let missing = scene.run(&["backup", "no-such-path", source.to_str().unwrap()]);
    assert_eq!(missing.code, 3, "{}", missing.err);
    assert!(missing.err.contains("no-such-path: it does not exist"), "{}", missing.err);
    assert!(
        missing.err.ends_with("Warning: at least one source file could not be read\n"),
        "{}",
        missing.err
    );
    assert_eq!(scene.snapshots().len(), 1);

    std::os::unix::fs::chown(source.join("a.txt"), Some(0), Some(0)).ok();
    std::fs::set_permissions(source.join("a.txt"), std::os::unix::fs::PermissionsExt::from_mode(0o000))
        .unwrap();
    for _ in 0..2 {
        let unreadable = as_nobody(&scene, &["backup", source.to_str().unwrap()]);
        assert_eq!(unreadable.code, 3, "{}", unreadable.err);
        assert!(unreadable.err.contains("a.txt"), "in every run until it is readable: {}", unreadable.err);
    }
    assert_eq!(scene.snapshots().len(), 3);
}

/// Runs pillion as somebody whom permissions hold back, which root is not.
fn as_nobody(scene: &Scene, arguments: &[&str]) -> Printed {
    use std::os::unix::process::CommandExt;
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        return scene.run(arguments);
    }
    // The program itself may lie where nobody may go.
    let copy = scene.path("pillion");
    if !copy.exists() {
        std::fs::copy(program(), &copy).unwrap();
    }
    let nobody = 65_534;
    let owned = |path: &std::path::Path| {
        let status = Command::new("chown").arg("-R").arg(format!("{nobody}:{nobody}")).arg(path).status();
        assert!(status.unwrap().success());
    };
    owned(scene.repository.path());
    owned(&scene.path("."));
    std::os::unix::fs::chown(scene.source().join("a.txt"), Some(0), Some(0)).unwrap();
    let template = scene.command(arguments);
    let mut command = Command::new(copy);
    command.env_clear().envs(template.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(scene.path(".")).args(arguments).uid(nobody).gid(nobody);
    command.output().unwrap().into()
}

#[test]
fn a_locked_repository_is_11_for_whom_the_lock_forbids() {
    let scene = Scene::new();
    scene.back_up();
    with_repository(&scene, |repository| {
        let source = scene.source();
        let shared = Lock::acquire(repository, &lock_options(std::process::id(), Mode::Shared)).unwrap();
        let said = scene.fails(11, &["check"]);
        assert!(said.contains("by PID") && said.contains("pillion unlock"), "{said}");
        scene.back_up();
        shared.release().unwrap();
        let exclusive =
            Lock::acquire(repository, &lock_options(std::process::id(), Mode::Exclusive)).unwrap();
        for arguments in
            [&["backup", source.to_str().unwrap()][..], &["snapshots"], &["restore", "latest", "-t", "t"]]
        {
            scene.fails(11, arguments);
        }
        scene.ok(&["snapshots", "--no-lock"]);
        assert_eq!(scene.files("locks").len(), 1, "who was refused leaves no lock");
        exclusive.release().unwrap();
    });
    scene.ok(&["check"]);
}

#[test]
fn who_may_only_read_the_repository_is_told_how() {
    let scene = Scene::new();
    scene.back_up();
    let locks = scene.repository.path().join("locks");
    std::fs::set_permissions(locks, std::os::unix::fs::PermissionsExt::from_mode(0o500)).unwrap();
    let target = scene.path("target");
    let (source, target) = (scene.source(), target.to_str().unwrap());
    for (arguments, hint) in [
        (&["snapshots"][..], "Hint: use --no-lock"),
        (&["check"], "Hint: use --no-lock"),
        (&["restore", "latest", "--target", target], "Hint: use --no-lock"),
        (&["backup", source.to_str().unwrap()], "Hint: check what this user may do"),
    ] {
        let refused = as_nobody(&scene, arguments);
        check_failure(&refused, 1, "no right to write a lock");
        assert!(refused.err.contains("Permission denied"), "{}", refused.err);
        assert!(refused.err.contains(hint), "{arguments:?}: {}", refused.err);
    }
    assert_eq!(as_nobody(&scene, &["snapshots", "--no-lock"]).code, 0);
}

#[test]
fn a_repository_of_another_time_is_told_apart() {
    let scene = Scene::new();
    let sealed = with_repository(&scene, |repository| {
        let config = repository.store.load(&pillion_backend::FileName::config()).unwrap();
        let json = file::decode(FileKind::Config, &config, repository.key()).unwrap();
        let newer = String::from_utf8(json).unwrap().replace("\"version\":2", "\"version\":3");
        file::encode(FileKind::Config, newer.as_bytes(), repository.key(), Version::Two, Compression::Auto)
    });
    let path = scene.repository.path().join("config");
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, sealed).unwrap();
    let said = scene.fails(1, &["snapshots"]);
    assert!(said.contains("version 3") && said.contains("Hint: use a newer version"), "{said}");

    let old = Scene::new();
    for (folder, name) in [("keys", "key"), ("locks", "lock"), ("snapshots", "snapshot")] {
        std::fs::rename(old.repository.path().join(folder), old.repository.path().join(name)).unwrap();
    }
    for command in ["snapshots", "init"] {
        std::fs::remove_file(old.repository.path().join("config")).ok();
        let said = old.fails(1, &[command]);
        assert!(said.contains("the old layout") && said.contains("Hint: "), "{said}");
    }
}

#[test]
fn a_key_that_asks_for_a_terabyte_is_passed_over() {
    let scene = Scene::new();
    scene.back_up();
    let keys = scene.files("keys");
    let mut greedy: serde_json::Value = serde_json::from_slice(&std::fs::read(&keys[0]).unwrap()).unwrap();
    greedy["N"] = (1u64 << 30).into();
    greedy["r"] = 8.into();
    let greedy = serde_json::to_vec(&greedy).unwrap();
    let folder = keys[0].parent().unwrap();
    std::fs::write(folder.join(Id::of(&greedy).to_string()), &greedy).unwrap();
    assert!(scene.ok(&["snapshots"]).contains("1 snapshots"));
    std::fs::remove_file(&keys[0]).unwrap();
    let said = scene.fails(1, &["snapshots"]);
    assert!(said.contains("no usable key"), "{said}");
}

#[test]
fn a_small_file_that_unpacks_to_a_gibibyte_takes_no_memory() {
    let scene = Scene::new();
    scene.back_up();
    let whole = scene.snapshots().pop().unwrap();
    with_repository(&scene, |repository| {
        let bomb = vec![0u8; 1 << 30];
        for kind in [FileKind::Snapshot, FileKind::Index] {
            let sealed = file::encode(kind, &bomb, repository.key(), Version::Two, Compression::Auto);
            assert!(sealed.len() < 1 << 20);
            let name = file_name(kind, &Id::of(&sealed));
            repository.store.save(&name, Body::from(sealed)).unwrap();
        }
    });
    for command in ["snapshots", "check"] {
        let template = scene.command([command]);
        let mut limited = Command::new("sh");
        limited.env_clear().envs(template.get_envs().filter_map(|(name, value)| Some((name, value?))));
        limited.args(["-c", "ulimit -v 1000000; exec \"$0\" \"$1\""]).arg(program()).arg(command);
        let printed: Printed = limited.output().unwrap().into();
        check_failure(&printed, 1, command);
        assert!(printed.err.contains("snapshot"), "{}", printed.err);
    }
    let said = scene.fails(1, &["ls", &whole]);
    assert!(said.contains("index"), "{said}");
}

#[test]
fn a_full_disk_is_told_and_nothing_stored_is_lost() {
    let scene = Scene::new();
    let script = r#"
        export RESTIC_REPOSITORY="$MOUNT/repository"
        "$P" init
        "$P" backup "$SOURCE/a.txt"
        head -c 20000000 /dev/urandom > "$SOURCE/large"
        set +e
        "$P" backup "$SOURCE/large" 2> "$SOURCE/../said"
        echo "code $?"
        set -e
        cat "$SOURCE/../said"
        "$P" unlock --remove-all
        "$P" check --read-data
        "$P" dump latest "$SOURCE/a.txt"
        find "$MOUNT/repository/snapshots" "$MOUNT/repository/locks" -type f | wc -l
    "#;
    let printed = scene.on_a_small_disk(script, &[]);
    let after = printed.out.split_once("code ").unwrap().1;
    assert!(after.starts_with("1\n"), "{after}");
    assert!(
        after.contains("Fatal: ") && after.contains("No space left") && after.contains("Hint: free some"),
        "{after}"
    );
    assert!(after.contains("no errors were found") && after.contains("hello\n1\n"), "{after}");
}
