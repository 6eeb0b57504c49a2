//! One source, backed up by one user and then by another: what one was let read says nothing of the other.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use pillion_backend::FileKind;
use pillion_repository::store::file_name;

use crate::bad_input::with_repository;
use crate::scene::{Printed, Scene, program};

const NOBODY: u32 = 65_534;

/// Root, and somebody whom permissions hold back. To whom is not root, root is who it is in a namespace of its own.
struct Readers {
    scene: Scene,
    is_root: bool,
}

impl Readers {
    /// With a file in the source that only root can read.
    fn new() -> Self {
        let readers = Self { scene: Scene::new(), is_root: rustix::process::geteuid().is_root() };
        let secret = readers.secret();
        std::fs::create_dir(secret.parent().unwrap()).unwrap();
        std::fs::write(&secret, "secret").unwrap();
        std::fs::set_permissions(&secret, Permissions::from_mode(0o000)).unwrap();
        // The program itself may lie where nobody may go.
        std::fs::copy(program(), readers.scene.path("pillion")).unwrap();
        readers.give_to_nobody(&readers.scene.path("."));
        readers
    }

    fn secret(&self) -> std::path::PathBuf {
        self.scene.source().join("private/secret")
    }

    fn give_to_nobody(&self, path: &Path) {
        if self.is_root {
            let owner = format!("{NOBODY}:{NOBODY}");
            let given = Command::new("chown").arg("-R").arg(owner).arg(path).status();
            assert!(given.unwrap().success());
        }
    }

    fn run(&self, mut command: Command, arguments: &[&str]) -> Printed {
        self.give_to_nobody(self.scene.repository.path());
        // Neither gets at what the other has in a cache.
        let arguments = [&["--no-cache"], arguments].concat();
        let template = self.scene.command(&arguments);
        command.env_clear().envs(template.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(self.scene.path(".")).args(arguments);
        let printed = command.output().unwrap().into();
        self.let_time_pass();
        printed
    }

    fn as_root(&self, arguments: &[&str]) -> Printed {
        let program = self.scene.path("pillion");
        if self.is_root {
            return self.run(Command::new(program), arguments);
        }
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user"]).arg(program);
        self.run(command, arguments)
    }

    fn as_nobody(&self, arguments: &[&str]) -> Printed {
        let mut command = Command::new(self.scene.path("pillion"));
        if self.is_root {
            command.uid(NOBODY).gid(NOBODY);
        }
        self.run(command, arguments)
    }

    /// As if every run had begun two minutes later than it did: what changed just before a run is read again by the
    /// next in any case.
    fn let_time_pass(&self) {
        with_repository(&self.scene, |repository| {
            for (id, mut snapshot) in repository.load_snapshots().unwrap().0 {
                snapshot.summary.as_mut().unwrap().backup_start.seconds += 120;
                repository.save_file(FileKind::Snapshot, &snapshot.encode()).unwrap();
                repository.store.remove(&file_name(FileKind::Snapshot, &id)).unwrap();
            }
        });
    }
}

#[test]
fn what_root_has_read_is_not_taken_over_by_somebody_who_cannot() {
    let readers = Readers::new();
    let (source, secret) = (readers.scene.source(), readers.secret());
    let (source, secret) = (source.to_str().unwrap(), secret.to_str().unwrap());
    for round in 0..2 {
        for run in 0..2 {
            let complete = readers.as_root(&["backup", source]);
            assert_eq!((complete.code, complete.err.as_str()), (0, ""), "round {round}, run {run}");
            assert_eq!(readers.as_root(&["dump", "latest", secret]).out, "secret");
        }
        for run in 0..2 {
            let incomplete = readers.as_nobody(&["backup", source]);
            assert_eq!(incomplete.code, 3, "round {round}, run {run}: {}", incomplete.out);
            assert!(incomplete.err.contains("private/secret"), "{}", incomplete.err);
            assert_eq!(readers.as_nobody(&["dump", "latest", secret]).code, 1);
        }
    }
    let excluded = readers.as_nobody(&["backup", "--exclude", secret, source]);
    assert_eq!((excluded.code, excluded.err.as_str()), (0, ""), "{}", excluded.out);
    assert_eq!(readers.as_nobody(&["backup", source]).code, 3, "the exclude is gone");
    std::fs::set_permissions(secret, Permissions::from_mode(0o644)).unwrap();
    let readable = readers.as_nobody(&["backup", source]);
    assert_eq!((readable.code, readable.err.as_str()), (0, ""), "{}", readable.out);
    assert_eq!(readers.as_nobody(&["dump", "latest", secret]).out, "secret");
}

#[test]
fn who_is_not_root_restores_what_is_roots_and_is_told_what_is_withheld() {
    let readers = Readers::new();
    let scene = &readers.scene;
    let source = scene.source();
    // What chown is to do for whom is not root: nothing but root's own files.
    let owned = source.join("owned");
    std::fs::write(&owned, "of root").unwrap();
    std::fs::set_permissions(&owned, Permissions::from_mode(0o4755)).unwrap();
    assert_eq!(readers.as_root(&["backup", source.to_str().unwrap()]).code, 0);
    let (from, target) = (format!("latest:{}", source.display()), scene.path("target"));
    let arguments = ["restore", &from, "--target", target.to_str().unwrap()];
    let printed = readers.as_nobody(&arguments);
    assert_eq!(printed.code, 0, "{}", printed.err);
    assert_eq!(std::fs::read(target.join("owned")).unwrap(), b"of root");
    assert_eq!(
        std::fs::read(target.join("sub/numbers")).unwrap(),
        std::fs::read(source.join("sub/numbers")).unwrap()
    );
    if readers.is_root {
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&target.join("owned")), 0o755, "its owner is another one: {}", printed.err);
        assert!(printed.err.contains("owner"), "{}", printed.err);
    }
    assert!(!target.join(".pillion-restore").exists());
}
