//! The names of a repository's files, and where each lies below the root of a store.

use std::fmt;

/// The six kinds of files in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    Config,
    Key,
    Lock,
    Snapshot,
    Index,
    Pack,
}

impl FileKind {
    pub const ALL: [Self; 6] = [Self::Config, Self::Key, Self::Lock, Self::Snapshot, Self::Index, Self::Pack];

    /// The folder of the kind, empty for the config, which lies at the root.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Config => "",
            Self::Key => "keys",
            Self::Lock => "locks",
            Self::Snapshot => "snapshots",
            Self::Index => "index",
            Self::Pack => "data",
        }
    }

    /// The kind in a sentence.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Key => "key",
            Self::Lock => "lock",
            Self::Snapshot => "snapshot",
            Self::Index => "index",
            Self::Pack => "pack",
        }
    }
}

/// The name of one file. For the config the name is empty; for every other kind it is 64 lower-case hex digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileName {
    kind: FileKind,
    name: String,
}

impl FileName {
    pub fn config() -> Self {
        Self { kind: FileKind::Config, name: String::new() }
    }

    /// `None` where `name` is not a name of that kind, so that no name can lead out of its folder.
    pub fn new(kind: FileKind, name: &str) -> Option<Self> {
        let valid = match kind {
            FileKind::Config => name.is_empty(),
            _ => name.len() == 64 && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)),
        };
        valid.then(|| Self { kind, name: name.to_owned() })
    }

    pub fn kind(&self) -> FileKind {
        self.kind
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The path below the root: `config`, `keys/NAME`, `data/xx/NAME` with `xx` the first two digits.
    pub fn path(&self) -> String {
        match self.kind {
            FileKind::Config => "config".to_owned(),
            FileKind::Pack => format!("data/{}/{}", &self.name[..2], self.name),
            kind => format!("{}/{}", kind.folder(), self.name),
        }
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            FileKind::Config => f.write_str("config"),
            kind => write!(f, "{} {}", kind.noun(), &self.name[..8]),
        }
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}
