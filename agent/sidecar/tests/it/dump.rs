//! Archives, beside restic's: the same entries with the same content, whoever reads them.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::scene::Scene;

/// What an archive holds: path, mode, seconds since 1970, content.
type Entries = Vec<(Vec<u8>, u32, Option<u32>, Vec<u8>)>;

fn entries(archive: &Path) -> Entries {
    let mut archive = zip::ZipArchive::new(File::open(archive).unwrap()).unwrap();
    let mut entries = Vec::new();
    for position in 0..archive.len() {
        let mut entry = archive.by_index(position).unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let seconds = entry.extra_data_fields().find_map(|field| match field {
            zip::ExtraField::ExtendedTimestamp(times) => times.mod_time(),
            _ => None,
        });
        entries.push((entry.name_raw().to_vec(), entry.unix_mode().unwrap(), seconds, content));
    }
    entries.sort();
    entries
}

/// A source whose names, modes and kinds an archive has to keep.
fn scene() -> Scene {
    let scene = Scene::new();
    let odd = scene.source().join("sub/gr\u{fc}n \u{65e5}");
    std::fs::write(&odd, "odd").unwrap();
    std::fs::set_permissions(&odd, PermissionsExt::from_mode(0o4751)).unwrap();
    scene.back_up();
    scene
}

#[test]
fn a_zip_archive_holds_what_restics_holds() {
    let scene = scene();
    let source = scene.source();
    let sub = source.join("sub");
    for path in ["/", source.to_str().unwrap(), sub.to_str().unwrap()] {
        let (ours, theirs) = (scene.path("ours.zip"), scene.path("theirs.zip"));
        let dump =
            |to: &Path| ["dump", "-a", "zip", "-t", to.to_str().unwrap(), "latest", path].map(str::to_owned);
        scene.ok(&dump(&ours).each_ref().map(String::as_str));
        scene.restic(&dump(&theirs).each_ref().map(String::as_str));
        let (ours, theirs) = (entries(&ours), entries(&theirs));
        assert!(ours.len() >= 5, "{path}");
        assert!(ours == theirs, "{path}: {:?} {:?}", names(&ours), names(&theirs));
    }
}

fn names(entries: &Entries) -> Vec<(String, u32, Option<u32>)> {
    entries
        .iter()
        .map(|(name, mode, time, _)| (String::from_utf8_lossy(name).into_owned(), *mode, *time))
        .collect()
}

#[test]
fn a_zip_archive_goes_through_a_pipe() {
    let scene = scene();
    let mut dump = scene.command(["dump", "--archive", "zip", "latest", "/"]);
    let mut dump = dump.stdout(Stdio::piped()).spawn().unwrap();
    // `cat` reads a pipe and writes a file: nothing the program could seek in.
    let file = scene.path("piped.zip");
    let mut cat = Command::new("cat")
        .stdin(dump.stdout.take().unwrap())
        .stdout(File::create(&file).unwrap())
        .spawn()
        .unwrap();
    assert!(dump.wait().unwrap().success() && cat.wait().unwrap().success());
    let whole = scene.path("whole.zip");
    scene.ok(&["dump", "--archive", "zip", "--target", whole.to_str().unwrap(), "latest", "/"]);
    assert!(entries(&file) == entries(&whole));
    assert_eq!(std::fs::read_dir(scene.path(".cache/pillion/spool")).unwrap().count(), 0, "nothing is left");
}

#[test]
fn a_target_takes_a_file_and_a_tar_archive_too() {
    let scene = scene();
    let (target, file) = (scene.path("out"), scene.source().join("a.txt"));
    scene.ok(&["dump", "-t", target.to_str().unwrap(), "latest", file.to_str().unwrap()]);
    assert_eq!(std::fs::read(&target).unwrap(), b"hello\n");
    scene.ok(&["dump", "-t", target.to_str().unwrap(), "latest", "/"]);
    let listed = Command::new("tar").arg("--list").arg("--file").arg(&target).output().unwrap();
    assert!(String::from_utf8(listed.stdout).unwrap().contains("/sub/deep/empty\n"));
}
