//! The bytes of a repository. Nothing in here does I/O, threads, async, or asks for the time.

pub mod blob;
pub mod chunker;
pub mod config;
pub mod crypto;
pub mod file;
pub mod frame;
pub mod go_json;
pub mod id;
pub mod index;
pub mod json;
pub mod key;
pub mod lock;
pub mod pack;
pub mod polynomial;
pub mod snapshot;
pub mod time;
pub mod tree;
mod usual;

/// Why bytes are not what the format says. The caller knows which file they came from and adds its name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The message authentication code does not fit: damaged, or sealed with another key.
    #[error("the bytes are damaged or were encrypted with another key")]
    Unauthentic,
    /// The bytes hash to another ID.
    #[error("the content does not match its ID")]
    WrongId,
    #[error("{0}")]
    Malformed(String),
    /// Larger than `limits` allows: distrusted rather than tried.
    #[error("{what} of {size_bytes} bytes is above the limit of {max_bytes}")]
    TooLarge { what: &'static str, size_bytes: u64, max_bytes: u64 },
}

impl Invalid {
    pub fn malformed(why: impl std::fmt::Display) -> Self {
        Self::Malformed(why.to_string())
    }
}
