//! The backends against the servers their users run, and against doubles for what such a server cannot be made to do.

#![allow(clippy::unwrap_used, reason = "a test that unwraps an error has failed, as it should")]

mod azure;
mod b2;
mod double;
mod faults;
mod identity;
mod layout;
mod odd;
mod s3;
mod scene;
