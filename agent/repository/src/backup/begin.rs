//! Where a run begins: the targets become the upper directories of the snapshot and the first jobs.
//!
//! The directories above the targets have only what leads to a target; their metadata is that of the real
//! ones. How targets are laid out is decided in `filter::targets`.

use std::sync::Arc;

use super::chunk::ReadJob;
use super::scan::{ScanJob, TargetName, special_node};
use super::tree::{Directory, Entry, Listing, PathPart, Place};
use super::worker::Worker;
use super::{Options, Source, SourcePaths};
use crate::error::{Error, Result};
use crate::event::{Event, Progress, Reporter, SkipReason};
use crate::filter::targets::{self, Children, TargetError, TargetNode, TargetTree};
use crate::format::tree::{Node, NodeKind};
use crate::source::{self, Metadata, Names, RootError};

struct Target<'a> {
    path: &'a [u8],
    is_explicit: bool,
}

/// A target found in the source.
struct Found {
    above: Arc<dyn source::Directory>,
    name: Vec<u8>,
    metadata: Metadata,
}

impl Worker<'_, '_> {
    /// Makes the upper directories and the first jobs.
    pub(super) fn begin(&mut self, tree: &TargetTree, previous_root: Option<Node>) -> Result<()> {
        let root = Directory::new(
            Place::Root,
            PathPart::Whole(Box::from(&b"/"[..])),
            None,
            previous_root.map(Box::new),
        );
        self.upper_directory(&root, &tree.children)
    }

    fn upper_directory(&mut self, directory: &Arc<Directory>, children: &Children) -> Result<()> {
        let mut previous = self.previous_nodes(directory)?;
        if let Some(nodes) = &previous {
            directory.set_previous_len(nodes.len());
        }
        directory.extend(Listing { entries: vec![None; children.len()], open: children.len(), equal: 0 });
        for (slot, (name, node)) in children.iter().enumerate() {
            let previous = previous.as_mut().and_then(|nodes| {
                let position = nodes.iter().position(|node| node.name == *name)?;
                Some(nodes.swap_remove(position))
            });
            match node {
                TargetNode::Directory { metadata_path, children } => {
                    self.inner(directory, slot, name, metadata_path, children, previous)?;
                }
                TargetNode::Leaf { path, explicit } => {
                    let target = Target { path, is_explicit: *explicit };
                    self.target((directory, slot), name, target, previous)?;
                }
            }
        }
        self.sealing.listed(self.run, directory)
    }

    fn inner(
        &mut self,
        above: &Arc<Directory>,
        slot: usize,
        name: &[u8],
        metadata_path: &[u8],
        children: &Children,
        previous: Option<Node>,
    ) -> Result<()> {
        let run = self.run;
        let node = match self.upper_node(name, metadata_path) {
            Ok(node) => node,
            Err(e) => {
                run.skipped(metadata_path, e.skip_reason(), e.reason_at(metadata_path));
                return self.sealing.entry_done(run, above, slot, Entry::Absent);
            }
        };
        let previous = previous.filter(|node| node.kind == NodeKind::Dir).map(Box::new);
        let place = Place::Slot(Arc::clone(above), slot);
        let part = PathPart::Whole(metadata_path.into());
        let directory = Directory::new(place, part, Some(node), previous);
        self.upper_directory(&directory, children)
    }

    fn upper_node(&self, name: &[u8], path: &[u8]) -> Result<Node, RootError> {
        let source = self.run.options.open(path)?;
        // Attributes of directories above the source may be unreadable: that harms nobody's backup.
        let attributes = source.open_dir().and_then(|opened| opened.extended_attributes_of_self());
        Ok(self.run.node(name.to_vec(), &source.metadata, Vec::new(), attributes.unwrap_or_default()))
    }

    fn target(
        &mut self,
        (above, slot): (&Arc<Directory>, usize),
        name: &[u8],
        target: Target<'_>,
        previous: Option<Node>,
    ) -> Result<()> {
        let run = self.run;
        let absent = |worker: &mut Self| worker.sealing.entry_done(run, above, slot, Entry::Absent);
        let found = match find(&run.options.located(target.path), &run.options.source_paths) {
            Ok(found) => found,
            Err(e) => {
                run.skipped(target.path, e.skip_reason(), e.reason_at(target.path));
                return absent(self);
            }
        };
        let absolute = &run.options.absolute(target.path);
        let is_dir = found.metadata.kind == NodeKind::Dir;
        let exclusion = &run.options.exclusion;
        if !target.is_explicit
            && (exclusion.by_name(absolute) || exclusion.by_metadata(is_dir, found.metadata.size_bytes))
        {
            return absent(self);
        }
        let place = (Arc::clone(above), slot);
        let target_name = TargetName { path: absolute.as_slice().into(), snapshot_name: name.into() };
        match found.metadata.kind {
            NodeKind::Dir => run.queue.push_scans(vec![ScanJob {
                above: found.above,
                name: found.name.into(),
                metadata: found.metadata,
                place,
                target: Some(target_name),
                previous: previous.filter(|node| node.kind == NodeKind::Dir).map(Box::new),
            }]),
            NodeKind::File => run.queue.push_read(ReadJob {
                handle: found.above,
                name: found.name.into(),
                metadata: found.metadata,
                place,
                target: Some(target_name),
                previous: previous.map(Box::new),
            }),
            NodeKind::Socket => return absent(self),
            _ => match special_node(run, &found.above, &found.name, name, &found.metadata) {
                Ok(node) => return self.sealing.entry_done(run, above, slot, Entry::Other(node)),
                Err(e) => {
                    run.source_failed(absolute, &e);
                    return absent(self);
                }
            },
        }
        Ok(())
    }
}

/// Finds a target. A link in its last component is the target itself, as it is for restic; those before are
/// resolved or refused. `path` is absolute.
fn find(path: &[u8], source_paths: &SourcePaths) -> Result<Found, RootError> {
    if !matches!(source_paths, SourcePaths::Resolved) {
        let source = source_paths.open(path)?;
        let above = Arc::clone(source.parent());
        return Ok(Found { above, name: source.name, metadata: source.metadata });
    }
    let slash = path.iter().rposition(|byte| *byte == b'/').expect("the path is absolute");
    let (above, name) = (&path[..slash.max(1)], &path[slash + 1..]);
    if matches!(name, b"" | b"." | b"..") {
        // A directory without a name of its own: what is in it becomes the targets.
        let source = source::open_resolved(path)?;
        let above = Arc::clone(source.parent());
        return Ok(Found { above, name: source.name, metadata: source.metadata });
    }
    let above = source::open_resolved(above)?;
    let failed = |e: source::Error| match e {
        source::Error::Vanished => RootError::Missing { path: path.to_vec() },
        source::Error::Unreadable { source, .. } | source::Error::InputOutput { source, .. } => {
            RootError::Failed { path: path.to_vec(), source }
        }
        other => RootError::Failed { path: path.to_vec(), source: std::io::Error::other(other) },
    };
    let above = above.open_dir().map_err(failed)?;
    let metadata = above.stat(name).map_err(failed)?;
    Ok(Found { above, name: name.to_vec(), metadata })
}

/// The targets, laid out.
pub(super) struct Targets {
    /// `None` for a stream.
    pub(super) tree: Option<TargetTree>,
    /// As the snapshot lists them.
    pub(super) paths: Vec<String>,
    pub(super) missing: u64,
}

impl Targets {
    /// Looks which targets are there. A missing one makes the snapshot incomplete; that all are is an error.
    pub(super) fn resolve(options: &Options, reporter: &dyn Reporter, progress: &Progress) -> Result<Self> {
        let given = match &options.source {
            Source::Paths(paths) => paths,
            Source::Stream(stream) => {
                let stream = stream.lock().expect("no thread panics with it");
                let name = stream.as_ref().map(|stream| stream.name.clone()).unwrap_or_default();
                let path = targets::snapshot_paths(&[name], b"/").iter().map(|path| lossy(path)).collect();
                return Ok(Self { tree: None, paths: path, missing: 0 });
            }
        };
        let refused = |e: TargetError| Error::Refused(e.to_string());
        let mut lstat = |path: &[u8]| {
            let path = options.located(path);
            let found = find(&path, &options.source_paths);
            found.map(drop).map_err(|e| std::io::Error::other(e.reason_at(&path)))
        };
        let existing = targets::existing(given.clone(), &mut lstat).map_err(refused)?;
        for missing in &existing.missing {
            let (path, detail) = (&missing.path, missing.source.to_string());
            reporter.report(Event::Skipped { path, reason: SkipReason::MissingTarget, detail });
            super::count(&progress.errors, 1);
        }
        if existing.targets.is_empty() {
            return Err(Error::Refused("none of the source directories/files can be backed up".to_owned()));
        }
        let tree =
            TargetTree::build(&existing.targets, &mut |path| list_names(path, options)).map_err(refused)?;
        let paths = targets::snapshot_paths(&existing.targets, &options.working_directory);
        Ok(Self {
            tree: Some(tree),
            paths: paths.iter().map(|path| lossy(path)).collect(),
            missing: existing.missing.len() as u64,
        })
    }
}

fn lossy(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

fn list_names(path: &[u8], options: &Options) -> std::io::Result<Vec<Vec<u8>>> {
    let mut names = Names::default();
    let source = options.open(path).map_err(std::io::Error::other)?;
    let listed = source.open_dir().and_then(|directory| directory.names(&mut names));
    listed.map_err(std::io::Error::other)?;
    Ok(names.iter().map(<[u8]>::to_vec).collect())
}
