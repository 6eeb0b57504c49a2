//! One index for all jobs that are at work on a repository at the same time: it is what takes most memory, and two of
//! them say the same.
//!
//! Nothing is kept for its own sake: the index goes with the last job that has it. A file of an index never changes
//! under its ID, so what was made of files that a list names is as good as made anew.

use std::sync::{Arc, Mutex, MutexGuard, Weak};

use pillion_backend::FileKind;

use super::{BlobReader, LoadedIndex, Modesty, Repository};
use crate::error::Result;
use crate::format::id::Id;
use crate::index::Index;

/// Cheap to clone; every clone shares the same index.
#[derive(Clone, Debug, Default)]
pub struct SharedIndex(Arc<Mutex<Shared>>);

#[derive(Debug, Default)]
struct Shared {
    index: Weak<Index>,
    /// What it was made of, sorted.
    files: Vec<Id>,
}

impl SharedIndex {
    /// The index that some job has, if it was made of files that will do.
    pub(super) fn find(&self, will_do: impl FnOnce(&[Id]) -> bool) -> Option<LoadedIndex> {
        let shared = self.lock();
        let index = shared.index.upgrade().filter(|_| will_do(&shared.files))?;
        Some(LoadedIndex { index, files: shared.files.clone() })
    }

    /// Shares what was just made, unless somebody was faster.
    pub(super) fn share(&self, files: &[Id], made: Index) -> Arc<Index> {
        let mut shared = self.lock();
        match shared.index.upgrade() {
            Some(index) if shared.files == files => index,
            _ => {
                let index = Arc::new(made);
                *shared = Shared { index: Arc::downgrade(&index), files: files.to_vec() };
                index
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().expect("no thread panics with it")
    }
}

impl Repository {
    /// A reader of everything that the store's index files name now, beside other jobs: what one of them knows already
    /// is taken from there, and what came since is loaded.
    ///
    /// **Invariant:** the index of a run is in memory once, whoever reads meanwhile
    /// (`who_reads_beside_a_job_shares_its_index_and_loads_what_came_since`).
    pub fn reader_beside(&self, modesty: Modesty) -> Result<BlobReader> {
        let files = self.store.list_ids(FileKind::Index)?;
        self.kept.listed(FileKind::Index, &files);
        let are_there = |known: &[Id]| known.iter().all(|id| files.binary_search(id).is_ok());
        let Some(LoadedIndex { index, files: known }) = self.settings.index.find(are_there) else {
            let index = self.settings.index.share(&files, self.build_index(&files)?);
            return Ok(BlobReader::modest(self, &index, None, modesty));
        };
        let mut new = files;
        new.retain(|id| known.binary_search(id).is_err());
        let newer = match new.is_empty() {
            true => None,
            false => Some(Arc::new(self.build_index(&new)?)),
        };
        Ok(BlobReader::modest(self, &index, newer, modesty))
    }
}

#[cfg(test)]
mod tests {
    use pillion_backend::Body;
    use pillion_backend::fault::Fault;
    use pillion_backend::mem::Mem;

    use super::*;
    use crate::dump;
    use crate::error::Error;
    use crate::format::blob::{BlobKind, Compression, Sealer};
    use crate::format::config::Version;
    use crate::format::index;
    use crate::format::pack::PackEntry;
    use crate::format::tree::{Node, NodeKind};
    use crate::repository::fixture::{create, open};
    use crate::store::file_name;

    fn modesty() -> Modesty {
        Modesty { max_tree_bytes: 100, turn: Arc::default() }
    }

    /// Stores blobs in a pack of their own that an index file of its own names. Returns their IDs.
    fn add(repository: &Repository, kind: BlobKind, contents: &[&[u8]]) -> Vec<Id> {
        let (mut bytes, mut entries) = (Vec::new(), Vec::new());
        let mut sealer = Sealer::new(Version::Two, Compression::Off);
        for content in contents {
            let offset = u32::try_from(bytes.len()).unwrap();
            let uncompressed_length = sealer.seal(repository.key(), kind, content, &mut bytes);
            let length = u32::try_from(bytes.len()).unwrap() - offset;
            entries.push(PackEntry { kind, id: Id::of(content), offset, length, uncompressed_length });
        }
        let pack = Id::of(&bytes);
        repository.store.save(&file_name(FileKind::Pack, &pack), Body::Bytes(bytes.into())).unwrap();
        let mut json = Vec::new();
        index::encode([(pack, &entries[..])], &mut json).unwrap();
        repository.save_file(FileKind::Index, &json).unwrap();
        entries.iter().map(|entry| entry.id).collect()
    }

    #[test]
    fn who_reads_beside_a_job_shares_its_index_and_loads_what_came_since() {
        let faulty = Arc::new(Fault::new(create(Version::Two)));
        let repository = open(Arc::clone(&faulty));
        let loads = || {
            let calls = faulty.forget_calls();
            let is_load =
                |call: &&pillion_backend::fault::Call| call.operation == pillion_backend::Operation::Load;
            calls.iter().filter(is_load).filter(|call| call.kind == Some(FileKind::Index)).count()
        };
        let old = add(&repository, BlobKind::Data, &[b"old"]);
        let job = repository.load_index().unwrap();
        assert_eq!(loads(), 1);
        let mut reader = repository.reader_beside(modesty()).unwrap();
        assert!(Arc::ptr_eq(reader.index(), &job.index) && loads() == 0);
        assert_eq!(reader.load(BlobKind::Data, &old[0]).unwrap(), b"old");
        let new = add(&repository, BlobKind::Data, &[b"new"]);
        assert!(matches!(reader.load(BlobKind::Data, &new[0]), Err(Error::MissingBlob { .. })));
        let mut reader = repository.reader_beside(modesty()).unwrap();
        assert!(Arc::ptr_eq(reader.index(), &job.index) && loads() == 1);
        assert_eq!(reader.load(BlobKind::Data, &new[0]).unwrap(), b"new");
        assert_eq!(reader.clone_for_thread().load(BlobKind::Data, &new[0]).unwrap(), b"new");
        // A job believes what its own list names and no more.
        let second = repository.load_index().unwrap();
        assert!(
            second.index.contains(BlobKind::Data, &new[0]) && !job.index.contains(BlobKind::Data, &new[0])
        );
        drop((reader, job, second));
        loads();
        repository.load_index().unwrap();
        assert_eq!(loads(), 2, "it went with the last who had it");
    }

    #[test]
    fn an_index_of_which_a_file_is_gone_is_nobodys_any_more() {
        let store = Mem::clone(&create(Version::Two));
        let repository = open(store.clone());
        add(&repository, BlobKind::Data, &[b"old"]);
        let job = repository.load_index().unwrap();
        add(&repository, BlobKind::Data, &[b"new"]);
        store.remove_raw(&file_name(FileKind::Index, &job.files[0]));
        let reader = repository.reader_beside(modesty()).unwrap();
        assert!(!reader.index().contains(BlobKind::Data, &Id::of(b"old")));
    }

    #[test]
    fn a_part_of_a_file_is_read_without_what_is_before_and_behind_it() {
        let faulty = Arc::new(Fault::new(create(Version::Two)));
        let repository = open(Arc::clone(&faulty));
        let content = add(&repository, BlobKind::Data, &[b"0123", b"45", b"6789"]);
        let node = Node { size: 10, content: Some(content), ..Node::new("file", NodeKind::File) };
        let mut reader = repository.reader_beside(modesty()).unwrap();
        dump::check_size(&reader, &node).unwrap();
        for (start, end) in (0..=10).flat_map(|start| (start..=10).map(move |end| (start, end))) {
            let mut out = Vec::new();
            dump::write_part(&mut reader, &node, start..end, &mut out).unwrap();
            assert_eq!(out, &b"0123456789"[start as usize..end as usize]);
        }
        faulty.forget_calls();
        dump::write_part(&mut reader.clone_for_thread(), &node, 4..6, &mut Vec::new()).unwrap();
        assert_eq!(faulty.calls().len(), 1);
        let longer = Node { size: 11, ..node };
        assert!(dump::check_size(&reader, &longer).is_err());
    }

    #[test]
    fn who_reads_beside_other_jobs_is_refused_a_tree_that_is_too_large() {
        let repository = open(create(Version::Two));
        let tree = |name_bytes: usize| {
            format!("{{\"nodes\":[{{\"name\":\"{}\",\"type\":\"fifo\"}}]}}\n", "n".repeat(name_bytes))
        };
        let sizes = [10, 50, 100].map(tree);
        let trees = add(&repository, BlobKind::Tree, &sizes.each_ref().map(String::as_bytes));
        let mut reader = repository.reader_beside(modesty()).unwrap();
        let mut looked = |tree| reader.each_node(tree, &mut |_| Ok(()));
        looked(&trees[0]).unwrap();
        looked(&trees[1]).unwrap();
        assert!(matches!(looked(&trees[2]), Err(Error::LargeTree { .. })));
        assert_eq!(reader.load_tree(&trees[0]).unwrap().len(), 1);
        let whole = reader.load_tree(&trees[1]);
        assert!(matches!(whole, Err(Error::LargeTree { .. })), "its entries take as much again");
        let index = Arc::clone(reader.index());
        assert_eq!(BlobReader::new(&repository, &index).load_tree(&trees[2]).unwrap().len(), 1);
    }
}
