//! The walk over the snapshot's trees: what is selected, what is there already, and the plan for the rest.
//!
//! Depth first, with a stack of its own: a path of a snapshot may be longer than a thread's stack. Directories
//! are made on the way down, those that are not selected themselves only when something below is. On the way
//! up a directory is given what is to be done when everything in it is.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use super::compare::{self, Part, Verdict, may_overwrite};
use super::directory::{Directory, Ending, Presence};
use super::link::{Linked, Role};
use super::metadata::Wanted;
use super::plan::{File, FileState, Plan, is_within_limits};
use super::{Run, finish, is_damage, marker, special};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::filter::restore_select::Selected;
use crate::format::Invalid;
use crate::format::blob::BlobKind;
use crate::format::id::Id;
use crate::format::tree::{self, Node, NodeKind};
use crate::limits::MAX_DEPTH;
use crate::repository::BlobReader;
use crate::source::{Metadata, Names};
use crate::target::{TEMPORARY_PREFIX, TargetDir, TargetFile};

/// A directory the walk is in.
#[derive(Debug)]
struct Frame {
    name: Box<[u8]>,
    /// `None` until it is made: it was neither there nor selected.
    directory: Option<Arc<Directory>>,
    /// The names that were there, of a directory that was.
    listing: Names,
    superfluous: Vec<Box<[u8]>>,
    /// `None` for the target.
    wanted: Option<Box<Wanted>>,
    is_selected: bool,
    /// Something in here or below was selected.
    has_selected: bool,
    nodes: std::vec::IntoIter<Node>,
}

struct Walk<'a, 'r> {
    run: &'a Run<'r>,
    trees: &'a mut BlobReader,
    frames: Vec<Frame>,
    plan: Plan,
    /// How many regular files came by.
    files: u64,
    /// For comparing.
    buffer: Vec<u8>,
}

/// Walks over everything and pushes jobs; returns when the last is pushed.
pub(super) fn walk(run: &Run<'_>, trees: &mut BlobReader, tree: &Id) -> Result<()> {
    let mut walk =
        Walk { run, trees, frames: Vec::new(), plan: Plan::default(), files: 0, buffer: Vec::new() };
    walk.enter_root(tree)?;
    while let Some(frame) = walk.frames.last_mut() {
        run.check()?;
        match frame.nodes.next() {
            Some(node) => walk.node(node)?,
            None => walk.leave()?,
        }
    }
    walk.cut();
    Ok(())
}

/// The nodes of a tree that can be had; what is wrong with the others is reported. The second value is whether
/// those are all.
pub(super) fn load_nodes(
    run: &Run<'_>,
    trees: &mut BlobReader,
    tree: &Id,
    path: impl Fn() -> Vec<u8>,
) -> Result<(Vec<Node>, bool)> {
    let json = match trees.load(BlobKind::Tree, tree) {
        Ok(json) => json,
        Err(e) if is_damage(&e) => {
            run.problem(&path(), e)?;
            return Ok((Vec::new(), false));
        }
        Err(e) => return Err(e),
    };
    let mut nodes = Vec::new();
    let mut all = true;
    let mut decoding = tree::nodes(json);
    for node in &mut decoding {
        match node {
            Ok(node) => nodes.push(node),
            Err(why) => {
                all = false;
                run.problem(&path(), Error::DamagedBlob { kind: BlobKind::Tree, id: *tree, why })?;
            }
        }
    }
    if let Some(name) = decoding.disorder() {
        let (path, name) = (path(), name.escape_ascii().to_string());
        let path = String::from_utf8_lossy(&path);
        let message = format!("the tree of {path} has {name:?} twice or out of order");
        run.reporter.report(Event::Warning { message });
    }
    Ok((nodes, all))
}

impl Walk<'_, '_> {
    fn top(&mut self) -> &mut Frame {
        self.frames.last_mut().expect("the walk is in a directory")
    }

    /// The path of an entry of the directory the walk is in.
    fn path_of(&self, name: &[u8]) -> Vec<u8> {
        let mut path = Vec::new();
        for frame in &self.frames[1..] {
            path.push(b'/');
            path.extend_from_slice(&frame.name);
        }
        path.push(b'/');
        path.extend_from_slice(name);
        path
    }

    fn select(&self, node: &Node) -> Selected {
        let is_directory = node.kind == NodeKind::Dir;
        if self.run.options.select.is_everything() {
            return Selected { entry: true, children: is_directory };
        }
        self.run.options.select.select(&self.path_of(&node.name), is_directory)
    }

    fn enter_root(&mut self, tree: &Id) -> Result<()> {
        let run = self.run;
        let directory = Arc::clone(&run.root);
        let listing = match directory.presence {
            Presence::Found => self.list(&*directory.open(run)?)?,
            Presence::Missing | Presence::New => Names::new(),
        };
        let (nodes, all) = load_nodes(run, self.trees, tree, || b"/".to_vec())?;
        self.frames.push(Frame {
            name: Box::default(),
            directory: Some(directory),
            listing,
            superfluous: Vec::new(),
            wanted: None,
            is_selected: false,
            has_selected: false,
            nodes: Vec::new().into_iter(),
        });
        self.begin(nodes, all);
        Ok(())
    }

    /// The names in a directory that was there, less the temporary files of a run that was killed.
    fn list(&self, opened: &TargetDir) -> Result<Names> {
        let mut names = Names::new();
        opened.names(&mut names)?;
        if self.run.is_continued {
            let mut stale = names.iter().filter(|name| name.starts_with(TEMPORARY_PREFIX));
            stale.try_for_each(|name| opened.remove_entry(name))?;
        }
        Ok(names)
    }

    /// Gives the top frame its nodes, and finds what is to be deleted: not where the tree is damaged.
    fn begin(&mut self, nodes: Vec<Node>, all: bool) {
        if self.run.options.delete && all {
            let superfluous = self.superfluous(&nodes);
            self.top().superfluous = superfluous;
        }
        self.top().nodes = nodes.into_iter();
    }

    fn superfluous(&self, nodes: &[Node]) -> Vec<Box<[u8]>> {
        let frame = self.frames.last().expect("the walk is in a directory");
        let mut known: Vec<&[u8]> = nodes.iter().map(|node| &*node.name).collect();
        known.sort_unstable();
        let is_marker = |name: &[u8]| self.frames.len() == 1 && name == marker::NAME;
        let is_selected = |name: &[u8]| {
            let select = &self.run.options.select;
            select.is_everything() || select.select(&self.path_of(name), false).entry
        };
        let names = frame.listing.iter();
        names
            .filter(|name| known.binary_search(name).is_err() && !is_marker(name) && is_selected(name))
            .filter(|name| !(self.run.is_continued && name.starts_with(TEMPORARY_PREFIX)))
            .map(Box::from)
            .collect()
    }

    fn node(&mut self, mut node: Node) -> Result<()> {
        if node.kind == NodeKind::Socket {
            return Ok(());
        }
        if self.frames.len() == 1 && node.name == marker::NAME {
            let message = "the marker of a broken restore is in the snapshot and was left out".to_owned();
            self.run.reporter.report(Event::Warning { message });
            return Ok(());
        }
        let selected = self.select(&node);
        self.top().has_selected |= selected.entry;
        if node.kind == NodeKind::Dir {
            return match self.enter(&mut node, selected) {
                Ok(()) => Ok(()),
                Err(e) => self.run.problem(&self.path_of(&node.name), e),
            };
        }
        if !selected.entry {
            return Ok(());
        }
        let number = self.files;
        self.files += u64::from(node.kind == NodeKind::File);
        let name = node.name.clone();
        let restored = self.make_directories().and_then(|directory| match node.kind {
            NodeKind::File => self.file(&directory, node, number),
            _ => self.other(&directory, node),
        });
        restored.or_else(|e| self.run.problem(&self.path_of(&name), e))
    }

    /// Goes into a directory of the snapshot.
    fn enter(&mut self, node: &mut Node, selected: Selected) -> Result<()> {
        let run = self.run;
        let Some(subtree) = node.subtree else {
            return Err(Error::Refused("the directory has no tree in the snapshot".to_owned()));
        };
        if !selected.entry && !selected.children {
            return Ok(());
        }
        if self.frames.len() >= MAX_DEPTH {
            return Err(Error::Refused(format!("more than {MAX_DEPTH} directories below one another")));
        }
        if selected.entry {
            run.expected(0);
        }
        let (directory, listing) = self.find_directory(&node.name, selected.entry)?;
        let wanted = Some(Box::new(Wanted::of(run, node)));
        self.frames.push(Frame {
            name: std::mem::take(&mut node.name).into(),
            directory,
            listing,
            superfluous: Vec::new(),
            wanted,
            is_selected: selected.entry,
            has_selected: false,
            nodes: Vec::new().into_iter(),
        });
        if selected.children {
            let path = self.path_of(b"");
            let loaded = load_nodes(run, self.trees, &subtree, || path[..path.len() - 1].to_vec());
            let (nodes, all) = loaded?;
            self.begin(nodes, all);
        }
        Ok(())
    }

    /// Leaves a directory: when all that was planned in it is done, so is the directory.
    fn leave(&mut self) -> Result<()> {
        let frame = self.frames.pop().expect("the walk is in a directory");
        let is_restored = frame.is_selected || frame.has_selected;
        if let Some(above) = self.frames.last_mut() {
            above.has_selected |= is_restored;
        }
        let Some(directory) = frame.directory else { return Ok(()) };
        if is_restored {
            if !frame.is_selected && !directory.is_root() {
                self.run.expected(0);
            }
            directory.set_ending(Ending { metadata: frame.wanted, superfluous: frame.superfluous });
        }
        directory.one_done(self.run)
    }

    /// What has that name in the target, below the directory the walk is in.
    fn look(&mut self, name: &[u8]) -> Result<Option<Metadata>> {
        let run = self.run;
        let frame = self.top();
        match &frame.directory {
            Some(directory) if directory.presence == Presence::Found && frame.listing.contains(name) => {
                directory.open(run)?.stat(name)
            }
            _ => Ok(None),
        }
    }

    /// The directory of that name: opened if it is there, made if it is wanted.
    fn find_directory(&mut self, name: &[u8], wanted: bool) -> Result<(Option<Arc<Directory>>, Names)> {
        let run = self.run;
        let found = self.look(name)?;
        if !wanted && found.as_ref().is_none_or(|found| found.kind != NodeKind::Dir) {
            return Ok((None, Names::new()));
        }
        let above = self.make_directories()?;
        match found {
            Some(found) if found.kind == NodeKind::Dir => {
                let opened = Arc::new(above.open(run)?.open_dir(name)?);
                let listing = self.list(&opened)?;
                run.open_directories.found_file_system(found.device, &opened);
                Ok((Some(Directory::below(&above, name, Presence::Found, Some((run, opened)))), listing))
            }
            _ => Ok((Some(make(run, &above, name)?), Names::new())),
        }
    }

    /// The directory the walk is in, made now if it was not selected itself.
    fn make_directories(&mut self) -> Result<Arc<Directory>> {
        let mut above: Option<Arc<Directory>> = None;
        let first_missing = self.frames.iter().position(|frame| frame.directory.is_none());
        for position in first_missing.unwrap_or(self.frames.len())..self.frames.len() {
            let parent = match above {
                Some(above) => above,
                None => {
                    Arc::clone(self.frames[position - 1].directory.as_ref().expect("those above are made"))
                }
            };
            let frame = &mut self.frames[position];
            let directory = make(self.run, &parent, &frame.name)?;
            frame.directory = Some(Arc::clone(&directory));
            above = Some(directory);
        }
        Ok(Arc::clone(self.top().directory.as_ref().expect("made just now")))
    }

    /// A link, pipe or device.
    fn other(&mut self, directory: &Arc<Directory>, mut node: Node) -> Result<()> {
        let run = self.run;
        if special::is_left_out(run, &node) {
            run.counters.left_out.add(1);
            return Ok(());
        }
        run.expected(0);
        let found = self.look(&node.name)?;
        if !may_overwrite(run, &node, found.as_ref()) {
            run.skipped(directory, &node.name, 0);
            return Ok(());
        }
        if !run.options.dry_run {
            special::restore(run, directory, &mut node)?;
        }
        run.other_restored(directory, &node.name);
        Ok(())
    }

    fn file(&mut self, directory: &Arc<Directory>, node: Node, number: u64) -> Result<()> {
        let run = self.run;
        let found = self.look(&node.name)?;
        let linked = match run.links.role(&node, directory) {
            Some(Role::Second(linked)) => {
                run.expected(0);
                if !may_overwrite(run, &node, found.as_ref()) {
                    run.skipped(directory, &node.name, 0);
                } else if run.options.dry_run {
                    run.other_restored(directory, &node.name);
                } else {
                    linked.add(run, directory, node.name)?;
                }
                return Ok(());
            }
            Some(Role::First(linked)) => Some(linked),
            None => None,
        };
        let unfinished = linked.clone();
        let planned = self.file_with_content(directory, node, number, found, linked);
        if let (Err(_), Some(linked)) = (&planned, unfinished) {
            linked.failed(run)?;
        }
        planned
    }

    fn file_with_content(
        &mut self,
        directory: &Arc<Directory>,
        mut node: Node,
        number: u64,
        found: Option<Metadata>,
        linked: Option<Arc<Linked>>,
    ) -> Result<()> {
        let run = self.run;
        let is_kept = !may_overwrite(run, &node, found.as_ref());
        let content = node.content.take().unwrap_or_default();
        let mut old = None;
        let mut is_same = is_kept;
        let parts = if is_kept { Vec::new() } else { self.parts(&content, &node)? };
        let found = found.filter(|found| found.kind == NodeKind::File);
        if let (Some(found), false) = (&found, is_kept)
            && let Ok(opened) = directory.open(run)?.open_file_to_read(&node.name)
        {
            match compare::compare(run, opened, found, &node, &parts, &mut self.buffer) {
                Verdict::Same => is_same = true,
                Verdict::Partly(opened) => old = Some(opened),
                Verdict::Different => {}
            }
        }
        if is_same {
            if let (Some(found), false, false) = (&found, is_kept, run.options.dry_run) {
                self.set_metadata(directory, &mut node, found)?;
            }
            run.skipped(directory, &node.name, node.size);
            return linked.map_or(Ok(()), |linked| linked.done(run));
        }
        run.expected(node.size);
        if run.options.dry_run {
            finish::would_be_restored(run, directory, &node, found.is_some());
            return Ok(());
        }
        let wanted = Wanted::of(run, &mut node);
        let size_bytes = parts.iter().map(|part| u64::from(part.plain_bytes)).sum();
        directory.one_more();
        let file = Arc::new(File {
            directory: Arc::clone(directory),
            name: node.name.into(),
            wanted,
            size_bytes,
            number,
            is_update: found.is_some(),
            is_single: parts.len() <= 1,
            linked,
            state: Mutex::new(FileState::default()),
            pending: AtomicUsize::new(1),
        });
        self.plan_file(&file, &parts, old.as_ref())
    }

    /// Where the blobs of a file are. Fails if one is nowhere.
    fn parts(&self, content: &[Id], node: &Node) -> Result<Vec<Part>> {
        let index = &self.run.index;
        let mut parts = Vec::with_capacity(content.len());
        for id in content {
            let missing = || Error::MissingBlob { kind: BlobKind::Data, id: *id };
            let position = index.position(BlobKind::Data, id).ok_or_else(missing)?;
            let location = index.location(position);
            if !is_within_limits(&location) {
                let why = Invalid::malformed("it is larger than any blob may be");
                return Err(Error::DamagedBlob { kind: BlobKind::Data, id: *id, why });
            }
            let blob = u32::try_from(position).expect("an index of 2^32 blobs would take 200 GB");
            parts.push(Part { blob, plain_bytes: location.plain_bytes() as u32 });
        }
        let size_bytes: u64 = parts.iter().map(|part| u64::from(part.plain_bytes)).sum();
        if size_bytes != node.size {
            let detail = format!("it has {size_bytes} bytes, while the snapshot says {}", node.size);
            self.run.problem(&self.path_of(&node.name), Error::Refused(detail))?;
        }
        Ok(parts)
    }

    fn plan_file(&mut self, file: &Arc<File>, parts: &[Part], old: Option<&TargetFile>) -> Result<()> {
        let run = self.run;
        self.plan.add_file(file);
        if parts.is_empty() {
            self.plan.last_is_empty();
            self.cut_if_full();
            return Ok(());
        }
        let mut offset = 0;
        for part in parts {
            run.check()?;
            let taken = match old {
                Some(old) => compare::take_over(run, old, file, part, offset, &mut self.buffer),
                None => Ok(false),
            };
            match taken {
                Ok(true) => {}
                Ok(false) => {
                    file.pending.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    self.plan.add_place(part.blob as usize, offset);
                    if self.cut_if_full() {
                        self.plan.add_file(file);
                    }
                }
                Err(e) => finish::fail(run, file, e)?,
            }
            offset += u64::from(part.plain_bytes);
        }
        finish::place_done(run, file)
    }

    /// A file that has the right content already gets the rest.
    fn set_metadata(&self, directory: &Arc<Directory>, node: &mut Node, found: &Metadata) -> Result<()> {
        let run = self.run;
        let wanted = Wanted::of(run, node);
        let opened = directory.open(run)?.open_file_to_read(&node.name)?;
        let failed = opened.set_attributes(&wanted.missing_from(found));
        run.not_set(failed, || directory.path_of(&node.name))
    }

    fn cut_if_full(&mut self) -> bool {
        let is_full = self.plan.is_full();
        if is_full {
            self.cut();
        }
        is_full
    }

    fn cut(&mut self) {
        if !self.plan.is_empty() {
            let jobs = self.plan.cut(&self.run.index, &self.run.plan_budget);
            self.run.queue.push(jobs);
        }
    }
}

/// Makes a directory, in place of whatever has its name and is none.
fn make(run: &Run<'_>, above: &Arc<Directory>, name: &[u8]) -> Result<Arc<Directory>> {
    if run.options.dry_run {
        return Ok(Directory::below(above, name, Presence::Missing, None));
    }
    let opened = above.open(run)?;
    let mut made = opened.make_dir(name)?;
    if !made && opened.stat(name)?.is_none_or(|found| found.kind != NodeKind::Dir) {
        opened.remove_one(name)?;
        made = opened.make_dir(name)?;
    }
    let presence = if made { Presence::New } else { Presence::Found };
    let directory = Arc::new(opened.open_dir(name)?);
    Ok(Directory::below(above, name, presence, Some((run, directory))))
}
