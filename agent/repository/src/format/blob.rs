//! Blobs: the two kinds, and how one is sealed into the bytes of a pack and opened again.

/// What a blob holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BlobKind {
    Data,
    Tree,
}

impl BlobKind {
    pub fn noun(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Tree => "tree",
        }
    }
}
