//! What a living file system does to a backup, on the real one.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use pillion_repository::format::blob::BlobKind;
use rustix::fs::{CWD, FileType, Mode};

use crate::{ours, restic};

/// Another process that has a file mapped, and stores into it when it is told to. It is perl, of which every
/// Debian has the base: our own code has no way to map anything.
struct Mapper {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// Maps the file, then for each line of input lets the kernel copy that line from a pipe into the mapping,
/// which is a store through it as any other.
const MAPPER: &str = r#"
    my ($file, $mmap, $read) = @ARGV;
    open(my $mapped, '+<', $file) or die "open: $!";
    my $address = syscall($mmap + 0, 0, 4096, 3, 1, fileno($mapped), 0);
    die "mmap: $!" if $address == -1;
    pipe(my $from, my $to) or die "pipe: $!";
    $| = 1;
    while (my $line = <STDIN>) {
        chomp $line;
        syswrite($to, $line) == length($line) or die "write: $!";
        syscall($read + 0, fileno($from), $address, length($line)) == length($line) or die "read: $!";
        print "stored\n";
    }
"#;

impl Mapper {
    fn new(file: &Path) -> Self {
        // The numbers of mmap and read.
        let numbers = if cfg!(target_arch = "x86_64") { ["9", "0"] } else { ["222", "63"] };
        let mut process = Command::new("perl")
            .args(["-e", MAPPER])
            .arg(file)
            .args(numbers)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this test needs perl");
        let orders = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { process, orders, answers }
    }

    fn store(&mut self, content: &str) {
        writeln!(self.orders, "{content}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        assert_eq!(answer, "stored\n");
    }
}

impl Drop for Mapper {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[test]
fn what_was_stored_through_a_mapping_is_in_the_next_snapshot() {
    for folder in [std::env::temp_dir(), "/dev/shm".into()] {
        let folder = tempfile::tempdir_in(folder).unwrap();
        let file = folder.path().join("mapped");
        fs::write(&file, [b'-'; 4096]).unwrap();
        let repository = restic::Repository::create();
        let ours = ours::open(ours::local(repository.path()));
        let mut mapper = Mapper::new(&file);
        let mut unseen = 0;
        for number in 0..6 {
            let before = fs::metadata(&file).unwrap();
            mapper.store(&format!("store {number}"));
            let after = fs::metadata(&file).unwrap();
            let times = |at: &fs::Metadata| (at.mtime(), at.mtime_nsec(), at.ctime(), at.ctime_nsec());
            unseen += usize::from(times(&before) == times(&after));
            let report = ours::backup(&ours, folder.path());
            let mut reader = ours::reader(&ours);
            let tree = ours::tree_at(&ours, &report.snapshot_id.unwrap(), folder.path());
            let node = reader.load_tree(&tree).unwrap().remove(0);
            let content = reader.load(BlobKind::Data, &node.content.unwrap()[0]).unwrap();
            assert!(content.starts_with(format!("store {number}").as_bytes()), "{}", folder.path().display());
        }
        assert!(unseen > 0, "no store went unseen: the test shows nothing");
    }
}

/// In each of the trees, puts a directory, a link to `foreign` and everything that may lie in a directory in one
/// another's place.
fn swap_until(stop: &AtomicBool, trees: &[PathBuf], foreign: &Path) {
    let mut random = fastrand::Rng::with_seed(1);
    while !stop.load(Ordering::Relaxed) {
        let tree = &trees[random.usize(..trees.len())];
        let (inner, entry) = (tree.join("dir"), tree.join("dir/entry"));
        // Whatever is in the way is part of the game; neither removal follows a link.
        let _ = fs::remove_file(&inner).or_else(|_| fs::remove_dir_all(&inner));
        let _ = if random.bool() { fs::create_dir(&inner) } else { symlink(foreign, &inner) };
        // Never through the link: that would be our own hand in the foreign directory.
        if !inner.is_symlink() {
            let _ = match random.u32(..4) {
                0 => symlink(foreign.join("entry"), &entry),
                1 => fs::write(&entry, "own"),
                2 => fs::create_dir(&entry),
                _ => rustix::fs::mknodat(CWD, &entry, FileType::Fifo, Mode::from_raw_mode(0o600), 0)
                    .map_err(Into::into),
            };
        }
    }
}

#[test]
fn swapped_entries_never_bring_foreign_bytes_into_the_repository() {
    /// Of so many trees, each tiny, and each scanned by every run: a run alone costs more than such a tree.
    const TREES: usize = 20;
    const SCANS: usize = 10_000;
    /// With more runs on one repository its indexes would be most of the work.
    const RUNS_ON_ONE: usize = 20;
    // In memory the swaps are as quick as the scans.
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let (source, foreign) = (folder.path().join("source"), folder.path().join("foreign"));
    fs::create_dir(&foreign).unwrap();
    let trees: Vec<PathBuf> = (0..TREES).map(|number| source.join(number.to_string())).collect();
    trees.iter().for_each(|tree| fs::create_dir_all(tree).unwrap());
    // Of this length there is no other file.
    let secret = vec![b's'; 12_345];
    fs::write(foreign.join("entry"), &secret).unwrap();
    let empty = ours::in_memory(&restic::Repository::create());
    let mut options = ours::options(&source);
    // Nobody else is there, and a lock would be most of the work.
    options.lock = None;
    let stop = AtomicBool::new(false);
    let (mut files_seen, mut races_seen) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| swap_until(&stop, &trees, &foreign));
        // Also when an assertion fails: the other thread would go on for ever.
        let _stop = StopOnDrop(&stop);
        for _ in 0..SCANS / TREES / RUNS_ON_ONE {
            let ours = ours::open(empty.duplicate());
            for _ in 0..RUNS_ON_ONE {
                let report = ours::try_backup(&ours, &options).unwrap();
                files_seen += report.summary.total_files_processed;
                let faults = report.faults;
                races_seen += faults.skipped + faults.torn + faults.vanished;
            }
            let index = ours.load_index().unwrap().index;
            let mut data = index.iter().filter(|(kind, ..)| *kind == BlobKind::Data);
            assert!(data.all(|(_, _, at)| at.plain_bytes() == 3), "foreign bytes");
        }
    });
    assert_eq!(fs::read(foreign.join("entry")).unwrap(), secret);
    assert!(files_seen > 0 && races_seen > 0, "{files_seen} files, {races_seen} races: it shows nothing");
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
