//! One error for every store: what was tried, on what, and whether trying again can help.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

/// What kind of failure it was. The kind alone decides [`Error::is_permanent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorKind {
    NotFound,
    AlreadyExists,
    OutOfRange,
    /// The file has more bytes than the caller takes.
    TooLarge,
    PermissionDenied,
    /// No space, or a quota is used up.
    Full,
    /// The store cannot do this at all.
    Unsupported,
    /// The location or a setting is wrong.
    Misconfigured,
    /// The file to be stored is gone, has another size than was said, or may have lost bytes on its way
    /// to the disk: it must be made again, saving it again does not help.
    UnusableBody,
    /// The store does not answer, has a fault of its own, or broke off: another try may succeed.
    Unavailable,
    /// The store asks for fewer requests: another try may succeed, and fewer at once help.
    Throttled,
}

impl ErrorKind {
    /// A word of a closed list, for labels.
    pub fn label(self) -> &'static str {
        match self {
            Self::NotFound => "not-found",
            Self::AlreadyExists => "already-exists",
            Self::OutOfRange => "out-of-range",
            Self::TooLarge => "too-large",
            Self::PermissionDenied => "permission-denied",
            Self::Full => "full",
            Self::Unsupported => "unsupported",
            Self::Misconfigured => "misconfigured",
            Self::UnusableBody => "unusable-body",
            Self::Unavailable => "unavailable",
            Self::Throttled => "throttled",
        }
    }
}

/// The call that failed, as a verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Open,
    Create,
    Stat,
    Load,
    Save,
    List,
    Remove,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Create => "create",
            Self::Stat => "stat",
            Self::Load => "load",
            Self::Save => "save",
            Self::List => "list",
            Self::Remove => "remove",
        })
    }
}

/// A failed store call.
#[derive(Debug)]
pub struct Error {
    pub kind: ErrorKind,
    pub operation: Operation,
    /// The file, or what else the call was about, for people; never a credential.
    pub name: String,
    pub source: Option<Box<dyn StdError + Send + Sync>>,
    /// How long the store asks to be left alone before the next try.
    pub retry_after: Option<Duration>,
}

impl Error {
    pub fn new(kind: ErrorKind, operation: Operation, name: impl Into<String>) -> Self {
        Self { kind, operation, name: name.into(), source: None, retry_after: None }
    }

    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Whether the same call would fail the same way again. This is the one question retry asks.
    pub fn is_permanent(&self) -> bool {
        !matches!(self.kind, ErrorKind::Unavailable | ErrorKind::Throttled)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.operation, self.name)?;
        let why = match self.kind {
            ErrorKind::NotFound => "not found",
            ErrorKind::AlreadyExists => "exists already",
            ErrorKind::OutOfRange => "shorter than it should be",
            ErrorKind::TooLarge => "larger than it may be",
            ErrorKind::PermissionDenied => "permission denied",
            ErrorKind::Full => "no space left",
            ErrorKind::Unsupported => "not supported",
            ErrorKind::Misconfigured => "wrong setting",
            ErrorKind::UnusableBody => "the file to be stored is unusable",
            ErrorKind::Unavailable => "store unavailable",
            ErrorKind::Throttled => "store busy",
        };
        let source = self.source.as_deref().map(|source| source as &dyn StdError);
        // The system's words often begin with the same ones.
        if !source.is_some_and(|cause| cause.to_string().to_lowercase().starts_with(why)) {
            write!(f, ": {why}")?;
        }
        // The sources are part of the sentence: callers print one line.
        source.into_iter().flat_map(chain).try_for_each(|cause| write!(f, ": {cause}"))
    }
}

impl StdError for Error {}

/// The error and what caused it, the innermost last.
pub(crate) fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}
