//! Which blobs need not be stored: what the index names, and what this run has taken in hand.
//!
//! **Invariant:** of several workers that meet the same new blob exactly one stores it
//! (`one_of_many_claims_wins`). If it fails, the run fails, so that the others' trust was never misplaced.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use hashbrown::HashSet;

use crate::format::blob::BlobKind;
use crate::format::id::Id;
use crate::index::Index;

const SHARDS: usize = 16;

pub(super) struct Known {
    index: Arc<Index>,
    claimed: [[Mutex<HashSet<Id>>; SHARDS]; 2],
    /// Trees that the index names and that could not be read all the same.
    lost_trees: Mutex<HashSet<Id>>,
    has_lost_trees: AtomicBool,
}

impl Known {
    pub(super) fn new(index: Arc<Index>) -> Self {
        Self {
            index,
            claimed: Default::default(),
            lost_trees: Mutex::default(),
            has_lost_trees: AtomicBool::new(false),
        }
    }

    /// Whether the caller must store the blob.
    pub(super) fn claim(&self, kind: BlobKind, id: &Id) -> bool {
        if self.index.contains(kind, id) && !(kind == BlobKind::Tree && self.is_lost(id)) {
            return false;
        }
        let shard = usize::from(id.as_bytes()[31]) % SHARDS;
        self.claimed[kind as usize][shard].lock().expect("no thread panics with it").insert(*id)
    }

    /// The tree is to be stored again, should it come about again, though the index names it.
    pub(super) fn lose_tree(&self, id: Id) {
        self.lost_trees.lock().expect("no thread panics with it").insert(id);
        self.has_lost_trees.store(true, Ordering::Release);
    }

    fn is_lost(&self, id: &Id) -> bool {
        self.has_lost_trees.load(Ordering::Acquire)
            && self.lost_trees.lock().expect("no thread panics with it").contains(id)
    }

    /// Whether every blob is stored already.
    pub(super) fn holds_all(&self, kind: BlobKind, ids: &[Id]) -> bool {
        ids.iter().all(|id| self.index.contains(kind, id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_many_claims_wins() {
        let known = Known::new(Arc::default());
        let ids: Vec<Id> = (0..1000u32).map(|n| Id::of(&n.to_le_bytes())).collect();
        let claim_all = || ids.iter().filter(|id| known.claim(BlobKind::Data, id)).count();
        let claims: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(claim_all)).collect();
            threads.into_iter().map(|thread| thread.join().expect("claims do not panic")).sum()
        });
        assert_eq!(claims, ids.len());
        assert!(known.claim(BlobKind::Tree, &ids[0]), "a tree of the same ID is another blob");
    }
}
