//! The tests of what this crate gives to the others.

mod b2;
mod servers;
