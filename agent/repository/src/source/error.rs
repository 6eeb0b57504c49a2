//! Why an entry could not be read: the classes a run tells apart, with the system's words.
//!
//! An error does not know the path: the caller does, and builds it only if it has to tell it.

use std::io;

use rustix::io::Errno;

use crate::event::SkipReason;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not there any more. Files come and go all day: this is no fault of anybody's.
    #[error("it has gone")]
    Vanished,
    #[error("{doing}: {source}")]
    Unreadable { doing: &'static str, source: io::Error },
    #[error("{doing}: {source}")]
    InputOutput { doing: &'static str, source: io::Error },
    /// Something else has its name: left out, and said, since the name would be missing without a word.
    #[error("something else took its place while it was being opened")]
    Swapped,
    #[error("the directory has more than {max_entries} entries")]
    TooLarge { max_entries: usize },
}

impl Error {
    pub(crate) fn of(doing: &'static str, errno: Errno) -> Self {
        match errno {
            Errno::NOENT => Self::Vanished,
            Errno::ACCESS | Errno::PERM => Self::Unreadable { doing, source: errno.into() },
            _ => Self::InputOutput { doing, source: errno.into() },
        }
    }

    /// For opening what was seen a moment ago: errors that only another kind of file gives mean that the name
    /// belongs to something else by now (a link, no directory any more, a socket, a device without a driver).
    pub(crate) fn of_open(doing: &'static str, errno: Errno) -> Self {
        match errno {
            Errno::LOOP | Errno::NOTDIR | Errno::NXIO | Errno::NODEV => Self::Swapped,
            _ => Self::of(doing, errno),
        }
    }

    pub(crate) fn bad_name() -> Self {
        Self::InputOutput { doing: "look up", source: Errno::INVAL.into() }
    }

    /// How a run counts it; `None` for what is no skip.
    pub fn skip_reason(&self) -> Option<SkipReason> {
        match self {
            Self::Vanished => None,
            Self::Unreadable { .. } => Some(SkipReason::Unreadable),
            Self::InputOutput { .. } => Some(SkipReason::InputOutput),
            Self::Swapped => Some(SkipReason::Swapped),
            Self::TooLarge { .. } => Some(SkipReason::Unsupported),
        }
    }
}
