//! Locks between the two programs, each as it is run: whoever comes second says so with exit code 11, or waits.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, inotify};

use crate::scene::{Printed, Scene};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// What restic says where the repository is locked.
const LOCKED: Option<i32> = Some(11);

fn source(scene: &Scene) -> String {
    scene.source().to_str().unwrap().to_owned()
}

/// restic at work with an exclusive lock: it waits for the new password, from a pipe that we hold.
struct HeldByRestic {
    process: Child,
    pipe: File,
}

impl HeldByRestic {
    fn start(scene: &Scene) -> Self {
        let path = scene.path("new-password");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let mut command = scene.repository.command(&scene.path("."));
        command.args(["key", "passwd", "--new-password-file", path.to_str().unwrap()]);
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + PATIENCE;
        let pipe = loop {
            // Without waiting it can be opened only once restic reads it, and then restic has its lock.
            let flags = OFlags::NONBLOCK.bits().try_into().unwrap();
            match File::options().write(true).custom_flags(flags).open(&path) {
                Ok(pipe) => break pipe,
                Err(_) => assert!(Instant::now() < deadline, "restic never asked for the password"),
            }
            assert!(process.try_wait().unwrap().is_none(), "restic ended");
            std::thread::yield_now();
        };
        assert_eq!(scene.files("locks").len(), 1);
        Self { process, pipe }
    }

    /// An empty password is none: restic removes its lock and has changed nothing.
    fn release(self) {
        let Self { mut process, pipe } = self;
        drop(pipe);
        assert_eq!(process.wait().unwrap().code(), Some(1));
    }
}

#[test]
fn an_exclusive_lock_of_restic_refuses_us_with_11_and_a_hint() {
    let scene = Scene::new();
    scene.back_up();
    let held = HeldByRestic::start(&scene);
    let source = source(&scene);
    for arguments in [&["backup", &source][..], &["check"], &["snapshots"], &["ls", "latest"]] {
        let said = scene.fails(11, arguments);
        assert!(said.starts_with("Fatal: the repository is locked: exclusively by PID "), "{said}");
        assert!(said.contains("\nHint: ") && said.contains("--retry-lock"), "{said}");
        assert!(said.contains("pillion unlock"), "{said}");
    }
    assert_eq!(scene.ok(&["unlock"]), "", "its process lives");
    assert_eq!(scene.files("locks").len(), 1, "who was refused leaves no lock");
    held.release();
    scene.back_up();
    assert_eq!(scene.snapshots().len(), 2);
}

#[test]
fn with_retry_lock_a_backup_waits_for_restic_and_goes_on() {
    let scene = Scene::new();
    scene.back_up();
    let held = HeldByRestic::start(&scene);
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
    let looked_at = inotify::WatchFlags::CLOSE_NOWRITE;
    inotify::add_watch(&watch, &scene.files("locks")[0], looked_at).unwrap();
    let mut command = scene.command(["backup", "--retry-lock", "5m", &source(&scene)]);
    let mut waiting = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut events = [PollFd::from_borrowed_fd(watch.as_fd(), PollFlags::IN)];
    let patience = Timespec { tv_sec: PATIENCE.as_secs().try_into().unwrap(), tv_nsec: 0 };
    assert_eq!(poll(&mut events, Some(&patience)).unwrap(), 1, "it never looked at restic's lock");
    assert!(waiting.try_wait().unwrap().is_none(), "it does not wait");
    held.release();
    let printed: Printed = waiting.wait_with_output().unwrap().into();
    assert_eq!((printed.code, printed.err.as_str()), (0, ""), "{}", printed.out);
    assert_eq!(scene.snapshots().len(), 2);
    assert!(scene.files("locks").is_empty());
}

#[test]
fn a_backup_of_ours_lets_restic_back_up_and_not_prune() {
    let scene = Scene::new();
    scene.back_up();
    let mut command = scene.command(["backup", "--stdin", "--stdin-filename", "held"]);
    let mut ours = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    let is_lock = |path: &std::path::PathBuf| path.file_name().is_some_and(|name| name.len() == 64);
    while !scene.files("locks").iter().any(is_lock) {
        assert!(Instant::now() < deadline, "it never locked");
        std::thread::yield_now();
    }
    let restic = |arguments: &[&str]| {
        let mut command = scene.repository.command(&scene.path("."));
        command.args(arguments).output().unwrap()
    };
    let source = source(&scene);
    for arguments in [&["prune"][..], &["check"], &["forget", "--keep-last", "1", "--prune"]] {
        let refused = restic(arguments);
        assert_eq!(refused.status.code(), LOCKED, "{arguments:?}");
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains(&format!("PID {}", ours.id())), "{said}");
    }
    assert!(restic(&["backup", &source]).status.success());
    ours.stdin.take().unwrap().write_all(b"an end").unwrap();
    assert!(ours.wait().unwrap().success());
    assert!(restic(&["prune"]).status.success());
    assert_eq!(scene.snapshots().len(), 3);
    assert!(scene.restic(&["check", "--read-data"]).contains("no errors were found"));
}
