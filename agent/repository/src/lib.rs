//! The restic repository format, and what can be done to a repository.
//!
//! Read in this order: [`format`] is the bytes and nothing else. [`repository`] opens, locks, loads and saves.
//! [`backup`], [`restore`] and [`check`] are the jobs. [`source`] is the only way to the file system.
//!
//! The crate never sees configuration, metrics, Kubernetes, HTTP or the environment; what it has to tell it
//! tells as [`event`]s and errors.

pub mod backup;
pub mod check;
pub mod error;
pub mod event;
pub mod filter;
pub mod format;
pub mod index;
pub mod limits;
pub mod lock;
pub mod repository;
pub mod restore;
pub mod source;
pub mod store;
pub mod target;

pub use error::{Error, Result};
