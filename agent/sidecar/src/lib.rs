//! The sidecar: two doors to the engine. [`agent`] is resident and knows when to do it and how it went; [`cli`] is a
//! person's hands. Neither knows a byte of the repository format, and the engine knows nothing of settings,
//! passwords' places, schedules or terminals.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, reason = "a test that unwraps an error has failed, as it should")
)]

pub mod access;
pub mod agent;
pub mod allocator;
pub mod cli;
pub mod duration;
pub mod environment;
pub mod file;
pub mod open;
pub mod patterns;
pub mod percent;
pub mod process;
pub mod restart;
pub mod setting;
pub mod telemetry;

pub const VERSION: &str = env!("CARGO_PKG_VERSION");
