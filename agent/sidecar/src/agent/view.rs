//! Views of the published state: pure functions of it, that ask nobody and change nothing.

pub mod metrics;
pub mod page;
pub mod status;
