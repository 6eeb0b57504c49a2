//! The workers: load a range of a pack, open each blob in it, and write it to all its places.
//!
//! Nothing is written that does not hash to its ID. A blob that is broken where the plan looked for it is looked
//! for in every other place the index knows; only if none is whole do the files that use it fail, and all others
//! go on.

use bytes::{Bytes, BytesMut};
use pillion_backend::FileKind;

use super::plan::{FetchJob, Job, Place};
use super::write::{self, Content};
use super::{Run, finish, is_damage};
use crate::error::{Error, Result};
use crate::format::blob::{BlobKind, Opener};
use crate::limits::KEPT_BUFFER_BYTES;
use crate::repository::BlobReader;
use crate::store::file_name;

pub(super) struct Worker<'a, 'r> {
    pub(super) run: &'a Run<'r>,
    opener: Opener,
    /// The content of the blob at hand.
    pub(super) plain: Vec<u8>,
    /// Looks for a blob wherever it is.
    elsewhere: BlobReader,
}

impl<'a, 'r> Worker<'a, 'r> {
    pub(super) fn new(run: &'a Run<'r>) -> Self {
        Self {
            run,
            opener: Opener::default(),
            plain: Vec::new(),
            elsewhere: BlobReader::new(run.repository, &run.index),
        }
    }

    /// Works until there is no more. The first failure of any thread ends them all.
    pub(super) fn work(mut self) {
        let _stop_others = StopOnPanic(self.run);
        while let Some(job) = self.run.queue.take() {
            let performed = self.run.check().and_then(|()| self.perform(job));
            self.run.queue.done();
            if let Err(e) = performed {
                self.run.fail(e);
            }
            if self.plain.capacity() > KEPT_BUFFER_BYTES {
                self.plain = Vec::new();
            }
        }
    }

    fn perform(&mut self, job: Job) -> Result<()> {
        match job {
            Job::Fetch(job) => self.fetch(&job),
            Job::Empty(batch, files) => files.iter().try_for_each(|&file| {
                let file = &batch.files[file as usize];
                self.run.check()?;
                if let Err(e) = write::whole(self.run, file, &Content::new(&[])) {
                    finish::fail(self.run, file, e)?;
                }
                finish::place_done(self.run, file)
            }),
            Job::Verify(job) => self.verify(&job),
        }
    }

    fn fetch(&mut self, job: &FetchJob) -> Result<()> {
        let _held = self.run.buffer_budget.take(job.buffer_bytes());
        let pack = file_name(FileKind::Pack, &job.pack);
        let range = u64::from(job.bytes.start)..u64::from(job.bytes.end);
        let mut loaded = match self.run.repository.store.load_range(&pack, range) {
            Ok(loaded) => Some(writable(loaded)),
            Err(e) if is_damage(&e) => None,
            Err(e) => return Err(e),
        };
        for places in job.blobs() {
            self.run.check()?;
            match self.open(job, &places[0], loaded.as_deref_mut()) {
                Ok(true) => write_places(self.run, job, places, &self.plain)?,
                Ok(false) => {
                    let plain =
                        self.elsewhere.load(BlobKind::Data, self.run.index.id(places[0].blob as usize))?;
                    write_places(self.run, job, places, plain)?;
                }
                Err(e) => fail_places(self.run, job, places, e)?,
            }
        }
        Ok(())
    }

    /// Opens the blob where the plan has it. `false`: it is only elsewhere, and has been found there.
    fn open(&mut self, job: &FetchJob, place: &Place, loaded: Option<&mut [u8]>) -> Result<bool> {
        let position = place.blob as usize;
        let (id, location) = (*self.run.index.id(position), self.run.index.location(position));
        if let Some(loaded) = loaded {
            let start = (location.offset - job.bytes.start) as usize;
            let sealed = &mut loaded[start..start + location.length as usize];
            let key = self.run.repository.key();
            let length = location.uncompressed_length;
            if self.opener.open(key, BlobKind::Data, &id, sealed, length, &mut self.plain).is_ok() {
                return Ok(true);
            }
        }
        match self.elsewhere.load(BlobKind::Data, &id) {
            Ok(_) => Ok(false),
            Err(e) => Err(e),
        }
    }
}

/// The loaded bytes to be decrypted where they lie; copied only if somebody else holds them too.
fn writable(loaded: Bytes) -> BytesMut {
    loaded.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]))
}

fn write_places(run: &Run<'_>, job: &FetchJob, places: &[Place], plain: &[u8]) -> Result<()> {
    let content = Content::new(plain);
    places.iter().try_for_each(|place| {
        let file = job.batch().file(place);
        let written = if file.is_single {
            write::whole(run, file, &content)
        } else {
            write::part(run, file, &content, place.offset)
        };
        if let Err(e) = written {
            finish::fail(run, file, e)?;
        }
        finish::place_done(run, file)
    })
}

/// No copy of the blob is whole.
fn fail_places(run: &Run<'_>, job: &FetchJob, places: &[Place], error: Error) -> Result<()> {
    if !is_damage(&error) {
        return Err(error);
    }
    let why = error.to_string();
    places.iter().try_for_each(|place| {
        let file = job.batch().file(place);
        finish::fail(run, file, Error::Refused(why.clone()))?;
        finish::place_done(run, file)
    })
}

struct StopOnPanic<'a, 'r>(&'a Run<'r>);

impl Drop for StopOnPanic<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(Error::Cancelled);
        }
    }
}
