//! Restores of what this crate backed up, into true directories; the store is in memory.

#![allow(clippy::disallowed_methods, reason = "tests make and look at files of their own")]

mod damage;
mod existing;
mod fixture;
mod kinds;
mod limits;
mod marking;
mod stops;
