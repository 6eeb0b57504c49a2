//! The plan: which blobs go where, collected by the walk and cut into jobs for the workers.
//!
//! A batch is a bounded part of the plan. Its places are sorted by pack and offset, so that neighbouring blobs
//! are loaded together and a blob that is wanted in several places is loaded once. A file may have places in
//! several batches.

use std::ops::Range;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use super::directory::Directory;
use super::link::Linked;
use super::metadata::Wanted;
use super::verify::VerifyJob;
use crate::budget::{Budget, Charge};
use crate::format::id::Id;
use crate::index::{Index, Location};
use crate::limits::{RESTORE_BATCH_BYTES, RESTORE_GAP_BYTES, RESTORE_RANGE_BYTES};
use crate::target::TargetFile;

/// One file on its way into the target.
#[derive(Debug)]
pub(super) struct File {
    pub(super) directory: Arc<Directory>,
    pub(super) name: Box<[u8]>,
    pub(super) wanted: Wanted,
    pub(super) size_bytes: u64,
    /// Its place in the order of the walk.
    pub(super) number: u64,
    /// A file of that name was there before.
    pub(super) is_update: bool,
    /// It comes as one blob, so that it is opened once.
    pub(super) is_single: bool,
    pub(super) linked: Option<Arc<Linked>>,
    pub(super) state: Mutex<FileState>,
    /// Places still to be written, and one for the walk while it still adds some.
    pub(super) pending: AtomicUsize,
}

#[derive(Debug, Default)]
pub(super) struct FileState {
    /// The name it has until it is whole; `None` before it exists.
    pub(super) temporary: Option<Vec<u8>>,
    pub(super) opened: Option<Arc<TargetFile>>,
    /// It cannot become whole: reported, and not to be reported again.
    pub(super) failed: bool,
}

/// A blob's place in a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The position in the batch's files.
    file: u32,
    /// The position of the blob in the index.
    pub(super) blob: u32,
    pub(super) offset: u64,
}

#[derive(Debug)]
pub(super) struct Batch {
    pub(super) files: Vec<Arc<File>>,
    places: Vec<Place>,
    _charge: Charge,
}

impl Batch {
    pub(super) fn file(&self, place: &Place) -> &Arc<File> {
        &self.files[place.file as usize]
    }
}

#[derive(Debug)]
pub(super) enum Job {
    Fetch(FetchJob),
    /// Files that have no content.
    Empty(Arc<Batch>, Vec<u32>),
    Verify(VerifyJob),
}

/// Neighbouring blobs of one pack, and where they go.
#[derive(Debug)]
pub(super) struct FetchJob {
    batch: Arc<Batch>,
    places: Range<usize>,
    pub(super) pack: Id,
    /// Which bytes of the pack.
    pub(super) bytes: Range<u32>,
    /// The largest blob when it is opened.
    pub(super) max_plain_bytes: u64,
}

impl FetchJob {
    /// The places blob by blob.
    pub(super) fn blobs(&self) -> impl Iterator<Item = &[Place]> {
        self.batch.places[self.places.clone()].chunk_by(|a, b| a.blob == b.blob)
    }

    pub(super) fn batch(&self) -> &Batch {
        &self.batch
    }

    pub(super) fn buffer_bytes(&self) -> usize {
        self.bytes.len() + self.max_plain_bytes as usize
    }
}

/// Files without content that are made by one job.
const EMPTY_FILES_PER_JOB: usize = 256;

/// What is kept of a place until its job is done: the place, and its key while places are sorted.
const PLACE_BYTES: usize = size_of::<Place>() + size_of::<SortKey>() + size_of::<usize>();

/// Pack, offset, and the order of the walk.
type SortKey = (u32, u32, u32);

/// The batch the walk is filling.
#[derive(Debug, Default)]
pub(super) struct Plan {
    files: Vec<Arc<File>>,
    places: Vec<Place>,
    empty: Vec<u32>,
    size_bytes: usize,
}

impl Plan {
    pub(super) fn is_full(&self) -> bool {
        self.size_bytes >= RESTORE_BATCH_BYTES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Adds a file whose places follow, also after the plan was cut.
    pub(super) fn add_file(&mut self, file: &Arc<File>) {
        // The directory may be there for this file alone; its path is counted where it is long.
        let directory_bytes = size_of::<Directory>() / 4;
        self.size_bytes += size_of::<File>() + file.name.len() + file.wanted.memory_bytes() + directory_bytes;
        self.files.push(Arc::clone(file));
    }

    /// Adds a place of the file that was added last.
    pub(super) fn add_place(&mut self, blob: usize, offset: u64) {
        let file = self.last_file();
        let blob = u32::try_from(blob).expect("an index of 2^32 blobs would take 200 GB");
        self.places.push(Place { file, blob, offset });
        self.size_bytes += PLACE_BYTES;
    }

    /// The file that was added last has no places.
    pub(super) fn last_is_empty(&mut self) {
        self.empty.push(self.last_file());
    }

    fn last_file(&self) -> u32 {
        u32::try_from(self.files.len() - 1).expect("a batch is far smaller")
    }

    /// Takes the batch out and cuts it into jobs, in the order in which the walk came by. Waits until the
    /// budget has room for it.
    pub(super) fn cut(&mut self, index: &Index, budget: &Budget) -> Vec<Job> {
        let Self { files, mut places, empty, size_bytes } = std::mem::take(self);
        let charge = budget.take(size_bytes);
        places.sort_by_cached_key(|place| -> SortKey {
            let location = index.location(place.blob as usize);
            (location.pack_position, location.offset, place.file)
        });
        let batch = Arc::new(Batch { files, places, _charge: charge });
        let mut jobs = fetch_jobs(index, &batch);
        jobs.sort_by_key(|(first_file, _)| *first_file);
        let fetch = jobs.into_iter().map(|(_, job)| Job::Fetch(job));
        let empty =
            empty.chunks(EMPTY_FILES_PER_JOB).map(|files| Job::Empty(Arc::clone(&batch), files.to_vec()));
        fetch.chain(empty).collect()
    }
}

/// Each with the first of its files.
fn fetch_jobs(index: &Index, batch: &Arc<Batch>) -> Vec<(u32, FetchJob)> {
    let mut jobs: Vec<(u32, FetchJob)> = Vec::new();
    let mut end = 0;
    for group in batch.places.chunk_by(|a, b| a.blob == b.blob) {
        let places = end..end + group.len();
        end = places.end;
        let location = index.location(group[0].blob as usize);
        let first_file = group[0].file;
        match jobs.last_mut() {
            Some((first, job)) if is_neighbour(job, &location) => {
                job.places.end = places.end;
                job.bytes.end = job.bytes.end.max(blob_end(&location));
                job.max_plain_bytes = job.max_plain_bytes.max(location.plain_bytes());
                *first = (*first).min(first_file);
            }
            _ => jobs.push((
                first_file,
                FetchJob {
                    batch: Arc::clone(batch),
                    places,
                    pack: location.pack,
                    bytes: location.offset..blob_end(&location),
                    max_plain_bytes: location.plain_bytes(),
                },
            )),
        }
    }
    jobs
}

fn blob_end(location: &Location) -> u32 {
    location.offset.saturating_add(location.length)
}

fn is_neighbour(job: &FetchJob, location: &Location) -> bool {
    job.pack == location.pack
        && location.offset.saturating_sub(job.bytes.end) <= RESTORE_GAP_BYTES
        && blob_end(location).saturating_sub(job.bytes.start) <= RESTORE_RANGE_BYTES
}

/// Whether a blob is one that may be loaded.
pub(super) fn is_within_limits(location: &Location) -> bool {
    use crate::limits::MAX_DATA_BLOB_BYTES;

    let max_bytes = MAX_DATA_BLOB_BYTES as u64;
    location.plain_bytes() <= max_bytes
        && u64::from(location.length) <= max_bytes + 4096
        && u64::from(location.offset) + u64::from(location.length) <= u64::from(u32::MAX)
}
