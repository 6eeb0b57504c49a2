//! The scan stage: lists a directory, looks at every entry, and sorts what is unchanged from what must be read.
//!
//! It walks the parent snapshot's tree alongside, as a merge of two sorted lists. Nothing is opened that does
//! not have to be. What cannot be looked at is reported in every run, since what is not in the parent's tree
//! is tried again.

use std::sync::Arc;

use super::changed::Verdict;
use super::chunk::ReadJob;
use super::summary::count;
use super::tree::{Directory, Entry, Listing, PathPart, Place};
use super::worker::Worker;
use super::{Mounts, Run};
use crate::error::Result;
use crate::event::{Change, Event, SkipReason};
use crate::filter::exclude::{DirectoryMarker, Header};
use crate::format::blob::BlobKind;
use crate::format::tree::{Node, NodeKind};
use crate::limits;
use crate::source::{self, Metadata, Names};

/// A directory to be opened and scanned.
pub(super) struct ScanJob {
    /// Where it lies in the source, and its name there.
    pub(super) above: Arc<dyn source::Directory>,
    pub(super) name: Box<[u8]>,
    pub(super) metadata: Metadata,
    /// Its slot in the snapshot.
    pub(super) place: (Arc<Directory>, usize),
    /// Its path and its name in the snapshot, where it is a target's root.
    pub(super) target: Option<TargetName>,
    pub(super) previous: Option<Box<Node>>,
}

/// What a target is called: its path for people, and the last component of its place in the snapshot.
pub(super) struct TargetName {
    pub(super) path: Box<[u8]>,
    pub(super) snapshot_name: Box<[u8]>,
}

/// Files that a scan finds changed before it lets others at them, or reads some itself.
const READS_AT_ONCE: usize = 64;

/// One directory while it is scanned.
struct Scan<'a, 'r> {
    run: &'a Run<'r>,
    handle: &'a Arc<dyn source::Directory>,
    directory: &'a Arc<Directory>,
    /// The path of the entry at hand; empty where nobody wants paths.
    path: Vec<u8>,
    path_base: usize,
    listing: Listing,
    /// Entries that were handed to the directory before those in `listing`.
    handed_over: usize,
    reads: Vec<ReadJob>,
    scans: Vec<ScanJob>,
}

impl<'r> Worker<'_, 'r> {
    pub(super) fn scan(&mut self, job: ScanJob) -> Result<()> {
        let run = self.run;
        run.check()?;
        let (above, slot) = &job.place;
        let opened = job.above.open_dir(&job.name, &job.metadata);
        let mut names = std::mem::take(&mut self.names);
        let listed = opened.and_then(|handle| {
            handle.names(&mut names)?;
            let attributes = match self.kept_attributes(&job) {
                Some(kept) => kept,
                None => handle.extended_attributes_of_self()?,
            };
            Ok((handle, attributes))
        });
        let (handle, attributes) = match listed {
            Ok(listed) => listed,
            Err(e) => {
                self.names = names;
                run.source_failed(&job.path(), &e);
                return self.sealing.entry_done(run, above, *slot, Entry::Absent);
            }
        };
        let (snapshot_name, part) = match job.target {
            Some(target) => (target.snapshot_name.into_vec(), PathPart::Whole(target.path)),
            None => (job.name.to_vec(), PathPart::Name(job.name)),
        };
        let node = run.node(snapshot_name, handle.metadata(), Vec::new(), attributes);
        let directory = Directory::new(Place::Slot(Arc::clone(above), *slot), part, Some(node), job.previous);
        let scanned = self.scan_entries(&handle, &directory, &names);
        self.names = names;
        scanned
    }

    /// The extended attributes of a directory that is as it was: its change time covers them.
    fn kept_attributes(&self, job: &ScanJob) -> Option<Vec<crate::format::tree::ExtendedAttribute>> {
        let previous = job.previous.as_deref()?;
        (self.run.verdict(&job.metadata, previous) == Verdict::Equal)
            .then(|| previous.rare.extended_attributes.clone())
    }

    fn scan_entries(
        &mut self,
        handle: &Arc<dyn source::Directory>,
        directory: &Arc<Directory>,
        names: &Names,
    ) -> Result<()> {
        let run = self.run;
        let previous = self.previous_nodes(directory)?;
        if let Some(nodes) = &previous {
            directory.set_previous_len(nodes.len());
        }
        let mut previous = previous.unwrap_or_default().into_iter().peekable();
        let mut path = if run.wants_paths { directory.path() } else { Vec::new() };
        if run.wants_paths && path.last() != Some(&b'/') {
            path.push(b'/');
        }
        let path_base = path.len();
        let mut scan = Scan {
            run,
            handle,
            directory,
            path,
            path_base,
            listing: Listing::default(),
            handed_over: 0,
            reads: Vec::new(),
            scans: Vec::new(),
        };
        let markers = scan.markers(names);
        for name in names.iter() {
            while previous.next_if(|node| node.name.as_slice() < name).is_some() {}
            let node = previous.next_if(|node| node.name == name);
            if run.options.exclusion.by_markers(&markers, name) {
                scan.excluded(name);
                continue;
            }
            scan.entry(name, node);
            if scan.reads.len() >= READS_AT_ONCE {
                self.hand_over(&mut scan)?;
            }
        }
        self.hand_over(&mut scan)?;
        // The stack gives the last one first.
        scan.scans.reverse();
        run.queue.push_scans(scan.scans);
        self.sealing.listed(run, directory)
    }

    /// Gives what was found to the directory and the queue. A full queue is worked on rather than waited for.
    fn hand_over(&mut self, scan: &mut Scan<'_, 'r>) -> Result<()> {
        scan.handed_over += scan.listing.entries.len();
        scan.directory.extend(std::mem::take(&mut scan.listing));
        for read in scan.reads.drain(..) {
            self.run.queue.push_read(read);
        }
        while self.run.queue.read_queue_is_full() {
            let Some(read) = self.run.queue.pop_read() else { break };
            self.read(read)?;
        }
        Ok(())
    }

    /// The entries of the directory in the parent snapshot. A tree that cannot be read is told and then
    /// treated as if it were not there: everything below is read and stored again.
    pub(super) fn previous_nodes(&mut self, directory: &Directory) -> Result<Option<Vec<Node>>> {
        let Some(tree) = directory.previous_tree() else { return Ok(None) };
        match self.trees.load_tree(&tree) {
            Ok(nodes) => Ok(Some(nodes)),
            Err(e @ (crate::Error::Cancelled | crate::Error::LockLost(_))) => Err(e),
            Err(e) => {
                if !matches!(&e, crate::Error::Backend(e) if !e.is_permanent()) {
                    self.run.known.lose_tree(tree);
                }
                let message = format!("cannot compare with the parent snapshot: {e}");
                self.run.reporter.report(Event::Warning { message });
                Ok(None)
            }
        }
    }
}

impl ScanJob {
    fn path(&self) -> Vec<u8> {
        self.target.as_ref().map_or_else(|| self.place.0.path_of(&self.name), |target| target.path.to_vec())
    }
}

impl Scan<'_, '_> {
    fn entry(&mut self, name: &[u8], previous: Option<Node>) {
        let run = self.run;
        if run.wants_paths {
            self.path.truncate(self.path_base);
            self.path.extend_from_slice(name);
            if run.options.exclusion.by_name(&self.path) {
                self.excluded(name);
                return;
            }
        }
        let metadata = match self.handle.stat(name) {
            Ok(metadata) => metadata,
            Err(e) => {
                run.source_failed(&self.directory.path_of(name), &e);
                return;
            }
        };
        if run.wants_paths {
            let is_dir = metadata.kind == NodeKind::Dir;
            let (device, above) = (metadata.device, self.handle.metadata().device);
            let exclusion = &run.options.exclusion;
            if exclusion.by_metadata(is_dir, metadata.size_bytes)
                || exclusion.by_device(&self.path, is_dir, device, above)
            {
                self.excluded(name);
                return;
            }
        }
        match metadata.kind {
            NodeKind::Dir => self.directory(name, metadata, previous),
            NodeKind::File => self.file(name, metadata, previous),
            // As restic does: a socket means nothing without its process.
            NodeKind::Socket => {}
            _ => self.special(name, &metadata, previous),
        }
    }

    fn directory(&mut self, name: &[u8], metadata: Metadata, previous: Option<Node>) {
        let is_mount_point = !metadata.is_in_mount_of(self.handle.metadata());
        if is_mount_point && self.run.options.mounts == Mounts::Refuse {
            let detail = "another file system is mounted here, and it is not a source".to_owned();
            self.run.skipped(&self.directory.path_of(name), SkipReason::NestedMount, detail);
            return;
        }
        if self.directory.depth() >= limits::MAX_DEPTH {
            let detail = format!("more than {} directories below one another", limits::MAX_DEPTH);
            self.run.skipped(&self.directory.path_of(name), SkipReason::Unsupported, detail);
            return;
        }
        let slot = self.pending();
        self.scans.push(ScanJob {
            above: Arc::clone(self.handle),
            name: name.into(),
            metadata,
            place: (Arc::clone(self.directory), slot),
            target: None,
            previous: previous.filter(|node| node.kind == NodeKind::Dir).map(Box::new),
        });
    }

    fn file(&mut self, name: &[u8], metadata: Metadata, previous: Option<Node>) {
        let run = self.run;
        if let Some(node) = &previous {
            let verdict = run.verdict(&metadata, node);
            let is_stored = |node: &Node| {
                node.content.as_deref().is_some_and(|ids| run.known.holds_all(BlobKind::Data, ids))
            };
            if verdict == Verdict::SameContent && is_stored(node) {
                return self.file_of_same_content(name, &metadata, node);
            }
            if verdict == Verdict::Equal && is_stored(node) {
                run.file_done(self.directory, name, Change::Unchanged, metadata.size_bytes);
                count(&run.progress.bytes_done, metadata.size_bytes);
                self.done(previous, true);
                return;
            }
            if verdict != Verdict::Changed && !is_stored(node) {
                let path = String::from_utf8_lossy(&self.directory.path_of(name)).into_owned();
                let message =
                    format!("parts of {path} are not in the repository any more; storing the file again");
                run.reporter.report(Event::Warning { message });
            }
        }
        let slot = self.pending();
        self.reads.push(ReadJob {
            handle: Arc::clone(self.handle),
            name: name.into(),
            target: None,
            metadata,
            place: (Arc::clone(self.directory), slot),
            previous: previous.map(Box::new),
        });
    }

    /// A file of which only the metadata changed, as far as the user wants to know.
    fn file_of_same_content(&mut self, name: &[u8], metadata: &Metadata, previous: &Node) {
        let run = self.run;
        match special_node(run, self.handle, name, name, metadata) {
            Ok(node) => {
                let node = Node { content: previous.content.clone(), ..node };
                let is_equal = *previous == node;
                let change = if is_equal { Change::Unchanged } else { Change::Modified };
                run.file_done(self.directory, name, change, metadata.size_bytes);
                count(&run.progress.bytes_done, metadata.size_bytes);
                self.done(Some(node), is_equal);
            }
            Err(e) => run.source_failed(&self.directory.path_of(name), &e),
        }
    }

    /// A link, a device or a named pipe: never opened.
    fn special(&mut self, name: &[u8], metadata: &Metadata, previous: Option<Node>) {
        let is_equal =
            previous.as_ref().is_some_and(|node| self.run.verdict(metadata, node) == Verdict::Equal);
        if is_equal {
            self.done(previous, true);
            return;
        }
        match special_node(self.run, self.handle, name, name, metadata) {
            Ok(node) => {
                let equal = previous.as_ref() == Some(&node);
                self.done(Some(node), equal);
            }
            Err(e) => self.run.source_failed(&self.directory.path_of(name), &e),
        }
    }

    fn done(&mut self, node: Option<Node>, equal: bool) {
        self.listing.entries.push(node);
        self.listing.equal += usize::from(equal);
    }

    /// A slot for an entry that somebody else brings.
    fn pending(&mut self) -> usize {
        self.listing.entries.push(None);
        self.listing.open += 1;
        self.handed_over + self.listing.entries.len() - 1
    }

    fn excluded(&self, name: &[u8]) {
        if self.run.reporter.wants_items() {
            self.run.reporter.report(Event::Excluded { path: &self.directory.path_of(name) });
        }
    }

    /// The positions of the exclusion's markers that are in this directory.
    fn markers(&self, names: &Names) -> Vec<usize> {
        let markers = self.run.options.exclusion.directory_markers().iter().enumerate();
        let is_there = |marker: &DirectoryMarker| marker.name.contains(&b'/') || names.contains(&marker.name);
        // A marker that cannot be read marks nothing: what is backed up needlessly does no harm.
        let found = markers.filter(|(_, marker)| is_there(marker) && self.marks(marker).unwrap_or_default());
        found.map(|(position, _)| position).collect()
    }

    /// `name/of/marker` lies in a directory below, to which no link leads.
    fn marks(&self, marker: &DirectoryMarker) -> source::Result<bool> {
        let mut parts = marker.name.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
        let Some(name) = parts.next_back() else { return Ok(false) };
        let mut handle = Arc::clone(self.handle);
        for part in parts {
            let metadata = handle.stat(part)?;
            handle = handle.open_dir(part, &metadata)?;
        }
        let metadata = handle.stat(name)?;
        if marker.header.is_empty() {
            return Ok(true);
        }
        let mut first_bytes = vec![0; marker.header.len()];
        let read = handle.open_file(name, &metadata)?.fill(&mut first_bytes)?;
        Ok(marker.check(&first_bytes[..read]) == Header::Fits)
    }
}

/// The node of an entry that is not opened.
pub(super) fn special_node(
    run: &Run<'_>,
    handle: &Arc<dyn source::Directory>,
    name: &[u8],
    snapshot_name: &[u8],
    metadata: &Metadata,
) -> source::Result<Node> {
    let target = if metadata.kind == NodeKind::Symlink { handle.read_link(name)? } else { Vec::new() };
    let attributes = handle.extended_attributes(name)?;
    Ok(run.node(snapshot_name.to_vec(), metadata, target, attributes))
}
