//! The restic repository format, and what can be done to a repository.
//!
//! Read in this order: [`mod@format`] is the bytes and nothing else. [`repository`] opens, locks, loads and saves;
//! [`cache`] spares it requests.
//! [`backup`], [`restore`] and [`check`] are the jobs; [`walk`], [`dump`], [`diff`] and [`stats`] only look.
//! [`source`] is the only way to the file system.
//!
//! The crate never sees configuration, metrics, Kubernetes, HTTP or the environment; what it has to tell it
//! tells as [`event`]s and errors.

pub mod backup;
mod blob_set;
mod budget;
pub mod cache;
pub mod check;
pub mod diff;
pub mod dump;
pub mod error;
pub mod event;
pub mod filter;
pub mod format;
pub mod index;
pub mod limits;
pub mod lock;
mod parallel;
pub mod repository;
pub mod restore;
pub mod snapshots;
pub mod source;
pub mod stats;
pub mod store;
pub mod target;
pub mod walk;

pub use error::{Error, Result};
