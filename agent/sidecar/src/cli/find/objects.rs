//! `pillion find --blob|--tree|--pack`: which files and directories of which snapshots use an object.
//!
//! An object is known by its ID alone: one that is in no index, because its pack was lost, is found in the trees that
//! name it all the same. Only for a pack the index is asked what lies in it.

use std::collections::{BTreeSet, HashSet};

use pillion_repository::Error;
use pillion_repository::format::blob::BlobKind;
use pillion_repository::format::id::Id;
use pillion_repository::format::snapshot::Snapshot;
use pillion_repository::format::time::Timestamp;
use pillion_repository::format::tree::{Node, NodeKind};
use pillion_repository::index::Index;
use pillion_repository::walk::{self, Next, Visitor};

use super::Options;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::output::found::{self, ObjectPlace, ObjectPrinter};
use crate::cli::session::Session;

pub(super) fn run(options: &Options, session: &Session<'_>) -> Result<(), Failure> {
    let texts = texts(options)?;
    session.read_blobs(|repository, mut reader| {
        let index = std::sync::Arc::clone(reader.index());
        let wanted = Wanted::of(options, &texts, &index)?;
        let selected = super::select(options, repository, session)?;
        let output = &*session.output;
        let mut printer = ObjectPrinter::new(output);
        let (mut found, mut unreadable_trees) = (BTreeSet::new(), 0);
        for (id, snapshot) in &selected.snapshots {
            let mut search = Search {
                wanted: &wanted,
                snapshot: (*id, snapshot.time),
                trees: Vec::new(),
                printer: &mut printer,
                found: &mut found,
                output,
                unreadable_trees: &mut unreadable_trees,
            };
            search.root(snapshot);
            walk::walk(&mut reader, &snapshot.tree, &mut search)?;
            if output.is_closed() {
                break;
            }
        }
        printer.finish();
        if options.show_pack_id {
            found.extend(wanted.blobs.whole.iter().map(|id| (BlobKind::Data, *id)));
            found.extend(wanted.trees.whole.iter().map(|id| (BlobKind::Tree, *id)));
            found::packs_of(output, &index, &found);
        }
        super::ended(selected.unreadable, unreadable_trees)
    })
}

/// The IDs or their beginnings. A slip must not look like "used nowhere".
fn texts(options: &Options) -> Result<Vec<String>, Failure> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_id = |text: &&str| (1..=64).contains(&text.len()) && text.bytes().all(is_digit);
    let refused = |text| Failure::new(format!("{text:?} is no ID: that is up to 64 digits of 0-9 and a-f"));
    let texts = options.patterns.iter();
    texts.map(|text| text.to_str().filter(is_id).map(str::to_owned).ok_or_else(|| refused(text))).collect()
}

/// IDs of one kind, whole or by how they begin.
#[derive(Debug, Default)]
struct Ids {
    whole: HashSet<Id>,
    beginnings: Vec<String>,
}

impl Ids {
    fn parse(texts: &[String]) -> Self {
        let mut ids = Self::default();
        for text in texts {
            match text.parse() {
                Ok(id) => _ = ids.whole.insert(id),
                Err(_) => ids.beginnings.push(text.clone()),
            }
        }
        ids
    }

    fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.beginnings.is_empty()
    }

    fn contains(&self, id: &Id) -> bool {
        self.whole.contains(id) || (!self.beginnings.is_empty() && self.begins(id).is_some())
    }

    /// The position of a beginning of this ID.
    fn begins(&self, id: &Id) -> Option<usize> {
        let text = id.to_string();
        self.beginnings.iter().position(|beginning| text.starts_with(beginning.as_str()))
    }
}

#[derive(Debug, Default)]
struct Wanted {
    blobs: Ids,
    trees: Ids,
}

impl Wanted {
    fn of(options: &Options, texts: &[String], index: &Index) -> Result<Self, Failure> {
        let ids = Ids::parse(texts);
        match (options.blob, options.tree) {
            (true, _) => Ok(Self { blobs: ids, ..Self::default() }),
            (_, true) => Ok(Self { trees: ids, ..Self::default() }),
            _ => Self::in_packs(&ids, index),
        }
    }

    fn in_packs(packs: &Ids, index: &Index) -> Result<Self, Failure> {
        let mut wanted = Self::default();
        let mut missing: BTreeSet<String> =
            packs.whole.iter().map(Id::to_string).chain(packs.beginnings.iter().cloned()).collect();
        let mut chosen = HashSet::new();
        for pack in index.packs().iter().filter(|pack| packs.contains(pack)) {
            chosen.insert(*pack);
            missing.remove(&pack.to_string());
            if let Some(position) = packs.begins(pack) {
                missing.remove(&packs.beginnings[position]);
            }
        }
        if !missing.is_empty() {
            let missing: Vec<String> = missing.into_iter().collect();
            return Err(Failure::new(format!("no index knows the pack(s) {}", missing.join(", "))));
        }
        for (kind, id, _) in index.iter().filter(|(_, _, place)| chosen.contains(&place.pack)) {
            match kind {
                BlobKind::Data => wanted.blobs.whole.insert(id),
                BlobKind::Tree => wanted.trees.whole.insert(id),
            };
        }
        Ok(wanted)
    }
}

/// The search through one snapshot.
struct Search<'a, 'p> {
    wanted: &'a Wanted,
    snapshot: (Id, Timestamp),
    /// The trees from the root down to the directory the walk is in.
    trees: Vec<Id>,
    printer: &'a mut ObjectPrinter<'p>,
    /// What beginnings of IDs turned out to mean.
    found: &'a mut BTreeSet<(BlobKind, Id)>,
    output: &'a Output,
    unreadable_trees: &'a mut u64,
}

impl Search<'_, '_> {
    fn root(&mut self, snapshot: &Snapshot) {
        self.trees.push(snapshot.tree);
        self.tree(b"/", &snapshot.tree);
    }

    fn tree(&mut self, path: &[u8], tree: &Id) {
        if self.wanted.trees.contains(tree) {
            self.hit(BlobKind::Tree, tree, path);
        }
    }

    fn hit(&mut self, kind: BlobKind, id: &Id, path: &[u8]) {
        let (snapshot, time) = self.snapshot;
        let parent_tree = *self.trees.last().expect("the root is never left");
        self.printer.hit(&ObjectPlace { kind, id: *id, path, parent_tree, snapshot, time });
        self.found.insert((kind, *id));
    }
}

impl Visitor for Search<'_, '_> {
    fn entry(&mut self, path: &[u8], node: &Node) -> Result<Next, Error> {
        // No name holds a slash: there is one for each directory on the way.
        let depth = path.iter().filter(|byte| **byte == b'/').count();
        self.trees.truncate(depth);
        if node.kind == NodeKind::File && !self.wanted.blobs.is_empty() {
            for id in node.content.iter().flatten().filter(|id| self.wanted.blobs.contains(id)) {
                self.hit(BlobKind::Data, id, path);
            }
        }
        if let (NodeKind::Dir, Some(subtree)) = (node.kind, &node.subtree) {
            self.tree(path, subtree);
            self.trees.push(*subtree);
        }
        Ok(if self.output.is_closed() { Next::Stop } else { Next::Enter })
    }

    fn unreadable(&mut self, path: &[u8], _: &Id, error: Error) -> Result<(), Error> {
        *self.unreadable_trees += 1;
        super::tell_unreadable(self.output, &self.snapshot.0, path, &error);
        Ok(())
    }
}
