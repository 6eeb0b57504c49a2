//! What a backup reads, and what it leaves out: options, lists and pattern files become the engine's own terms.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use pillion_repository::backup::{Source, Stream};
use pillion_repository::cache::Standing;
use pillion_repository::filter::exclude::{ExcludeOptions, Exclusion, TargetDevice};
use pillion_repository::filter::files_from::{self, Listing};
use pillion_repository::filter::{absolute, text};
use pillion_repository::restore::marker;
use pillion_repository::source as file_system;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio_util::sync::CancellationToken;

use super::{Options, command};
use crate::cli::failure::Failure;
use crate::cli::filter::{bytes, working_directory};
use crate::cli::output::quote::quote;
use crate::cli::session::Session;
use crate::patterns::of_spools;

/// restic's, for what has no mode of its own.
const STREAM_MODE: u32 = 0o644;

/// How long a read of standard input waits before it looks whether it was told to stop.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

pub(super) fn source(options: &Options, session: &Session<'_>) -> Result<Source, Failure> {
    if !(options.stdin || options.stdin_from_command) {
        let targets = targets(options, session)?;
        targets.iter().for_each(|target| warn_of_unfinished_restore(target, session));
        return Ok(Source::Paths(targets));
    }
    let name = absolute(options.stdin_filename.as_os_str().as_bytes(), b"/");
    let stream = if options.stdin_from_command {
        let (reader, finish) = command::start(&options.targets, session.stop.clone())?;
        Stream { name, mode: STREAM_MODE, reader: Box::new(reader), finish }
    } else {
        // The handle itself: a buffer between would hold bytes back that no poll tells of.
        let input = std::io::stdin().as_fd().try_clone_to_owned();
        let input = input.map_err(|e| Failure::new(format!("open standard input: {e}")))?;
        let reader = Box::new(Input { from: File::from(input), stop: session.stop.clone() });
        Stream { name, mode: STREAM_MODE, reader, finish: Box::new(|| Ok(())) }
    };
    Ok(Source::Stream(Mutex::new(Some(stream))))
}

/// An agent refuses such a source. A person may want it all the same.
fn warn_of_unfinished_restore(target: &[u8], session: &Session<'_>) {
    let path = absolute(target, &working_directory(session.environment));
    if file_system::open_resolved(&path).is_ok_and(|source| marker::is_in(&source)) {
        let (path, marker) = (quote(target), String::from_utf8_lossy(marker::NAME));
        session.output.warning(&format!(
            "{path} holds what an unfinished restore left, and {marker} in it says so: restore again, or delete that file"
        ));
    }
}

/// Reads that end with the command: a pipe may give nothing for hours.
pub(super) struct Input<R> {
    pub(super) from: R,
    pub(super) stop: CancellationToken,
}

impl<R: Read + AsFd> Read for Input<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let interval = Timespec::try_from(LOOK_INTERVAL).expect("a fraction of a second");
        loop {
            if self.stop.is_cancelled() {
                return Err(std::io::Error::other("interrupted"));
            }
            let mut waiting = [PollFd::new(&self.from, PollFlags::IN)];
            match poll(&mut waiting, Some(&interval)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => break,
                Err(e) => return Err(e.into()),
            }
        }
        self.from.read(buffer)
    }
}

/// The paths of the command line and of all lists, in restic's order.
fn targets(options: &Options, session: &Session<'_>) -> Result<Vec<Vec<u8>>, Failure> {
    let mut targets = Vec::new();
    for file in &options.files_from {
        for pattern in files_from::patterns(&read_list(file)?) {
            let found = files_from::expand(&pattern, &mut FileSystem)
                .map_err(|e| Failure::new(format!("{}: {e}", file.display())))?;
            if found.is_empty() {
                let pattern = quote(&pattern);
                session.output.warning(&format!("pattern {pattern} does not match any files, skipping"));
            }
            targets.extend(found);
        }
    }
    for file in &options.files_from_verbatim {
        targets.extend(files_from::verbatim(&read_list(file)?));
    }
    for file in &options.files_from_raw {
        // Names, not text: nothing is decoded.
        let found = files_from::raw(&read_file(file)?);
        targets.extend(found.map_err(|e| Failure::new(e.to_string()))?);
    }
    targets.extend(options.targets.iter().map(|path| path.as_os_str().as_bytes().to_vec()));
    match targets.is_empty() {
        true => Err(Failure::new("nothing to backup, please specify source files/dirs")),
        false => Ok(targets),
    }
}

fn read_list(file: &Path) -> Result<Vec<u8>, Failure> {
    let contents = read_file(file)?;
    // Only files are decoded, as in restic: what comes through a pipe is bytes.
    Ok(if file.as_os_str() == "-" { contents } else { text::decode(&contents).into_owned() })
}

fn read_file(file: &Path) -> Result<Vec<u8>, Failure> {
    let read = if file.as_os_str() == "-" {
        let mut contents = Vec::new();
        std::io::stdin().lock().read_to_end(&mut contents).map(|_| contents)
    } else {
        std::fs::read(file)
    };
    read.map_err(|e| Failure::new(format!("read the list {}: {e}", file.display())))
}

struct FileSystem;

impl Listing for FileSystem {
    fn exists(&mut self, path: &[u8]) -> bool {
        std::fs::symlink_metadata(as_path(path)).is_ok()
    }

    fn names(&mut self, path: &[u8]) -> Vec<Vec<u8>> {
        let Ok(entries) = std::fs::read_dir(as_path(path)) else { return Vec::new() };
        entries.flatten().map(|entry| entry.file_name().into_vec()).collect()
    }
}

fn as_path(path: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(path))
}

pub(super) fn nothing_excluded() -> Exclusion {
    Exclusion::parse(ExcludeOptions::default()).expect("no pattern is malformed")
}

pub(super) fn exclusion(
    options: &Options,
    targets: &[Vec<u8>],
    session: &Session<'_>,
) -> Result<Exclusion, Failure> {
    let directory = working_directory(session.environment);
    let targets: Vec<Vec<u8>> = targets.iter().map(|target| absolute(target, &directory)).collect();
    let mut patterns = options.exclude.patterns(session.environment)?;
    let mut own_directories = Vec::new();
    if let Some(cache) = session.cache_directory() {
        own_directories.extend(own_directory(cache, &targets, &directory));
    }
    if matches!(session.cache()?.standing(), Standing::Unusable(_) | Standing::Absent) {
        patterns.file_patterns.push(of_spools(&session.temporary_directory()));
    }
    let excluded = Exclusion::parse(ExcludeOptions {
        patterns,
        if_present: bytes(&options.exclude_if_present),
        caches: options.exclude_caches,
        larger_than: options.exclude_larger_than.map(|bytes| bytes.to_string()),
        target_devices: options.one_file_system.then(|| target_devices(&targets)),
        own_directories,
        built_in_roots: Vec::new(),
    });
    excluded.map_err(|e| Failure::new(e.to_string()))
}

/// The cache, where a target leads to it: otherwise nobody need ask for every path.
fn own_directory(cache: PathBuf, targets: &[Vec<u8>], directory: &[u8]) -> Option<Vec<u8>> {
    let cache = absolute(&cache.into_os_string().into_vec(), directory);
    let is_below = |target: &Vec<u8>| as_path(&cache).starts_with(as_path(target));
    targets
        .iter()
        .any(|target| is_below(target) || as_path(target).starts_with(as_path(&cache)))
        .then_some(cache)
}

/// Those that cannot be looked at are told as missing by the backup itself.
fn target_devices(targets: &[Vec<u8>]) -> Vec<TargetDevice> {
    let device = |path: &Vec<u8>| {
        let metadata = std::fs::symlink_metadata(as_path(path)).ok()?;
        Some(TargetDevice { path: path.clone(), device: metadata.dev() })
    };
    targets.iter().filter_map(device).collect()
}
