//! The bench: the same work done by us and by stock restic, in turns, and what each took.
//!
//! Read in this order: [`content`] makes bytes from a seed, [`data`] makes the two sources of them and [`mixture`] a
//! third, [`program`] is a command line, [`measure`] runs one, [`compare`], [`memory`] and [`store`] are the jobs,
//! [`requests`] counts what a store is asked, [`verify`] looks at what was restored, [`table`] and [`machine`] print.
//! Nothing but a program's own time may fall into a measured span.

pub mod compare;
pub mod content;
pub mod data;
pub mod machine;
pub mod measure;
pub mod memory;
pub mod mixture;
pub mod program;
pub mod requests;
pub mod store;
pub mod table;
pub mod verify;
pub mod work;

use std::path::PathBuf;

/// What every job is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Holds data, repositories, caches and restored files; the data stays for the next run.
    pub directory: PathBuf,
    pub seed: u64,
    /// Of the full size of the data.
    pub scale: f64,
    pub pillion: PathBuf,
}
