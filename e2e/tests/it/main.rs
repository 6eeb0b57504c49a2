//! The tests of what this crate gives to the others.

mod servers;
