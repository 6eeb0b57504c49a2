//! What is listed, looked at, opened and read may be another thing at each of these steps.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, FileType, Mode, RenameFlags};
use rustix::io::Errno;

use super::super::script::{Call, Entry, Script};
use super::*;
use crate::event::SkipReason;

fn expect_error<T: Debug>(result: Result<T>, reason: Option<SkipReason>, case: &str) {
    let error = result.expect_err(case);
    assert_eq!(error.skip_reason(), reason, "{case}: {error}");
}

#[test]
fn what_is_swapped_between_stat_and_open_is_never_read() {
    let file = || Entry::File(b"secret".to_vec());
    let link = || Entry::Symlink(b"/etc/shadow".to_vec());
    let swapped = Some(SkipReason::Swapped);
    for (case, entry, expected) in [
        ("another file", Some(file()), swapped),
        ("a link", Some(link()), swapped),
        ("a pipe", Some(Entry::Fifo), swapped),
        ("a socket", Some(Entry::Socket), swapped),
        ("a device", Some(Entry::Chardev(1)), swapped),
        ("a directory", Some(Entry::Dir), swapped),
        ("nothing", None, None),
    ] {
        for call in [Call::OpenFile, Call::OpenDir] {
            let script = Script::new();
            let entry = entry.clone();
            match call {
                Call::OpenFile => script.file("/data/x", b"honest"),
                _ => script.dir("/data/x"),
            };
            script.before(call, "/data/x", 1, move |script| {
                match entry {
                    Some(entry) => script.put("/data/x", entry),
                    None => script.remove("/data/x"),
                };
            });
            let directory = script.source("/data").open_dir().unwrap();
            let seen = directory.stat(b"x").unwrap();
            match call {
                Call::OpenFile => expect_error(directory.open_file(b"x", &seen), expected, case),
                _ => expect_error(directory.open_dir(b"x", &seen), expected, case),
            }
        }
    }
}

/// The same table on the running system, where the swap is made by hand between the two calls.
#[test]
fn system_and_double_classify_swaps_alike() {
    type Make = fn(&Path);
    let makes: [(&str, Option<Make>, Option<SkipReason>); 7] = [
        ("another file", Some(|path| fs::write(path, "secret").unwrap()), Some(SkipReason::Swapped)),
        (
            "a link",
            Some(|path| std::os::unix::fs::symlink("/etc/passwd", path).unwrap()),
            Some(SkipReason::Swapped),
        ),
        (
            "a pipe",
            Some(|path| rustix::fs::mkfifoat(CWD, path, Mode::RWXU).unwrap()),
            Some(SkipReason::Swapped),
        ),
        (
            "a socket",
            Some(|path| drop(std::os::unix::net::UnixListener::bind(path).unwrap())),
            Some(SkipReason::Swapped),
        ),
        (
            "a device",
            Some(|path| {
                let null = rustix::fs::makedev(1, 3);
                rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, Mode::RWXU, null).unwrap();
            }),
            Some(SkipReason::Swapped),
        ),
        ("a directory", Some(|path| fs::create_dir(path).unwrap()), Some(SkipReason::Swapped)),
        ("nothing", None, None),
    ];
    for (case, make, expected) in makes {
        for position in 0..2 {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("file"), "honest").unwrap();
            fs::create_dir(folder.path().join("dir")).unwrap();
            let directory = &opened(folder.path())[position];
            for name in ["file", "dir"] {
                let seen = directory.stat(name.as_bytes()).unwrap();
                // Kept under another name, so that its inode is not given to the next.
                fs::rename(folder.path().join(name), folder.path().join(format!("old-{name}"))).unwrap();
                if let Some(make) = make {
                    make(&folder.path().join(name));
                }
                match name {
                    "file" => expect_error(directory.open_file(b"file", &seen), expected, case),
                    _ => expect_error(directory.open_dir(b"dir", &seen), expected, case),
                }
            }
        }
    }
}

/// An application that does nothing but exchange its things for links to ours must get nothing of ours.
#[test]
fn swapping_application_gets_no_foreign_byte_and_no_hang() {
    const ROUNDS: usize = 3_000;
    let folder = tempfile::tempdir().unwrap();
    let (secret, data) = (folder.path().join("secret"), folder.path().join("data"));
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("x"), "foreign").unwrap();
    fs::create_dir_all(data.join("dir")).unwrap();
    fs::write(data.join("dir/x"), "honest").unwrap();
    fs::write(data.join("file"), "honest").unwrap();
    std::os::unix::fs::symlink(&secret, data.join("evil-dir")).unwrap();
    std::os::unix::fs::symlink(secret.join("x"), data.join("evil-file")).unwrap();
    rustix::fs::mkfifoat(CWD, data.join("pipe"), Mode::RWXU).unwrap();
    let is_over = AtomicBool::new(false);
    let directories = opened(&data);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let swap = |a: &str, b: &str| {
                rustix::fs::renameat_with(CWD, data.join(a), CWD, data.join(b), RenameFlags::EXCHANGE)
                    .unwrap();
            };
            while !is_over.load(Ordering::Relaxed) {
                for (a, b) in [("dir", "evil-dir"), ("file", "evil-file"), ("pipe", "file")] {
                    swap(a, b);
                }
            }
        });
        let mut names = Names::new();
        for round in 0..ROUNDS {
            let directory = &directories[round % 2];
            directory.names(&mut names).unwrap();
            for name in names.iter() {
                let Ok(seen) = directory.stat(name) else { continue };
                if let Ok(mut file) = directory.open_file(name, &seen) {
                    assert_eq!(read_all(&mut *file), b"honest");
                }
                if let Ok(below) = directory.open_dir(name, &seen)
                    && let Ok(seen) = below.stat(b"x")
                    && let Ok(mut file) = below.open_file(b"x", &seen)
                {
                    assert_eq!(read_all(&mut *file), b"honest");
                }
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn pipe_without_a_writer_does_not_block() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("x"), "").unwrap();
    for directory in opened(folder.path()) {
        let seen = directory.stat(b"x").unwrap();
        fs::rename(folder.path().join("x"), folder.path().join("kept")).unwrap();
        rustix::fs::mkfifoat(CWD, folder.path().join("x"), Mode::RWXU).unwrap();
        expect_error(directory.open_file(b"x", &seen), Some(SkipReason::Swapped), "a pipe");
        fs::rename(folder.path().join("kept"), folder.path().join("x")).unwrap();
    }
}

#[test]
fn failing_calls_have_the_class_a_run_counts() {
    let script = Script::new();
    script.file("/data/x", b"0123456789").file("/data/y", b"").dir("/data/z");
    let directory = script.source("/data").open_dir().unwrap();
    let seen = directory.stat(b"x").unwrap();
    for (errno, expected) in [
        (Errno::ACCESS, Some(SkipReason::Unreadable)),
        (Errno::PERM, Some(SkipReason::Unreadable)),
        (Errno::IO, Some(SkipReason::InputOutput)),
        (Errno::MFILE, Some(SkipReason::InputOutput)),
        (Errno::STALE, Some(SkipReason::InputOutput)),
        (Errno::NOENT, None),
    ] {
        let turn = script.calls(Call::OpenFile, "/data/x") + 1;
        script.fail(Call::OpenFile, "/data/x", turn, errno);
        expect_error(directory.open_file(b"x", &seen), expected, "open");
        script.fail(Call::Stat, "/data/y", script.calls(Call::Stat, "/data/y") + 1, errno);
        expect_error(directory.stat(b"y"), expected, "stat");
        script.fail(Call::Names, "/data", script.calls(Call::Names, "/data") + 1, errno);
        expect_error(directory.names(&mut Names::new()), expected, "list");
    }
    let mut file = directory.open_file(b"x", &seen).unwrap();
    script.fail_reads_from("/data/x", 6, Errno::IO);
    let mut buffer = [0; 10];
    assert_eq!(file.read(&mut buffer).unwrap(), 6);
    expect_error(file.read(&mut buffer), Some(SkipReason::InputOutput), "read");
}

#[test]
fn handles_of_the_double_stay_with_what_they_opened() {
    let script = Script::new();
    script.file("/data/x", b"first").hard_link("/data/x", "/data/y").dir("/data/dir");
    let directory = script.source("/data").open_dir().unwrap();
    let seen = directory.stat(b"x").unwrap();
    assert_eq!(seen.links, 2);
    let dir = directory.open_dir(b"dir", &directory.stat(b"dir").unwrap()).unwrap();
    script
        .before(Call::Read, "/data/x", 2, |script| {
            script.remove("/data/x").write_unseen("/data/y", b"FIRST and more");
        })
        .before(Call::MetadataNow, "/data/x", 1, |script| {
            script.advance(5);
            script.write("/data/y", b"shorter");
        });
    let mut file = directory.open_file(b"x", &seen).unwrap();
    let mut buffer = [0; 3];
    assert_eq!(file.fill(&mut buffer).unwrap(), 3);
    assert_eq!(&buffer, b"fir");
    assert_eq!(file.fill(&mut buffer).unwrap(), 3);
    assert_eq!(&buffer, b"ST ");
    assert!(matches!(directory.stat(b"x"), Err(Error::Vanished)));
    let now = file.metadata_now().unwrap();
    assert_eq!((now.size_bytes, now.links), (7, 1));
    assert_eq!(now.mtime.seconds, seen.mtime.seconds + 5);
    script.rename("/data/dir", "/data/renamed").file("/data/renamed/in", b"");
    assert!(dir.stat(b"in").is_ok());
    script.remove("/data/renamed");
    assert!(matches!(dir.names(&mut Names::new()), Err(Error::Vanished)));
}

#[test]
fn mounts_and_holes_of_the_double_look_like_the_systems() {
    let script = Script::new();
    let content = [vec![0; 8192], vec![1; 5000], vec![0; 9000]].concat();
    script.file("/data/sparse", &content).mount("/data/sub", 2049).file("/data/sub/x", b"");
    let directory = script.source("/data").open_dir().unwrap();
    let sub = directory.stat(b"sub").unwrap();
    assert_eq!(sub.device, directory.metadata().device);
    assert!(!sub.is_in_mount_of(directory.metadata()));
    let below = directory.open_dir(b"sub", &sub).unwrap();
    assert!(below.stat(b"x").unwrap().is_in_mount_of(below.metadata()));
    let sparse = directory.stat(b"sparse").unwrap();
    assert!(sparse.is_sparse());
    let file = directory.open_file(b"sparse", &sparse).unwrap();
    assert_eq!(file.next_data(0).unwrap(), Extent { start: 8192, end: 16384 });
    assert_eq!(file.next_data(9000).unwrap(), Extent { start: 9000, end: 16384 });
    assert_eq!(file.next_data(16384).unwrap(), Extent { start: 22192, end: 22192 });
}
