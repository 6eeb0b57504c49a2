//! What is measured and tested from outside, with the built programs.
//!
//! Links none of the other crates: whatever is learned here is learned from command lines, exit codes and
//! files, as a user would. [`mod@servers`] starts the real stores that tests speak to, ours and those of the other
//! crates, and [`mod@proxy`] stands between; [`mod@bench`] runs us and stock restic side by side.

pub mod bench;
pub mod proxy;
pub mod servers;
