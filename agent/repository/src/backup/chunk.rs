//! The chunk stage: reads a changed file and cuts it where its content says.
//!
//! A file that fits into one chunk is sealed by the worker that reads it. Of a larger one, chunks go to other
//! workers while some are free, else they are sealed in place: nobody waits and memory stays bounded. A hole
//! is never read; it becomes the same chunks of zeros that reading it would give.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::Run;
use super::scan::TargetName;
use super::seal::Sealing;
use super::summary::count;
use super::tree::{Directory, Entry};
use super::worker::Worker;
use crate::error::Result;
use crate::event::{Change, Event};
use crate::format::blob::BlobKind;
use crate::format::chunker::{Chunker, MAX_CHUNK_BYTES, MIN_CHUNK_BYTES, zero_chunk_length};
use crate::format::id::Id;
use crate::format::tree::Node;
use crate::limits::KIB;
use crate::source::{self, Extent, Metadata, OpenFile};

/// Bytes asked for at once from a large file.
const READ_BYTES: usize = 256 * KIB;

/// Room for the longest chunk and what was read behind it. The system gives the pages as they are first used,
/// and for the whole run: buffers that come and go would leave holes in the heap.
pub(super) const BUFFER_BYTES: usize = MAX_CHUNK_BYTES + READ_BYTES;

const ZERO_CHUNK_BYTES: u64 = zero_chunk_length() as u64;

/// A changed file, not opened yet.
pub(super) struct ReadJob {
    pub(super) handle: Arc<dyn source::Directory>,
    pub(super) name: Box<[u8]>,
    pub(super) metadata: Metadata,
    pub(super) place: (Arc<Directory>, usize),
    pub(super) target: Option<TargetName>,
    pub(super) previous: Option<Box<Node>>,
}

/// A chunk that another worker shall seal.
pub(super) struct ChunkJob {
    pub(super) content: Vec<u8>,
    pub(super) position: usize,
    pub(super) file: Arc<FileInWork>,
}

/// A file whose chunks are being sealed.
pub(super) struct FileInWork {
    place: (Arc<Directory>, usize),
    content: Mutex<Vec<Id>>,
    /// Chunks under way, and one more while the file is being read.
    open: AtomicUsize,
    /// The node without its content, when the file was read to its end.
    read: Mutex<Option<ReadFile>>,
}

pub(super) struct ReadFile {
    pub(super) node: Node,
    pub(super) previous: Option<Box<Node>>,
}

impl ReadJob {
    fn path(&self) -> Vec<u8> {
        self.target.as_ref().map_or_else(|| self.place.0.path_of(&self.name), |target| target.path.to_vec())
    }

    fn snapshot_name(&self) -> Vec<u8> {
        self.target.as_ref().map_or_else(|| self.name.to_vec(), |target| target.snapshot_name.to_vec())
    }
}

/// Where the bytes of a file come from: a source's file, or a pipe.
pub(super) trait Input {
    /// Reads on; 0 is the end.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Stop>;

    /// The bytes of a hole that begins where reading goes on, 0 where there is none.
    fn hole_bytes(&mut self) -> Result<u64, Stop> {
        Ok(0)
    }

    /// Goes on behind so many bytes of a hole; a negative number goes back into it.
    fn skip(&mut self, _bytes: i64) {}
}

/// Why reading ended early.
pub(super) enum Stop {
    /// The source's fault: the file is skipped.
    Source(source::Error),
    Run(crate::Error),
}

impl From<crate::Error> for Stop {
    fn from(e: crate::Error) -> Self {
        Self::Run(e)
    }
}

impl From<source::Error> for Stop {
    fn from(e: source::Error) -> Self {
        Self::Source(e)
    }
}

impl Worker<'_, '_> {
    pub(super) fn read(&mut self, job: ReadJob) -> Result<()> {
        self.run.check()?;
        match self.read_source(&job) {
            Ok(()) => Ok(()),
            Err(Stop::Run(e)) => Err(e),
            Err(Stop::Source(e)) => {
                self.run.source_failed(&job.path(), &e);
                let (directory, slot) = &job.place;
                self.sealing.entry_done(self.run, directory, *slot, Entry::Absent)
            }
        }
    }

    fn read_source(&mut self, job: &ReadJob) -> Result<(), Stop> {
        let mut file = job.handle.open_file(&job.name, &job.metadata)?;
        let before = *file.metadata();
        let attributes = file.extended_attributes()?;
        let work = FileInWork::new(job.place.clone());
        let mut input = SourceInput::new(&mut *file, &before);
        let size_bytes = self.cut(&mut input, &work, before.size_bytes)?;
        let after = file.metadata_now()?;
        let state = |at: &Metadata| (at.size_bytes, at.mtime, at.ctime);
        if state(&before) != state(&after) || size_bytes != before.size_bytes {
            count(&self.run.counters.torn, 1);
            self.run.reporter.report(Event::Torn { path: &job.path() });
        }
        let node = self.run.node(job.snapshot_name(), &before, Vec::new(), attributes);
        let read = ReadFile { node: Node { size: size_bytes, ..node }, previous: job.previous.clone() };
        Ok(self.sealing.file_read(self.run, &work, read)?)
    }

    /// Reads to the end and stores every chunk, or has it stored. Returns the bytes read.
    pub(super) fn cut(
        &mut self,
        input: &mut dyn Input,
        work: &Arc<FileInWork>,
        expected_bytes: u64,
    ) -> Result<u64, Stop> {
        let run = self.run;
        let mut chunker = Chunker::new(&run.tables);
        let (mut filled, mut total) = (0, 0u64);
        loop {
            run.check()?;
            let hole = input.hole_bytes()?;
            if filled == 0 && hole >= ZERO_CHUNK_BYTES {
                total += self.chunks_of_zeros(input, work, hole / ZERO_CHUNK_BYTES)?;
                continue;
            }
            let free = &mut self.buffer[filled..filled + READ_BYTES];
            let (arrived, is_last) = if hole > 0 {
                let zeros = free.len().min(usize::try_from(hole).unwrap_or(usize::MAX));
                free[..zeros].fill(0);
                input.skip(zeros as i64);
                (zeros, false)
            } else {
                let read = input.read(free)?;
                // A regular file gives less than was asked for only at its end.
                (read, read == 0 || (read < READ_BYTES && total + read as u64 == expected_bytes))
            };
            filled += arrived;
            total += arrived as u64;
            count(&run.progress.bytes_done, arrived as u64);
            let mut has_cut = false;
            while let Some(cut) = chunker.next_cut(&self.buffer[..filled]) {
                filled = self.chunk(work, cut, filled)?;
                has_cut = true;
            }
            if is_last {
                if filled > 0 {
                    self.chunk(work, filled, filled)?;
                }
                return Ok(total);
            }
            if hole > 0 && has_cut && filled <= arrived {
                // All that is left belongs to the hole: from here it is whole chunks of zeros.
                input.skip(-(filled as i64));
                total -= filled as u64;
                filled = 0;
            }
        }
    }

    /// Stores the first `cut` bytes of the buffer as a chunk and moves the rest to the front.
    fn chunk(&mut self, work: &Arc<FileInWork>, cut: usize, filled: usize) -> Result<usize> {
        let run = self.run;
        let position = work.reserve();
        if cut >= MIN_CHUNK_BYTES && run.queue.reserve_chunk(cut) {
            work.open.fetch_add(1, Ordering::Relaxed);
            let content = run.queue.copy(&self.buffer[..cut]);
            run.queue.push_chunk(ChunkJob { content, position, file: Arc::clone(work) });
        } else {
            let id = self.sealing.store(run, BlobKind::Data, &self.buffer[..cut])?;
            work.set(position, id);
        }
        self.buffer.copy_within(cut..filled, 0);
        Ok(filled - cut)
    }

    fn chunks_of_zeros(&mut self, input: &mut dyn Input, work: &FileInWork, chunks: u64) -> Result<u64> {
        let run = self.run;
        let id = match run.zero_chunk.get() {
            Some(id) => *id,
            None => {
                let zeros = vec![0; zero_chunk_length()];
                let id = self.sealing.store(run, BlobKind::Data, &zeros)?;
                *run.zero_chunk.get_or_init(|| id)
            }
        };
        for _ in 0..chunks {
            let position = work.reserve();
            work.set(position, id);
        }
        let bytes = chunks * ZERO_CHUNK_BYTES;
        input.skip(bytes as i64);
        count(&run.progress.bytes_done, bytes);
        Ok(bytes)
    }
}

impl FileInWork {
    pub(super) fn new(place: (Arc<Directory>, usize)) -> Arc<Self> {
        let (content, read) = (Mutex::default(), Mutex::new(None));
        Arc::new(Self { place, content, open: AtomicUsize::new(1), read })
    }

    fn content(&self) -> MutexGuard<'_, Vec<Id>> {
        self.content.lock().expect("no thread panics with it")
    }

    /// The place of the next chunk.
    fn reserve(&self) -> usize {
        let mut content = self.content();
        content.push(Id::default());
        content.len() - 1
    }

    fn set(&self, position: usize, id: Id) {
        self.content()[position] = id;
    }
}

impl Sealing<'_> {
    pub(super) fn chunk(&mut self, run: &Run<'_>, chunk: ChunkJob) -> Result<()> {
        let id = self.store(run, BlobKind::Data, &chunk.content)?;
        run.queue.release_chunk(chunk.content);
        chunk.file.set(chunk.position, id);
        self.part_done(run, &chunk.file)
    }

    /// The file was read to its end; chunks of it may still be on their way.
    pub(super) fn file_read(&mut self, run: &Run<'_>, work: &Arc<FileInWork>, read: ReadFile) -> Result<()> {
        *work.read.lock().expect("no thread panics with it") = Some(read);
        self.part_done(run, work)
    }

    fn part_done(&mut self, run: &Run<'_>, work: &FileInWork) -> Result<()> {
        if work.open.fetch_sub(1, Ordering::AcqRel) > 1 {
            return Ok(());
        }
        // A file whose reading failed has reported that, and its last chunk ends here.
        let Some(read) = work.read.lock().expect("no thread panics with it").take() else { return Ok(()) };
        let content = std::mem::take(&mut *work.content());
        let node = Node { content: Some(content), ..read.node };
        let change = match read.previous.as_deref() {
            None => Change::New,
            Some(previous) if *previous == node => Change::Unchanged,
            Some(_) => Change::Modified,
        };
        let (directory, slot) = &work.place;
        run.file_done(directory, &node.name, change, node.size);
        let entry = if change == Change::Unchanged { Entry::Equal(node) } else { Entry::Other(node) };
        self.entry_done(run, directory, *slot, entry)
    }
}

/// A file of the source, its holes left out where it has any.
struct SourceInput<'a> {
    file: &'a mut dyn OpenFile,
    is_sparse: bool,
    position: u64,
    data: Extent,
}

impl<'a> SourceInput<'a> {
    fn new(file: &'a mut dyn OpenFile, metadata: &Metadata) -> Self {
        Self { file, is_sparse: metadata.is_sparse(), position: 0, data: Extent { start: 0, end: 0 } }
    }
}

impl Input for SourceInput<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Stop> {
        if !self.is_sparse {
            return Ok(self.file.fill(buffer)?);
        }
        // Behind the last data the size has been reached, unless the file has just grown.
        let left = self.data.end.saturating_sub(self.position);
        let wanted = if left == 0 {
            buffer.len()
        } else {
            buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX))
        };
        let read = self.file.read_at(&mut buffer[..wanted], self.position)?;
        self.position += read as u64;
        Ok(read)
    }

    fn hole_bytes(&mut self) -> Result<u64, Stop> {
        if !self.is_sparse {
            return Ok(0);
        }
        if self.position >= self.data.end {
            self.data = self.file.next_data(self.position)?;
        }
        Ok(self.data.start.saturating_sub(self.position))
    }

    fn skip(&mut self, bytes: i64) {
        self.position = self.position.saturating_add_signed(bytes);
    }
}
