//! What can go wrong with a repository, one sentence each, with a hint where there is one thing to do.

use pillion_backend::{self as backend, FileKind, FileName};

use crate::format::Invalid;
use crate::format::id::Id;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `why` where the store says more than that there is none: that it is not there itself.
    #[error("there is no repository at {location}{}", .why.as_ref().map(|why| format!(": {why}")).unwrap_or_default())]
    NoRepository { location: String, why: Option<String> },
    #[error("there is a repository at {location} already")]
    AlreadyInitialized { location: String },
    #[error("{location} holds snapshots or packs but no config: it is what is left of a repository")]
    HalfRepository { location: String },
    #[error(
        "{location} holds a key but no config: somebody is making a repository there at this moment, or died at it"
    )]
    UnfinishedInit { location: String },
    #[error("the repository at {location} has the old layout that restic 0.17 was the last to read")]
    OldLayout { location: String },
    #[error("the repository has version {version}; this program knows 1 and 2")]
    UnsupportedVersion { version: u32 },
    #[error("wrong password, or no key for it")]
    WrongPassword,
    #[error("the repository has a config but no key")]
    NoKey,
    #[error("no usable key: {0}")]
    UnusableKey(String),
    #[error("the repository is locked: {0}")]
    Locked(String),
    /// The lock could not be kept: nothing may be written any more.
    #[error("lost the lock on the repository: {0}")]
    LockLost(String),
    #[error("{file} is damaged: {why}")]
    Damaged { file: FileName, why: Invalid },
    #[error("{kind} blob {id} is in no index", kind = .kind.noun())]
    MissingBlob { kind: crate::format::blob::BlobKind, id: Id },
    #[error("{kind} blob {id} is damaged: {why}", kind = .kind.noun())]
    DamagedBlob { kind: crate::format::blob::BlobKind, id: Id, why: Invalid },
    /// Only told to who reads beside other jobs: a whole tree has to be in memory.
    #[error("a folder has so many entries that {size_bytes} bytes are needed to read it, above {max_bytes}")]
    LargeTree { size_bytes: u64, max_bytes: u64 },
    /// `why`: it is not there, or not of the kind that was asked for.
    #[error("path {path} in the snapshot: {why}")]
    NotInSnapshot { path: String, why: &'static str },
    #[error("no snapshot matches {0:?}")]
    NoSnapshot(String),
    #[error("{0:?} is the beginning of more than one ID")]
    AmbiguousPrefix(String),
    #[error("interrupted")]
    Cancelled,
    #[error(transparent)]
    Backend(#[from] backend::Error),
    /// The local file system, away from the source: cache, spool, target.
    #[error("{doing} {path}: {source}")]
    Local { doing: &'static str, path: String, source: std::io::Error },
    /// A job's own refusal or failure, as one sentence.
    #[error("{0}")]
    Refused(String),
}

impl Error {
    pub fn local(doing: &'static str, path: impl Into<String>, source: impl Into<std::io::Error>) -> Self {
        Self::Local { doing, path: path.into(), source: source.into() }
    }

    /// Whether a lock could not be written for want of the right: who only reads can do without.
    pub fn is_denied_lock(&self) -> bool {
        matches!(self, Self::Backend(e)
            if e.kind == backend::ErrorKind::PermissionDenied
                && e.operation == backend::Operation::Save
                && e.name.starts_with(FileKind::Lock.noun()))
    }

    /// The one thing to do about it, where there is one.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoRepository { .. } => "check the location, or create one with `pillion init`",
            Self::HalfRepository { .. } => "restore the config file, or use an empty location",
            Self::UnfinishedInit { .. } => {
                "try again in an hour, when a key without a config counts as dead, or remove what is in keys/ if nobody \
                 is making a repository there"
            }
            Self::OldLayout { .. } => "copy it into a new repository with restic 0.17",
            Self::UnsupportedVersion { .. } => "use a newer version of this program",
            Self::WrongPassword => "check RESTIC_PASSWORD or --password-file",
            Self::Locked(_) => {
                "wait, use --retry-lock, or remove a dead process's lock with `pillion unlock`"
            }
            Self::LargeTree { .. } => "read it with `pillion restore` or `pillion dump`",
            Self::NoKey | Self::UnusableKey(_) => {
                "check the password; if it is right, bring the key or the config back from a copy of the repository"
            }
            Self::Damaged { file, .. } if file.kind() == FileKind::Lock => {
                "remove it with `pillion unlock --remove-all` once nobody uses the repository"
            }
            Self::Damaged { file, .. } if file.kind() == FileKind::Config => {
                "bring it back from a copy of the repository"
            }
            Self::Damaged { .. } | Self::MissingBlob { .. } | Self::DamagedBlob { .. } => {
                "run `pillion check` to see what is affected"
            }
            Self::Backend(e) if e.kind == backend::ErrorKind::Full => {
                "free some space: nothing stored was lost"
            }
            // What an object store refuses says itself what to look at.
            Self::Backend(e) if e.kind == backend::ErrorKind::PermissionDenied && is_of_system(e) => {
                "check what this user may do in the directory"
            }
            Self::Local { source, .. } if is_full(source) => {
                "free some space there, or use another directory"
            }
            _ => return None,
        })
    }
}

fn is_of_system(error: &backend::Error) -> bool {
    error.source.as_ref().is_some_and(|source| source.is::<std::io::Error>())
}

/// Whether a disk of this machine has no room left.
pub(crate) fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use pillion_backend::{ErrorKind, Operation};

    use super::*;

    #[test]
    fn only_a_directory_s_refusal_is_told_with_a_hint_about_the_directory() {
        let hint = |source: Box<dyn std::error::Error + Send + Sync>| {
            let refused = backend::Error::new(ErrorKind::PermissionDenied, Operation::Load, "config");
            Error::from(refused.because(source)).hint()
        };
        let of_directory = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        assert_eq!(hint(of_directory.into()), Some("check what this user may do in the directory"));
        assert_eq!(hint("the key is not known; look at AWS_ACCESS_KEY_ID".into()), None);
    }
}
