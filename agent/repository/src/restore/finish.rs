//! The end of an entry: metadata, the true name, and what is told.
//!
//! A file gets all its metadata through its handle while it still has its temporary name, so that whoever opens
//! it by its true name sees it whole. A directory gets its own last.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::io::Errno;

use super::directory::{Created, Directory, Ending};
use super::plan::File;
use super::{Run, delete, summary};
use crate::error::{Error, Result};
use crate::event::{Change, Event};
use crate::format::tree::Node;
use crate::target::{Owner, TargetDir, TargetFile};

/// One place of a file is written, or will never be. After the last one the file is finished.
pub(super) fn place_done(run: &Run<'_>, file: &Arc<File>) -> Result<()> {
    if file.pending.fetch_sub(1, Ordering::AcqRel) != 1 {
        return Ok(());
    }
    if !file.is_single {
        finish_parts(run, file)?;
    }
    let failed = file.state.lock().expect("no thread panics with it").failed;
    if !failed {
        file_done(run, file);
    }
    match &file.linked {
        Some(linked) if failed => linked.failed(run)?,
        Some(linked) => linked.done(run)?,
        None => {}
    }
    file.directory.one_done(run)
}

fn file_done(run: &Run<'_>, file: &File) {
    run.counters.files_restored.add(1);
    summary::add(&run.progress.files_done, 1);
    run.was_restored(file.number);
    let change = if file.is_update { Change::Updated } else { Change::Restored };
    run.item(&file.directory, &file.name, change, file.size_bytes);
}

/// All blobs of a file with several are there, or it failed.
fn finish_parts(run: &Run<'_>, file: &Arc<File>) -> Result<()> {
    let opened = super::write::open(run, file);
    run.unfinished.lock().expect("no thread panics with it").remove(&file.number);
    let mut state = file.state.lock().expect("no thread panics with it");
    let temporary = state.temporary.take();
    if state.opened.take().is_some() {
        run.open_files.fetch_sub(1, Ordering::Relaxed);
    }
    drop(state);
    let placed = opened.and_then(|opened| {
        let (Some(opened), Some(temporary)) = (opened, &temporary) else { return Ok(false) };
        opened.begin_writing_back();
        let directory = file.directory.open(run)?;
        put_in_place(run, file, &directory, temporary, &opened).map(|()| true)
    });
    if let Err(e) = &placed
        && super::ends_the_run(e)
    {
        remove_temporary(run, file, temporary.as_deref());
        return placed.map(drop);
    }
    match placed {
        Ok(true) => return Ok(()),
        Ok(false) => {}
        Err(e) => fail(run, file, e)?,
    }
    remove_temporary(run, file, temporary.as_deref());
    Ok(())
}

fn remove_temporary(run: &Run<'_>, file: &File, temporary: Option<&[u8]>) {
    if let Some(temporary) = temporary {
        // What stays is removed by the run that continues this one.
        let _best_effort = file.directory.open(run).and_then(|directory| directory.remove_one(temporary));
    }
}

/// The file cannot become whole. Told once, however many of its blobs are broken.
pub(super) fn fail(run: &Run<'_>, file: &File, error: Error) -> Result<()> {
    let already = std::mem::replace(&mut file.state.lock().expect("no thread panics with it").failed, true);
    if already && !super::ends_the_run(&error) {
        return Ok(());
    }
    run.problem(&file.directory.path_of(&file.name), error)
}

/// Sets a file's metadata and gives it its true name.
pub(super) fn put_in_place(
    run: &Run<'_>,
    file: &File,
    directory: &TargetDir,
    temporary: &[u8],
    opened: &TargetFile,
) -> Result<()> {
    let created = match file.directory.created.get() {
        Some(created) => created,
        None => {
            let learned = learn(opened)?;
            file.directory.created.get_or_init(|| learned)
        }
    };
    let failed = opened.set_attributes(&file.wanted.missing_from_new(created));
    run.not_set(failed, || file.directory.path_of(&file.name))?;
    replace(run, directory, temporary, &file.name)
}

fn learn(opened: &TargetFile) -> Result<Created> {
    let metadata = opened.metadata()?;
    let has_attributes = opened.has_attributes()?;
    Ok(Created { owner: Owner { uid: metadata.uid, gid: metadata.gid }, has_attributes })
}

/// Gives an entry its true name, in place of whatever has it: a directory only if it is empty, or may be deleted.
pub(super) fn replace(run: &Run<'_>, directory: &TargetDir, temporary: &[u8], name: &[u8]) -> Result<()> {
    let renamed = directory.rename(temporary, name).or_else(|e| {
        if !is_directory_in_the_way(&e) {
            return Err(e);
        }
        if run.options.delete {
            directory.remove_entry(name)?;
        } else {
            directory.remove_one(name)?;
        }
        directory.rename(temporary, name)
    });
    if renamed.is_err() {
        let _best_effort = directory.remove_one(temporary);
    }
    renamed
}

fn is_directory_in_the_way(error: &Error) -> bool {
    let Error::Local { source, .. } = error else { return false };
    matches!(Errno::from_io_error(source), Some(Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST))
}

/// Everything in a directory is done.
pub(super) fn directory(run: &Run<'_>, directory: &Arc<Directory>, ending: Ending) -> Result<()> {
    if !ending.superfluous.is_empty() {
        delete::delete(run, directory, &ending.superfluous)?;
    }
    let Some(wanted) = ending.metadata else { return Ok(()) };
    if !run.options.dry_run {
        let opened = match directory.open(run) {
            Ok(opened) => opened,
            Err(e) => return run.problem(&directory.path(), e),
        };
        let failed = opened.set_attributes(&wanted.all());
        run.not_set(failed, || directory.path())?;
    }
    run.counters.files_restored.add(1);
    summary::add(&run.progress.files_done, 1);
    if run.reporter.wants_items() {
        let path = directory.path();
        run.reporter.report(Event::Item { path: &path, change: Change::Restored, size_bytes: 0 });
    }
    Ok(())
}

/// What a dry run says of a file.
pub(super) fn would_be_restored(run: &Run<'_>, directory: &Directory, node: &Node, is_update: bool) {
    run.counters.files_restored.add(1);
    run.counters.bytes_restored.add(node.size);
    summary::add(&run.progress.files_done, 1);
    summary::add(&run.progress.bytes_done, node.size);
    let change = if is_update { Change::Updated } else { Change::Restored };
    run.item(directory, &node.name, change, node.size);
}

impl Run<'_> {
    /// Tells of an entry, where anybody listens.
    pub(super) fn item(&self, directory: &Directory, name: &[u8], change: Change, size_bytes: u64) {
        if self.reporter.wants_items() {
            self.reporter.report(Event::Item { path: &directory.path_of(name), change, size_bytes });
        }
    }

    /// An entry without content is done.
    pub(super) fn other_restored(&self, directory: &Directory, name: &[u8]) {
        self.counters.files_restored.add(1);
        summary::add(&self.progress.files_done, 1);
        self.item(directory, name, Change::Restored, 0);
    }

    /// The target has it already, or keeps what it has.
    pub(super) fn skipped(&self, directory: &Directory, name: &[u8], size_bytes: u64) {
        self.counters.files_skipped.add(1);
        self.counters.bytes_skipped.add(size_bytes);
        summary::add(&self.progress.files_skipped, 1);
        summary::add(&self.progress.bytes_skipped, size_bytes);
        self.tell_totals();
        self.item(directory, name, Change::Unchanged, size_bytes);
    }

    /// Something that is going to be restored.
    pub(super) fn expected(&self, size_bytes: u64) {
        self.counters.files_total.add(1);
        self.counters.bytes_total.add(size_bytes);
        self.tell_totals();
    }

    /// How much there is to do, as far as that is known.
    pub(super) fn tell_totals(&self) {
        let (files, bytes) = self.estimate.totals(&self.counters);
        self.progress.files_total.store(files, Ordering::Relaxed);
        self.progress.bytes_total.store(bytes, Ordering::Relaxed);
    }

    /// For an ending run: what was begun and never got its name.
    pub(super) fn remove_unfinished(&self) {
        let unfinished = std::mem::take(&mut *self.unfinished.lock().expect("no thread panics with it"));
        for file in unfinished.values() {
            let temporary = file.state.lock().expect("no thread panics with it").temporary.take();
            remove_temporary(self, file, temporary.as_deref());
        }
    }
}
