//! Tests of the crate from outside, in one binary: against stock restic (0.19 or newer, see `restic.rs`) and
//! against repositories that restic made. One module a part of the crate.

// In a test a panic is the failure it reports; the helpers of this binary are tests too.
#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "these files are the tests' own, and paths make them plain")]

mod beside;
mod cache;
mod check;
mod filter;
mod forest;
mod golden;
mod history;
mod init;
mod interoperability;
mod ours;
mod races;
mod restic;
mod stops;
