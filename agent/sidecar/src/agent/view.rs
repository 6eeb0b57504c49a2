//! Views of the published state, and of what a reading found: pure functions, that ask nobody and change nothing.

pub mod metrics;
pub mod page;
pub mod snapshots;
pub mod status;
