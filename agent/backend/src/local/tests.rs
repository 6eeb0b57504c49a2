use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;

use futures_util::{FutureExt, TryStreamExt};
use tempfile::TempDir;

use super::*;
use crate::conformance;

// The order of fsyncs and renames cannot be seen from inside a process, and no test here claims to hold it:
// it stands in `save.rs`, to be read.

/// The directory store never waits, so that its futures are done at the first poll.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("a call of the directory store is done at its first poll")
}

fn pack(digit: char) -> FileName {
    FileName::new(FileKind::Pack, &digit.to_string().repeat(64)).unwrap()
}

fn store() -> (Local, TempDir) {
    let folder = TempDir::new().unwrap();
    (Local::new(folder.path().join("repository")), folder)
}

fn created() -> (Local, TempDir) {
    let (store, folder) = store();
    now(store.create()).unwrap();
    (store, folder)
}

fn body_file(path: &Path, bytes: &[u8]) -> Body {
    fs::write(path, bytes).unwrap();
    Body::File { path: path.into(), size_bytes: bytes.len() as u64, sha256: None }
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn names(store: &Local, kind: FileKind) -> Vec<FileName> {
    let mut entries: Vec<Entry> = now(store.list(kind).try_collect()).unwrap();
    entries.sort_by(|a, b| a.file.cmp(&b.file));
    entries.into_iter().map(|entry| entry.file).collect()
}

fn everything_below(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_directory_store_holds_the_contract() {
    let (store, _folder) = store();
    conformance::check(Arc::new(store)).await;
}

#[test]
fn the_layout_is_restics() {
    let (store, _folder) = created();
    let mut expected: Vec<PathBuf> =
        ["data", "index", "keys", "locks", "snapshots"].map(PathBuf::from).into();
    expected.extend((0..=255).map(|byte| PathBuf::from(format!("data/{byte:02x}"))));
    expected.sort();
    let mut found: Vec<PathBuf> = everything_below(store.root())
        .iter()
        .map(|path| path.strip_prefix(store.root()).unwrap().to_owned())
        .collect();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn everything_is_private_by_default() {
    let (store, folder) = created();
    now(store.save(&FileName::config(), vec![1].into())).unwrap();
    now(store.save(&pack('a'), body_file(&folder.path().join("spooled"), b"pack"))).unwrap();
    assert_eq!(mode(store.root()), 0o700);
    for path in everything_below(store.root()) {
        assert_eq!(mode(&path), if path.is_dir() { 0o700 } else { 0o400 }, "{}", path.display());
    }
}

#[test]
fn a_config_that_the_group_may_read_asks_for_the_same_of_what_is_new() {
    let (store, folder) = created();
    now(store.save(&FileName::config(), vec![1].into())).unwrap();
    fs::set_permissions(store.root().join("config"), fs::Permissions::from_mode(0o440)).unwrap();
    fs::remove_dir(store.root().join("data/aa")).unwrap();
    now(store.save(&pack('a'), vec![1].into())).unwrap();
    let spooled = folder.path().join("spooled");
    now(store.save(&pack('b'), body_file(&spooled, b"pack"))).unwrap();
    assert_eq!(mode(store.root().join(pack('a').path())), 0o440);
    assert_eq!(mode(store.root().join(pack('b').path())), 0o440);
    // The umask takes from a folder what it takes from restic's; the owner's and the group's reading remain.
    let made = mode(store.root().join("data/aa"));
    assert_eq!((made & 0o750, made & 0o007), (0o750, 0), "{made:o}");
    // A link would have kept the file's own group.
    assert_eq!(fs::metadata(&spooled).unwrap().nlink(), 1);
}

#[test]
fn a_body_on_the_same_file_system_is_linked_and_keeps_its_name() {
    let (store, folder) = created();
    let spooled = folder.path().join("spooled");
    now(store.save(&pack('a'), body_file(&spooled, b"pack"))).unwrap();
    let stored = fs::metadata(store.root().join(pack('a').path())).unwrap();
    assert_eq!(stored.ino(), fs::metadata(&spooled).unwrap().ino());
    assert_eq!(stored.nlink(), 2);
    fs::remove_file(&spooled).unwrap();
    assert_eq!(now(store.load(&pack('a'), u64::MAX)).unwrap(), b"pack"[..]);
}

#[test]
fn a_body_behind_a_symlink_is_stored_as_the_file_it_leads_to() {
    let (store, folder) = created();
    let Body::File { size_bytes, .. } = body_file(&folder.path().join("spooled"), b"pack") else { panic!() };
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("spooled", &link).unwrap();
    now(store.save(&pack('a'), Body::File { path: link.into(), size_bytes, sha256: None })).unwrap();
    assert!(fs::symlink_metadata(store.root().join(pack('a').path())).unwrap().is_file());
    assert_eq!(now(store.load(&pack('a'), u64::MAX)).unwrap(), b"pack"[..]);
}

#[test]
fn nothing_but_the_file_is_left_by_saves_that_succeed_or_fail() {
    let (store, folder) = created();
    let before = everything_below(store.root()).len();
    let spooled = body_file(&folder.path().join("spooled"), b"pack");
    for _ in 0..2 {
        now(store.save(&pack('a'), spooled.clone())).unwrap();
        assert_eq!(
            now(store.save_new(&pack('a'), spooled.clone())).unwrap_err().kind,
            ErrorKind::AlreadyExists
        );
        now(store.save_new(&pack('a'), vec![1].into())).unwrap_err();
    }
    let wrong = Body::File { path: folder.path().join("spooled").into(), size_bytes: 5, sha256: None };
    now(store.save(&pack('b'), wrong)).unwrap_err();
    assert_eq!(everything_below(store.root()).len(), before + 1);
}

#[test]
fn a_missing_folder_is_made_and_a_missing_root_is_not() {
    let (store, _folder) = store();
    for file in [FileName::config(), pack('a')] {
        let error = now(store.save(&file, vec![1].into())).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Misconfigured);
        assert!(error.to_string().contains("there is no directory"), "{error}");
    }
    assert!(!store.root().exists());
    fs::create_dir(store.root()).unwrap();
    now(store.save(&pack('a'), vec![1].into())).unwrap();
    assert_eq!(names(&store, FileKind::Pack), [pack('a')]);
}

#[test]
fn only_what_can_be_loaded_is_listed() {
    let (store, _folder) = created();
    now(store.save(&pack('a'), vec![1].into())).unwrap();
    let at = |path: String| store.root().join(path);
    let other = "b".repeat(64);
    // What a crash of ours and of restic leaves, files in the wrong folder, and foreign things.
    fs::write(at(format!("data/aa/{}0123456789abcdef", save::TEMPORARY_PREFIX)), b"half").unwrap();
    fs::write(at(format!("data/aa/{other}-tmp-123")), b"half").unwrap();
    fs::write(at(format!("data/aa/{other}")), b"misplaced").unwrap();
    fs::write(at(format!("data/{other}")), b"misplaced").unwrap();
    fs::write(at(format!("data/bb/{}", other.to_uppercase())), b"foreign").unwrap();
    fs::create_dir(at(format!("data/bb/{other}"))).unwrap();
    std::os::unix::fs::symlink("nowhere", at(format!("data/cc/{}", "c".repeat(64)))).unwrap();
    fs::write(at("data/zz".to_owned()), b"foreign").unwrap();
    fs::remove_dir(at("data/dd".to_owned())).unwrap();
    assert_eq!(names(&store, FileKind::Pack), [pack('a')]);
    for unlisted in ['b', 'c', 'd'] {
        assert_eq!(now(store.stat(&pack(unlisted))).unwrap_err().kind, ErrorKind::NotFound);
        assert_eq!(now(store.load(&pack(unlisted), u64::MAX)).unwrap_err().kind, ErrorKind::NotFound);
    }
}

#[test]
fn a_file_behind_a_symlink_is_listed_and_loaded_alike() {
    let (store, folder) = created();
    fs::write(folder.path().join("elsewhere"), b"moved away").unwrap();
    std::os::unix::fs::symlink(folder.path().join("elsewhere"), store.root().join(pack('a').path())).unwrap();
    let entries: Vec<Entry> = now(store.list(FileKind::Pack).try_collect()).unwrap();
    assert_eq!(entries, [now(store.stat(&pack('a'))).unwrap()]);
    assert_eq!(entries[0].size_bytes, 10);
}

#[test]
fn the_layout_of_old_is_recognized() {
    let (store, _folder) = created();
    assert!(!now(store.has_legacy_layout()).unwrap());
    fs::write(store.root().join(format!("data/{}", "a".repeat(64))), b"pack").unwrap();
    assert!(now(store.has_legacy_layout()).unwrap());
    for folder in ["key", "lock", "snapshot"] {
        let (store, _folder) = self::store();
        assert!(!now(store.has_legacy_layout()).unwrap());
        fs::create_dir_all(store.root().join(folder)).unwrap();
        assert!(now(store.has_legacy_layout()).unwrap(), "{folder}");
    }
}

#[test]
fn a_pipe_in_the_place_of_a_file_is_no_file_and_holds_nobody_up() {
    let (store, _folder) = created();
    let path = store.root().join(pack('a').path());
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    assert_eq!(now(store.load(&pack('a'), u64::MAX)).unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(now(store.load_range(&pack('a'), 0..1)).unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(names(&store, FileKind::Pack), []);
}

#[test]
fn a_folder_that_cannot_be_read_ends_the_list_with_an_error() {
    let (store, _folder) = created();
    fs::remove_dir(store.root().join("data/55")).unwrap();
    fs::write(store.root().join("data/55"), b"not a folder").unwrap();
    let items: Vec<Result<Entry>> = now(futures_util::StreamExt::collect(store.list(FileKind::Pack)));
    assert_eq!(items.len(), 1);
    assert_eq!(items[0].as_ref().unwrap_err().kind, ErrorKind::Misconfigured);
}

#[test]
fn temporary_files_are_removed_once_they_are_a_day_old_and_no_sooner() {
    let (store, _folder) = created();
    let folder = store.root().join("data/aa");
    let leftover = folder.join(format!("{}0123456789abcdef", save::TEMPORARY_PREFIX));
    fs::write(&leftover, b"half").unwrap();
    fs::write(folder.join("foreign"), b"foreign").unwrap();
    now(store.save(&pack('a'), vec![1].into())).unwrap();
    let made_at_seconds = fs::metadata(&leftover).unwrap().ctime();
    save::sweep(&folder, made_at_seconds + 24 * 60 * 60);
    assert!(leftover.exists());
    save::sweep(&folder, made_at_seconds + 24 * 60 * 60 + 1);
    assert!(!leftover.exists());
    assert!(folder.join("foreign").exists() && store.root().join(pack('a').path()).exists());
}

#[test]
fn errors_of_the_system_have_their_kinds() {
    for (errno, kind) in [
        (Errno::NOENT, ErrorKind::NotFound),
        (Errno::EXIST, ErrorKind::AlreadyExists),
        (Errno::NOSPC, ErrorKind::Full),
        (Errno::DQUOT, ErrorKind::Full),
        (Errno::ACCESS, ErrorKind::PermissionDenied),
        (Errno::PERM, ErrorKind::PermissionDenied),
        (Errno::ROFS, ErrorKind::PermissionDenied),
        (Errno::NOTDIR, ErrorKind::Misconfigured),
        (Errno::OPNOTSUPP, ErrorKind::Unsupported),
        (Errno::IO, ErrorKind::Unavailable),
        (Errno::STALE, ErrorKind::Unavailable),
        (Errno::MFILE, ErrorKind::Unavailable),
        (Errno::INTR, ErrorKind::Unavailable),
    ] {
        assert_eq!(kind_of(&errno.into()), kind, "{errno:?}");
    }
    assert_eq!(kind_of(&io::ErrorKind::WriteZero.into()), ErrorKind::Unavailable);
}

/// Runs the test `name` again in a mount namespace of its own, with a tmpfs mounted that nobody else sees and
/// that is gone with the process. Inside, returns where it is mounted; outside `None`, once the test has passed.
fn in_private_mount(name: &str, options: &str) -> Option<PathBuf> {
    const VARIABLE: &str = "PILLION_TEST_PRIVATE_MOUNT";
    #[allow(clippy::disallowed_methods, reason = "the test tells itself that it runs inside")]
    if let Some(path) = std::env::var_os(VARIABLE) {
        return Some(path.into());
    }
    let folder = TempDir::new().unwrap();
    let mut command = Command::new("unshare");
    // Without root a user namespace gives the right to mount.
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        command.args(["--user", "--map-root-user"]);
    }
    let script = "mount -t tmpfs -o \"$1\" tmpfs \"$2\" || exit 99; exec \"$3\" --exact \"$4\" --nocapture";
    let output = command
        .args(["--mount", "--propagation", "private", "sh", "-c", script, "sh", options])
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .arg(format!("local::tests::{name}"))
        .env(VARIABLE, folder.path())
        .output()
        .expect("this test needs `unshare` of util-linux");
    let said = [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].join("\n");
    assert!(
        output.status.code() != Some(99) && !said.contains("unshare failed"),
        "this test needs the right to mount a tmpfs in a namespace of its own (root, or user namespaces): {said}"
    );
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    None
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing_behind() {
    let Some(mount) = in_private_mount("a_full_disk_is_told_and_leaves_nothing_behind", "size=2m") else {
        return;
    };
    let store = Local::new(mount.join("repository"));
    now(store.create()).unwrap();
    now(store.save(&pack('a'), vec![1; 1 << 20].into())).unwrap();
    let before = everything_below(&mount).len();

    let elsewhere = TempDir::new().unwrap();
    let large = body_file(&elsewhere.path().join("spooled"), &vec![2; 2 << 20]);
    for body in [vec![2; 2 << 20].into(), large] {
        for file in [pack('a'), pack('b')] {
            let error = now(store.save(&file, body.clone())).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Full, "{error}");
        }
        assert_eq!(now(store.save_new(&pack('b'), body)).unwrap_err().kind, ErrorKind::Full);
    }
    assert_eq!(everything_below(&mount).len(), before);
    assert_eq!(now(store.load(&pack('a'), u64::MAX)).unwrap(), vec![1; 1 << 20]);
    now(store.save(&pack('b'), vec![3; 1 << 16].into())).unwrap();
}

#[test]
fn a_body_on_another_file_system_is_copied() {
    let Some(mount) = in_private_mount("a_body_on_another_file_system_is_copied", "size=2m") else { return };
    let (store, _folder) = created();
    let spooled = mount.join("spooled");
    now(store.save(&pack('a'), body_file(&spooled, &[7; 100_000]))).unwrap();
    assert_eq!(now(store.load(&pack('a'), u64::MAX)).unwrap(), vec![7; 100_000]);
    assert_eq!(mode(store.root().join(pack('a').path())), 0o400);
    assert_eq!(fs::metadata(&spooled).unwrap().nlink(), 1);
}

#[test]
fn a_read_only_store_is_told_as_a_matter_of_permission_and_can_be_read() {
    let name = "a_read_only_store_is_told_as_a_matter_of_permission_and_can_be_read";
    let Some(mount) = in_private_mount(name, "size=2m") else { return };
    let store = Local::new(mount.join("repository"));
    now(store.create()).unwrap();
    now(store.save(&pack('a'), vec![1].into())).unwrap();
    let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(&mount).status().unwrap();
    assert!(remounted.success());
    for result in [
        now(store.save(&pack('a'), vec![2].into())),
        now(store.save_new(&pack('b'), vec![2].into())),
        now(store.remove(&pack('a'))),
    ] {
        assert_eq!(result.unwrap_err().kind, ErrorKind::PermissionDenied);
    }
    assert_eq!(now(store.load(&pack('a'), u64::MAX)).unwrap(), vec![1]);
    assert_eq!(names(&store, FileKind::Pack), [pack('a')]);
}
