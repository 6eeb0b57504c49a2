//! A location becomes a store: what both doors put around it.

use std::sync::Arc;
use std::time::Duration;

use pillion_backend::Backend;
use pillion_backend::location::{self, Location};
use pillion_backend::retry::{Hook, Policy, Retry};

/// The store at a location, with retries that are told to `hook`.
pub fn open_backend(location: &str, hook: Hook) -> pillion_repository::Result<Arc<dyn Backend>> {
    let opened = location::open(&Location::parse(location)?)?;
    Ok(Arc::new(Retry::new(opened, Policy::default(), hook)))
}

pub fn retry_sentence(error: &pillion_backend::Error, wait: Duration) -> String {
    format!("{error}; trying again in {:.1} s", wait.as_secs_f64())
}
