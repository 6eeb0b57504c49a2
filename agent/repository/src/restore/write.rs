//! Writing content: to a temporary name, with holes where there is nothing but zeros.
//!
//! A file that comes as one blob is made, written, given its metadata and renamed in one go. One of many blobs is
//! filled in the order in which the packs have them, by any worker, and finished by whoever writes the last.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::plan::File;
use super::{Run, finish, summary};
use crate::error::Result;
use crate::limits::{MAX_OPEN_FILES, MIN_HOLE_BYTES};
use crate::target::TargetFile;

/// Holes begin and end on a multiple of this, as blocks of file systems do.
const BLOCK_BYTES: usize = 4096;

/// The content of a blob, and where in it there is more than zeros: looked for once, however many places it has.
#[derive(Debug)]
pub(super) struct Content<'a> {
    plain: &'a [u8],
    data: Vec<Range<usize>>,
}

impl<'a> Content<'a> {
    pub(super) fn new(plain: &'a [u8]) -> Self {
        Self { plain, data: data_runs(plain).collect() }
    }

    /// Writes what is not a hole.
    fn write(&self, file: &TargetFile, offset: u64) -> Result<()> {
        self.data
            .iter()
            .try_for_each(|run| file.write_at(&self.plain[run.clone()], offset + run.start as u64))
    }

    fn ends_in_a_hole(&self) -> bool {
        self.data.last().map_or(0, |run| run.end) < self.plain.len()
    }
}

/// Makes a whole file of its one blob, or of nothing.
pub(super) fn whole(run: &Run<'_>, file: &File, content: &Content<'_>) -> Result<()> {
    let directory = file.directory.open(run)?;
    let (temporary, opened) = directory.create_temporary()?;
    let written = content.write(&opened, 0).and_then(|()| {
        if content.ends_in_a_hole() { opened.set_size(content.plain.len() as u64) } else { Ok(()) }
    });
    let made = written.and_then(|()| {
        count_bytes(run, content.plain.len());
        finish::put_in_place(run, file, &directory, &temporary, &opened)
    });
    if made.is_err() {
        // The first error is the one to tell.
        let _left_to_the_next_run = directory.remove_one(&temporary);
    }
    made
}

/// Writes one blob of a file with several. What is all hole needs no writing, and no open file.
pub(super) fn part(run: &Run<'_>, file: &Arc<File>, content: &Content<'_>, offset: u64) -> Result<()> {
    if !content.data.is_empty() {
        let Some(opened) = open(run, file)? else { return Ok(()) };
        content.write(&opened, offset)?;
    }
    count_bytes(run, content.plain.len());
    Ok(())
}

fn count_bytes(run: &Run<'_>, length: usize) {
    run.counters.bytes_restored.add(length as u64);
    summary::add(&run.progress.bytes_done, length as u64);
}

/// The file under its temporary name; `None` where it has failed before and nobody wants it any more.
pub(super) fn open(run: &Run<'_>, file: &Arc<File>) -> Result<Option<Arc<TargetFile>>> {
    let mut state = file.state.lock().expect("no thread panics with it");
    if state.failed {
        return Ok(None);
    }
    if let Some(opened) = &state.opened {
        return Ok(Some(Arc::clone(opened)));
    }
    let directory = file.directory.open(run)?;
    let opened = match &state.temporary {
        Some(temporary) => Arc::new(directory.open_file(temporary)?),
        None => {
            let (temporary, opened) = directory.create_temporary()?;
            state.temporary = Some(temporary);
            run.unfinished.lock().expect("no thread panics with it").insert(file.number, Arc::clone(file));
            opened.set_size(file.size_bytes)?;
            Arc::new(opened)
        }
    };
    // Files beyond that number are opened for every blob, which costs little beside a blob.
    if run.open_files.fetch_add(1, Ordering::Relaxed) < MAX_OPEN_FILES {
        state.opened = Some(Arc::clone(&opened));
    } else {
        run.open_files.fetch_sub(1, Ordering::Relaxed);
    }
    Ok(Some(opened))
}

/// The parts of a blob between holes. A hole is made of whole blocks of the blob, and
/// is long enough to be worth it, or the whole blob.
fn data_runs(plain: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut position = 0;
    std::iter::from_fn(move || {
        position += hole_at(&plain[position..]);
        let start = position;
        while position < plain.len() && hole_at(&plain[position..]) == 0 {
            position = plain.len().min(position + BLOCK_BYTES);
        }
        (start < position).then_some(start..position)
    })
}

/// The length of the hole that `bytes` begin with.
fn hole_at(bytes: &[u8]) -> usize {
    let zero_blocks = bytes.chunks(BLOCK_BYTES).take_while(|block| is_zero(block));
    let length = zero_blocks.map(<[u8]>::len).sum();
    if length >= MIN_HOLE_BYTES { length } else { 0 }
}

fn is_zero(block: &[u8]) -> bool {
    // Most blocks show in their first bytes that they are not.
    block.chunks(128).all(|part| part.iter().fold(0, |any, byte| any | byte) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(plain: &[u8], expected: &[(usize, usize)]) {
        let found: Vec<_> = data_runs(plain).map(|run| (run.start, run.len())).collect();
        assert_eq!(found, expected);
        let mut written = vec![0; plain.len()];
        for run in data_runs(plain) {
            written[run.clone()].copy_from_slice(&plain[run]);
        }
        assert_eq!(written, plain);
    }

    #[test]
    fn long_runs_of_zeros_are_left_out() {
        const K: usize = 1 << 10;
        check(&[], &[]);
        check(&[1; 10], &[(0, 10)]);
        check(&[0; 10], &[(0, 10)]);
        check(&vec![0; 32 * K], &[]);
        check(&vec![0; 512 * K + 7], &[]);
        let mut plain = vec![0; 256 * K];
        plain[0] = 1;
        plain[100 * K] = 1;
        plain[120 * K] = 1;
        check(&plain, &[(0, 4 * K), (100 * K, 24 * K)]);
        plain[256 * K - 1] = 1;
        check(&plain, &[(0, 4 * K), (100 * K, 24 * K), (252 * K, 4 * K)]);
    }
}
