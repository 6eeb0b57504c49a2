//! The two sources of the bench: 2 GB in 16 large files, and 200,000 small files in 2,000 directories.
//!
//! Made once and kept: a stamp beside a source says which data it holds, and is absent while the data changes, so
//! that a killed bench makes it anew. One percent can be rewritten and put back. Memory stays at a few blocks: the
//! kernel counts the peak of a measured program from its parent's.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};

use super::content::{BLOCK_BYTES, Generator, Grade, LARGE_DIALECT, Place, SMALL_DIALECT};

/// Raised with every change of what is made: old data is not reused.
const VERSION: u32 = 2;
const LARGE_FILES: u64 = 16;
const LARGE_FILE_BLOCKS: f64 = 1908.0;
/// Noise and text alternate in regions of 4 MiB, so that most chunks hold one grade.
const REGION_BLOCKS: u64 = 64;
const SMALL_DIRECTORIES: f64 = 2000.0;
const FILES_PER_DIRECTORY: u64 = 100;
const DIRECTORIES_PER_GROUP: u64 = 100;
const MIN_SMALL_BYTES: u64 = 1 << 10;
const MAX_SMALL_BYTES: u64 = 16 << 10;
/// One place in this many is rewritten.
const REWRITE_ONE_IN: u64 = 100;

/// Programs read an entry again whose time stamps are younger than this when it is read.
const RACY: Duration = Duration::from_secs(61);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataSet {
    Large,
    Small,
}

impl DataSet {
    pub fn noun(self) -> &'static str {
        match self {
            Self::Large => "large",
            Self::Small => "small",
        }
    }
}

/// Which bytes the rewritten percent has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    Pristine,
    Rewritten,
}

impl Generation {
    fn number(self) -> u64 {
        match self {
            Self::Pristine => 0,
            Self::Rewritten => 1,
        }
    }
}

/// A source that is on disk.
#[derive(Debug)]
pub struct Source {
    pub set: DataSet,
    pub path: PathBuf,
    stamp: PathBuf,
    identity: String,
    generator: Generator,
    /// Blocks of one large file, or directories of small ones.
    extent: u64,
}

impl Source {
    /// Makes the source below `directory`, or takes the one that is there.
    pub fn prepare(set: DataSet, directory: &Path, seed: u64, scale: f64) -> Result<Self> {
        ensure!(scale > 0.0 && scale <= 100.0, "a scale of {scale} is not between 0 and 100");
        let (whole, dialect) = match set {
            DataSet::Large => (LARGE_FILE_BLOCKS, LARGE_DIALECT),
            DataSet::Small => (SMALL_DIRECTORIES, SMALL_DIALECT),
        };
        let extent = (whole * scale).round().max(1.0) as u64;
        let source = Self {
            set,
            path: directory.join(set.noun()),
            stamp: directory.join(format!("{}.stamp", set.noun())),
            identity: format!("version {VERSION} seed {seed} extent {extent}"),
            generator: Generator::new(seed, dialect),
            extent,
        };
        if source.generation().is_none() {
            source.make().with_context(|| format!("make the data in {}", source.path.display()))?;
        }
        Ok(source)
    }

    /// What is on disk; `None` where it is not this source's data, or half of it.
    fn generation(&self) -> Option<Generation> {
        let text = fs::read_to_string(&self.stamp).ok()?;
        [Generation::Pristine, Generation::Rewritten].into_iter().find(|g| text == self.stamp_text(*g))
    }

    fn stamp_text(&self, generation: Generation) -> String {
        format!("{} generation {}\n", self.identity, generation.number())
    }

    fn make(&self) -> Result<()> {
        remove_file_if_there(&self.stamp)?;
        remove_directory_if_there(&self.path)?;
        fs::create_dir_all(&self.path)?;
        self.write_all(Generation::Pristine, |_| true)?;
        fs::write(&self.stamp, self.stamp_text(Generation::Pristine))?;
        Ok(())
    }

    /// Writes the one percent so that it has the bytes of `generation`; nothing where it has them.
    pub fn rewrite(&self, generation: Generation) -> Result<()> {
        if self.generation() == Some(generation) {
            return Ok(());
        }
        remove_file_if_there(&self.stamp)?;
        self.write_all(generation, |number| number.is_multiple_of(REWRITE_ONE_IN))
            .with_context(|| format!("rewrite one percent of {}", self.path.display()))?;
        fs::write(&self.stamp, self.stamp_text(generation))?;
        Ok(())
    }

    /// How long until nothing in the source is racy any more.
    pub fn time_until_aged(&self) -> Result<Duration> {
        let written = fs::metadata(&self.stamp)?.modified()?;
        let age = SystemTime::now().duration_since(written).unwrap_or_default();
        Ok(RACY.saturating_sub(age))
    }

    /// Reads everything once: every program finds the page cache equally warm.
    pub fn warm(&self) -> Result<()> {
        let mut buffer = vec![0; BLOCK_BYTES];
        let mut pending = vec![self.path.clone()];
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(&directory)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    pending.push(entry.path());
                    continue;
                }
                let mut file = File::open(entry.path())?;
                while std::io::Read::read(&mut file, &mut buffer)? > 0 {}
            }
        }
        Ok(())
    }

    /// Writes every place that `picked` takes by its number, with as many threads as there are processors.
    fn write_all(&self, generation: Generation, picked: impl Fn(u64) -> bool + Sync) -> Result<()> {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
        let units = match self.set {
            DataSet::Large => LARGE_FILES,
            DataSet::Small => self.extent,
        };
        std::thread::scope(|scope| {
            let write_share = |share: u64| -> Result<()> {
                for unit in (share..units).step_by(threads as usize) {
                    match self.set {
                        DataSet::Large => self.write_large(unit, generation, &picked)?,
                        DataSet::Small => self.write_directory(unit, generation, &picked)?,
                    }
                }
                Ok(())
            };
            let workers: Vec<_> = (0..threads).map(|share| scope.spawn(move || write_share(share))).collect();
            workers.into_iter().try_for_each(|worker| worker.join().expect("a writer does not panic"))
        })
    }

    fn write_large(&self, file: u64, generation: Generation, picked: &impl Fn(u64) -> bool) -> Result<()> {
        let path = self.path.join(format!("large-{file:02}.bin"));
        let target = File::options().write(true).create(true).truncate(false).open(path)?;
        let mut bytes = vec![0; BLOCK_BYTES];
        for block in 0..self.extent {
            if !picked(self.generator.number(file, block, 0)) {
                continue;
            }
            // Half the files begin with noise and half with text, so that halves stay halves at any scale.
            let grade =
                if (block / REGION_BLOCKS + file).is_multiple_of(2) { Grade::Noise } else { Grade::Text };
            self.generator.fill(Place { file, block, generation: generation.number() }, grade, &mut bytes);
            target.write_all_at(&bytes, block * BLOCK_BYTES as u64)?;
        }
        Ok(())
    }

    fn write_directory(
        &self,
        directory: u64,
        generation: Generation,
        picked: &impl Fn(u64) -> bool,
    ) -> Result<()> {
        let group = directory / DIRECTORIES_PER_GROUP;
        let path = self.path.join(format!("group-{group:03}")).join(format!("directory-{directory:05}"));
        fs::create_dir_all(&path)?;
        let mut bytes = vec![0; MAX_SMALL_BYTES as usize];
        for file in 0..FILES_PER_DIRECTORY {
            if !picked(self.generator.number(directory, file, 0)) {
                continue;
            }
            let span = MAX_SMALL_BYTES - MIN_SMALL_BYTES + 1;
            let size = MIN_SMALL_BYTES + self.generator.number(directory, file, 1) % span;
            let content = &mut bytes[..size as usize];
            let grade = if self.generator.number(directory, file, 2).is_multiple_of(2) {
                Grade::Noise
            } else {
                Grade::Text
            };
            let place = Place { file: directory, block: file, generation: generation.number() };
            self.generator.fill(place, grade, content);
            File::create(path.join(format!("file-{file:03}.dat")))?.write_all(content)?;
        }
        Ok(())
    }
}

fn remove_file_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Removes a directory with all that is in it, if there is one.
pub fn remove_directory_if_there(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
