//! Reading back what was written, where that was asked for.
//!
//! The walk goes over the trees once more, in the same order; one bit for each file says whether this run
//! restored its content. What was skipped or only got new metadata is not read.

use std::sync::{Arc, Mutex};

use super::compare::read_full;
use super::directory::{Directory, Presence};
use super::fetch::Worker;
use super::plan::Job;
use super::walk::load_nodes;
use super::{Run, marker};
use crate::budget::Charge;
use crate::error::{Error, Result};
use crate::format::blob::BlobKind;
use crate::format::id::Id;
use crate::format::tree::{Node, NodeKind};
use crate::limits::MAX_DEPTH;
use crate::repository::BlobReader;

/// The files whose content this run restored, by their place in the order of the walk.
#[derive(Debug, Default)]
pub(super) struct Restored(Mutex<Vec<u64>>);

impl Restored {
    fn add(&self, number: u64) {
        let (word, bit) = place(number);
        let mut words = self.0.lock().expect("no thread panics with it");
        if words.len() <= word {
            words.resize(word + 1, 0);
        }
        words[word] |= bit;
    }

    fn contains(&self, number: u64) -> bool {
        let (word, bit) = place(number);
        self.0.lock().expect("no thread panics with it").get(word).is_some_and(|bits| bits & bit != 0)
    }
}

fn place(number: u64) -> (usize, u64) {
    ((number / 64) as usize, 1 << (number % 64))
}

impl Run<'_> {
    pub(super) fn was_restored(&self, number: u64) {
        if self.options.verify {
            self.restored.add(number);
        }
    }
}

/// One file to be read back.
#[derive(Debug)]
pub(super) struct VerifyJob {
    directory: Arc<Directory>,
    name: Vec<u8>,
    content: Vec<Id>,
    _charge: Charge,
}

struct Frame {
    directory: Arc<Directory>,
    path: Vec<u8>,
    nodes: std::vec::IntoIter<Node>,
}

/// Pushes a job for every file this run restored. What it cannot read was reported by the walk before.
pub(super) fn verify(run: &Run<'_>, trees: &mut BlobReader, tree: &Id) -> Result<()> {
    let mut files = 0;
    let (nodes, _) = load_nodes(run, trees, tree, || b"/".to_vec())?;
    let mut frames =
        vec![Frame { directory: Arc::clone(&run.root), path: Vec::new(), nodes: nodes.into_iter() }];
    while let Some(frame) = frames.last_mut() {
        run.check()?;
        let Some(node) = frame.nodes.next() else {
            frames.pop();
            continue;
        };
        let is_marker = frame.path.is_empty() && node.name == marker::NAME;
        let mut path = frame.path.clone();
        path.push(b'/');
        path.extend_from_slice(&node.name);
        let selected = run.options.select.select(&path, node.kind == NodeKind::Dir);
        match node.kind {
            NodeKind::Dir if selected.children && !is_marker => {
                let Some(subtree) = node.subtree else { continue };
                let directory = Directory::below(&frame.directory, &node.name, Presence::Found, None);
                if frames.len() < MAX_DEPTH {
                    let (nodes, _) = load_nodes(run, trees, &subtree, || path.clone())?;
                    frames.push(Frame { directory, path, nodes: nodes.into_iter() });
                }
            }
            NodeKind::File if selected.entry && !is_marker => {
                let number = files;
                files += 1;
                if run.restored.contains(number) {
                    run.queue.push(vec![job(run, &frame.directory, node)]);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn job(run: &Run<'_>, directory: &Arc<Directory>, node: Node) -> Job {
    let content = node.content.unwrap_or_default();
    let size_bytes = size_of::<VerifyJob>() + node.name.len() + content.len() * size_of::<Id>();
    let charge = run.plan_budget.take(size_bytes);
    Job::Verify(VerifyJob { directory: Arc::clone(directory), name: node.name, content, _charge: charge })
}

impl Worker<'_, '_> {
    pub(super) fn verify(&mut self, job: &VerifyJob) -> Result<()> {
        match self.is_right(job) {
            Ok(()) => {
                self.run.counters.files_verified.add(1);
                Ok(())
            }
            Err(e) => self.run.problem(&job.directory.path_of(&job.name), e),
        }
    }

    fn is_right(&mut self, job: &VerifyJob) -> Result<()> {
        let file = job.directory.open(self.run)?.open_file_to_read(&job.name)?;
        let index = &self.run.index;
        let mut offset = 0;
        for id in &job.content {
            self.run.check()?;
            let missing = || Error::MissingBlob { kind: BlobKind::Data, id: *id };
            let position = index.position(BlobKind::Data, id).ok_or_else(missing)?;
            let length = index.location(position).plain_bytes();
            let _held = self.run.buffer_budget.take(length as usize);
            self.plain.resize(length as usize, 0);
            if !read_full(&file, &mut self.plain, offset)? || Id::of(&self.plain) != *id {
                return Err(Error::Refused(format!("read back, it has other content at byte {offset}")));
            }
            offset += length;
        }
        let size_bytes = file.metadata()?.size_bytes;
        if size_bytes == offset {
            Ok(())
        } else {
            Err(Error::Refused(format!("read back, it has {size_bytes} bytes and not {offset}")))
        }
    }
}
