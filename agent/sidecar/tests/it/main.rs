//! The binary from outside, in one test binary: as a person, a script and a container run it, with stock restic beside it
//! as the oracle. One module a kind of promise.

// In a test a panic is the failure it reports; the helpers of this binary are tests too.
#![allow(clippy::unwrap_used)]

mod agent;
mod api;
mod bad_input;
mod cache;
mod checks;
mod control;
mod damage;
mod dump;
mod ended;
mod hooks;
mod interop;
mod json;
mod life;
mod locks;
mod monitoring;
mod plans;
mod predecessors;
mod reader;
mod scene;
mod snapshots;
mod sources;
mod stores;

/// The same oracle as the engine's tests have.
#[path = "../../../repository/tests/it/restic.rs"]
#[allow(dead_code, reason = "each test binary uses its part")]
mod restic;
