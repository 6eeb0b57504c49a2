//! What of a source or a snapshot is meant: patterns, exclusion, targets.
//!
//! Everything here answers as restic answers, since people bring their options along: the same patterns
//! match, the same entries are left out, the same targets give the same tree. Paths are raw bytes.
//! Nothing in here touches a file system, reads the environment or prints: listings and variables are passed
//! in as closures, and text files as the bytes that were read.
//!
//! Read in this order: `path` and `glob` are the ground, [`pattern`] the engine, [`text`] and [`options`] how
//! patterns come in; [`targets`], [`files_from`] and [`exclude`] serve the backup, [`restore_select`] and
//! [`find`] the way back.

mod glob;
mod path;

pub mod exclude;
pub mod files_from;
pub mod find;
pub mod options;
pub mod pattern;
pub mod restore_select;
pub mod targets;
pub mod text;

pub use exclude::{DirectoryMarker, ExcludeOptions, Exclusion};
pub use find::FindPatterns;
pub use options::{PatternOptions, Patterns};
pub use path::absolute;
pub use pattern::{Case, InvalidPatterns, PatternList};
pub use restore_select::{RestoreSelect, Selected};
pub use targets::{TargetNode, TargetTree};
