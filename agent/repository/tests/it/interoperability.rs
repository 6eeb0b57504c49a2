//! restic and we take turns on one repository: neither stores again what the other stored, and either's tools
//! take what the other wrote.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use pillion_backend::FileKind;
use pillion_repository::filter::exclude::TargetDevice;
use pillion_repository::filter::{ExcludeOptions, Exclusion};
use pillion_repository::format::blob::Compression;
use pillion_repository::format::id::Id;
use pillion_repository::repository::Repository;

use crate::forest::{Forest, assert_same_picture, picture};
use crate::ours;
use crate::restic::{self, run};

/// What restic says of a backup it made.
struct Summary {
    snapshot: Id,
    data_blobs: u64,
}

fn restic_backup(repository: &restic::Repository, source: &Path, arguments: &[&str]) -> Summary {
    let mut command = repository.command(Path::new("/"));
    command.args(["backup", "--json", "--host", "host"]).args(arguments).arg(source);
    let output = run(&mut command);
    let text = String::from_utf8(output.stdout).unwrap();
    let last = text.lines().last().expect("a summary");
    let json: serde_json::Value = serde_json::from_str(last).unwrap();
    Summary {
        snapshot: json["snapshot_id"].as_str().expect("a snapshot").parse().unwrap(),
        data_blobs: json["data_blobs"].as_u64().unwrap(),
    }
}

fn restic(repository: &restic::Repository, arguments: &[&str]) {
    run(repository.command(Path::new("/")).args(arguments));
}

/// Restores with restic what a snapshot has at `source`, and compares it with what is there.
fn assert_restores(repository: &restic::Repository, snapshot: &Id, source: &Path) {
    let target = tempfile::tempdir().unwrap();
    let what = format!("{snapshot}:{}", source.display());
    restic(repository, &["restore", &what, "--target", target.path().to_str().unwrap()]);
    assert_same_picture(&picture(source), &picture(target.path()));
}

/// Backs up by turns while the source changes. The trees are the same; the second tool adds no data.
fn take_turns(repository: &restic::Repository, ours: &Repository, seed: u64, arguments: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    let mut forest = Forest::plant(&source, seed);
    for turn in 0..4 {
        let (own, theirs) = if turn % 2 == 0 {
            let own = ours::backup(ours, &source);
            let theirs = restic_backup(repository, &source, arguments);
            assert_eq!(theirs.data_blobs, 0, "turn {turn}: restic stored again what we stored");
            (own, theirs)
        } else {
            let theirs = restic_backup(repository, &source, arguments);
            let own = ours::backup(ours, &source);
            assert_eq!(own.summary.data_blobs, 0, "turn {turn}: we stored again what restic stored");
            (own, theirs)
        };
        let own_id = own.snapshot_id.unwrap();
        let trees = [own_id, theirs.snapshot].map(|id| ours::tree_at(ours, &id, &source));
        assert_eq!(trees[0], trees[1], "turn {turn}");
        if turn == 3 {
            assert_restores(repository, &own_id, &source);
        }
        for _ in 0..15 {
            forest.change();
        }
    }
    restic(repository, &["check", "--read-data"]);
}

#[test]
fn restic_and_we_write_the_same_trees_and_chunks() {
    let repository = restic::Repository::create();
    let ours = ours::open(ours::local(repository.path()));
    take_turns(&repository, &ours, 1, &[]);
}

#[test]
fn restic_and_we_share_a_repository_of_the_first_version() {
    let repository = restic::Repository::create_version_1();
    let ours = ours::open(ours::local(repository.path()));
    take_turns(&repository, &ours, 2, &[]);
}

#[test]
fn restic_reads_what_we_wrote_with_every_compression() {
    for (compression, word) in
        [(Compression::Off, "off"), (Compression::Fastest, "fastest"), (Compression::Max, "max")]
    {
        let repository = restic::Repository::create();
        let local = ours::local(repository.path());
        let ours =
            ours::open_with(local, restic::PASSWORD, |settings| settings.compression = compression).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("text"), "line of text\n".repeat(100_000)).unwrap();
        fs::write(source.join("zeros"), vec![0; 3 << 20]).unwrap();
        let own = ours::backup(&ours, &source);
        let theirs = restic_backup(&repository, &source, &["--compression", word]);
        assert_eq!(theirs.data_blobs, 0, "{word}");
        assert_restores(&repository, &own.snapshot_id.unwrap(), &source);
        restic(&repository, &["check", "--read-data"]);
    }
}

#[test]
fn restic_s_tools_take_what_we_wrote() {
    let (repository, other) = (restic::Repository::create(), restic::Repository::create());
    let ours = ours::open_with(ours::local(repository.path()), restic::PASSWORD, |settings| {
        settings.pack_size_bytes = 1 << 20;
    })
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    let mut forest = Forest::plant(&source, 3);
    let first = ours::backup(&ours, &source).snapshot_id.unwrap();
    for _ in 0..15 {
        forest.change();
    }
    fs::write(source.join("secret"), "to be rewritten").unwrap();
    let second = ours::backup(&ours, &source).snapshot_id.unwrap();
    restic(&repository, &["rewrite", "--exclude", "secret", "--forget", &second.to_string()]);
    restic(&repository, &["tag", "--add", "tagged", "latest"]);
    run(other.command(Path::new("/")).env("RESTIC_FROM_PASSWORD", restic::PASSWORD).args([
        "copy",
        "--from-repo",
        repository.path().to_str().unwrap(),
    ]));
    restic(&other, &["check", "--read-data"]);
    restic(&repository, &["forget", "--prune", "--max-unused", "0", &first.to_string()]);
    restic(&repository, &["repair", "index", "--read-all-packs"]);
    restic(&repository, &["repair", "snapshots", "--forget"]);
    let packs = ours.store.list_ids(FileKind::Pack).unwrap();
    run(repository.command(folder.path()).args(["repair", "packs", &packs[0].to_string()]));
    restic(&repository, &["check", "--read-data"]);
    fs::remove_file(source.join("secret")).unwrap();
    let third = ours::backup(&ours, &source);
    assert_eq!(third.summary.data_blobs, 0, "all of it survived");
    assert!(third.parent.is_some());
    assert_restores(&repository, &third.snapshot_id.unwrap(), &source);
    assert_restores(
        &other,
        &ours::snapshot_ids(&ours::open(ours::local(other.path())))[0],
        &source.join("deep"),
    );
    restic(&repository, &["check", "--read-data"]);
}

#[test]
fn every_key_that_restic_adds_opens_the_repository() {
    let repository = restic::Repository::create();
    let folder = tempfile::tempdir().unwrap();
    let password_file = folder.path().join("password");
    fs::write(&password_file, "another").unwrap();
    restic(&repository, &["key", "add", "--new-password-file", password_file.to_str().unwrap()]);
    let open = |password| ours::open_with(ours::local(repository.path()), password, |_| {});
    let (first, second) = (open(restic::PASSWORD).unwrap(), open("another").unwrap());
    assert_ne!(first.key_id(), second.key_id());
    assert_eq!(first.config, second.config);
    assert!(matches!(open("neither"), Err(pillion_repository::Error::WrongPassword)));
}

#[test]
fn a_blob_that_restic_repaired_away_is_stored_again() {
    let repository = restic::Repository::create();
    let ours = ours::open_with(ours::local(repository.path()), restic::PASSWORD, |settings| {
        settings.pack_size_bytes = 256 << 10;
    })
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    Forest::plant(&source, 4);
    let first = ours::backup(&ours, &source).snapshot_id.unwrap();
    let packs = ours.store.list_ids(FileKind::Pack).unwrap();
    assert!(packs.len() > 10);
    for pack in packs.iter().step_by(3) {
        let name = pack.to_string();
        fs::remove_file(repository.path().join("data").join(&name[..2]).join(&name)).unwrap();
    }
    restic(&repository, &["repair", "index"]);
    let healed = ours::backup(&ours, &source);
    assert!(healed.summary.data_blobs > 0);
    // The directories above the source may have been others then.
    restic(&repository, &["forget", &first.to_string()]);
    restic(&repository, &["check", "--read-data"]);
    assert_restores(&repository, &healed.snapshot_id.unwrap(), &source);
}

#[test]
fn restic_opens_and_uses_what_we_made() {
    let folder = tempfile::tempdir().unwrap();
    let repository = ours::init(ours::local(&folder.path().join("made")));
    let source = folder.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "content").unwrap();
    ours::backup(&repository, &source);
    let command = || restic::command(&folder.path().join("made"), folder.path());
    run(command().args(["backup", "source"]));
    run(command().args(["check", "--read-data"]));
    let again = command().arg("init").output().unwrap();
    assert!(!again.status.success(), "restic sees that there is one");
}

#[test]
fn a_sparse_file_is_cut_as_restic_cuts_it() {
    let repository = restic::Repository::create();
    let ours = ours::open(ours::local(repository.path()));
    let folder = tempfile::tempdir().unwrap();
    let file = fs::File::create(folder.path().join("sparse")).unwrap();
    file.set_len((1 << 30) + 12_345).unwrap();
    for offset in [0, 123 << 20, (700 << 20) + 7777, (1 << 30) - 50_000] {
        file.write_all_at(&vec![7; 100_000], offset).unwrap();
    }
    let own = ours::backup(&ours, folder.path());
    let theirs = restic_backup(&repository, folder.path(), &[]);
    assert_eq!(theirs.data_blobs, 0);
    let trees =
        [own.snapshot_id.unwrap(), theirs.snapshot].map(|id| ours::tree_at(&ours, &id, folder.path()));
    assert_eq!(trees[0], trees[1]);
}

#[test]
fn a_sparse_file_costs_its_data_and_not_its_size() {
    const PIECE_BYTES: usize = 64 << 10;
    let repository = restic::Repository::create();
    let ours = ours::open(ours::local(repository.path()));
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    fs::create_dir(&source).unwrap();
    let file = fs::File::create(source.join("sparse")).unwrap();
    file.set_len(16 << 30).unwrap();
    for place in 0..16 {
        file.write_all_at(&[place as u8 + 1; PIECE_BYTES], place << 30).unwrap();
    }
    let report = ours::backup(&ours, &source);
    assert_eq!(report.summary.total_bytes_processed, 16 << 30);
    assert!(report.summary.data_blobs < 100, "{:?}", report.summary);
    let target = folder.path().join("target");
    ours::restore(&ours, &report.snapshot_id.unwrap(), &source, &target);
    let original = fs::File::open(source.join("sparse")).unwrap();
    let restored = fs::File::open(target.join("sparse")).unwrap();
    let metadata = restored.metadata().unwrap();
    assert_eq!(metadata.len(), 16 << 30);
    let allocated_bytes = std::os::unix::fs::MetadataExt::blocks(&metadata) * 512;
    assert!(allocated_bytes < 3 << 19, "{allocated_bytes} bytes for 1 MiB of data");
    // The data, and some of the hole on either side: there is no room allocated for much else.
    let mut found = vec![0; 2 * PIECE_BYTES];
    for place in 0..16u64 {
        let around = (place << 30).saturating_sub(PIECE_BYTES as u64 / 2);
        restored.read_exact_at(&mut found, around).unwrap();
        let mut expected = vec![0; 2 * PIECE_BYTES];
        original.read_exact_at(&mut expected, around).unwrap();
        assert!(found == expected, "at {around}");
    }
}

#[test]
fn the_chunks_of_a_sparse_file_are_restic_s() {
    let repository = restic::Repository::create();
    let ours = ours::open(ours::local(repository.path()));
    let folder = tempfile::tempdir().unwrap();
    let file = fs::File::create(folder.path().join("sparse")).unwrap();
    file.set_len(64 << 20).unwrap();
    let mut random = fastrand::Rng::with_seed(1);
    for place in 0..16 {
        let bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(64 << 10).collect();
        file.write_all_at(&bytes, (place << 22) + place * 12_345).unwrap();
    }
    let chunks = |snapshot: &Id| {
        let tree = ours::tree_at(&ours, snapshot, folder.path());
        ours::reader(&ours).load_tree(&tree).unwrap().remove(0).content.unwrap()
    };
    let own = ours::backup(&ours, folder.path()).snapshot_id.unwrap();
    // restic reads all of it: without a parent, and it knows of no holes.
    let theirs = restic_backup(&repository, folder.path(), &["--force"]);
    assert_eq!(theirs.data_blobs, 0);
    assert!(chunks(&own).len() > 30);
    assert_eq!(chunks(&own), chunks(&theirs.snapshot));
}

#[test]
fn one_file_system_keeps_the_empty_mount_point_as_restic_does() {
    // The one directory of every machine that has other file systems mounted below it and little to read.
    let source = Path::new("/dev");
    let device = |path: &Path| std::os::unix::fs::MetadataExt::dev(&fs::metadata(path).unwrap());
    let mount_point = source.join("shm");
    assert_ne!(device(source), device(&mount_point), "/dev/shm is mounted");
    let repository = restic::Repository::create();
    let ours = ours::open(ours::local(repository.path()));
    let mut options = ours::options(source);
    options.exclusion = Exclusion::parse(ExcludeOptions {
        target_devices: Some(vec![TargetDevice { path: b"/dev".to_vec(), device: device(source) }]),
        ..ExcludeOptions::default()
    })
    .unwrap();
    let own = ours::try_backup(&ours, &options).unwrap();
    let theirs = restic_backup(&repository, source, &["--one-file-system"]);
    let names = |snapshot: &Id, path: &Path| -> Vec<Vec<u8>> {
        let nodes = ours::reader(&ours).load_tree(&ours::tree_at(&ours, snapshot, path)).unwrap();
        nodes.into_iter().map(|node| node.name).collect()
    };
    let own_id = own.snapshot_id.unwrap();
    assert_eq!(names(&own_id, source), names(&theirs.snapshot, source));
    assert_eq!(names(&own_id, &mount_point), Vec::<Vec<u8>>::new());
    assert_eq!(names(&theirs.snapshot, &mount_point), Vec::<Vec<u8>>::new());
}
