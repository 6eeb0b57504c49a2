//! The bench: the same work done by us and by stock restic, in turns, and what each took.
//!
//! Read in this order: [`content`] makes bytes from a seed, [`data`] makes the two sources of them, [`program`] is a
//! command line, [`measure`] runs one, [`compare`] and [`memory`] are the two jobs, [`verify`] looks at what was
//! restored, [`table`] and [`machine`] print. Nothing but a program's own time may fall into a measured span.

pub mod compare;
pub mod content;
pub mod data;
pub mod machine;
pub mod measure;
pub mod memory;
pub mod program;
pub mod table;
pub mod verify;
pub mod work;

use std::path::PathBuf;

/// What both jobs are told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Holds data, repositories, caches and restored files; the data stays for the next run.
    pub directory: PathBuf,
    pub seed: u64,
    /// Of the full size of the data.
    pub scale: f64,
    pub works: Vec<work::Work>,
    pub pillion: PathBuf,
}
